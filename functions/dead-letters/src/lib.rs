//! `dead-letters`: stores each event that daprd could not deliver, so that an operator can read and replay it.
//!
//! Triggered by the dead-letter topics, `<topic>.dlq.<function>`, as raw payloads: otherwise a payload that is not a CloudEvent
//! would block its own dead-letter topic. An event that a function rejects never comes here; the function stores it itself.
//!
//! Runs twice without harm: function and event id identify a letter, so it is stored once. A letter whose replay fails too is
//! opened again, as a letter of `daprd`: it does not hold the claim of its event, which repair may have its function handle meanwhile. An event
//! that its function has handled is not stored, nor a message with data of an erased user.

use std::borrow::Cow;

use axum::{
    Router,
    body::Bytes,
    extract::{DefaultBodyLimit, Path, State},
    http::StatusCode,
    routing::post,
};
use base64::{Engine as _, prelude::BASE64_STANDARD};
use serde::Deserialize;
use serde_json::value::RawValue;
use shared::{App, catalogue::EventType, erasure, from_daprd::FromDaprd, inbox};
use uuid::Uuid;

/// `POST /events/dead-letters/{function}`.
pub fn router(app: App) -> Router {
    Router::new()
        .route("/events/dead-letters/{function}", post(store).layer(DefaultBodyLimit::max(32 << 20)))
        .with_state(app)
}

/// The fields that a letter needs, of the event that daprd makes of a payload or of the payload. All others are skipped: as a `Value`, many small
/// ones take sixteen times the memory of their text.
#[derive(Default, Deserialize)]
struct Envelope<'a> {
    #[serde(borrow)]
    id: Option<&'a RawValue>,
    r#type: Option<&'a RawValue>,
    data_base64: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

/// A field that is text. Any other type counts as missing.
fn text(field: Option<&RawValue>) -> Option<Cow<'_, str>> {
    serde_json::from_str(field?.get()).ok().map(|Text(text)| text)
}

/// The raw payload. daprd wraps it into a CloudEvent of its own; a body that is not wrapped is the payload.
fn unwrap(body: Bytes) -> Bytes {
    let wrapped: Envelope<'_> = serde_json::from_slice(&body).unwrap_or_default();
    let payload = text(wrapped.data_base64).and_then(|text| BASE64_STANDARD.decode(&*text).ok());
    payload.map_or(body, Bytes::from)
}

async fn store(_: FromDaprd, State(app): State<App>, Path(function): Path<String>, body: Bytes) -> StatusCode {
    let payload = unwrap(body);
    match insert(&app, &function, &payload).await {
        Ok(true) => {
            tracing::error!(
                consumer = function,
                "dead-letters: stored an event that daprd could not deliver to {function}"
            );
            StatusCode::OK
        }
        Ok(false) => StatusCode::OK,
        Err(error) => {
            tracing::warn!(error = %error, "dead-letters: a letter could not be stored; daprd will deliver it again");
            StatusCode::SERVICE_UNAVAILABLE
        }
    }
}

/// Stores a letter and returns true, unless it is stored already, its function has handled the event, or its user was erased.
async fn insert(app: &App, function: &str, payload: &[u8]) -> sqlx::Result<bool> {
    let event: Envelope<'_> = serde_json::from_slice(payload).unwrap_or_default();
    let event_id: Option<Uuid> = text(event.id).and_then(|id| id.parse().ok());
    let kind = text(event.r#type).and_then(|kind| EventType::parse(&kind));
    // In the embedded host all functions share one daprd, so only the event says which function it was for.
    let function = kind.map_or(function, |kind| kind.consumer());
    let dedupe = event_id.unwrap_or_else(|| Uuid::new_v5(&Uuid::NAMESPACE_OID, payload));
    let mut tx = app.db.begin().await?;
    erasure::hold_off_search(&mut tx).await?;
    let stored = sqlx::query!(
        "insert into dead_letters (id, consumer, dedupe, event_id, type, topic, origin, reason, payload, payload_bytes)
         select $1, $2, $3, $4, $5, $6, 'daprd', $7, $8, $9
         where not exists (select from processed_events where consumer = $2 and event_id = $4) and not is_letter_of_erased($4, $8)
         on conflict on constraint dead_letters_once do update
         set state = 'open', origin = excluded.origin, reason = excluded.reason
         where dead_letters.state = 'replayed'",
        Uuid::now_v7(),
        function,
        dedupe.to_string(),
        event_id,
        kind.map(EventType::as_str),
        kind.map(EventType::topic),
        "daprd could not deliver it",
        inbox::excerpt(payload),
        i32::try_from(payload.len()).ok(),
    )
    .execute(&mut *tx)
    .await?;
    tx.commit().await?;
    Ok(stored.rows_affected() == 1)
}
