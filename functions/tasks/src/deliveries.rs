//! `GET /v1/deliveries`: the messages that were sent to the user, or were not.

use axum::{Json, extract::State};
use chrono::{DateTime, Utc};
use serde::Serialize;
use shared::{App, auth::User, delivery::DeliveryState, problem::Result, recurrence::end_of_calendar};
use sqlx::PgConnection;
use utoipa::ToSchema;
use uuid::Uuid;

use crate::{
    docs::ReadProblems,
    page::Place,
    params::{PageParams, Params},
    user_tx::UserTx,
};

/// A page of deliveries, newest first.
#[derive(Serialize, ToSchema)]
pub(crate) struct Deliveries {
    items: Vec<Delivery>,
    /// The `cursor` of the next page; null at the end.
    next_cursor: Option<String>,
}

/// A message about one version of a reminder, on one channel.
#[derive(Serialize, ToSchema)]
pub(crate) struct Delivery {
    pub(crate) id: Uuid,
    task_id: Uuid,
    reminder_id: Uuid,
    reminder_version: i32,
    #[schema(example = "email")]
    channel: String,
    /// The push subscription that it goes to; null for email.
    target: Option<Uuid>,
    state: DeliveryState,
    /// How many attempts have begun.
    attempts: i32,
    /// Why it is not sent, or not yet.
    reason: Option<String>,
    /// Who delivers it.
    provider: Option<String>,
    pub(crate) created_at: DateTime<Utc>,
    sent_at: Option<DateTime<Utc>>,
    /// The action of the link or button that was used: `complete` or `snooze`.
    action: Option<String>,
    acted_at: Option<DateTime<Utc>>,
}

impl Delivery {
    pub(crate) fn place(&self) -> Place {
        Place { at: self.created_at, id: self.id }
    }
}

/// The place before all deliveries.
pub(crate) fn newest() -> Place {
    Place { at: end_of_calendar(), id: Uuid::max() }
}

/// List deliveries
///
/// The messages of the user's reminders, newest first, with what became of each. The timeline of a reminder has every step.
#[utoipa::path(
    get, path = "/v1/deliveries", operation_id = "list_deliveries", tag = "reminders", params(PageParams),
    responses((status = 200, description = "A page", body = Deliveries), ReadProblems),
    security(("bearer" = [])),
)]
pub(crate) async fn list_deliveries(
    State(app): State<App>,
    user: User,
    mut params: Params,
) -> Result<Json<Deliveries>> {
    let after =
        params.take("cursor", |text| Place::decode(text).ok_or("must be the `next_cursor` of a page of this list"));
    let limit = params.limit();
    params.finish()?;
    let mut tx = UserTx::read(&app.db, &user).await?;
    let mut items = load(&mut tx, user.id, after.unwrap_or(newest()), limit + 1).await?;
    let more = items.len() > limit;
    items.truncate(limit);
    let next_cursor = items.last().filter(|_| more).map(|last| last.place().encode());
    Ok(Json(Deliveries { items, next_cursor }))
}

/// Reads deliveries after a place, newest first.
pub(crate) async fn load(
    conn: &mut PgConnection,
    user_id: Uuid,
    after: Place,
    limit: usize,
) -> sqlx::Result<Vec<Delivery>> {
    let deliveries = sqlx::query_as!(
        Delivery,
        r#"select id, task_id, reminder_id, reminder_version, channel, nullif(target, $5) as target, state as "state: DeliveryState", attempts, reason, provider,
                  created_at, sent_at, action, acted_at
           from notification_deliveries
           where user_id = $1 and (created_at, id) < ($2, $3)
           order by created_at desc, id desc limit $4"#,
        user_id,
        after.at,
        after.id,
        i64::try_from(limit).unwrap_or(i64::MAX),
        Uuid::nil()
    );
    deliveries.fetch_all(conn).await
}
