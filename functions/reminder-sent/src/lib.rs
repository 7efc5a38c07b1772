//! `reminder-sent`: marks a version of a reminder as sent, once a provider has accepted its message.
//!
//! Triggered by `reminder.sent` on `reminders`. Writes the audit log and emits `task.changed` for connected clients.
//!
//! Runs twice without harm: everything happens in the transaction that claims the event. A reminder that was moved or
//! cancelled in the meantime has a new version and is not touched.

use axum::Router;
use serde_json::json;
use shared::{
    App,
    cloud_event::Event,
    inbox::{self, HandlerError},
    schema::{Payload as _, ReminderSent, TaskChanged},
};

/// `POST /events/reminder-sent`.
pub fn router(app: App) -> Router {
    inbox::router(app, handle)
}

async fn handle(app: App, event: Event<ReminderSent>) -> Result<(), HandlerError> {
    let Some(mut tx) = inbox::claim(&app, &event).await? else { return Ok(()) };
    let sent = &event.data;
    let mut detail = json!({"channel": sent.channel, "delivery_id": sent.delivery_id});
    if let Some(target) = sent.target {
        detail["target"] = json!(target);
    }
    tx.audit(&event, detail).await?;
    sqlx::query!(
        "update task_reminders set state = 'sent', updated_at = now()
         where id = $1 and version = $2 and state in ('scheduled', 'failed')",
        sent.reminder_id,
        sent.reminder_version,
    )
    .execute(tx.conn())
    .await?;
    tx.emit(&TaskChanged { task: event.data.task, cause: ReminderSent::TYPE.into() }).await?;
    tx.commit(&app).await
}
