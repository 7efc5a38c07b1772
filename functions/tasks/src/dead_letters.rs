//! `/v1/dead-letters`: events that a function gave up on, for an operator to read and to replay.

use axum::{
    Json,
    extract::{FromRef, FromRequestParts, State},
    http::request::Parts,
};
use chrono::{DateTime, Utc};
use serde::Serialize;
use shared::{
    App,
    auth::{Auth, User},
    problem::{Problem, Result},
};
use sqlx::PgConnection;
use utoipa::ToSchema;
use uuid::Uuid;

use crate::{
    answer::Answer,
    command::{Command, Id},
    docs::{OperatorProblems, WriteProblems},
    page::{self, Place},
    params::{IdempotencyKey, PageParams, Params},
    user_tx::admit,
};

/// A user whose token names the operator's scope. Handlers that take one see every user's rows.
pub(crate) struct Operator(pub(crate) User);

impl<S: Send + Sync> FromRequestParts<S> for Operator
where
    Auth: FromRef<S>,
{
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self> {
        let user = User::from_request_parts(parts, state).await?;
        if user.operator { Ok(Self(user)) } else { Err(Problem::Forbidden) }
    }
}

/// An event that a function gave up on.
#[derive(Serialize, ToSchema)]
pub(crate) struct DeadLetter {
    pub(crate) id: Uuid,
    /// The function that could not handle it.
    consumer: String,
    event_id: Option<Uuid>,
    #[serde(rename = "type")]
    kind: Option<String>,
    topic: Option<String>,
    /// `function` if the function rejected the event, `daprd` if the event could not be delivered.
    origin: String,
    reason: String,
    /// The beginning of the message as it was delivered: an event of this system is shown whole.
    payload: String,
    /// The size of the whole message in bytes.
    payload_bytes: i32,
    /// `open`, or `replayed` if there is nothing left to do.
    state: String,
    created_at: DateTime<Utc>,
    replayed_at: Option<DateTime<Utc>>,
}

/// A page of dead letters, oldest first.
#[derive(Serialize, ToSchema)]
pub(crate) struct DeadLetterPage {
    items: Vec<DeadLetter>,
    /// The `cursor` of the next page; null at the end.
    next_cursor: Option<String>,
}

/// List the open dead letters
#[utoipa::path(
    get, path = "/v1/dead-letters", operation_id = "list_dead_letters", tag = "operator", params(PageParams),
    responses((status = 200, description = "A page", body = DeadLetterPage), OperatorProblems),
    security(("bearer" = ["operator"])),
)]
pub(crate) async fn list_dead_letters(
    State(app): State<App>,
    Operator(user): Operator,
    mut params: Params,
) -> Result<Json<DeadLetterPage>> {
    let after =
        params.take("cursor", |text| Place::decode(text).ok_or("must be the `next_cursor` of a page of this list"));
    let limit = params.limit();
    params.finish()?;
    let Place { at, id } = after.unwrap_or_default();
    let mut tx = app.db.begin().await?;
    admit(&mut tx, &user).await?;
    // The payload of a letter of older code may have megabytes, of which 16,384 characters are shown.
    let mut rows = sqlx::query!(
        r#"select id, octet_length(reason)::bigint + least(octet_length(payload), 4 * 16384) as "bytes!"
           from dead_letters
           where state = 'open' and (created_at, id) > ($1, $2)
           order by created_at, id limit $3"#,
        at,
        id,
        i64::try_from(limit + 1).unwrap_or(i64::MAX)
    )
    .fetch_all(&mut *tx)
    .await?;
    let found = rows.len();
    rows.truncate(limit);
    rows.truncate(page::fitting(rows.iter().map(|row| row.bytes)));
    let ids: Vec<Uuid> = rows.iter().map(|row| row.id).collect();
    let mut items = load_all(&mut tx, &ids).await?;
    items.truncate(page::fitting_in_json(&items));
    let last = items.last().filter(|_| items.len() < found);
    let next_cursor = last.map(|letter| Place { at: letter.created_at, id: letter.id }.encode());
    Ok(Json(DeadLetterPage { items, next_cursor }))
}

/// Replay a dead letter
///
/// Publishes the event again, and its function handles it as new. A letter whose event was handled meanwhile is only closed. Replaying a
/// replayed letter changes nothing.
#[utoipa::path(
    post, path = "/v1/dead-letters/{id}/replay", operation_id = "replay_dead_letter", tag = "operator",
    params(("id" = Uuid, Path), IdempotencyKey),
    responses(
        (status = 200, description = "The replayed letter", body = DeadLetter),
        (status = 403, description = "The token's scope does not name the operator's",
         body = shared::problem::ProblemBody, content_type = "application/problem+json"),
        WriteProblems,
    ),
    security(("bearer" = ["operator"])),
)]
pub(crate) async fn replay_dead_letter(
    State(app): State<App>,
    Operator(user): Operator,
    Id(id): Id,
    command: Command,
) -> Result<Answer> {
    command.no_fields()?;
    let mut tx = app.db.begin().await?;
    admit(&mut tx, &user).await?;
    if let Some(answer) = command.answered(&mut tx, user.id).await? {
        return Ok(answer);
    }
    let letter = sqlx::query_as!(
        Stored,
        r#"select consumer, event_id, origin = 'function' as "holds_claim!", state = 'open' as "open!"
           from dead_letters where id = $1 for update"#,
        id
    )
    .fetch_one(&mut *tx)
    .await?;
    command.preconditions.check_without_etag()?;
    if letter.open {
        replay(&mut tx, &letter).await?;
        sqlx::query!("update dead_letters set state = 'replayed', replayed_at = now() where id = $1", id)
            .execute(&mut *tx)
            .await?;
    }
    let answer = Answer::letter(&load(&mut tx, id).await?);
    command.keep(&mut tx, user.id, &answer).await?;
    app.outbox.wake_after(tx.commit().await)?;
    Ok(answer)
}

/// Reads a letter.
pub(crate) async fn load(conn: &mut PgConnection, id: Uuid) -> Result<DeadLetter> {
    load_all(conn, &[id]).await?.pop().ok_or(Problem::NotFound)
}

/// Reads letters, oldest first.
async fn load_all(conn: &mut PgConnection, ids: &[Uuid]) -> sqlx::Result<Vec<DeadLetter>> {
    let letters = sqlx::query_as!(
        DeadLetter,
        r#"select id, consumer, event_id, type as kind, topic, origin, reason, left(payload, 16384) as "payload!",
                  coalesce(payload_bytes, octet_length(payload)) as "payload_bytes!", state, created_at, replayed_at
         from dead_letters where id = any($1) order by created_at, id"#,
        ids
    );
    letters.fetch_all(conn).await
}

struct Stored {
    consumer: String,
    event_id: Option<Uuid>,
    /// A function claims an event when it rejects it. daprd sets an unclaimed event aside, and a claim of it is that of its handling.
    holds_claim: bool,
    open: bool,
}

/// Publishes the event of a letter again, after its function forgets that it rejected the event. Does nothing if the function has handled it.
async fn replay(conn: &mut PgConnection, letter: &Stored) -> Result<()> {
    let event = sqlx::query!(
        r#"select id, id < (select event_id from marks where name = 'inbox-floor') as "too_old!",
                  exists (select from processed_events where consumer = $2 and event_id = $1) as "claimed!"
           from task_events where id = $1 and replace(type, '.', '-') = $2 and data <> '{}'"#,
        letter.event_id,
        letter.consumer,
    )
    .fetch_optional(&mut *conn)
    .await?
    .ok_or(Problem::Conflict("this letter cannot be replayed: the outbox has no such event"))?;
    if event.too_old {
        return Err(Problem::Conflict(
            "this letter cannot be replayed: the event is too old, and its function would reject it again",
        ));
    }
    if letter.holds_claim {
        sqlx::query!("delete from processed_events where consumer = $1 and event_id = $2", letter.consumer, event.id)
            .execute(&mut *conn)
            .await?;
    } else if event.claimed {
        return Ok(());
    }
    sqlx::query!("delete from event_failures where consumer = $1 and event_id = $2", letter.consumer, event.id)
        .execute(&mut *conn)
        .await?;
    sqlx::query!("update task_events set published_at = null where id = $1", event.id).execute(&mut *conn).await?;
    // Repair ignores events before the mark `handled`; lower it, so that repair watches this event again.
    sqlx::query!("update marks set event_id = least(event_id, $1) where name = 'handled'", event.id)
        .execute(conn)
        .await?;
    Ok(())
}
