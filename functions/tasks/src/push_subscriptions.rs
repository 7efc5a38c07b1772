//! `/v1/push-subscriptions`: the devices of a user that get reminders by Web Push.

use std::{str::FromStr, sync::Arc};

use axum::{Json, extract::State, http::StatusCode};
use chrono::{DateTime, Utc};
use clap::Args;
use serde::Serialize;
use shared::{
    App,
    auth::User,
    problem::{InvalidField, OnConstraint as _, Problem, Result},
    push::{DEFAULT_HOSTS, Endpoint, PushHosts},
};
use sqlx::PgConnection;
use utoipa::ToSchema;
use uuid::Uuid;

use crate::{
    answer::Answer,
    bodies::{self, AUTH, ENDPOINT, P256DH, VAPID_KEY},
    command::{Command, Id},
    docs::{ReadProblems, WriteProblems},
    field::{Kind as _, PublicKey},
    input::Fields,
    params,
    user_tx::UserTx,
};

/// The answer to an endpoint that another user has registered with other keys.
const TAKEN: Problem =
    Problem::Conflict("the endpoint is registered with other keys: unsubscribe in the browser and subscribe again");

/// Which devices may subscribe.
#[derive(Args, Clone, Debug)]
#[group(skip)]
pub struct PushConfig {
    /// As for `reminder-due`: an endpoint at any other host is refused.
    #[arg(long, env, default_value = DEFAULT_HOSTS)]
    pub push_hosts: PushHosts,
    /// Public keys with which browsers may subscribe, in base64url, separated by commas. The first is for new subscriptions. None turns push off.
    #[arg(long, env, default_value = "")]
    pub vapid_public_keys: VapidKeys,
}

/// Public keys: `VAPID_PUBLIC_KEYS`.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct VapidKeys(Vec<String>);

impl FromStr for VapidKeys {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let keys = text.split(',').map(str::trim).filter(|key| !key.is_empty());
        keys.map(|key| PublicKey.parse(key.into())).collect::<Result<_, _>>().map(Self)
    }
}

/// A device that gets reminders.
#[derive(Serialize, ToSchema)]
pub(crate) struct PushSubscription {
    id: Uuid,
    /// The `endpoint` that the browser returned.
    endpoint: String,
    /// The `applicationServerKey` that the browser subscribed with. If `/v1/me` no longer lists it, subscribe again with the first of those.
    vapid_key: String,
    created_at: DateTime<Utc>,
}

/// The devices of a user.
#[derive(Serialize, ToSchema)]
pub(crate) struct PushSubscriptions {
    items: Vec<PushSubscription>,
}

/// A subscription as the browser returned it.
pub(crate) struct NewPushSubscription {
    endpoint: String,
    p256dh: String,
    auth: String,
    vapid_key: String,
}

impl NewPushSubscription {
    pub(crate) fn read(fields: &mut Fields) -> Option<Self> {
        let endpoint = fields.require(&ENDPOINT);
        let p256dh = fields.require(&P256DH);
        let auth = fields.require(&AUTH);
        let vapid_key = fields.require(&VAPID_KEY);
        Some(Self { endpoint: endpoint?, p256dh: p256dh?, auth: auth?, vapid_key: vapid_key? })
    }
}

/// List the devices that get reminders
#[utoipa::path(
    get, path = "/v1/push-subscriptions", operation_id = "list_push_subscriptions", tag = "push",
    responses((status = 200, description = "All of them, the oldest first", body = PushSubscriptions), ReadProblems),
    security(("bearer" = [])),
)]
pub(crate) async fn list_push_subscriptions(State(app): State<App>, user: User) -> Result<Json<PushSubscriptions>> {
    let mut tx = UserTx::read(&app.db, &user).await?;
    Ok(Json(PushSubscriptions { items: load(&mut tx, user.id).await? }))
}

/// Reads the devices of a user, the oldest first.
pub(crate) async fn load(conn: &mut PgConnection, user_id: Uuid) -> sqlx::Result<Vec<PushSubscription>> {
    let devices = sqlx::query_as!(
        PushSubscription,
        "select id, endpoint, vapid_key, created_at from push_subscriptions where user_id = $1 order by created_at, id",
        user_id
    );
    devices.fetch_all(conn).await
}

/// Send reminders to a device
///
/// Those with the channel `push`. Subscribe in the browser with the first of the `vapid_public_keys` of `/v1/me`, and send what it returns. An
/// endpoint that is known keeps its id and gets the new keys. If another user has signed in on the device, it becomes theirs.
#[utoipa::path(
    post, path = "/v1/push-subscriptions", operation_id = "add_push_subscription", tag = "push",
    request_body = bodies::NewPushSubscription,
    params(params::IdempotencyKey),
    responses(
        (status = 200, description = "The device is subscribed already", body = PushSubscription),
        (status = 201, description = "The new subscription", body = PushSubscription),
        WriteProblems,
    ),
    security(("bearer" = [])),
)]
pub(crate) async fn add_push_subscription(
    State(app): State<App>,
    State(push): State<Arc<PushConfig>>,
    user: User,
    command: Command,
) -> Result<Answer> {
    let given = command.object()?.read(NewPushSubscription::read)?;
    let wrong = |name, wrong| InvalidField::in_body(format_args!("/{name}"), wrong);
    let endpoint = Endpoint::parse(&given.endpoint, &push.push_hosts).map_err(|error| wrong(ENDPOINT.name, error))?;
    if !push.vapid_public_keys.0.contains(&given.vapid_key) {
        return Err(wrong(VAPID_KEY.name, "must be one of the `vapid_public_keys` of `/v1/me`").into());
    }
    let mut tx = UserTx::begin(&app.db, &user).await?;
    if let Some(answer) = command.answered(&mut tx, user.id).await? {
        return Ok(answer);
    }
    sqlx::query!(
        "insert into users (id, email, email_issued_at) values ($1, $2, $3) on conflict (id) do nothing",
        user.id,
        user.email.as_str(),
        user.issued_at
    )
    .execute(&mut *tx)
    .await?;
    sqlx::query!(
        "select lock_user_usage($1)::text as locked, take_push_endpoint($2, $3, $4)::text as taken",
        user.id,
        endpoint.url().as_str(),
        given.p256dh,
        given.auth
    )
    .fetch_one(&mut *tx)
    .await
    .on_constraint("push_subscriptions_endpoint_key", TAKEN)?;
    let others = sqlx::query_scalar!(
        r#"select count(*) as "others!" from push_subscriptions where user_id = $1 and endpoint <> $2"#,
        user.id,
        endpoint.url().as_str()
    )
    .fetch_one(&mut *tx)
    .await?;
    command.quotas.check_push_subscriptions(others)?;
    let stored = sqlx::query!(
        r#"insert into push_subscriptions (id, user_id, endpoint, p256dh, auth, vapid_key)
           values (gen_random_uuid(), $1, $2, $3, $4, $5)
           on conflict on constraint push_subscriptions_endpoint_key do update
           set p256dh = excluded.p256dh, auth = excluded.auth, vapid_key = excluded.vapid_key
           returning id, created_at, xmax = 0 as "is_new!""#,
        user.id,
        endpoint.url().as_str(),
        given.p256dh,
        given.auth,
        given.vapid_key
    )
    .fetch_one(&mut *tx)
    .await?;
    let status = if stored.is_new { StatusCode::CREATED } else { StatusCode::OK };
    let subscription = PushSubscription {
        id: stored.id,
        endpoint: endpoint.url().to_string(),
        vapid_key: given.vapid_key,
        created_at: stored.created_at,
    };
    command.commit(tx, user.id, Answer::json(status, &subscription)).await
}

/// Send no more reminders to a device
///
/// A message that is being sent may still arrive.
#[utoipa::path(
    delete, path = "/v1/push-subscriptions/{id}", operation_id = "delete_push_subscription", tag = "push",
    params(("id" = Uuid, Path), params::IdempotencyKey),
    responses((status = 204, description = "Deleted"), WriteProblems),
    security(("bearer" = [])),
)]
pub(crate) async fn delete_push_subscription(
    State(app): State<App>,
    user: User,
    Id(id): Id,
    command: Command,
) -> Result<Answer> {
    command.no_fields()?;
    let mut tx = UserTx::begin(&app.db, &user).await?;
    if let Some(answer) = command.answered(&mut tx, user.id).await? {
        return Ok(answer);
    }
    let deleted = sqlx::query!("delete from push_subscriptions where id = $1 and user_id = $2", id, user.id)
        .execute(&mut *tx)
        .await?;
    if deleted.rows_affected() == 0 {
        return Err(Problem::NotFound);
    }
    command.preconditions.check_without_etag()?;
    command.commit(tx, user.id, Answer::empty()).await
}
