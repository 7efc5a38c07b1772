//! What can never be handled is rejected at once, with the reason, and holds up nobody.

use axum::http::StatusCode;
use serde_json::{Value, json};
use shared::testing::{TOKEN, app, deliver, post};
use sqlx::PgPool;
use tower::ServiceExt as _;
use uuid::{NoContext, Timestamp, Uuid};

use super::{claims, effect, effects, event, letters, routes};

/// A poison: its body, a part of the reason, and whether it has an id to claim.
struct Poison(Vec<u8>, &'static str, bool);

async fn poisons(db: &PgPool) -> Vec<Poison> {
    let mut with = Vec::new();
    let mut broken = async |break_it: fn(&mut Value), reason, has_id| {
        let mut event = event(db).await;
        break_it(&mut event);
        with.push(Poison(event.to_string().into_bytes(), reason, has_id));
    };
    broken(|event| event["id"] = json!(Uuid::new_v4()), "not a UUIDv7", true).await;
    broken(|event| event["id"] = json!("17"), "not a UUIDv7", false).await;
    broken(|event| event["id"] = json!("a\u{0}b"), "not a UUIDv7", false).await;
    broken(|event| event["id"] = json!("x".repeat(5000)), "not a UUIDv7", false).await;
    broken(|event| event["type"] = json!("task.created"), "type is not task.changed", true).await;
    broken(|event| event["data"]["version"] = json!("three"), "data is not that of its type", true).await;
    broken(|event| event["data"]["user_id"] = json!(null), "data is not that of its type", true).await;
    broken(|event| event["data"] = json!([1, 2]), "data is not that of its type", true).await;
    broken(|event| event["data"]["cause"] = json!("task.eaten"), "data is not that of its type", true).await;
    broken(|event| drop(event.as_object_mut().unwrap().remove("data")), "there is no JSON", true).await;
    broken(|event| event["datacontenttype"] = json!("text/plain"), "not a CloudEvent", true).await;
    broken(|event| event["subject"] = json!(Uuid::now_v7()), "subject is not the task", true).await;
    broken(|event| drop(event.as_object_mut().unwrap().remove("subject")), "subject is not the task", true).await;
    broken(|event| drop(event.as_object_mut().unwrap().remove("source")), "not a CloudEvent", true).await;
    broken(|event| event["specversion"] = json!("0.9"), "not a CloudEvent", true).await;
    broken(|event| event["traceparent"] = json!({"a": 1}), "not a CloudEvent", true).await;
    broken(|event| event["data"] = json!("x".repeat(3 << 20)), "data is not that of its type", true).await;
    let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
    for body in ["", "{", "null", "17", "\"text\"", "[]", "{}", "not JSON at all", deep.as_str()] {
        with.push(Poison(body.as_bytes().to_vec(), "not a CloudEvent", false));
    }
    with.push(Poison(vec![0xff, 0x00, 0xfe], "not a CloudEvent", false));
    with
}

#[sqlx::test(migrator = "migrations::MIGRATOR")]
async fn poison_is_rejected_once_with_its_reason_and_its_neighbours_flow(db: PgPool) {
    let routes = routes(&app(&db), effect);
    for (n, Poison(body, reason, has_id)) in poisons(&db).await.into_iter().enumerate() {
        let shown = String::from_utf8_lossy(&body[..body.len().min(200)]).into_owned();
        let (letters_before, claims_before) = (letters(&db).await.len(), claims(&db).await);
        for _ in 0..2 {
            assert_eq!(post(&routes, "/events/task-changed", body.clone()).await, StatusCode::OK, "{shown}");
        }
        let letters = letters(&db).await;
        assert_eq!(letters.len(), letters_before + 1, "{shown}");
        let (state, why) = letters.last().unwrap();
        assert!(state == "open" && why.contains(reason), "{shown}: {why}");
        assert_eq!(claims(&db).await, claims_before + i64::from(has_id), "{shown}");
        assert_eq!(effects(&db).await, i64::try_from(n).unwrap());
        assert_eq!(deliver(&routes, &event(&db).await).await, StatusCode::OK);
    }
}

#[sqlx::test(migrator = "migrations::MIGRATOR")]
async fn a_trace_that_is_none_is_no_obstacle(db: PgPool) {
    let routes = routes(&app(&db), effect);
    let nothing = json!("00-00000000000000000000000000000000-0000000000000000-00");
    for traceparent in [json!(123), json!(true), json!(""), json!("text"), nothing] {
        let mut event = event(&db).await;
        event["traceparent"] = traceparent;
        assert_eq!(deliver(&routes, &event).await, StatusCode::OK);
    }
    assert_eq!((effects(&db).await, letters(&db).await.len()), (5, 0));
}

#[sqlx::test(migrator = "migrations::MIGRATOR")]
async fn the_same_words_at_two_places_of_the_topic_are_two_letters(db: PgPool) {
    let routes = routes(&app(&db), effect);
    for offset in ["7", "7", "8"] {
        let request = axum::http::Request::post("/events/task-changed")
            .header("dapr-api-token", TOKEN)
            .header("__topic", "task-updates")
            .header("__partition", "0")
            .header("__offset", offset)
            .body(axum::body::Body::from("not JSON at all"))
            .unwrap();
        assert_eq!(routes.clone().oneshot(request).await.unwrap().status(), StatusCode::OK);
    }
    assert_eq!(letters(&db).await.len(), 2);
}

#[sqlx::test(migrator = "migrations::MIGRATOR")]
async fn an_event_older_than_the_inbox_remembers_is_rejected(db: PgPool) {
    let routes = routes(&app(&db), effect);
    sqlx::query("update marks set event_id = uuid_v7_floor(now() - interval '30 days') where name = 'inbox-floor'")
        .execute(&db)
        .await
        .unwrap();
    let mut event = event(&db).await;
    let aged = |days: u64| {
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
        json!(Uuid::new_v7(Timestamp::from_unix(NoContext, now - days * 86_400, 0)))
    };
    event["id"] = aged(29);
    assert_eq!(deliver(&routes, &event).await, StatusCode::OK);
    assert_eq!((effects(&db).await, letters(&db).await.len()), (1, 0));
    event["id"] = aged(31);
    for _ in 0..2 {
        assert_eq!(deliver(&routes, &event).await, StatusCode::OK);
        assert_eq!(effects(&db).await, 1);
        let reason = "it is older than what the inbox remembers".to_owned();
        assert_eq!(letters(&db).await, [("open".to_owned(), reason)]);
    }
}
