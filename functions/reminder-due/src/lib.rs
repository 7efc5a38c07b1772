//! `reminder-due`: sends a reminder that is due.
//!
//! Triggered by:
//!
//! - `POST /events/reminder-due`, the event `reminder.due` on the topic `reminders`. It sends on every channel and emits `reminder.sent`
//!   ([`send`]).
//! - `POST /job/delivery-<id>-<n>`, its own Dapr job. It makes the next attempt of a delivery whose provider was unavailable.
//! - `POST /job/reminder-<uuid>-<version>`, for one release: a job that an older release armed at this app-id ([`former_jobs`]).
//!
//! Running twice is safe: a version of a reminder has one delivery per channel and device (`notification_deliveries_once`), and a delivery is attempted
//! again only where [`delivery`] says that this cannot, or may exceptionally, repeat the message.

mod actions;
pub mod attempt;
pub mod delivery;
pub mod email;
pub mod former_jobs;
pub mod push;
pub mod send;

use axum::{
    Router,
    extract::{FromRef, Path, State},
    http::StatusCode,
    routing::post,
};
use shared::{
    App,
    cloud_event::Event,
    delivery::DeliveryJob,
    from_daprd::FromDaprd,
    inbox::{self, HandlerError},
    schema::ReminderDue,
};
use tracing::Instrument as _;

use crate::{email::EmailConfig, push::PushConfig, send::Sender};

/// The routes of its own process, with email and push as the environment says.
pub fn router(app: App) -> Router {
    routes(app.clone(), shared::config::from_env(), shared::config::from_env()).merge(former_jobs::router(app))
}

/// The routes that do its own work, with email and push as given. In one process with `alarm`, jobs of reminders go to `alarm` directly.
pub fn routes(app: App, email: EmailConfig, push: PushConfig) -> Router {
    let sender = Sender::new(app.clone(), email, push);
    let events = {
        let sender = sender.clone();
        inbox::router(app.clone(), move |_, event: Event<ReminderDue>| handle(sender.clone(), event))
    };
    Router::new().route("/job/delivery-{key}", post(retry)).with_state(Retries { app, sender }).merge(events)
}

async fn handle(sender: Sender, event: Event<ReminderDue>) -> Result<(), HandlerError> {
    let (sender, event) = to_its_end(async move {
        sender.send(&event).await?;
        Ok((sender, event))
    })
    .await?;
    let Some(mut tx) = inbox::claim(&sender.app, &event).await? else { return Ok(()) };
    tx.audit(&event, serde_json::json!({"planned_at": event.data.remind_at})).await?;
    tx.commit(&sender.app).await
}

/// Runs attempts in a task of its own, which no deadline of the caller ends: between the provider's answer and its record that would repeat the
/// message. Each step of an attempt has its own deadline.
async fn to_its_end<T: Send + 'static>(
    attempts: impl Future<Output = Result<T, HandlerError>> + Send + 'static,
) -> Result<T, HandlerError> {
    let ended = tokio::spawn(attempts.in_current_span()).await;
    ended.unwrap_or_else(|panic| Err(HandlerError::Failed(anyhow::anyhow!("an attempt panicked: {panic}"))))
}

#[derive(Clone, FromRef)]
struct Retries {
    app: App,
    sender: Sender,
}

/// The key is `<uuid>-<n>`.
async fn retry(_: FromDaprd, State(sender): State<Sender>, Path(key): Path<String>) -> StatusCode {
    let name = format!("{}{key}", DeliveryJob::PREFIX);
    let Some(delivery) = DeliveryJob::delivery_in(&name) else {
        // Only our code schedules jobs, and repair finds an overdue delivery if this was one of ours.
        tracing::error!(job = key, "reminder-due: job delivery-{key} is unknown and is dropped");
        return StatusCode::OK;
    };
    match to_its_end(async move { sender.attempt(delivery, &name).await }).await {
        Ok(()) => StatusCode::OK,
        Err(failure) => {
            let error = format!("{:#}", anyhow::Error::new(failure));
            tracing::warn!(job = key, error, "reminder-due: delivery-{key} failed and will be called again");
            StatusCode::SERVICE_UNAVAILABLE
        }
    }
}
