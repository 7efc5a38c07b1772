//! `task.changed` through the route: a user's feed has each change once, numbered without gaps.

use std::time::Duration;

use axum::{Router, http::StatusCode};
use shared::{
    catalogue::EventType,
    schema::{TaskChanged, TaskRef},
    serve::complete,
    testing::{app, count, deliver, deliver_at_once, emitted, execute, task, user},
};
use sqlx::{PgPool, postgres::PgListener};
use tokio::time::timeout;
use uuid::Uuid;

fn routes(db: &PgPool) -> Router {
    complete(task_changed::router(app(db)), app(db))
}

fn changed(task: TaskRef) -> TaskChanged {
    TaskChanged { task, cause: EventType::TaskUpdated.into() }
}

async fn feed_seq(db: &PgPool, user: Uuid) -> i64 {
    sqlx::query_scalar("select feed_seq from users where id = $1").bind(user).fetch_one(db).await.unwrap()
}

/// The payload of the next notification.
async fn next(listener: &mut PgListener) -> String {
    let heard = timeout(Duration::from_secs(10), listener.recv()).await.expect("a notification within ten seconds");
    heard.unwrap().payload().to_owned()
}

#[sqlx::test(migrator = "migrations::MIGRATOR")]
async fn a_change_delivered_100_times_at_once_is_one_row_with_number_1(db: PgPool) {
    let user = user(&db).await;
    let task = task(&db, user).await;
    let event = emitted(&db, &changed(task.clone())).await;
    assert_eq!(deliver_at_once(&routes(&db), &event, 100).await, 100);
    assert_eq!(feed_seq(&db, user).await, 1);
    let row: (Uuid, i64, Uuid, Uuid, serde_json::Value) =
        sqlx::query_as("select user_id, seq, event_id, task_id, data from feed").fetch_one(&db).await.unwrap();
    let id = event["id"].as_str().unwrap().parse().unwrap();
    assert_eq!(row, (user, 1, id, task.task_id, event["data"].clone()));
}

#[sqlx::test(migrator = "migrations::MIGRATOR")]
async fn concurrent_changes_are_numbered_without_gaps_for_each_user(db: PgPool) {
    let (ada, ben) = (user(&db).await, user(&db).await);
    let routes = routes(&db);
    let mut deliveries = tokio::task::JoinSet::new();
    for n in 0..40 {
        let task = task(&db, if n % 4 == 0 { ben } else { ada }).await;
        let (routes, event) = (routes.clone(), emitted(&db, &changed(task)).await);
        deliveries.spawn(async move { deliver(&routes, &event).await });
    }
    assert!(deliveries.join_all().await.into_iter().all(|status| status == StatusCode::OK));
    for (user, expected) in [(ada, 30), (ben, 10)] {
        let numbers: Vec<i64> = sqlx::query_scalar("select seq from feed where user_id = $1 order by seq")
            .bind(user)
            .fetch_all(&db)
            .await
            .unwrap();
        assert_eq!(numbers, (1..=expected).collect::<Vec<_>>());
        assert_eq!(feed_seq(&db, user).await, expected);
    }
}

#[sqlx::test(migrator = "migrations::MIGRATOR")]
async fn a_listener_is_notified_once_and_only_of_committed_changes(db: PgPool) {
    let user = user(&db).await;
    let task = task(&db, user).await;
    let mut listener = PgListener::connect_with(&db).await.unwrap();
    listener.listen("feed").await.unwrap();
    let event = emitted(&db, &changed(task)).await;
    execute(
        &db,
        "create function takes_long() returns trigger language plpgsql as $$ begin perform pg_sleep(0.5); return null; end $$;
         create constraint trigger takes_long after insert on feed deferrable initially deferred
             for each row execute function takes_long()",
    )
    .await;
    let deliveries = tokio::spawn({
        let (routes, event) = (routes(&db), event.clone());
        async move { deliver_at_once(&routes, &event, 3).await }
    });
    assert_eq!(next(&mut listener).await, user.to_string());
    assert_eq!(feed_seq(&db, user).await, 1, "the notification follows the commit");
    assert_eq!(deliveries.await.unwrap(), 3);
    assert_eq!(deliver(&routes(&db), &event).await, StatusCode::OK);
    sqlx::query("notify feed, 'the end'").execute(&db).await.unwrap();
    assert_eq!(next(&mut listener).await, "the end");
}

#[sqlx::test(migrator = "migrations::MIGRATOR")]
async fn a_change_of_a_deleted_user_is_handled_without_a_row(db: PgPool) {
    let task = TaskRef { task_id: Uuid::now_v7(), user_id: Uuid::now_v7(), title: "x".to_owned(), version: 1 };
    let event = emitted(&db, &changed(task)).await;
    assert_eq!(deliver(&routes(&db), &event).await, StatusCode::OK);
    assert_eq!(count(&db, "select count(*) from feed").await, 0);
    assert_eq!(count(&db, "select count(*) from processed_events where consumer = 'task-changed'").await, 1);
    assert_eq!(count(&db, "select count(*) from dead_letters").await, 0);
}
