//! `/v1/me`: whoever the token names, and their time zone.

use axum::{Json, extract::State, http::StatusCode};
use serde::Serialize;
use shared::{App, auth::User, problem::Result, recurrence::Zone};
use utoipa::ToSchema;
use uuid::Uuid;

use crate::{
    bodies,
    command::{Answer, Command},
    create::users_zone,
    docs::{ReadProblems, WriteProblems},
    input::{Given, zone},
    user_tx::UserTx,
};

/// A user.
#[derive(Serialize, ToSchema)]
pub(crate) struct Me {
    /// The `sub` of the token.
    id: Uuid,
    /// Where reminders go: the address of the token of the last task created, or change made here.
    email: String,
    /// The zone of new tasks that name none.
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
    let mut tx = UserTx::begin(&app.db, user.id).await?;
    let zone = users_zone(&mut tx, user.id).await?;
    Ok(Json(Me { id: user.id, email: user.email, time_zone: zone.to_string() }))
}

/// Change the user's time zone
///
/// It is the zone of tasks created from then on without one of their own; tasks that are there keep theirs. Null is UTC.
#[utoipa::path(
    patch, path = "/v1/me", operation_id = "change_me", tag = "me",
    request_body(content((bodies::MePatch = "application/merge-patch+json"), (bodies::MePatch = "application/json"))),
    params(bodies::IdempotencyKey),
    responses((status = 200, description = "The user as it now is", body = Me), WriteProblems),
    security(("bearer" = [])),
)]
pub(crate) async fn change_me(State(app): State<App>, user: User, command: Command) -> Result<Answer> {
    let mut fields = command.object()?;
    let given = fields.take("time_zone", zone);
    fields.finish()?;
    let mut tx = UserTx::begin(&app.db, user.id).await?;
    if let Some(answer) = command.answered(&mut tx, user.id).await? {
        return Ok(answer);
    }
    let stays = matches!(given, Given::Absent);
    let given = given.value();
    let stored = sqlx::query_scalar!(
        "insert into users (id, email, time_zone) values ($1, $2, $3)
         on conflict (id) do update
         set email = excluded.email, time_zone = case when $4 then users.time_zone else excluded.time_zone end
         returning time_zone",
        user.id,
        user.email,
        given.as_ref().map(Zone::as_str),
        stays
    )
    .fetch_one(&mut *tx)
    .await?;
    let me = Me { id: user.id, email: user.email, time_zone: stored.unwrap_or_else(|| "UTC".to_owned()) };
    command.unchanged(tx, user.id, Answer::json(StatusCode::OK, &me)).await
}
