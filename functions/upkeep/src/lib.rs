//! `upkeep`: retention once a day, and repair every few minutes: what makes losing Dapr, Kafka or the scheduler a delay.
//!
//! - **Retention** is triggered by a Dapr job, `retention`, daily. See [`retention`].
//! - **Repair** is a short process, `upkeep --repair`, started by a Kubernetes CronJob (every 5 minutes by default). It reads the
//!   database, puts right what it finds lost, and ends. See [`repair`].
//!
//! Both run twice, or at the same time, without harm: each statement changes only what still needs it, an event published again has
//! the same id, a job armed again the same name. Where there is nothing to do nothing is touched.

pub mod repair;
pub mod retention;

use axum::{Router, extract::State, http::StatusCode, routing::post};
use shared::{App, from_daprd::FromDaprd};

/// `POST /job/retention`.
pub fn router(app: App) -> Router {
    Router::new().route("/job/retention", post(retain)).with_state(app)
}

async fn retain(_: FromDaprd, State(app): State<App>) -> StatusCode {
    match retention::run(&app).await {
        Ok(()) => StatusCode::OK,
        Err(error) => {
            tracing::warn!(error = %error, "upkeep: retention was cut short and will run again");
            StatusCode::SERVICE_UNAVAILABLE
        }
    }
}
