//! `alarm`: at a reminder's instant, turns its job into the event `reminder.due`.
//!
//! Triggered by:
//!
//! - `POST /job/reminder-<uuid>-<version>`, a Dapr job at the instant. Handlers arm it for reminders due within 25 hours
//!   ([`shared::reminder`]), `upkeep` when a reminder enters that window.
//! - `POST /send-now`, service invocation. `tasks` calls it for a reminder that a command has just moved to now. For one release
//!   `reminder-due` calls it too, for jobs that an older release armed at its app-id.
//!
//! The row decides whether a version fires, see [`fire`]. A callback of a version that has passed answers 200 and writes the reason to the
//! audit log. If it is the current version, of a task that another writer completed or deleted, the reminder is cancelled, so that no repair
//! arms it again.
//!
//! A callback before the reminder's instant by the database's clock comes from a scheduler whose clock is ahead. Its job is armed anew, to call
//! again when the rest has passed. A scheduler whose clock is behind calls late by as much.
//!
//! Running twice is safe: a version fires once (`fired_version`), from whichever app-id its jobs come and however often they are called.
//!
//! # How late a reminder can be
//!
//! The database holds every reminder, so none is lost. One that is armed fires within milliseconds. One that is not armed fires when `upkeep`
//! next arms it: at the next repair (every 5 minutes by default), or at `upkeep`'s own job (every 6 hours).
//!
//! | what stands still | a reminder that enters the window | a reminder moved by SQL to an instant inside the window |
//! |---|---|---|
//! | nothing | on time | at most one repair interval after its instant |
//! | repair, for any time | on time: armed at least 19 h before | at most 6 h after the change |
//! | repair and `upkeep`'s job, for 12 h | on time: armed before the pause | at most 12 h and one interval after the change |
//! | repair and `upkeep`'s job, for 30 h | at most 5 h and one interval late (30 h less the window of 25 h) | at most 30 h and one interval after the change |
//!
//! SQL that moves a reminder must raise its `version`, as every command does. Otherwise a job of the old instant stands for the new one.

pub mod fire;

use axum::{
    Json, Router,
    extract::{FromRef, Path, State},
    http::StatusCode,
    routing::post,
};
use serde::Deserialize;
use shared::{App, from_daprd::FromDaprd, inbox::HandlerError, reminder::ReminderJobName};
use uuid::Uuid;

use crate::fire::Firing;

/// `POST /job/reminder-<uuid>-<version>` and `POST /send-now`.
pub fn router(app: App) -> Router {
    Router::new()
        .route("/job/reminder-{key}", post(job))
        .route("/send-now", post(send_now))
        .with_state(Alarm { firing: Firing::new(app.clone()), app })
}

#[derive(Clone, FromRef)]
struct Alarm {
    app: App,
    firing: Firing,
}

async fn job(_: FromDaprd, State(firing): State<Firing>, Path(key): Path<String>) -> StatusCode {
    let name = format!("{}{key}", ReminderJobName::PREFIX);
    match name.parse() {
        Ok(job) => answer(&name, firing.fire(job).await),
        Err(error) => {
            // Only our code schedules jobs, and repair arms the row again if this was one of ours.
            tracing::error!(job = name, %error, "alarm: job {name} is unknown and is dropped");
            StatusCode::OK
        }
    }
}

/// Body of `POST /send-now`.
#[derive(Deserialize)]
struct SendNow {
    reminder_id: Uuid,
    version: i32,
}

async fn send_now(_: FromDaprd, State(firing): State<Firing>, Json(now): Json<SendNow>) -> StatusCode {
    answer("send-now", firing.fire(ReminderJobName { reminder_id: now.reminder_id, version: now.version }).await)
}

fn answer(name: &str, fired: Result<(), HandlerError>) -> StatusCode {
    match fired {
        Ok(()) => StatusCode::OK,
        Err(failure) => {
            let error = format!("{:#}", anyhow::Error::new(failure));
            tracing::warn!(job = name, error, "alarm: {name} failed and will be called again");
            StatusCode::SERVICE_UNAVAILABLE
        }
    }
}
