//! `reminder.sent` through the route: it marks the version that was sent, and writes the audit log.

use axum::{Router, http::StatusCode};
use chrono::Utc;
use serde_json::{Value, json};
use shared::{
    schema::{Channel, ReminderSent, TaskRef},
    serve::complete,
    testing::{app, count, deliver, deliver_at_once, emitted, reminder, task, user},
};
use sqlx::PgPool;
use uuid::Uuid;

const DEVICE: Uuid = Uuid::from_u128(7);

fn routes(db: &PgPool) -> Router {
    complete(reminder_sent::router(app(db)), app(db))
}

/// A reminder, and the `reminder.sent` event of its first version.
async fn sent(db: &PgPool) -> (Uuid, TaskRef, Value) {
    let user = user(db).await;
    let task = task(db, user).await;
    let (remind_at, delivery_id) = (Utc::now(), Uuid::now_v7());
    let reminder_id = reminder(db, &task, remind_at).await;
    let (reminder_version, channel, target) = (1, Channel::Push.into(), Some(DEVICE));
    let task_of = task.clone();
    let data = ReminderSent { task: task_of, reminder_id, remind_at, reminder_version, channel, target, delivery_id };
    (reminder_id, task, emitted(db, &data).await)
}

async fn row(db: &PgPool, id: Uuid) -> (String, i32, Option<String>) {
    sqlx::query_as("select state, version, cancel_reason from task_reminders where id = $1")
        .bind(id)
        .fetch_one(db)
        .await
        .unwrap()
}

async fn audit_rows(db: &PgPool) -> i64 {
    count(db, "select count(*) from audit_logs where action = 'reminder.sent' and reminder_version = 1").await
}

async fn changes_emitted(db: &PgPool) -> i64 {
    count(db, "select count(*) from task_events where type = 'task.changed' and data->>'cause' = 'reminder.sent'").await
}

#[sqlx::test(migrator = "migrations::MIGRATOR")]
async fn an_event_delivered_20_times_at_once_marks_the_reminder_once(db: PgPool) {
    let (id, task, event) = sent(&db).await;
    assert_eq!(deliver_at_once(&routes(&db), &event, 20).await, 20);
    assert_eq!(row(&db, id).await, ("sent".to_owned(), 1, None));
    assert_eq!((audit_rows(&db).await, changes_emitted(&db).await), (1, 1));
    let detail: Value = sqlx::query_scalar("select detail from audit_logs").fetch_one(&db).await.unwrap();
    let sent = ["channel", "target", "delivery_id"].map(|name| &detail[name]);
    assert_eq!(sent, [&json!("push"), &json!(DEVICE), &event["data"]["delivery_id"]]);
    let changed: Value =
        sqlx::query_scalar("select data from task_events where type = 'task.changed'").fetch_one(&db).await.unwrap();
    assert_eq!(changed["task_id"], task.task_id.to_string());
}

#[sqlx::test(migrator = "migrations::MIGRATOR")]
async fn a_failed_reminder_that_was_accepted_after_all_becomes_sent(db: PgPool) {
    let (id, _, event) = sent(&db).await;
    sqlx::query("update task_reminders set state = 'failed'").execute(&db).await.unwrap();
    assert_eq!(deliver(&routes(&db), &event).await, StatusCode::OK);
    assert_eq!(row(&db, id).await.0, "sent");
}

#[sqlx::test(migrator = "migrations::MIGRATOR")]
async fn an_event_of_an_older_version_changes_only_the_audit_log(db: PgPool) {
    let (id, _, event) = sent(&db).await;
    sqlx::query("update task_reminders set version = 2, remind_at = now() + interval '1 day'")
        .execute(&db)
        .await
        .unwrap();
    assert_eq!(deliver(&routes(&db), &event).await, StatusCode::OK);
    assert_eq!(row(&db, id).await, ("scheduled".to_owned(), 2, None));
    assert_eq!((audit_rows(&db).await, changes_emitted(&db).await), (1, 1));
}

#[sqlx::test(migrator = "migrations::MIGRATOR")]
async fn an_event_after_a_cancel_leaves_the_reminder_cancelled(db: PgPool) {
    let (id, _, event) = sent(&db).await;
    let cancel = "update task_reminders set version = 2, state = 'cancelled', cancel_reason = 'user'";
    sqlx::query(cancel).execute(&db).await.unwrap();
    assert_eq!(deliver(&routes(&db), &event).await, StatusCode::OK);
    assert_eq!(row(&db, id).await, ("cancelled".to_owned(), 2, Some("user".to_owned())));
    assert_eq!(audit_rows(&db).await, 1);
}

#[sqlx::test(migrator = "migrations::MIGRATOR")]
async fn another_reminder_of_the_task_stays_scheduled(db: PgPool) {
    let (id, task, event) = sent(&db).await;
    let other = reminder(&db, &task, Utc::now()).await;
    assert_eq!(deliver(&routes(&db), &event).await, StatusCode::OK);
    assert_eq!((row(&db, id).await.0.as_str(), row(&db, other).await.0.as_str()), ("sent", "scheduled"));
}

/// As after a restore to an earlier backup: the version was used by an event that this database does not have, and is used again.
#[sqlx::test(migrator = "migrations::MIGRATOR")]
async fn an_event_that_the_outbox_does_not_have_changes_nothing(db: PgPool) {
    let (id, _, mut event) = sent(&db).await;
    sqlx::query("update task_reminders set version = 3").execute(&db).await.unwrap();
    event["id"] = json!(Uuid::now_v7());
    event["data"]["reminder_version"] = json!(3);
    assert_eq!(deliver(&routes(&db), &event).await, StatusCode::OK);
    assert_eq!(row(&db, id).await, ("scheduled".to_owned(), 3, None));
    assert_eq!((count(&db, "select count(*) from audit_logs").await, changes_emitted(&db).await), (0, 0));
    let reason: String = sqlx::query_scalar("select reason from dead_letters").fetch_one(&db).await.unwrap();
    assert_eq!(reason, "the outbox does not have it");
}

#[sqlx::test(migrator = "migrations::MIGRATOR")]
async fn a_garbled_copy_does_not_prevent_handling_of_its_event(db: PgPool) {
    let (id, _, event) = sent(&db).await;
    let mut garbled = event.clone();
    garbled["type"] = json!("reminder.snet");
    let garbled = shared::testing::post(&routes(&db), "/events/reminder-sent", garbled.to_string()).await;
    assert_eq!((garbled, row(&db, id).await.0.as_str()), (StatusCode::OK, "scheduled"));
    assert_eq!(deliver(&routes(&db), &event).await, StatusCode::OK);
    assert_eq!(row(&db, id).await, ("sent".to_owned(), 1, None));
    assert_eq!(count(&db, "select count(*) from dead_letters").await, 1);
}

#[sqlx::test(migrator = "migrations::MIGRATOR")]
async fn changed_data_in_the_message_of_an_event_is_ignored(db: PgPool) {
    let (id, task, mut event) = sent(&db).await;
    let other = reminder(&db, &task, Utc::now()).await;
    event["data"]["reminder_id"] = json!(other);
    assert_eq!(deliver(&routes(&db), &event).await, StatusCode::OK);
    assert_eq!((row(&db, id).await.0.as_str(), row(&db, other).await.0.as_str()), ("sent", "scheduled"));
}
