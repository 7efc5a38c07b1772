//! `/v1/me`: the user whom the token names, and their time zone.

use axum::{Json, extract::State, http::StatusCode};
use serde::Serialize;
use shared::{App, auth::User, problem::Result, recurrence::Zone};
use sqlx::PgConnection;
use utoipa::ToSchema;
use uuid::Uuid;

use crate::{
    answer::Answer,
    bodies::{self, TIME_ZONE},
    command::Command,
    docs::{ReadProblems, WriteProblems},
    input::Given,
    params,
    user_tx::UserTx,
};

/// A user.
#[derive(Serialize, ToSchema)]
pub(crate) struct Me {
    /// The `sub` of the token.
    id: Uuid,
    /// Where reminders go: the address in the token that last created a task or changed this user.
    email: String,
    /// The zone of new tasks that do not name one.
    #[schema(example = "Europe/Berlin")]
    time_zone: String,
}

/// Show the user
#[utoipa::path(
    get, path = "/v1/me", operation_id = "get_me", tag = "me",
    responses((status = 200, description = "The user", body = Me), ReadProblems),
    security(("bearer" = [])),
)]
pub(crate) async fn get_me(State(app): State<App>, user: User) -> Result<Json<Me>> {
    let mut tx = UserTx::read(&app.db, user.id).await?;
    let zone = users_zone(&mut tx, user.id).await?;
    Ok(Json(Me { id: user.id, email: user.email, time_zone: zone.to_string() }))
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
pub(crate) async fn change_me(State(app): State<App>, user: User, command: Command) -> Result<Answer> {
    let given = command.object()?.read(|fields| Some(fields.take(&TIME_ZONE)))?;
    let mut tx = UserTx::begin(&app.db, user.id).await?;
    if let Some(answer) = command.answered(&mut tx, user.id).await? {
        return Ok(answer);
    }
    let is_absent = matches!(given, Given::Absent);
    let given = given.value();
    let stored = sqlx::query_scalar!(
        "insert into users (id, email, time_zone) values ($1, $2, $3)
         on conflict (id) do update
         set email = excluded.email, time_zone = case when $4 then users.time_zone else excluded.time_zone end
         returning time_zone",
        user.id,
        user.email,
        given.as_ref().map(Zone::as_str),
        is_absent
    )
    .fetch_one(&mut *tx)
    .await?;
    let me = Me { id: user.id, email: user.email, time_zone: stored.unwrap_or_else(|| "UTC".to_owned()) };
    command.commit(tx, user.id, Answer::json(StatusCode::OK, &me)).await
}

/// The zone of a user's tasks that do not name one.
pub(crate) async fn users_zone(conn: &mut PgConnection, user_id: Uuid) -> Result<Zone> {
    let name = sqlx::query_scalar!("select time_zone from users where id = $1", user_id).fetch_optional(conn).await?;
    Ok(name.flatten().and_then(|name| Zone::parse(&name).ok()).unwrap_or_else(Zone::utc))
}
