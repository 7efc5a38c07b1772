//! `task-changed`: appends a change to the user's feed and notifies listeners.
//!
//! Triggered by `task.changed` on `task-updates`. Under the lock of the user's row, the feed numbers changes without gaps. A client
//! that has seen number n misses nothing when it asks for the changes after n.
//!
//! Runs twice without harm: number, row and notification belong to the transaction that claims the event.

use axum::Router;
use serde_json::json;
use shared::{
    App,
    cloud_event::Event,
    inbox::{self, HandlerError},
    schema::TaskChanged,
};

/// `POST /events/task-changed`.
pub fn router(app: App) -> Router {
    inbox::router(app, handle)
}

async fn handle(app: App, event: Event<TaskChanged>) -> Result<(), HandlerError> {
    let Some(mut tx) = inbox::claim(&app, &event).await? else { return Ok(()) };
    let task = &event.data.task;
    // A deleted user has no feed; the event still counts as handled.
    sqlx::query!(
        "with numbered as (
             update users set feed_seq = feed_seq + 1 where id = $1 returning feed_seq
         ), fed as (
             insert into feed (user_id, seq, event_id, task_id, data)
             select $1, feed_seq, $2, $3, $4 from numbered returning seq
         )
         select pg_notify('feed', json_build_object('user_id', $1::uuid, 'seq', seq)::text) from fed",
        task.user_id,
        event.id,
        task.task_id,
        json!(event.data),
    )
    .fetch_optional(tx.conn())
    .await?;
    tx.commit(&app).await
}
