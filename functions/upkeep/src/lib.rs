//! `upkeep`: retention, repair and arming. It turns the loss of Dapr's, Kafka's or the scheduler's data into a delay.
//!
//! Triggered by:
//!
//! - `POST /job/retention`, a Dapr job, daily. See [`retention`].
//! - `POST /job/arming`, a Dapr job, every 6 hours: arms the reminders that enter the arming window. See [`arming`].
//! - `upkeep --repair`, a short process that a Kubernetes CronJob starts every 5 minutes by default. It finds lost work in the database and
//!   has it done, arms reminders, finishes erasures, fills missing search texts, schedules the two jobs, and exits. See [`repair`].
//!
//! Running twice, also at the same time, is safe: each statement changes only rows that still need it, an event published again has the same
//! id, a job armed again has the same name. Where nothing is to do, no row is touched.

pub mod arming;
mod erasure;
pub mod repair;
pub mod retention;
pub mod search_text;
pub mod tags;

use axum::{Router, extract::State, http::StatusCode, routing::post};
use shared::{App, from_daprd::FromDaprd};

/// `POST /job/retention` and `POST /job/arming`.
pub fn router(app: App) -> Router {
    Router::new().route("/job/retention", post(retain)).route("/job/arming", post(arm)).with_state(app)
}

async fn retain(_: FromDaprd, State(app): State<App>) -> StatusCode {
    match retention::run(&app).await {
        Ok(()) => StatusCode::OK,
        Err(error) => {
            tracing::warn!(error = %error, "upkeep: retention failed and will run again");
            StatusCode::SERVICE_UNAVAILABLE
        }
    }
}

async fn arm(_: FromDaprd, State(app): State<App>) -> StatusCode {
    match arm_now(&app).await {
        Ok(reminders) => {
            tracing::info!(reminders, "upkeep: armed {reminders} reminders");
            StatusCode::OK
        }
        Err(error) => {
            tracing::warn!(error = format!("{error:#}"), "upkeep: arming failed and will run again");
            StatusCode::SERVICE_UNAVAILABLE
        }
    }
}

async fn arm_now(app: &App) -> anyhow::Result<u64> {
    let now = sqlx::query_scalar!(r#"select now() as "now!""#).fetch_one(&app.db).await?;
    arming::entering(app, now).await
}
