//! `task-changed`: appends a change to the user's feed, and then notifies the listeners of `updates`.
//!
//! Triggered by `task.changed` on `task-updates`. Under the lock of the user's row, the feed numbers changes without gaps. A client
//! that has seen number n misses nothing when it asks for the changes after n.
//!
//! Runs twice without harm: number and row belong to the transaction that claims the event. The notification follows the commit (`bell.rs`).

mod bell;

use axum::Router;
use serde_json::json;
use shared::{
    App,
    cloud_event::Event,
    inbox::{self, HandlerError},
    schema::TaskChanged,
};

use self::bell::Bell;

/// `POST /events/task-changed`.
pub fn router(app: App) -> Router {
    let bell = Bell::new(app.db.clone());
    inbox::router(app, move |app, event| handle(app, event, bell.clone()))
}

async fn handle(app: App, event: Event<TaskChanged>, bell: Bell) -> Result<(), HandlerError> {
    let Some(mut tx) = inbox::claim(&app, &event).await? else { return Ok(()) };
    let task = &event.data.task;
    // A deleted user has no feed; the event still counts as handled.
    sqlx::query!(
        "with numbered as (
             update users set feed_seq = feed_seq + 1 where id = $1 returning feed_seq
         )
         insert into feed (user_id, seq, event_id, task_id, data)
         select $1, feed_seq, $2, $3, $4 from numbered",
        task.user_id,
        event.id,
        task.task_id,
        json!(event.data),
    )
    .execute(tx.conn())
    .await?;
    tx.commit(&app).await?;
    bell.ring(task.user_id);
    Ok(())
}
