//! The audit log: what happened to a task or a reminder, when, and why (or why not). Rows of `audit_logs` never change.
//!
//! A row holds no title and no address, because it outlives the task.

use serde_json::Value;
use sqlx::PgConnection;
use uuid::Uuid;

use crate::{cloud_event::Event, schema::Payload};

/// Logs an event, in the transaction that claimed it.
pub async fn event<T: Payload>(conn: &mut PgConnection, event: &Event<T>, detail: Value) -> sqlx::Result<()> {
    let task = event.data.task();
    let (reminder_id, reminder_version) = event.data.reminder().unzip();
    let mut detail = detail;
    if let Value::Object(fields) = &mut detail {
        fields.insert("version".to_owned(), task.version.into());
        fields.insert("occurred_at".to_owned(), event.time.to_rfc3339().into());
    }
    sqlx::query!(
        "insert into audit_logs (user_id, task_id, reminder_id, reminder_version, event_id, action, detail)
         values ($1, $2, $3, $4, $5, $6, $7)",
        task.user_id,
        task.task_id,
        reminder_id,
        reminder_version,
        event.id,
        T::TYPE.as_str(),
        detail,
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// A version of a reminder, with its task and its user.
#[derive(Clone, Copy, Debug)]
pub struct ReminderRef {
    /// The reminder.
    pub id: Uuid,
    /// The version.
    pub version: i32,
    /// Its task.
    pub task_id: Uuid,
    /// The task's owner.
    pub user_id: Uuid,
}

/// Logs a step of a reminder. `reminder.armed`, `reminder.fired` and `reminder.skipped` are logged once a version;
/// `reminder.sending`, `reminder.retrying`, `reminder.unknown` and `reminder.failed` each time.
pub async fn reminder(conn: &mut PgConnection, of: ReminderRef, action: &str, detail: Value) -> sqlx::Result<()> {
    sqlx::query!(
        "insert into audit_logs (user_id, task_id, reminder_id, reminder_version, action, detail)
         values ($1, $2, $3, $4, $5, $6) on conflict do nothing",
        of.user_id,
        of.task_id,
        of.id,
        of.version,
        action,
        detail,
    )
    .execute(conn)
    .await?;
    Ok(())
}
