//! `task-created`: arms the reminders of a new task.
//!
//! Triggered by `task.created` on `task-events`. Writes the audit log and emits `task.changed` for connected clients.
//!
//! Runs twice without harm: arming and deleting jobs is idempotent and follows the current rows, not the event. Everything else
//! happens in the transaction that claims the event.

use axum::Router;
use serde_json::json;
use shared::{
    App,
    cloud_event::Event,
    inbox::{self, HandlerError},
    reminder,
    schema::{Payload as _, TaskChanged, TaskCreated},
};

/// `POST /events/task-created`.
pub fn router(app: App) -> Router {
    inbox::router(app, handle)
}

async fn handle(app: App, event: Event<TaskCreated>) -> Result<(), HandlerError> {
    let jobs = reminder::align(&app, event.data.task.task_id).await?;
    let Some(mut tx) = inbox::claim(&app, &event).await? else { return Ok(()) };
    tx.audit(&event, json!({})).await?;
    jobs.record(tx.conn()).await?;
    tx.emit(&TaskChanged { task: event.data.task, cause: TaskCreated::TYPE.into() }).await?;
    tx.commit(&app).await
}
