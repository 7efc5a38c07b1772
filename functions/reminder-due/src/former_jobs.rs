//! Jobs of reminders that an older release armed at this app-id: `alarm` fires them, by service invocation.
//!
//! For one release. `upkeep` arms every reminder within the arming window at `alarm` and then deletes these jobs, so only those come that are
//! due before that, or that a process of the older release arms during a rollout. A version fires once, whichever job comes first.

use axum::{
    Router,
    extract::{Path, State},
    http::StatusCode,
    routing::post,
};
use shared::{App, from_daprd::FromDaprd, reminder::ReminderJobName};

/// `POST /job/reminder-<uuid>-<version>`.
pub fn router(app: App) -> Router {
    Router::new().route("/job/reminder-{key}", post(forward)).with_state(app)
}

async fn forward(_: FromDaprd, State(app): State<App>, Path(key): Path<String>) -> StatusCode {
    let name = format!("{}{key}", ReminderJobName::PREFIX);
    let Ok(ReminderJobName { reminder_id, version }) = name.parse() else {
        tracing::error!(job = name, "reminder-due: job {name} is unknown and is dropped");
        return StatusCode::OK;
    };
    if app.config.alarm_endpoint() == app.config.dapr_grpc_endpoint {
        // One daprd for all functions: `alarm` would be this function, which would call itself.
        tracing::error!(job = name, "reminder-due: job {name} waits: its daprd must route /job/reminder-* to alarm");
        return StatusCode::SERVICE_UNAVAILABLE;
    }
    match app.sidecar.fire(reminder_id, version).await {
        Ok(()) => StatusCode::OK,
        Err(error) => {
            tracing::warn!(job = name, %error, "reminder-due: alarm did not take {name}, which will be called again");
            StatusCode::SERVICE_UNAVAILABLE
        }
    }
}
