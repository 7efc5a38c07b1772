//! Dead letters: what a function gives up on, with the reason, so that the messages behind it flow.
//!
//! An event of the outbox is claimed in the transaction that stores its letter. Any other message is stored by its place and content and claims
//! nothing: its id may be that of an event that is still to be handled. One that has data of an erased user is not stored.

use axum::http::{HeaderMap, StatusCode};
use catalogue::EventType;
use uuid::Uuid;

use super::{claim::claim_id, retry};
use crate::{db::Db, erasure, faults::crash, inbox::HandlerError};

/// Maximum length of a reason, in characters.
const REASON_LIMIT: usize = 500;
/// How much of a message a letter keeps: any event of ours, and enough of another message for a person to recognize it.
const EXCERPT: usize = 16 << 10;

/// A message, as it was delivered to the route of an event type.
pub(super) struct Message<'a> {
    pub(super) kind: EventType,
    pub(super) headers: &'a HeaderMap,
    pub(super) body: &'a [u8],
}

impl Message<'_> {
    /// Identifies the message through redeliveries, by its place on the topic, if the broker gives one, and by its content. The place alone is
    /// not enough: a topic that was deleted and made again uses its offsets again.
    fn place(&self) -> String {
        let content = Uuid::new_v5(&Uuid::NAMESPACE_OID, self.body);
        let place = ["__topic", "__partition", "__offset"]
            .map(|name| self.headers.get(name).and_then(|value| value.to_str().ok()));
        match place {
            [Some(topic), Some(partition), Some(offset)] => format!("{topic}/{partition}/{offset}/{content}"),
            _ => content.to_string(),
        }
    }
}

/// An event of the outbox, which a message names.
#[derive(Clone, Copy)]
pub(super) struct Named {
    pub(super) id: Uuid,
    pub(super) user_id: Uuid,
}

/// Rejects an event of the outbox.
pub(super) async fn event(db: &Db, message: &Message<'_>, named: Named, reason: &str) -> StatusCode {
    let (consumer, id) = (message.kind.consumer(), named.id);
    match store(db, message, Some(named), reason).await {
        Ok(true) => {
            tracing::error!(event.id = %id, reason, "{consumer}: event {id} rejected into the dead letters");
            StatusCode::OK
        }
        Ok(false) => {
            tracing::info!(event.id = %id, "{consumer}: event {id} was handled or rejected meanwhile");
            StatusCode::OK
        }
        Err(error) => retry(consumer, id, &HandlerError::from(error)),
    }
}

/// Rejects a message that names no event which this function may handle.
pub(super) async fn message(db: &Db, message: &Message<'_>, reason: &str) -> StatusCode {
    let (consumer, place) = (message.kind.consumer(), message.place());
    match store(db, message, None, reason).await {
        Ok(true) => {
            tracing::error!(
                message.place = place,
                reason,
                "{consumer}: message {place} rejected into the dead letters"
            );
            StatusCode::OK
        }
        Ok(false) => {
            tracing::info!(message.place = place, "{consumer}: message {place} is of an erased user");
            StatusCode::OK
        }
        Err(error) => {
            tracing::warn!(message.place = place, %error, "{consumer}: message {place} could not be rejected and will come again");
            StatusCode::SERVICE_UNAVAILABLE
        }
    }
}

/// Stores a letter. Returns false if a concurrent delivery has handled or rejected the event, or if the user was erased.
async fn store(db: &Db, message: &Message<'_>, event: Option<Named>, reason: &str) -> sqlx::Result<bool> {
    let consumer = message.kind.consumer();
    let mut tx = db.begin().await?;
    if let Some(Named { id, user_id }) = event {
        let first = claim_id(&mut tx, consumer, id, user_id).await?;
        sqlx::query!("delete from event_failures where consumer = $1 and event_id = $2", consumer, id)
            .execute(&mut *tx)
            .await?;
        if !first {
            tx.commit().await?;
            return Ok(false);
        }
    }
    erasure::hold_off_search(&mut tx).await?;
    // A parser quotes what it could not read, however long that is, and PostgreSQL stores no NUL.
    let reason: String = reason.chars().take(REASON_LIMIT).collect::<String>().replace('\0', "\u{fffd}");
    // A letter that was replayed and is rejected again is open again. It may have been daprd's before; now it holds the claim.
    let stored = sqlx::query!(
        "insert into dead_letters (id, consumer, dedupe, event_id, type, topic, origin, reason, payload, payload_bytes)
         select $1, $2, $3, $4, $5, $6, 'function', $7, $8, $9 where not is_letter_of_erased($4, $8)
         on conflict on constraint dead_letters_once do update
         set state = 'open', origin = excluded.origin, reason = excluded.reason",
        Uuid::now_v7(),
        consumer,
        event.map_or_else(|| message.place(), |event| event.id.to_string()),
        event.map(|event| event.id),
        message.kind.as_str(),
        message.kind.topic(),
        reason,
        excerpt(message.body),
        i32::try_from(message.body.len()).ok(),
    )
    .execute(&mut *tx)
    .await?;
    crash("letter-before-commit");
    tx.commit().await?;
    crash("letter-stored");
    Ok(stored.rows_affected() == 1)
}

/// The beginning of a message, as text that PostgreSQL stores.
#[must_use]
pub fn excerpt(message: &[u8]) -> String {
    String::from_utf8_lossy(&message[..message.len().min(EXCERPT)]).replace('\0', "\u{fffd}")
}
