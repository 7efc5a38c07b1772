//! The inbox: a function handles each event once, however often, however concurrently and in whatever order it comes.
//!
//! [`receive`] is the route of an event. A delivery takes these steps, in this order, because each other order has a hole:
//!
//! 1. Already claimed: 200. Nothing else is done again.
//! 2. The function's effects outside the database, which must be idempotent (arm a job, delete one). A failure is a 5xx, so
//!    they come again. Done after the claim they would be lost with the process.
//! 3. One transaction: [`claim`] the event, write rows, emit events. The claim is an `insert … on conflict do nothing`, so
//!    a concurrent duplicate waits for the first to commit and then sees that nothing is left to do.
//!
//! The answer is 200 when the event is handled or rejected and 5xx otherwise; daprd delivers again, every 2 s, without end. It
//! is never 404: daprd takes that as done (dapr `pkg/runtime/subscription/postman/http/http.go`).
//!
//! An outage never rejects an event. What can never succeed, an event that is not what its type says or the fifth failure that
//! is not an outage, is rejected by the function itself: its claim and a row of `dead_letters` with the reason, in one
//! transaction, then 200, so that the neighbours flow.

use axum::{
    Router,
    body::Bytes,
    extract::{DefaultBodyLimit, State},
    http::{HeaderMap, StatusCode},
    routing::{MethodRouter, post},
};
use tokio::task::JoinSet;
use uuid::Uuid;

use crate::{
    App, audit,
    cloud_event::{self, Event, Trace},
    db::{Db, Tx, is_outage},
    faults::crash,
    from_daprd::FromDaprd,
    outbox,
    schema::Payload,
    sidecar::SidecarError,
};

/// An event is rejected on this failure that is not an outage.
const FAILURES: i32 = 5;
/// How much is said of why an event was rejected, in characters.
const REASON_LIMIT: usize = 500;

/// Why an event was not handled this time.
#[derive(Debug, thiserror::Error)]
pub enum HandlerError {
    /// Something the function needs is away. The event comes again until it is back.
    #[error("something needed is away")]
    Outage(#[source] anyhow::Error),
    /// The function failed; the fifth time rejects the event.
    #[error("the function failed")]
    Failed(#[source] anyhow::Error),
    /// The event can never be handled.
    #[error("the event can never be handled: {0}")]
    Reject(String),
}

impl From<sqlx::Error> for HandlerError {
    fn from(error: sqlx::Error) -> Self {
        if is_outage(&error) { Self::Outage(error.into()) } else { Self::Failed(error.into()) }
    }
}

impl From<SidecarError> for HandlerError {
    fn from(error: SidecarError) -> Self {
        Self::Outage(error.into())
    }
}

/// The routes of a function that handles one type of event: `POST /events/<consumer>`.
pub fn router<T, F, Fut>(app: App, handle: F) -> Router
where
    T: Payload,
    F: Fn(App, Event<T>) -> Fut + Clone + Send + Sync + 'static,
    Fut: Future<Output = Result<(), HandlerError>> + Send + 'static,
{
    Router::new().route(&format!("/events/{}", T::TYPE.consumer()), receive(handle)).with_state(app)
}

/// The route an event of type `T` is delivered to.
pub fn receive<T, F, Fut>(handle: F) -> MethodRouter<App>
where
    T: Payload,
    F: Fn(App, Event<T>) -> Fut + Clone + Send + Sync + 'static,
    Fut: Future<Output = Result<(), HandlerError>> + Send + 'static,
{
    let deliver = move |_: FromDaprd, State(app): State<App>, headers: HeaderMap, body: Bytes| {
        let handle = handle.clone();
        async move { deliver(app, headers, body, handle).await }
    };
    // Above what any broker carries: a message too large for the route could not be rejected and would come for ever.
    post(deliver).layer(DefaultBodyLimit::max(16 << 20))
}

async fn deliver<T, F, Fut>(app: App, headers: HeaderMap, body: Bytes, handle: F) -> StatusCode
where
    T: Payload,
    F: Fn(App, Event<T>) -> Fut,
    Fut: Future<Output = Result<(), HandlerError>> + Send + 'static,
{
    let consumer = T::TYPE.consumer();
    let letter = Letter::read::<T>(&headers, &body);
    let event = match cloud_event::parse::<T>(&body) {
        Ok(event) => event,
        Err(malformed) => return reject(&app.db, letter, malformed.to_string()).await,
    };
    let (id, trace) = (event.id, event.trace.clone());
    let span = tracing::info_span!("event", event.id = %id, trace.id = trace.id());
    match standing(&app.db, consumer, id).await {
        Ok(Standing::Claimed) => {
            tracing::info!(event.id = %id, "{consumer}: event {id} was handled before");
            return StatusCode::OK;
        }
        Ok(Standing::TooOld) => {
            return reject(&app.db, letter, "it is older than what the inbox remembers".to_owned()).await;
        }
        Ok(Standing::New) => {}
        Err(error) => return retry(consumer, id, &HandlerError::from(error)),
    }
    // In a task of its own, because a panic is a failure. The task ends at the latest with its set, and frees what it holds.
    let mut work = JoinSet::new();
    work.spawn(tracing::Instrument::instrument(handle(app.clone(), event), span));
    let limit = app.deadlines().handler;
    let outcome = match tokio::time::timeout(limit, work.join_next()).await {
        Ok(Some(Ok(outcome))) => outcome,
        Ok(Some(Err(panic))) => Err(HandlerError::Failed(anyhow::anyhow!("the handler panicked: {panic}"))),
        Ok(None) | Err(_) => {
            // It may have committed, or be about to.
            app.outbox.wake();
            app.outbox.wake_late();
            Err(HandlerError::Outage(anyhow::anyhow!("the handler took longer than {limit:?}")))
        }
    };
    match outcome {
        Ok(()) => {
            tracing::info!(event.id = %id, trace.id = trace.id(), "{consumer}: event {id} handled");
            StatusCode::OK
        }
        Err(HandlerError::Reject(reason)) => reject(&app.db, letter, reason).await,
        Err(failure @ HandlerError::Failed(_)) => match count(&app.db, consumer, id, &failure).await {
            Ok(FAILURES..) => reject(&app.db, letter, format!("it failed {FAILURES} times: {}", chain(&failure))).await,
            Ok(_) => retry(consumer, id, &failure),
            Err(error) => retry(consumer, id, &HandlerError::from(error)),
        },
        Err(failure) => retry(consumer, id, &failure),
    }
}

fn retry(consumer: &str, id: Uuid, failure: &HandlerError) -> StatusCode {
    tracing::warn!(event.id = %id, error = chain(failure), "{consumer}: event {id} was not handled and will come again");
    StatusCode::SERVICE_UNAVAILABLE
}

fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text
}

enum Standing {
    New,
    Claimed,
    TooOld,
}

/// Whether an event was claimed, is new, or is so old that the partition which would know is gone.
async fn standing(db: &Db, consumer: &str, id: Uuid) -> sqlx::Result<Standing> {
    let row = sqlx::query!(
        r#"select exists (select from processed_events where consumer = $1 and event_id = $2) as "claimed!",
                  $2 < (select event_id from marks where name = 'inbox-floor') as "too_old!""#,
        consumer,
        id
    )
    .fetch_one(db)
    .await?;
    Ok(match row {
        row if row.claimed => Standing::Claimed,
        row if row.too_old => Standing::TooOld,
        _ => Standing::New,
    })
}

/// The transaction in which a function handles an event it has claimed: the only way to write a handler's rows.
#[derive(Debug)]
pub struct Claimed {
    tx: Tx,
    trace: Trace,
}

/// Claims an event, or says `None` where it was handled before. A concurrent duplicate waits here for the first one.
///
/// # Errors
/// When the database is away, or the first one takes longer than the lock timeout.
pub async fn claim<T: Payload>(app: &App, event: &Event<T>) -> Result<Option<Claimed>, HandlerError> {
    crash("event-before-claim");
    let mut tx = app.db.begin().await?;
    let first = sqlx::query!(
        "insert into processed_events (consumer, event_id) values ($1, $2) on conflict do nothing",
        T::TYPE.consumer(),
        event.id
    )
    .execute(&mut *tx)
    .await?
    .rows_affected();
    crash("event-claimed");
    Ok((first == 1).then(|| Claimed { tx, trace: event.trace.clone() }))
}

impl Claimed {
    /// The connection of the transaction.
    pub fn conn(&mut self) -> &mut sqlx::PgConnection {
        &mut self.tx
    }

    /// Writes an event into the outbox, in the trace of the one being handled.
    ///
    /// # Errors
    /// When the database is away.
    pub async fn emit<T: Payload>(&mut self, payload: &T) -> Result<Uuid, HandlerError> {
        Ok(outbox::emit(&mut self.tx, payload, &self.trace).await?)
    }

    /// Adds the event to the story of its task.
    ///
    /// # Errors
    /// When the database is away.
    pub async fn audit<T: Payload>(&mut self, event: &Event<T>, detail: serde_json::Value) -> Result<(), HandlerError> {
        Ok(audit::event(&mut self.tx, event, detail).await?)
    }

    /// Makes it so, and has what was emitted published.
    ///
    /// # Errors
    /// When the database is away: then nothing of it holds, or all of it, and the next delivery finds out.
    pub async fn commit(self, app: &App) -> Result<(), HandlerError> {
        let committed = self.tx.commit().await;
        crash("event-committed");
        // Also where the answer was lost: the next delivery may find nothing to do.
        Ok(app.outbox.wake_after(committed)?)
    }
}

/// An event on its way to the dead letters.
struct Letter {
    consumer: &'static str,
    kind: &'static str,
    topic: &'static str,
    event_id: Option<Uuid>,
    /// The event's id, or where the message lay: a letter is stored once.
    dedupe: String,
    payload: String,
}

impl Letter {
    fn read<T: Payload>(headers: &HeaderMap, body: &[u8]) -> Self {
        let payload = String::from_utf8_lossy(body).replace('\0', "\u{fffd}");
        let event: Option<serde_json::Value> = serde_json::from_slice(body).ok();
        let id = event.as_ref().and_then(|event| event["id"].as_str());
        let place = ["__topic", "__partition", "__offset"].map(|name| headers.get(name).and_then(|v| v.to_str().ok()));
        let dedupe = match (id, place) {
            (Some(id), _) if !id.is_empty() && id.len() <= 200 => id.replace('\0', "\u{fffd}"),
            (_, [Some(topic), Some(partition), Some(offset)]) => format!("{topic}/{partition}/{offset}"),
            _ => Uuid::new_v5(&Uuid::NAMESPACE_OID, body).to_string(),
        };
        Self {
            consumer: T::TYPE.consumer(),
            kind: T::TYPE.as_str(),
            topic: T::TYPE.topic(),
            event_id: id.and_then(|id| id.parse().ok()),
            dedupe,
            payload,
        }
    }
}

/// Rejects an event: claimed and in the dead letters, in one transaction.
async fn reject(db: &Db, letter: Letter, reason: String) -> StatusCode {
    let consumer = letter.consumer;
    // A parser quotes what it could not take, however long that is; the letter has all of it anyway.
    let reason: String = reason.chars().take(REASON_LIMIT).collect();
    let id = letter.event_id.unwrap_or_default();
    match store(db, letter, &reason).await {
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

/// Claims and stores a letter, and says whether it did: an event claimed already was handled by a concurrent delivery, or has its
/// letter.
async fn store(db: &Db, letter: Letter, reason: &str) -> sqlx::Result<bool> {
    let mut tx = db.begin().await?;
    if let Some(id) = letter.event_id {
        let first = sqlx::query!(
            "insert into processed_events (consumer, event_id) values ($1, $2) on conflict do nothing",
            letter.consumer,
            id
        )
        .execute(&mut *tx)
        .await?
        .rows_affected();
        sqlx::query!("delete from event_failures where consumer = $1 and event_id = $2", letter.consumer, id)
            .execute(&mut *tx)
            .await?;
        if first == 0 {
            tx.commit().await?;
            return Ok(false);
        }
    }
    // A letter that was replayed and is rejected again is open again.
    sqlx::query!(
        "insert into dead_letters (id, consumer, dedupe, event_id, type, topic, origin, reason, payload)
         values ($1, $2, $3, $4, $5, $6, 'function', $7, $8)
         on conflict on constraint dead_letters_once do update set state = 'open', reason = excluded.reason",
        Uuid::now_v7(),
        letter.consumer,
        letter.dedupe,
        letter.event_id,
        letter.kind,
        letter.topic,
        reason.replace('\0', "\u{fffd}"),
        letter.payload,
    )
    .execute(&mut *tx)
    .await?;
    crash("letter-before-commit");
    tx.commit().await?;
    crash("letter-stored");
    Ok(true)
}

/// Counts a failure of this function on this event.
async fn count(db: &Db, consumer: &str, id: Uuid, failure: &HandlerError) -> sqlx::Result<i32> {
    sqlx::query_scalar!(
        "insert into event_failures (consumer, event_id, failures, reason) values ($1, $2, 1, $3)
         on conflict on constraint event_failures_pkey do update
         set failures = event_failures.failures + 1, reason = excluded.reason, failed_at = now()
         returning failures",
        consumer,
        id,
        // PostgreSQL takes no NUL, and a failure that could not be counted would come for ever.
        chain(failure).replace('\0', "\u{fffd}"),
    )
    .fetch_one(db)
    .await
}
