//! `reminder-due`: when a reminder's time has come, sends it.
//!
//! Triggered by three things, which are three steps of one story:
//!
//! - `POST /job/reminder-<id>-<version>`, a Dapr job at the reminder's instant, emits `reminder.due` ([`fire`]). So does
//!   `POST /send-now`, by service invocation, for a reminder whose instant a command has just moved to now.
//! - `POST /events/reminder-due`, the event on `reminders`, sends on every channel and emits `reminder.sent` ([`send`]).
//! - `POST /job/delivery-<id>-<n>`, a Dapr job, makes the next attempt of a delivery whose provider was away.
//!
//! Runs twice without harm: a version of a reminder fires once (`fired_version`), has one delivery per channel
//! (`notification_deliveries_once`), and a delivery is attempted again only where [`delivery`] says that this cannot, or may
//! exceptionally, repeat the message. A job of a version that has passed is answered 200 and leaves a line in the story.

pub mod attempt;
pub mod delivery;
pub mod email;
pub mod fire;
pub mod send;

use axum::{
    Json, Router,
    body::Bytes,
    extract::{FromRef, Path, State},
    http::StatusCode,
    routing::post,
};
use serde::Deserialize;
use shared::{
    App,
    delivery::DeliveryJob,
    event::Event,
    inbox::{self, Failure, FromDaprd},
    reminder::ReminderJob,
    schema::ReminderDue,
};
use uuid::Uuid;

use crate::{email::EmailConfig, fire::Firing, send::Sender};

/// The routes, with e-mail as the environment says.
pub fn router(app: App) -> Router {
    routes(app, shared::config::from_env())
}

/// The routes, with e-mail as given.
pub fn routes(app: App, email: EmailConfig) -> Router {
    let sender = Sender::new(app.clone(), email);
    let events = {
        let sender = sender.clone();
        inbox::router(app.clone(), move |_, event: Event<ReminderDue>| handle(sender.clone(), event))
    };
    Router::new()
        .route("/job/{name}", post(job))
        .route("/send-now", post(send_now))
        .with_state(Jobs { firing: Firing::new(app.clone()), app, sender })
        .merge(events)
}

async fn handle(sender: Sender, event: Event<ReminderDue>) -> Result<(), Failure> {
    sender.send(&event).await?;
    let Some(mut tx) = inbox::claim(&sender.app, &event).await? else { return Ok(()) };
    tx.audit(&event, serde_json::json!({"planned_at": event.data.remind_at})).await?;
    tx.commit(&sender.app).await
}

#[derive(Clone, FromRef)]
struct Jobs {
    app: App,
    firing: Firing,
    sender: Sender,
}

async fn job(_: FromDaprd, State(jobs): State<Jobs>, Path(name): Path<String>, body: Bytes) -> StatusCode {
    let done = if let Some(id) = DeliveryJob::delivery_in(&name) {
        jobs.sender.attempt(id).await
    } else if let Ok(job) = serde_json::from_slice::<ReminderJob>(&body) {
        jobs.firing.fire(job.reminder_id, job.version).await
    } else {
        // Nobody but us schedules jobs of this app-id, and the row is armed again by repair where this was one of ours.
        tracing::error!(job = name, "reminder-due: job {name} carries nothing of ours and is dropped");
        return StatusCode::OK;
    };
    answer(&name, done)
}

/// What a command that moved a reminder to now asks for; the job that its event arms would do the same a little later.
#[derive(Deserialize)]
struct SendNow {
    reminder_id: Uuid,
    version: i32,
}

async fn send_now(_: FromDaprd, State(jobs): State<Jobs>, Json(now): Json<SendNow>) -> StatusCode {
    answer("send-now", jobs.firing.fire(now.reminder_id, now.version).await)
}

fn answer(name: &str, done: Result<(), Failure>) -> StatusCode {
    match done {
        Ok(()) => StatusCode::OK,
        Err(failure) => {
            tracing::warn!(
                job = name,
                error = format!("{:#}", anyhow::Error::new(failure)),
                "reminder-due: {name} failed and will come again"
            );
            StatusCode::SERVICE_UNAVAILABLE
        }
    }
}
