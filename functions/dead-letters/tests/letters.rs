//! Dead letters through the route: each is stored once, whatever it contains.

use axum::http::StatusCode;
use axum::{Router, body::Body, http::Request};
use base64::{Engine as _, prelude::BASE64_STANDARD};
use serde_json::{Value, json};
use shared::{
    schema::TaskCreated,
    serve::complete,
    testing::{Memory, app, count, emitted, erase, pause_inserts, post, tables_with, task, user, waits_for_lock},
};
use sqlx::PgPool;
use uuid::Uuid;

const ROUTE: &str = "/events/dead-letters/task-created";

fn routes(db: &PgPool) -> Router {
    complete(dead_letters::router(app(db)), app(db))
}

/// A raw payload as daprd wraps it: in an event of its own, whose id is new at every delivery.
fn wrapped(payload: &[u8]) -> String {
    json!({
        "specversion": "1.0", "id": Uuid::new_v4(), "source": "dead-letters", "type": "com.dapr.event.sent",
        "datacontenttype": "application/octet-stream", "topic": "task-events.dlq.task-created", "pubsubname": "pubsub",
        "data_base64": BASE64_STANDARD.encode(payload),
    })
    .to_string()
}

async fn event(db: &PgPool) -> Value {
    let user = user(db).await;
    let task = task(db, user).await;
    emitted(db, &TaskCreated { task }).await
}

fn id(event: &Value) -> Uuid {
    event["id"].as_str().unwrap().parse().unwrap()
}

async fn letters(db: &PgPool) -> Vec<(String, String)> {
    sqlx::query_as("select state, payload from dead_letters order by created_at").fetch_all(db).await.unwrap()
}

#[sqlx::test(migrator = "migrations::MIGRATOR")]
async fn a_letter_is_stored_once_with_its_function_type_and_topic(db: PgPool) {
    let event = event(&db).await;
    for _ in 0..3 {
        assert_eq!(post(&routes(&db), ROUTE, wrapped(event.to_string().as_bytes())).await, StatusCode::OK);
    }
    assert_eq!(letters(&db).await, [("open".to_owned(), event.to_string())]);
    let row: (String, Uuid, String, String, String) =
        sqlx::query_as("select consumer, event_id, type, topic, origin from dead_letters")
            .fetch_one(&db)
            .await
            .unwrap();
    let text = |text: &str| text.to_owned();
    assert_eq!(row, (text("task-created"), id(&event), text("task.created"), text("task-events"), text("daprd")));
    // The event stays unclaimed: repair publishes it again, and its function may still handle it.
    assert_eq!(count(&db, "select count(*) from processed_events").await, 0);
}

#[sqlx::test(migrator = "migrations::MIGRATOR")]
async fn a_letter_from_the_shared_daprd_is_stored_under_the_function_of_its_type(db: PgPool) {
    let event = event(&db).await.to_string();
    assert_eq!(post(&routes(&db), "/events/dead-letters/punctual", wrapped(event.as_bytes())).await, StatusCode::OK);
    assert_eq!(count(&db, "select count(*) from dead_letters where consumer = 'task-created'").await, 1);
}

#[sqlx::test(migrator = "migrations::MIGRATOR")]
async fn a_handled_or_rejected_event_is_not_stored(db: PgPool) {
    let event = event(&db).await;
    sqlx::query("insert into processed_events (consumer, event_id) values ('task-created', $1)")
        .bind(id(&event))
        .execute(&db)
        .await
        .unwrap();
    assert_eq!(post(&routes(&db), ROUTE, wrapped(event.to_string().as_bytes())).await, StatusCode::OK);
    assert!(letters(&db).await.is_empty());
}

#[sqlx::test(migrator = "migrations::MIGRATOR")]
async fn a_letter_whose_replay_fails_is_opened_again(db: PgPool) {
    let event = event(&db).await;
    let body = wrapped(event.to_string().as_bytes());
    post(&routes(&db), ROUTE, body.clone()).await;
    // The function's own letter before: only that one holds the claim.
    sqlx::query("update dead_letters set state = 'replayed', origin = 'function'").execute(&db).await.unwrap();
    assert_eq!(post(&routes(&db), ROUTE, body).await, StatusCode::OK);
    assert_eq!(letters(&db).await, [("open".to_owned(), event.to_string())]);
    assert_eq!(count(&db, "select count(*) from dead_letters where origin = 'daprd'").await, 1);
}

#[sqlx::test(migrator = "migrations::MIGRATOR")]
async fn a_payload_that_is_not_an_event_not_text_or_not_wrapped_is_stored_once(db: PgPool) {
    let payloads: [(&[u8], &str); 5] = [
        (b"not JSON", "not JSON"),
        (b"\xff\xfe\x00binary", "\u{fffd}\u{fffd}\u{fffd}binary"),
        (b"", ""),
        (b"null", "null"),
        (br#"{"id": 17, "type": "task.eaten"}"#, r#"{"id": 17, "type": "task.eaten"}"#),
    ];
    for (n, (payload, shown)) in payloads.into_iter().enumerate() {
        for _ in 0..2 {
            assert_eq!(post(&routes(&db), ROUTE, wrapped(payload)).await, StatusCode::OK, "{shown}");
        }
        let letters = letters(&db).await;
        assert_eq!((letters.len(), letters[n].1.as_str()), (n + 1, shown));
    }
    let large = "x".repeat(5 << 20);
    assert_eq!(post(&routes(&db), ROUTE, wrapped(large.as_bytes())).await, StatusCode::OK);
    assert_eq!(letters(&db).await.last().unwrap().1, large[..16 << 10]);
    assert_eq!(count(&db, "select max(payload_bytes)::bigint from dead_letters").await, 5 << 20);
    assert_eq!(post(&routes(&db), ROUTE, b"\xff not wrapped".to_vec()).await, StatusCode::OK);
    assert_eq!(letters(&db).await.last().unwrap().1, "\u{fffd} not wrapped");
    assert_eq!(count(&db, "select count(*) from dead_letters where consumer = 'task-created'").await, 7);
}

/// A function has 128 MB, and handles five letters at a time.
#[sqlx::test(migrator = "migrations::MIGRATOR")]
async fn a_message_of_many_small_values_takes_a_small_multiple_of_its_size(db: PgPool) {
    let values = "0,".repeat(4 << 20);
    let event = format!(r#"{{"id":"{}","type":"task.created","data":[{values}0]}}"#, Uuid::now_v7());
    let (routes, body) = (routes(&db), wrapped(event.as_bytes()));
    drop((values, event));
    let memory = Memory::now();
    assert_eq!(post(&routes, ROUTE, body).await, StatusCode::OK);
    let growth = memory.growth() >> 20;
    assert!(growth < 64, "{growth} MB");
    let stored = "select count(*) from dead_letters where event_id is not null and type = 'task.created'";
    assert_eq!(count(&db, stored).await, 1);
}

#[sqlx::test(migrator = "migrations::MIGRATOR")]
async fn without_the_token_or_the_database_the_answer_is_503(db: PgPool) {
    use tower::ServiceExt as _;
    let request = Request::post(ROUTE).body(Body::from("{}")).unwrap();
    let answer = routes(&db).oneshot(request).await.unwrap();
    assert_eq!(answer.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert!(letters(&db).await.is_empty());
    let closed = sqlx::postgres::PgPoolOptions::new().connect_lazy_with(db.connect_options().as_ref().clone());
    closed.close().await;
    assert_eq!(post(&routes(&closed), ROUTE, "{}").await, StatusCode::SERVICE_UNAVAILABLE);
}

#[sqlx::test(migrator = "migrations::MIGRATOR")]
async fn a_message_with_data_of_an_erased_user_is_not_stored(db: PgPool) {
    let (owner, other) = (user(&db).await, event(&db).await);
    let task = task(&db, owner).await;
    let event = emitted(&db, &TaskCreated { task }).await;
    erase(&db, owner).await;
    let whole = event.to_string();
    let mut unknown = event.clone();
    unknown["id"] = json!(Uuid::now_v7());
    let messages =
        [whole.clone(), whole[..whole.len() - 1].to_owned(), unknown.to_string(), format!("garbage {owner}")];
    for forgets in ["select", "delete from processed_events"] {
        sqlx::query(forgets).execute(&db).await.unwrap();
        for message in &messages {
            assert_eq!(post(&routes(&db), ROUTE, wrapped(message.as_bytes())).await, StatusCode::OK);
            assert!(letters(&db).await.is_empty(), "{message}");
        }
    }
    assert_eq!(tables_with(&db, "dentist").await, ["task_events", "tasks"], "of the other user");
    assert_eq!(post(&routes(&db), ROUTE, wrapped(other.to_string().as_bytes())).await, StatusCode::OK);
    assert_eq!(letters(&db).await.len(), 1);
    // The user came back: a letter about an event of the new account is stored, and stays.
    sqlx::query("insert into users (id, email) values ($1, 'ada@example.com')").bind(owner).execute(&db).await.unwrap();
    let task = shared::testing::task(&db, owner).await;
    let event = emitted(&db, &TaskCreated { task }).await;
    assert_eq!(post(&routes(&db), ROUTE, wrapped(event.to_string().as_bytes())).await, StatusCode::OK);
    assert_eq!(letters(&db).await.len(), 2);
}

#[sqlx::test(migrator = "migrations::MIGRATOR")]
async fn an_erasure_finds_a_letter_that_is_being_stored(db: PgPool) {
    let open = pause_inserts(&db, "dead_letters").await;
    let owner = Uuid::now_v7();
    let message = wrapped(format!("dentist of {owner}").as_bytes());
    let routes = routes(&db);
    let delivery = tokio::spawn(async move { post(&routes, ROUTE, message).await });
    waits_for_lock(&db, &delivery).await;
    // The statement that stores the letter has begun: it does not see the order.
    let erasure = tokio::spawn({
        let db = db.clone();
        async move { erase(&db, owner).await }
    });
    tokio::time::sleep(std::time::Duration::from_millis(300)).await;
    open.commit().await.unwrap();
    assert_eq!(delivery.await.unwrap(), StatusCode::OK);
    erasure.await.unwrap();
    assert!(letters(&db).await.is_empty());
}
