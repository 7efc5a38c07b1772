//! What can never be handled is rejected at once, with the reason, and holds up nobody.

use axum::http::StatusCode;
use serde_json::{Value, json};
use shared::{
    inbox,
    testing::{TOKEN, app, count, deliver, post},
};
use sqlx::PgPool;
use tower::ServiceExt as _;
use uuid::{NoContext, Timestamp, Uuid};

use super::{claims, effect, effects, event, letters, routes};

/// Messages that name no event which `task-changed` may handle, and a part of the reason.
async fn poisons(db: &PgPool) -> Vec<(Vec<u8>, &'static str)> {
    let mut with = Vec::new();
    let mut broken = async |break_it: fn(&mut Value), reason| {
        let mut event = event(db).await;
        break_it(&mut event);
        with.push((event.to_string().into_bytes(), reason));
    };
    broken(|event| event["id"] = json!(Uuid::now_v7()), "the outbox does not have it").await;
    broken(|event| event["id"] = json!(Uuid::new_v4()), "not a UUIDv7").await;
    broken(|event| event["id"] = json!("17"), "not a UUIDv7").await;
    broken(|event| event["id"] = json!("a\u{0}b"), "not a UUIDv7").await;
    broken(|event| event["id"] = json!("x".repeat(5000)), "not a UUIDv7").await;
    broken(|event| event["id"] = json!(17), "not a CloudEvent").await;
    broken(|event| event["type"] = json!("task.created"), "type is not task.changed").await;
    broken(|event| drop(event.as_object_mut().unwrap().remove("type")), "not a CloudEvent").await;
    let cut = event(db).await.to_string();
    with.push((cut.as_bytes()[..cut.len() - 1].to_vec(), "not a CloudEvent"));
    let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
    for body in ["", "{", "null", "17", "\"text\"", "[]", "{}", "not JSON at all", deep.as_str()] {
        with.push((body.as_bytes().to_vec(), "not a CloudEvent"));
    }
    with.push((vec![0xff, 0x00, 0xfe], "not a CloudEvent"));
    with
}

#[sqlx::test(migrator = "migrations::MIGRATOR")]
async fn poison_is_rejected_once_with_its_reason_and_does_not_block_its_neighbours(db: PgPool) {
    let routes = routes(&app(&db), effect);
    for (n, (body, reason)) in (1..).zip(poisons(&db).await) {
        let shown = String::from_utf8_lossy(&body[..body.len().min(200)]).into_owned();
        for _ in 0..2 {
            assert_eq!(post(&routes, "/events/task-changed", body.clone()).await, StatusCode::OK, "{shown}");
        }
        let letters = letters(&db).await;
        assert_eq!(letters.len(), n, "{shown}");
        let (state, why) = letters.last().unwrap();
        assert!(state == "open" && why.contains(reason), "{shown}: {why}");
        assert_eq!(deliver(&routes, &event(&db).await).await, StatusCode::OK);
        let n = i64::try_from(n).unwrap();
        assert_eq!((claims(&db).await, effects(&db).await), (n, n), "only the neighbours: {shown}");
    }
    assert_eq!(count(&db, "select count(*) from dead_letters where event_id is not null").await, 0);
}

/// Also a copy that names the event: its id is not claimed.
#[sqlx::test(migrator = "migrations::MIGRATOR")]
async fn a_garbled_copy_does_not_prevent_handling_of_the_original(db: PgPool) {
    let routes = routes(&app(&db), effect);
    let event = event(&db).await;
    let mut other_type = event.clone();
    other_type["type"] = json!("task.created");
    let whole = event.to_string();
    for garbled in [other_type.to_string(), whole[..whole.len() - 1].to_owned()] {
        assert_eq!(post(&routes, "/events/task-changed", garbled).await, StatusCode::OK);
    }
    assert_eq!((letters(&db).await.len(), claims(&db).await), (2, 0));
    assert_eq!(deliver(&routes, &event).await, StatusCode::OK);
    assert_eq!((letters(&db).await.len(), claims(&db).await, effects(&db).await), (2, 1, 1));
}

#[sqlx::test(migrator = "migrations::MIGRATOR")]
async fn only_id_and_type_are_read_from_a_message(db: PgPool) {
    let changes: [fn(&mut Value); 14] = [
        |event| event["data"]["version"] = json!(99),
        |event| event["data"]["user_id"] = json!(Uuid::now_v7()),
        |event| event["data"]["version"] = json!("three"),
        |event| event["data"] = json!([1, 2]),
        |event| event["data"] = json!("x".repeat(3 << 20)),
        |event| drop(event.as_object_mut().unwrap().remove("data")),
        |event| event["datacontenttype"] = json!("text/plain"),
        |event| event["subject"] = json!(Uuid::now_v7()),
        |event| drop(event.as_object_mut().unwrap().remove("subject")),
        |event| drop(event.as_object_mut().unwrap().remove("source")),
        |event| event["specversion"] = json!("0.9"),
        |event| event["traceparent"] = json!({"a": 1}),
        |event| event["traceparent"] = json!("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"),
        |event| event["time"] = json!("2001-01-01T00:00:00Z"),
    ];
    let routes = routes(&app(&db), async |app, event| {
        let Some(mut tx) = inbox::claim(&app, &event).await? else { return Ok(()) };
        let (trace, time) = (event.trace.as_str().to_owned(), event.time);
        tx.audit(&event, json!({"data": event.data, "trace": trace, "time": time})).await?;
        tx.commit(&app).await
    });
    for change in changes {
        let event = event(&db).await;
        let mut changed = event.clone();
        change(&mut changed);
        assert_eq!(deliver(&routes, &changed).await, StatusCode::OK);
        let handled: Value =
            sqlx::query_scalar("select detail from audit_logs order by id desc").fetch_one(&db).await.unwrap();
        assert_eq!((&handled["data"], &handled["trace"]), (&event["data"], &event["traceparent"]), "{changed}");
        assert_eq!(handled["time"], event["time"], "{changed}");
    }
    assert_eq!((effects(&db).await, letters(&db).await.len()), (14, 0));
}

/// For example after a rollback: newer code wrote it.
#[sqlx::test(migrator = "migrations::MIGRATOR")]
async fn an_event_that_this_code_cannot_parse_is_retried_and_rejected_at_the_fifth_failure(db: PgPool) {
    let routes = routes(&app(&db), effect);
    let event = event(&db).await;
    sqlx::query("update task_events set data = data - 'title'").execute(&db).await.unwrap();
    for _ in 0..4 {
        assert_eq!(deliver(&routes, &event).await, StatusCode::SERVICE_UNAVAILABLE);
    }
    assert!(letters(&db).await.is_empty());
    assert_eq!(deliver(&routes, &event).await, StatusCode::OK);
    let (_, reason) = letters(&db).await.remove(0);
    assert!(
        reason.contains("failed 5 times") && reason.contains("newer code?") && reason.contains("title"),
        "{reason}"
    );
    assert_eq!((claims(&db).await, effects(&db).await), (1, 0));
}

#[sqlx::test(migrator = "migrations::MIGRATOR")]
async fn an_event_with_an_invalid_trace_is_handled(db: PgPool) {
    let routes = routes(&app(&db), effect);
    let nothing = "00-00000000000000000000000000000000-0000000000000000-00";
    for traceparent in [None, Some(""), Some("text"), Some(nothing)] {
        let event = event(&db).await;
        sqlx::query("update task_events set traceparent = $1").bind(traceparent).execute(&db).await.unwrap();
        assert_eq!(deliver(&routes, &event).await, StatusCode::OK);
    }
    assert_eq!((effects(&db).await, letters(&db).await.len()), (4, 0));
}

#[sqlx::test(migrator = "migrations::MIGRATOR")]
async fn a_letter_keeps_the_beginning_of_a_large_message_and_its_size(db: PgPool) {
    let routes = routes(&app(&db), effect);
    let large = "x".repeat(5 << 20);
    assert_eq!(post(&routes, "/events/task-changed", large.clone()).await, StatusCode::OK);
    let letter: (String, i32) =
        sqlx::query_as("select payload, payload_bytes from dead_letters").fetch_one(&db).await.unwrap();
    assert_eq!(letter, (large[..16 << 10].to_owned(), 5 << 20));
}

#[sqlx::test(migrator = "migrations::MIGRATOR")]
async fn each_offset_has_one_letter_and_each_different_message_of_a_recreated_topic_another(db: PgPool) {
    let routes = routes(&app(&db), effect);
    for (offset, body) in [("7", "no JSON"), ("7", "no JSON"), ("8", "no JSON"), ("7", "nor this")] {
        let request = axum::http::Request::post("/events/task-changed")
            .header("dapr-api-token", TOKEN)
            .header("__topic", "task-updates")
            .header("__partition", "0")
            .header("__offset", offset)
            .body(axum::body::Body::from(body))
            .unwrap();
        assert_eq!(routes.clone().oneshot(request).await.unwrap().status(), StatusCode::OK);
    }
    assert_eq!(letters(&db).await.len(), 3);
}

#[sqlx::test(migrator = "migrations::MIGRATOR")]
async fn an_event_older_than_the_retention_of_the_inbox_is_rejected(db: PgPool) {
    let routes = routes(&app(&db), effect);
    sqlx::query("update marks set event_id = uuid_v7_floor(now() - interval '30 days') where name = 'inbox-floor'")
        .execute(&db)
        .await
        .unwrap();
    let aged = async |days: u64| {
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
        let id = Uuid::new_v7(Timestamp::from_unix(NoContext, now - days * 86_400, 0));
        let mut event = event(&db).await;
        sqlx::query("update task_events set id = $1 where id = $2::text::uuid")
            .bind(id)
            .bind(event["id"].as_str().unwrap())
            .execute(&db)
            .await
            .unwrap();
        event["id"] = json!(id);
        event
    };
    assert_eq!(deliver(&routes, &aged(29).await).await, StatusCode::OK);
    assert_eq!((effects(&db).await, letters(&db).await.len()), (1, 0));
    let old = aged(31).await;
    for deleted_by_retention in [false, true] {
        if deleted_by_retention {
            sqlx::query("delete from task_events").execute(&db).await.unwrap();
        }
        assert_eq!(deliver(&routes, &old).await, StatusCode::OK);
        assert_eq!((effects(&db).await, claims(&db).await), (1, 1));
        let reason = "it is older than what the inbox remembers".to_owned();
        assert_eq!(letters(&db).await, [("open".to_owned(), reason)]);
    }
}

/// Between the look and the claim, while the handler stood still: repair, retention, and the drop of the partition with the event's claim.
#[sqlx::test(migrator = "migrations::MIGRATOR")]
async fn an_event_that_the_floor_passed_since_the_delivery_began_is_not_claimed(db: PgPool) {
    let routes = routes(&app(&db), async |app, event| {
        sqlx::query(
            "update marks set event_id = uuid_v7_floor(now() + interval '1 minute') where name = 'inbox-floor'",
        )
        .execute(&app.db)
        .await?;
        effect(app, event).await
    });
    assert_eq!(deliver(&routes, &event(&db).await).await, StatusCode::OK);
    assert_eq!((effects(&db).await, claims(&db).await, letters(&db).await.len()), (0, 0, 0));
}
