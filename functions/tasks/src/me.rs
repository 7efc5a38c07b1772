//! `/v1/me`: the user whom the token names, their time zone, and their erasure.

use std::{sync::Arc, time::Duration};

use axum::{Json, extract::State, http::StatusCode};
use serde::Serialize;
use shared::{App, auth::User, erasure::Eraser, problem::Result, recurrence::Zone};
use sqlx::PgConnection;
use utoipa::ToSchema;
use uuid::Uuid;

use crate::{
    PushConfig,
    answer::Answer,
    bodies::{self, TIME_ZONE},
    command::Command,
    docs::{ReadProblems, WriteProblems},
    input::Given,
    params,
    push_subscriptions::VapidKeys,
    user_tx::UserTx,
};

/// A user.
#[derive(Serialize, ToSchema)]
pub(crate) struct Me {
    /// The `sub` of the token if that is a lower-case UUID, otherwise an id derived from it and from the issuer.
    id: Uuid,
    /// Where reminders go: of the tokens that created a task or changed this user, the address in the one issued last.
    email: String,
    /// The zone of new tasks that do not name one.
    #[schema(example = "Europe/Berlin")]
    time_zone: String,
    /// Keys to subscribe to push messages with (`applicationServerKey`), the first for new subscriptions. Empty where push is off.
    vapid_public_keys: VapidKeys,
}

/// Show the user
#[utoipa::path(
    get, path = "/v1/me", operation_id = "get_me", tag = "me",
    responses((status = 200, description = "The user", body = Me), ReadProblems),
    security(("bearer" = [])),
)]
pub(crate) async fn get_me(
    State(app): State<App>,
    State(push): State<Arc<PushConfig>>,
    user: User,
) -> Result<Json<Me>> {
    let mut tx = UserTx::read(&app.db, &user).await?;
    let stored =
        sqlx::query!("select email, time_zone from users where id = $1", user.id).fetch_optional(&mut *tx).await?;
    let (email, time_zone) = match stored {
        Some(stored) => (stored.email, stored.time_zone),
        None => (user.email.as_str().to_owned(), None),
    };
    let (time_zone, vapid_public_keys) = (zone(time_zone).to_string(), push.vapid_public_keys.clone());
    Ok(Json(Me { id: user.id, email, time_zone, vapid_public_keys }))
}

/// Change the user's time zone
///
/// It becomes the zone of new tasks that do not name one. Existing tasks keep theirs.
#[utoipa::path(
    patch, path = "/v1/me", operation_id = "change_me", tag = "me",
    request_body(content((bodies::MePatch = "application/merge-patch+json"), (bodies::MePatch = "application/json"))),
    params(params::IdempotencyKey),
    responses((status = 200, description = "The changed user", body = Me), WriteProblems),
    security(("bearer" = [])),
)]
pub(crate) async fn change_me(
    State(app): State<App>,
    State(push): State<Arc<PushConfig>>,
    user: User,
    command: Command,
) -> Result<Answer> {
    let given = command.object()?.read(|fields| Some(fields.take(&TIME_ZONE)))?;
    let mut tx = UserTx::begin(&app.db, &user).await?;
    if let Some(answer) = command.answered(&mut tx, user.id).await? {
        return Ok(answer);
    }
    command.preconditions.check_without_etag()?;
    let is_absent = matches!(given, Given::Absent);
    let given = given.value();
    let stored = sqlx::query!(
        "insert into users (id, email, email_issued_at, time_zone) values ($1, $2, $3, $4)
         on conflict (id) do update
         set email = case when users.email_issued_at is null or users.email_issued_at < excluded.email_issued_at
                          then excluded.email else users.email end,
             email_issued_at = greatest(users.email_issued_at, excluded.email_issued_at),
             time_zone = case when $5 then users.time_zone else excluded.time_zone end
         returning email, time_zone",
        user.id,
        user.email.as_str(),
        user.issued_at,
        given.as_ref().map(Zone::as_str),
        is_absent
    )
    .fetch_one(&mut *tx)
    .await?;
    let (time_zone, vapid_public_keys) = (zone(stored.time_zone).to_string(), push.vapid_public_keys.clone());
    let me = Me { id: user.id, email: stored.email, time_zone, vapid_public_keys };
    command.commit(tx, user.id, Answer::json(StatusCode::OK, &me)).await
}

/// Limit for erasing within the request. `upkeep` deletes the remaining rows, which no request sees.
const ERASE: Duration = Duration::from_secs(10);

/// Erase the user
///
/// For good, with all tasks, reminders, tags, histories and kept answers. From now on every token that was issued until now is refused (401), the
/// token of this request among them: a repetition that is answered 401 was successful. A token without `iat` stays refused. A token that is issued
/// later opens a new, empty account. While a large account is being deleted, which can take minutes, such a token is answered 503.
#[utoipa::path(
    delete, path = "/v1/me", operation_id = "erase_me", tag = "me",
    responses((status = 204, description = "Erased"), WriteProblems),
    security(("bearer" = [])),
)]
pub(crate) async fn erase_me(State(app): State<App>, user: User, command: Command) -> Result<Answer> {
    command.no_fields()?;
    let mut tx = UserTx::begin(&app.db, &user).await?;
    command.preconditions.check_without_etag()?;
    // At least the `iat` of this request's token: the provider's clock may be ahead.
    sqlx::query!(
        "insert into erased_users (user_id, erased_at) values ($1, greatest(clock_timestamp(), $2))
         on conflict on constraint erased_users_pkey do update set erased_at = excluded.erased_at, done = false",
        user.id,
        user.issued_at
    )
    .execute(&mut *tx)
    .await?;
    tx.commit().await?;
    match Eraser::new(&app.db, ERASE).erase(user.id).await {
        Ok(done) => tracing::info!(done, "tasks: a user was erased, done: {done}"),
        Err(error) => tracing::warn!(%error, "tasks: a user is to be erased, and upkeep will do so"),
    }
    Ok(Answer::empty())
}

/// The zone of a user's tasks that do not name one.
pub(crate) async fn users_zone(conn: &mut PgConnection, user_id: Uuid) -> Result<Zone> {
    let name = sqlx::query_scalar!("select time_zone from users where id = $1", user_id).fetch_optional(conn).await?;
    Ok(zone(name.flatten()))
}

fn zone(stored: Option<String>) -> Zone {
    stored.and_then(|name| Zone::parse(&name).ok()).unwrap_or_else(Zone::utc)
}
