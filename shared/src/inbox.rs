//! The inbox: a function handles each event once, however often, however concurrently and in whatever order it is delivered.
//!
//! [`receive`] is the route of an event. It reads only the id and the type of a message. The event itself is its row in the outbox, so a
//! message can only wake a function. A forged message, or one from the lost history of a restored database, names no event. Changed data
//! has no effect.
//!
//! A delivery takes these steps, in this order, because each other order has a hole:
//!
//! 1. Already claimed: 200. Nothing else is done again.
//! 2. The function's effects outside the database, which must be idempotent (arm a job, delete one). A failure is a 5xx, so
//!    daprd redelivers the event. If they came after the claim, the death of the process would lose them.
//! 3. One transaction: [`claim()`] the event, write rows, emit events. The claim is an `insert … on conflict do nothing`, so
//!    a concurrent duplicate waits for the first to commit and then sees that nothing is left to do.
//!
//! The answer is 200 when the event is handled or rejected and 5xx otherwise; daprd delivers again, every 2 s, without end. It
//! is never 404: daprd takes that as done (dapr `pkg/runtime/subscription/postman/http/http.go`).
//!
//! daprd also takes a call as done whose connection broke while another call began: concurrent calls share one handler, and the error of one
//! can end up in the other (dapr `pkg/middleware/http/pipeline.go`, since 1.13, seen with 1.18.3). So the death of a function can lose a delivery
//! of an event or of a job, and repair makes up for it.
//!
//! An outage never rejects an event. The function itself rejects what can never succeed, into the dead letters with the reason
//! (`inbox/reject.rs`), and answers 200, so that the messages behind it flow: a message that names no event of the outbox, and the fifth failure of an event
//! that is not an outage.
//!
//! Erasing a user empties the data of the user's events and claims them. So a message that is still on its topic changes nothing.

mod claim;
mod reject;

use axum::{
    Router,
    body::Bytes,
    extract::{DefaultBodyLimit, State},
    http::{HeaderMap, StatusCode},
    routing::{MethodRouter, post},
};
use catalogue::EventType;
use chrono::{DateTime, Utc};
use serde_json::json;
use tokio::task::JoinSet;
use uuid::Uuid;

pub use self::{
    claim::{Claimed, claim},
    reject::excerpt,
};
use crate::{
    App,
    cloud_event::{self, Event, Trace},
    db::{Db, is_outage},
    from_daprd::FromDaprd,
    schema::Payload,
    sidecar::SidecarError,
};

/// An event is rejected on this failure that is not an outage.
const FAILURES: i32 = 5;

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
    // Larger than any broker's messages: a message too large for the route could not be rejected and would be redelivered forever.
    post(deliver).layer(DefaultBodyLimit::max(16 << 20))
}

async fn deliver<T, F, Fut>(app: App, headers: HeaderMap, body: Bytes, handle: F) -> StatusCode
where
    T: Payload,
    F: Fn(App, Event<T>) -> Fut,
    Fut: Future<Output = Result<(), HandlerError>> + Send + 'static,
{
    let consumer = T::TYPE.consumer();
    let message = reject::Message { kind: T::TYPE, headers: &headers, body: &body };
    let id = match cloud_event::id_of(&body, T::TYPE) {
        Ok(id) => id,
        Err(malformed) => return reject::message(&app.db, &message, &malformed.to_string()).await,
    };
    let row = match standing(&app.db, T::TYPE, id).await {
        Ok(Standing::New(row)) => row,
        Ok(Standing::Claimed) => {
            tracing::info!(event.id = %id, "{consumer}: event {id} was handled before");
            return StatusCode::OK;
        }
        Ok(Standing::Erased { user_id }) => return acknowledge(&app.db, consumer, id, user_id).await,
        Ok(Standing::TooOld) => {
            return reject::message(&app.db, &message, "it is older than what the inbox remembers").await;
        }
        Ok(Standing::Unknown) => return reject::message(&app.db, &message, "the outbox does not have it").await,
        Err(error) => return retry(consumer, id, &HandlerError::from(error)),
    };
    let event = reject::Named { id, user_id: row.user_id };
    match handled(app.clone(), id, row, handle).await {
        Ok(()) => StatusCode::OK,
        Err(HandlerError::Reject(reason)) => reject::event(&app.db, &message, event, &reason).await,
        Err(failure @ HandlerError::Failed(_)) => match count(&app.db, consumer, event, &failure).await {
            Ok(Some(FAILURES..)) => {
                let reason = format!("it failed {FAILURES} times: {}", chain(&failure));
                reject::event(&app.db, &message, event, &reason).await
            }
            Ok(_) => retry(consumer, id, &failure),
            Err(error) => retry(consumer, id, &HandlerError::from(error)),
        },
        Err(failure) => retry(consumer, id, &failure),
    }
}

/// Runs the handler on an event.
async fn handled<T, F, Fut>(app: App, id: Uuid, row: Row, handle: F) -> Result<(), HandlerError>
where
    T: Payload,
    F: Fn(App, Event<T>) -> Fut,
    Fut: Future<Output = Result<(), HandlerError>> + Send + 'static,
{
    let event: Event<T> = row.event(id)?;
    let (consumer, trace) = (T::TYPE.consumer(), event.trace.clone());
    let span = tracing::info_span!("event", event.id = %id, trace.id = trace.id());
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
    if outcome.is_ok() {
        tracing::info!(event.id = %id, trace.id = trace.id(), "{consumer}: event {id} handled");
    }
    outcome
}

/// Claims an event whose data was erased. Its erasure did that already, but an operator may have replayed a letter of it at the same time.
async fn acknowledge(db: &Db, consumer: &str, id: Uuid, user_id: Uuid) -> StatusCode {
    let claimed = async {
        let mut tx = db.begin_single().await?;
        claim::claim_id(&mut tx, consumer, id, user_id).await?;
        tx.commit().await
    };
    match claimed.await {
        Ok(()) => {
            tracing::info!(event.id = %id, "{consumer}: the user of event {id} was erased");
            StatusCode::OK
        }
        Err(error) => retry(consumer, id, &HandlerError::from(error)),
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

/// What the database knows of the event that a message names.
enum Standing {
    New(Row),
    Claimed,
    /// Its user was erased.
    Erased {
        user_id: Uuid,
    },
    /// The partition that would know its claim is gone, and its row may be too.
    TooOld,
    /// The outbox has no such event of this type. Retention deletes only events below the floor, so it was never committed, or lost by a restore.
    Unknown,
}

/// An event, as the outbox has it.
struct Row {
    user_id: Uuid,
    data: serde_json::Value,
    traceparent: Option<String>,
    occurred_at: DateTime<Utc>,
}

impl Row {
    /// # Errors
    /// When this code cannot read the data, which after a rollback newer code has written.
    fn event<T: Payload>(self, id: Uuid) -> Result<Event<T>, HandlerError> {
        let data = T::deserialize(self.data).map_err(|error| {
            HandlerError::Failed(anyhow::anyhow!("its data is not that of its type (written by newer code?): {error}"))
        })?;
        Ok(Event { id, trace: Trace::from_header(self.traceparent.as_deref()), time: self.occurred_at, data })
    }
}

async fn standing(db: &Db, kind: EventType, id: Uuid) -> sqlx::Result<Standing> {
    let found = sqlx::query!(
        r#"select exists (select from processed_events where consumer = $1 and event_id = $2) as "claimed!",
                  $2 < (select event_id from marks where name = 'inbox-floor') as "too_old!",
                  user_id as "user_id?", data as "data?", traceparent, occurred_at as "occurred_at?"
           from (select) as message left join task_events event on event.id = $2 and type = $3"#,
        kind.consumer(),
        id,
        kind.as_str(),
    )
    .fetch_one(db)
    .await?;
    Ok(match (found.user_id, found.data, found.occurred_at) {
        _ if found.claimed => Standing::Claimed,
        (Some(user_id), Some(data), _) if data == json!({}) => Standing::Erased { user_id },
        _ if found.too_old => Standing::TooOld,
        (Some(user_id), Some(data), Some(occurred_at)) => {
            Standing::New(Row { user_id, data, traceparent: found.traceparent, occurred_at })
        }
        _ => Standing::Unknown,
    })
}

/// Counts a failure of this function on this event. Returns none if its user was erased meanwhile: the reason may quote the data.
async fn count(db: &Db, consumer: &str, event: reject::Named, failure: &HandlerError) -> sqlx::Result<Option<i32>> {
    let mut tx = db.begin().await?;
    // A statement of its own: one that waits for an erasure and goes on would still see the data from before.
    sqlx::query!("select from hold_off_erasure($1)", event.user_id).execute(&mut *tx).await?;
    let failures = sqlx::query_scalar!(
        "insert into event_failures (consumer, event_id, user_id, failures, reason)
         select $1, $2, $4, 1, $3 where exists (select from task_events where id = $2 and data <> '{}')
         on conflict on constraint event_failures_pkey do update
         set failures = event_failures.failures + 1, reason = excluded.reason, failed_at = now(), user_id = excluded.user_id
         returning failures",
        consumer,
        event.id,
        // PostgreSQL stores no NUL. An event whose failure cannot be counted would be redelivered forever.
        chain(failure).replace('\0', "\u{fffd}"),
        event.user_id,
    )
    .fetch_optional(&mut *tx)
    .await?;
    tx.commit().await?;
    Ok(failures)
}
