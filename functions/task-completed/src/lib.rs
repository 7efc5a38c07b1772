//! `task-completed`: deletes the reminder jobs of a completed task, and creates the next occurrence of a recurring one.
//!
//! Triggered by `task.completed` on `task-events`. Writes the audit log and emits `task.changed` for connected clients. A successor
//! is a task of its own, with its own `task.created`.
//!
//! Running twice is harmless: jobs follow the current rows, and everything else happens in the transaction that claims the event.
//! Occurrence n creates occurrence n+1 once, however often n is completed. `task_occurrences` remembers it even after the successor was
//! deleted. Only reopening n while nobody has changed n+1 makes it forget: the command removes both.

mod successor;

use axum::Router;
use serde_json::json;
use shared::{
    App,
    cloud_event::Event,
    inbox::{self, HandlerError},
    reminder,
    schema::{Payload as _, TaskChanged, TaskCompleted},
};

/// `POST /events/task-completed`.
pub fn router(app: App) -> Router {
    inbox::router(app, handle)
}

async fn handle(app: App, event: Event<TaskCompleted>) -> Result<(), HandlerError> {
    let jobs = reminder::align(&app, event.data.task.task_id).await?;
    let Some(mut tx) = inbox::claim(&app, &event).await? else { return Ok(()) };
    let successor = successor::create(&mut tx, &event.data.task).await?;
    tx.audit(&event, json!({"completed_at": event.data.completed_at, "successor": successor})).await?;
    jobs.record(tx.conn()).await?;
    tx.emit(&TaskChanged { task: event.data.task, cause: TaskCompleted::TYPE.into() }).await?;
    tx.commit(&app).await
}

#[cfg(test)]
mod tests;
