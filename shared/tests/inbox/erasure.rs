//! Erasure and the inbox: whatever arrives for an erased user, and whoever is handling it, writes nothing.

use std::{sync::Arc, time::Duration};

use axum::{body::Body, http::Request, http::StatusCode};
use serde_json::{Value, json};
use shared::{
    db::Db,
    erasure::Eraser,
    inbox::{self, HandlerError},
    testing::{
        TOKEN, app, count, deliver, emitted, erase, execute, order_erasure, pause_inserts, post, tables_with,
        waits_for_lock,
    },
};
use sqlx::PgPool;
use tokio::sync::Notify;
use tower::ServiceExt as _;
use uuid::Uuid;

use super::{changed, claims, effect, effects, failures, letters, routes};

const CANARY: &str = "call the dentist";

/// An event, its user, and its task.
async fn event_of(db: &PgPool) -> (Value, Uuid, Uuid) {
    let payload = changed();
    (emitted(db, &payload).await, payload.task.user_id, payload.task.task_id)
}

#[sqlx::test(migrator = "migrations::MIGRATOR")]
async fn an_event_of_an_erased_user_is_acknowledged_and_changes_nothing(db: PgPool) {
    let routes = routes(&app(&db), effect);
    let (event, user, _) = event_of(&db).await;
    erase(&db, user).await;
    assert!(tables_with(&db, CANARY).await.is_empty());
    for change in [
        "select",
        "delete from processed_events", // a replay, at the same time
        // Restored topics have messages that are older than the inbox remembers.
        "delete from processed_events; update marks set event_id = uuid_v7_floor(now() + interval '1 hour') where name = 'inbox-floor'",
    ] {
        execute(&db, change).await;
        for _ in 0..2 {
            assert_eq!(deliver(&routes, &event).await, StatusCode::OK, "{change}");
        }
        assert_eq!((effects(&db).await, letters(&db).await.len(), failures(&db).await), (0, 0, 0), "{change}");
    }
    execute(&db, "delete from task_events").await;
    assert_eq!(deliver(&routes, &event).await, StatusCode::OK);
    assert!(letters(&db).await.is_empty(), "retention deleted the event, and its user is known as erased");
}

#[sqlx::test(migrator = "migrations::MIGRATOR")]
async fn a_garbled_message_with_data_of_an_erased_user_leaves_no_letter(db: PgPool) {
    let routes = routes(&app(&db), effect);
    let ((event, user, task), (other, ..)) = (event_of(&db).await, event_of(&db).await);
    erase(&db, user).await;
    let garbled = |event: &Value| {
        let mut unknown = event.clone();
        unknown["id"] = json!(Uuid::now_v7());
        let whole = event.to_string();
        [unknown.to_string(), whole[..whole.len() - 1].to_owned(), whole.to_uppercase()]
    };
    let (about_user, about_task) =
        (json!({"title": CANARY, "user_id": user}), json!({"title": CANARY, "task_id": task}));
    for (place, body) in garbled(&event).into_iter().chain([about_user.to_string(), about_task.to_string()]).enumerate()
    {
        let request = Request::post("/events/task-changed")
            .header("dapr-api-token", TOKEN)
            .header("__topic", "task-updates")
            .header("__partition", "0")
            .header("__offset", place)
            .body(Body::from(body.clone()))
            .unwrap();
        assert_eq!(routes.clone().oneshot(request).await.unwrap().status(), StatusCode::OK);
        assert!(letters(&db).await.is_empty(), "{body}");
    }
    for body in garbled(&other) {
        assert_eq!(post(&routes, "/events/task-changed", body).await, StatusCode::OK);
    }
    assert_eq!((letters(&db).await.len(), effects(&db).await), (3, 0));
}

/// A handler that waits for `go`, and says when it does.
#[derive(Clone, Default)]
struct Pause(Arc<(Notify, Notify)>);

impl Pause {
    async fn here(&self) {
        self.0.0.notify_one();
        self.0.1.notified().await;
    }

    async fn reached(&self) {
        self.0.0.notified().await;
    }

    fn go_on(&self) {
        self.0.1.notify_one();
    }
}

#[sqlx::test(migrator = "migrations::MIGRATOR")]
async fn a_handler_that_has_read_an_event_before_its_user_was_erased_writes_nothing(db: PgPool) {
    let pause = Pause::default();
    let paused = pause.clone();
    let handling = routes(&app(&db), move |app, event| {
        let paused = paused.clone();
        async move {
            paused.here().await;
            effect(app, event).await
        }
    });
    let paused = pause.clone();
    let failing = routes(&app(&db), move |_, event| {
        let paused = paused.clone();
        async move {
            paused.here().await;
            Err(HandlerError::Failed(anyhow::anyhow!("it does not like {}", event.data.task.title)))
        }
    });
    let paused = pause.clone();
    let rejecting = routes(&app(&db), move |_, event| {
        let paused = paused.clone();
        async move {
            paused.here().await;
            Err(HandlerError::Reject(format!("it does not like {}", event.data.task.title)))
        }
    });
    for (routes, answer) in [
        (handling, StatusCode::OK),
        (failing, StatusCode::SERVICE_UNAVAILABLE), // and acknowledged when it comes again
        (rejecting, StatusCode::OK),
    ] {
        let (event, user, _) = event_of(&db).await;
        let again = (routes.clone(), event.clone());
        let delivery = tokio::spawn(async move { deliver(&routes, &event).await });
        pause.reached().await;
        erase(&db, user).await;
        pause.go_on();
        assert_eq!(delivery.await.unwrap(), answer);
        assert_eq!(deliver(&again.0, &again.1).await, StatusCode::OK);
        assert!(tables_with(&db, CANARY).await.is_empty(), "{:?}", tables_with(&db, CANARY).await);
        assert_eq!((effects(&db).await, letters(&db).await.len(), failures(&db).await), (0, 0, 0));
    }
}

#[sqlx::test(migrator = "migrations::MIGRATOR")]
async fn rows_of_a_handler_that_claimed_before_the_erasure_are_erased(db: PgPool) {
    let pause = Pause::default();
    let paused = pause.clone();
    let routes = routes(&app(&db), move |app, event| {
        let paused = paused.clone();
        async move {
            let Some(mut tx) = inbox::claim(&app, &event).await? else { return Ok(()) };
            tx.audit(&event, json!({"title": event.data.task.title})).await?;
            tx.emit(&event.data).await?;
            paused.here().await;
            tx.commit(&app).await
        }
    });
    let (event, user, _) = event_of(&db).await;
    let delivery = tokio::spawn(async move { deliver(&routes, &event).await });
    pause.reached().await;
    let erasure = tokio::spawn({
        let db = db.clone();
        async move { erase(&db, user).await }
    });
    let waits = "select count(*) from pg_stat_activity where datname = current_database() and wait_event = 'advisory'";
    while count(&db, waits).await == 0 {
        assert!(!erasure.is_finished(), "it did not wait for the handler");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    pause.go_on();
    assert_eq!(delivery.await.unwrap(), StatusCode::OK);
    erasure.await.unwrap();
    assert!(tables_with(&db, CANARY).await.is_empty(), "{:?}", tables_with(&db, CANARY).await);
    // Also the event that it emitted: nobody publishes or handles it.
    let open = "select count(*) from task_events where published_at is null or data <> '{}'";
    assert_eq!((count(&db, open).await, effects(&db).await, claims(&db).await), (0, 0, 2));
}

#[sqlx::test(migrator = "migrations::MIGRATOR")]
async fn a_failure_counted_during_an_erasure_leaves_no_row(db: PgPool) {
    let routes = routes(&app(&db), |_, event| async move {
        Err(HandlerError::Failed(anyhow::anyhow!("it does not like {}", event.data.task.title)))
    });
    let (event, user, _) = event_of(&db).await;
    order_erasure(&db, user).await;
    let mut erasure = db.begin().await.unwrap();
    let batch = sqlx::query("select where erase_batch($1, 10) > 0");
    assert_eq!(batch.bind(user).execute(&mut *erasure).await.unwrap().rows_affected(), 1);
    let again = (routes.clone(), event.clone());
    let delivery = tokio::spawn(async move { deliver(&routes, &event).await });
    waits_for_lock(&db, &delivery).await;
    assert!(!delivery.is_finished(), "it did not wait for the erasure");
    erasure.commit().await.unwrap();
    assert_eq!(delivery.await.unwrap(), StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(deliver(&again.0, &again.1).await, StatusCode::OK);
    assert_eq!(tables_with(&db, CANARY).await, [""; 0]);
}

#[sqlx::test(migrator = "migrations::MIGRATOR")]
async fn failures_of_a_user_are_erased_including_those_of_emptied_events(db: PgPool) {
    let routes = routes(&app(&db), |_, event| async move {
        Err(HandlerError::Failed(anyhow::anyhow!("it does not like {}", event.data.task.title)))
    });
    let (event, user, _) = event_of(&db).await;
    assert_eq!(deliver(&routes, &event).await, StatusCode::SERVICE_UNAVAILABLE);
    execute(&db, "update task_events set data = '{}'").await;
    assert_eq!(tables_with(&db, CANARY).await, ["event_failures"]);
    erase(&db, user).await;
    assert_eq!(tables_with(&db, CANARY).await, [""; 0]);
}

/// A letter about no event belongs to nobody, so its writer holds no user's lock.
#[sqlx::test(migrator = "migrations::MIGRATOR")]
async fn an_erasure_finds_a_letter_that_is_being_stored(db: PgPool) {
    let routes = routes(&app(&db), effect);
    let (_, user, _) = event_of(&db).await;
    let open = pause_inserts(&db, "dead_letters").await;
    let garbled = json!({"title": CANARY, "user_id": user}).to_string();
    let delivery = tokio::spawn(async move { post(&routes, "/events/task-changed", garbled).await });
    waits_for_lock(&db, &delivery).await;
    // The statement that stores the letter has begun: it does not see the order.
    let erasure = tokio::spawn({
        let db = db.clone();
        async move { erase(&db, user).await }
    });
    tokio::time::sleep(Duration::from_millis(300)).await;
    open.commit().await.unwrap();
    assert_eq!(delivery.await.unwrap(), StatusCode::OK);
    erasure.await.unwrap();
    assert_eq!(tables_with(&db, CANARY).await, [""; 0]);
}

#[sqlx::test(migrator = "migrations::MIGRATOR")]
async fn an_erasure_goes_on_where_the_call_before_stopped_and_waits_for_no_other_user(db: PgPool) {
    let pool = Db::from(&db);
    let eraser = Eraser::new(&pool, Duration::ZERO); // a call deletes one batch and searches one page of letters
    let ((_, endless, _), (_, other, _)) = (event_of(&db).await, event_of(&db).await);
    for user in [endless, other] {
        order_erasure(&db, user).await;
    }
    execute(
        &db,
        &format!(
            "insert into dead_letters (id, consumer, dedupe, origin, reason, payload)
             select gen_random_uuid(), 'task-changed', n, 'daprd', '',
                    case n % 100 when 0 then '{CANARY} {endless}' when 1 then '{CANARY} {other}' else 'of nobody' end
             from generate_series(1, 2000) n;
             insert into feed values ('{endless}', 1, gen_random_uuid(), gen_random_uuid(), '{{}}');
             create function again() returns trigger language plpgsql as $$ begin insert into feed select old.*; return null; end $$;
             create trigger again after delete on feed for each row execute function again()",
        ),
    )
    .await;
    let is_done = async |user: Uuid| -> bool {
        let done = sqlx::query_scalar("select done from erased_users where user_id = $1").bind(user);
        done.fetch_one(&db).await.unwrap()
    };
    let mut calls = 0;
    while !is_done(other).await {
        eraser.finish().await.unwrap();
        calls += 1;
        assert!(calls < 60, "it waits for the other user");
    }
    assert!(calls > 4, "a call has searched more than a page");
    assert!(!is_done(endless).await);
    execute(&db, "drop trigger again on feed").await;
    while !is_done(endless).await {
        eraser.finish().await.unwrap();
        calls += 1;
        assert!(calls < 120, "it is never done");
    }
    assert_eq!(tables_with(&db, CANARY).await, [""; 0]);
    let count_of = async |rows| count(&db, rows).await;
    assert_eq!(count_of("select count(*) from dead_letters").await, 1960, "of nobody");
    assert_eq!(count_of("select count(*) from erased_users where letters_after is not null").await, 0);

    // The order is given again while the search of a repetition is under way.
    eraser.repeat(vec![other]).await.unwrap();
    assert_eq!(count_of("select count(*) from erased_users where done and letters_after is not null").await, 1);
    execute(&db, "update erased_users set done = false").await;
    assert_eq!(count_of("select count(*) from erased_users where letters_after is null").await, 2);
}

/// Whoever comes back has the same id.
#[sqlx::test(migrator = "migrations::MIGRATOR")]
async fn events_after_the_erasure_are_handled(db: PgPool) {
    let routes = routes(&app(&db), effect);
    let payload = changed();
    let user = payload.task.user_id;
    erase(&db, user).await;
    let event = emitted(&db, &payload).await;
    assert_eq!(deliver(&routes, &event).await, StatusCode::OK);
    assert_eq!(effects(&db).await, 1);
    execute(&db, "delete from erased_users").await;
    order_erasure(&db, user).await;
    let statement = "select erase_batch(user_id, 1) from erased_users";
    while count(&db, statement).await > 0 {}
    assert!(tables_with(&db, CANARY).await.is_empty());
}
