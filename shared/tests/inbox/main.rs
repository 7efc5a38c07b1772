//! The inbox on a real PostgreSQL: one effect for each event, and which failure ends how.

mod erasure;
mod faults;
mod once;
mod outages;
mod poison;
mod silence;

use axum::Router;
use serde_json::Value;
use shared::{
    App,
    catalogue::EventType,
    cloud_event::Event,
    inbox::{self, HandlerError},
    schema::{TaskChanged, TaskRef},
    serve,
    testing::{self, count},
};
use sqlx::PgPool;
use uuid::Uuid;

/// The function of these tests handles `task.changed`; its effect is a line of the story.
fn routes<F, Fut>(app: &App, handle: F) -> Router
where
    F: Fn(App, Event<TaskChanged>) -> Fut + Clone + Send + Sync + 'static,
    Fut: Future<Output = Result<(), HandlerError>> + Send + 'static,
{
    serve::complete(inbox::router(app.clone(), handle), app.clone())
}

/// Claims the event and has its effect.
async fn effect(app: App, event: Event<TaskChanged>) -> Result<(), HandlerError> {
    let Some(mut tx) = inbox::claim(&app, &event).await? else { return Ok(()) };
    tx.audit(&event, serde_json::json!({})).await?;
    tx.commit(&app).await
}

fn changed() -> TaskChanged {
    let task =
        TaskRef { task_id: Uuid::now_v7(), user_id: Uuid::now_v7(), title: "call the dentist".to_owned(), version: 3 };
    TaskChanged { task, cause: EventType::TaskUpdated.into() }
}

async fn event(db: &PgPool) -> Value {
    testing::emitted(db, &changed()).await
}

async fn effects(db: &PgPool) -> i64 {
    count(db, "select count(*) from audit_logs").await
}

async fn claims(db: &PgPool) -> i64 {
    count(db, "select count(*) from processed_events where consumer = 'task-changed'").await
}

async fn failures(db: &PgPool) -> i64 {
    count(db, "select coalesce(sum(failures), 0) from event_failures").await
}

/// The state and reason of each dead letter.
async fn letters(db: &PgPool) -> Vec<(String, String)> {
    sqlx::query_as("select state, reason from dead_letters order by created_at").fetch_all(db).await.unwrap()
}
