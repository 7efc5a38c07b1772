//! `dead-letters`: stores what daprd could not deliver to a function, so that it can be read and replayed.
//!
//! Triggered by the dead-letter topics, `<topic>.dlq.<function>`, as raw payloads (a payload that is no CloudEvent would block
//! its own dead-letter topic otherwise). What a function itself rejects never comes here: it writes its own row.
//!
//! Runs twice without harm: a letter is stored once, by function and event id, and open again where its replay ended here too; an
//! event its function handled after all is not stored.

use axum::{
    Router,
    body::Bytes,
    extract::{DefaultBodyLimit, Path, State},
    http::StatusCode,
    routing::post,
};
use base64::{Engine as _, prelude::BASE64_STANDARD};
use serde_json::Value;
use shared::{App, event::EventType, inbox::FromDaprd};
use uuid::Uuid;

/// `POST /events/dead-letters/{function}`.
pub fn router(app: App) -> Router {
    Router::new()
        .route("/events/dead-letters/{function}", post(store).layer(DefaultBodyLimit::max(32 << 20)))
        .with_state(app)
}

/// The raw payload that daprd wraps into a CloudEvent of its own; the body itself where it is not wrapped.
fn unwrap(body: &[u8]) -> Vec<u8> {
    let wrapped: Value = serde_json::from_slice(body).unwrap_or_default();
    wrapped["data_base64"].as_str().and_then(|text| BASE64_STANDARD.decode(text).ok()).unwrap_or_else(|| body.to_vec())
}

async fn store(_: FromDaprd, State(app): State<App>, Path(function): Path<String>, body: Bytes) -> StatusCode {
    let payload = unwrap(&body);
    match insert(&app, &function, &payload).await {
        Ok(true) => {
            tracing::error!(
                consumer = function,
                "dead-letters: an event daprd could not deliver to {function} is stored"
            );
            StatusCode::OK
        }
        Ok(false) => StatusCode::OK,
        Err(error) => {
            tracing::warn!(error = %error, "dead-letters: a letter was not stored and will come again");
            StatusCode::SERVICE_UNAVAILABLE
        }
    }
}

/// Stores a letter unless it is stored, or its event was handled; says whether it did.
async fn insert(app: &App, function: &str, payload: &[u8]) -> sqlx::Result<bool> {
    let event: Value = serde_json::from_slice(payload).unwrap_or_default();
    let event_id: Option<Uuid> = event["id"].as_str().and_then(|id| id.parse().ok());
    let kind = event["type"].as_str().and_then(EventType::parse);
    // Where all functions share one daprd, only the event knows whose it was.
    let function = kind.map_or(function, |kind| kind.consumer());
    let dedupe = event_id.unwrap_or_else(|| Uuid::new_v5(&Uuid::NAMESPACE_OID, payload));
    let stored = sqlx::query!(
        "insert into dead_letters (id, consumer, dedupe, event_id, type, topic, origin, reason, payload)
         select $1, $2, $3, $4, $5, $6, 'daprd', $7, $8
         where not exists (select from processed_events where consumer = $2 and event_id = $4)
         on conflict on constraint dead_letters_once do update set state = 'open', reason = excluded.reason
         where dead_letters.state = 'replayed'",
        Uuid::now_v7(),
        function,
        dedupe.to_string(),
        event_id,
        kind.map(EventType::as_str),
        kind.map(EventType::topic),
        "daprd could not deliver it",
        String::from_utf8_lossy(payload).replace('\0', "\u{fffd}"),
    )
    .execute(&app.db)
    .await?;
    Ok(stored.rows_affected() == 1)
}
