//! `/v1/me`: the user whom the token names, what the user prefers, and erasure.

use std::{sync::Arc, time::Duration};

use axum::{Json, extract::State, http::StatusCode};
use serde::Serialize;
use shared::{
    App,
    auth::User,
    erasure::Eraser,
    problem::Result,
    recurrence::{BeforeDue, Zone},
    schema::Channel,
};
use sqlx::PgConnection;
use utoipa::ToSchema;
use uuid::Uuid;

use crate::{
    PushConfig,
    answer::Answer,
    bodies::{self, DEFAULT_REMINDER, HIDE_TITLES, OWN_CHANNELS, TIME_ZONE},
    command::Command,
    docs::{ReadProblems, WriteProblems},
    draft,
    input::{Fields, Given},
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
    /// The channels of a new reminder that names none.
    channels: Vec<Channel>,
    /// The reminder of a new task with a due time whose body names no reminders: how long before the due time (ISO 8601).
    #[schema(example = "PT15M")]
    default_reminder: Option<String>,
    /// Whether notifications show no title of a task.
    hide_titles: bool,
    /// Keys to subscribe to push messages with (`applicationServerKey`), the first for new subscriptions. Empty where push is off.
    vapid_public_keys: VapidKeys,
}

impl Me {
    /// Reads the user, who need not exist yet.
    pub(crate) async fn of(conn: &mut PgConnection, user: &User, push: &PushConfig) -> Result<Self> {
        Ok(Self::new(user, Stored::of(conn, user.id).await?, push))
    }

    fn new(user: &User, mut stored: Stored, push: &PushConfig) -> Self {
        let email = stored.email.take().unwrap_or_else(|| user.email.as_str().to_owned());
        let Preferences { zone, channels, default_reminder, hide_titles } = stored.into();
        let default_reminder = default_reminder.map(|before| before.as_str().to_owned());
        let vapid_public_keys = push.vapid_public_keys.clone();
        let (id, time_zone) = (user.id, zone.to_string());
        Self { id, email, time_zone, channels, default_reminder, hide_titles, vapid_public_keys }
    }
}

/// What a user has chosen.
pub(crate) struct Preferences {
    pub(crate) zone: Zone,
    pub(crate) channels: Vec<Channel>,
    pub(crate) default_reminder: Option<BeforeDue>,
    hide_titles: bool,
}

/// The columns of a user.
#[derive(Default)]
struct Stored {
    email: Option<String>,
    time_zone: Option<String>,
    channels: Option<Vec<String>>,
    default_reminder: Option<String>,
    hide_titles: Option<bool>,
}

impl Stored {
    /// Reads the row of a user. Without one, nothing is chosen.
    async fn of(conn: &mut PgConnection, user_id: Uuid) -> sqlx::Result<Self> {
        let stored = sqlx::query_as!(
            Self,
            "select email, time_zone, channels, default_reminder, hide_titles from users where id = $1",
            user_id
        );
        Ok(stored.fetch_optional(conn).await?.unwrap_or_default())
    }
}

impl From<Stored> for Preferences {
    /// A value of a newer release counts as not chosen.
    fn from(stored: Stored) -> Self {
        let channels = stored.channels.unwrap_or_default();
        let mut channels: Vec<Channel> = channels.iter().filter_map(|channel| channel.parse().ok()).collect();
        if channels.is_empty() {
            channels.push(Channel::Email);
        }
        Self {
            zone: zone(stored.time_zone),
            channels,
            default_reminder: stored.default_reminder.and_then(|text| BeforeDue::parse(&text).ok()),
            hide_titles: stored.hide_titles.unwrap_or_default(),
        }
    }
}

impl Preferences {
    /// Those of a user, who need not exist yet.
    pub(crate) async fn of(conn: &mut PgConnection, user_id: Uuid) -> sqlx::Result<Self> {
        Ok(Stored::of(conn, user_id).await?.into())
    }
}

/// The body of a change.
pub(crate) struct Patch {
    time_zone: Given<Zone>,
    channels: Given<Vec<Channel>>,
    default_reminder: Given<BeforeDue>,
    hide_titles: Given<bool>,
}

impl Patch {
    pub(crate) fn read(fields: &mut Fields) -> Option<Self> {
        Some(Self {
            time_zone: fields.take(&TIME_ZONE),
            channels: fields.take(&OWN_CHANNELS),
            default_reminder: fields.take(&DEFAULT_REMINDER),
            hide_titles: fields.take(&HIDE_TITLES),
        })
    }
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
    Ok(Json(Me::of(&mut tx, &user, &push).await?))
}

/// Change what the user prefers
///
/// The zone of new tasks that do not name one, and the reminders of new tasks. Existing tasks and reminders keep theirs.
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
    let Patch { time_zone, channels, default_reminder, hide_titles } = command.object()?.read(Patch::read)?;
    let mut tx = UserTx::begin(&app.db, &user).await?;
    if let Some(answer) = command.answered(&mut tx, user.id).await? {
        return Ok(answer);
    }
    command.preconditions.check_without_etag()?;
    let keeps = [time_zone.is_absent(), channels.is_absent(), default_reminder.is_absent(), hide_titles.is_absent()];
    let (time_zone, default_reminder) = (time_zone.value(), default_reminder.value());
    let channels = channels.value().map(draft::distinct);
    let channels =
        channels.map(|channels| channels.iter().map(|channel| channel.as_str().to_owned()).collect::<Vec<_>>());
    let stored = sqlx::query_as!(
        Stored,
        "insert into users (id, email, email_issued_at, time_zone, channels, default_reminder, hide_titles)
         values ($1, $2, $3, $4, $5, $6, $7)
         on conflict (id) do update
         set email = case when users.email_issued_at is null or users.email_issued_at < excluded.email_issued_at
                          then excluded.email else users.email end,
             email_issued_at = greatest(users.email_issued_at, excluded.email_issued_at),
             time_zone = case when $8 then users.time_zone else excluded.time_zone end,
             channels = case when $9 then users.channels else excluded.channels end,
             default_reminder = case when $10 then users.default_reminder else excluded.default_reminder end,
             hide_titles = case when $11 then users.hide_titles else excluded.hide_titles end
         returning email, time_zone, channels, default_reminder, hide_titles",
        user.id,
        user.email.as_str(),
        user.issued_at,
        time_zone.as_ref().map(Zone::as_str),
        channels as _,
        default_reminder.as_ref().map(BeforeDue::as_str),
        hide_titles.value(),
        keeps[0],
        keeps[1],
        keeps[2],
        keeps[3],
    )
    .fetch_one(&mut *tx)
    .await?;
    let me = Me::new(&user, stored, &push);
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
