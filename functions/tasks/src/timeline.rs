//! `GET /v1/reminders/{id}/timeline`: why did I get this reminder, or why not?
//!
//! Assembled from the reminder itself, the audit log of the functions, and its deliveries. It outlives the task.

use axum::{Json, extract::State};
use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD};
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use shared::{App, auth::User, problem::Result, reminder::ReminderState};
use sqlx::{PgConnection, types::Json as Jsonb};
use utoipa::ToSchema;
use uuid::Uuid;

use crate::{
    command::Id,
    docs::ReadProblems,
    page,
    params::{PageParams, Params},
    task::Reminder,
    user_tx::UserTx,
};

/// A page of what happened to a reminder, oldest first.
#[derive(Serialize, ToSchema)]
pub(crate) struct Timeline {
    reminder: ReminderNow,
    entries: Vec<Entry>,
    /// The `cursor` of the next page; null at the end.
    next_cursor: Option<String>,
}

/// The current reminder.
#[derive(Serialize, ToSchema)]
struct ReminderNow {
    task_id: Uuid,
    #[serde(flatten)]
    reminder: Reminder,
    /// When it last fired.
    fired_at: Option<DateTime<Utc>>,
    created_at: DateTime<Utc>,
}

/// One step in the life of a reminder.
#[derive(Debug, Default, Serialize, ToSchema)]
struct Entry {
    at: DateTime<Utc>,
    /// `created`, `moved`, `restored`, `armed`, `fired`, `skipped`, `sending`, `retrying`, `unknown`, `sent`, `failed`, `cancelled`, `acted`.
    #[schema(example = "fired")]
    what: String,
    /// The version of the reminder.
    version: Option<i32>,
    #[serde(flatten)]
    detail: Detail,
}

/// What is known about a step besides its time.
#[derive(Debug, Default, Serialize, Deserialize, ToSchema)]
#[serde(default)]
struct Detail {
    /// When it should fire.
    #[serde(skip_serializing_if = "Option::is_none")]
    planned_at: Option<DateTime<Utc>>,
    /// How long after that it fired, by the database's clock.
    #[serde(skip_serializing_if = "Option::is_none")]
    late_ms: Option<i64>,
    /// Why it was skipped, restored, retried, cancelled or given up.
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    channel: Option<String>,
    /// The push subscription.
    #[serde(skip_serializing_if = "Option::is_none")]
    target: Option<Uuid>,
    #[serde(skip_serializing_if = "Option::is_none")]
    delivery_id: Option<Uuid>,
    #[serde(skip_serializing_if = "Option::is_none")]
    attempt: Option<i32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    next_attempt_at: Option<DateTime<Utc>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    provider: Option<String>,
    /// What a link or a button of a message did: `complete` or `snooze`.
    #[serde(skip_serializing_if = "Option::is_none")]
    action: Option<String>,
}

/// The place of an entry in the timeline. Entries of one instant are in the order of their sources, those of a source in the order of
/// their ids.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
struct Place {
    at: DateTime<Utc>,
    source: i32,
    id: Uuid,
}

/// Sources of entries, in their order.
const CREATED: i32 = 1;
const AUDITED: i32 = 2;
const DELIVERED: i32 = 3;
const COMMANDED: i32 = 4;
const ACTED: i32 = 5;

impl Place {
    fn encode(self) -> String {
        let text = format!("{} {} {}", self.at.timestamp_micros(), self.source, self.id.simple());
        BASE64_URL_SAFE_NO_PAD.encode(text)
    }

    fn decode(text: &str) -> Option<Self> {
        let text = String::from_utf8(BASE64_URL_SAFE_NO_PAD.decode(text).ok()?).ok()?;
        let mut parts = text.split(' ');
        let at = page::instant(parts.next()?.parse().ok()?)?;
        let place = Self { at, source: parts.next()?.parse().ok()?, id: parts.next()?.parse().ok()? };
        parts.next().is_none().then_some(place)
    }

    /// The id of an entry whose id is a number.
    fn number(self) -> i64 {
        i64::try_from(self.id.as_u128()).unwrap_or(i64::MAX)
    }
}

/// Explain a reminder
///
/// What happened to it, when and why, or why not. Also after its task was deleted.
#[utoipa::path(
    get, path = "/v1/reminders/{id}/timeline", operation_id = "reminder_timeline", tag = "reminders",
    params(("id" = Uuid, Path), PageParams),
    responses((status = 200, description = "A page of its timeline, oldest first", body = Timeline), ReadProblems),
    security(("bearer" = [])),
)]
pub(crate) async fn reminder_timeline(
    State(app): State<App>,
    user: User,
    Id(id): Id,
    mut params: Params,
) -> Result<Json<Timeline>> {
    let after = params
        .take("cursor", |text| Place::decode(text).ok_or("must be the `next_cursor` of a page of this timeline"))
        .unwrap_or_default();
    let limit = params.limit();
    params.finish()?;
    let mut tx = UserTx::read(&app.db, &user).await?;
    let row = sqlx::query!(
        r#"select task_id, created_at, updated_at, fired_at,
                  jsonb_build_object(
                      'id', id, 'remind_at', remind_at, 'before_due', before_due, 'channels', channels,
                      'state', state, 'cancel_reason', cancel_reason, 'version', version,
                      'overdue', reminder_is_live(state, version, fired_version) and remind_at <= clock_timestamp()) as "reminder!: Jsonb<Reminder>"
           from task_reminders where id = $1 and user_id = $2"#,
        id,
        user.id
    )
    .fetch_one(&mut *tx)
    .await?;
    let reminder = row.reminder.0;
    let created = Entry { at: row.created_at, what: "created".to_owned(), version: Some(1), ..Entry::default() };
    let mut entries = vec![(Place { at: row.created_at, source: CREATED, id: Uuid::nil() }, created)];
    entries.extend(last_command(&reminder, row.updated_at));
    entries.retain(|(place, _)| *place > after);
    // Each source gives as many as the page could take, and one more.
    let most = i64::try_from(limit + 1).unwrap_or(i64::MAX);
    entries.extend(audited(&mut tx, user.id, id, after, most).await?);
    entries.extend(deliveries(&mut tx, user.id, id, after, most).await?);
    entries.extend(acted(&mut tx, user.id, id, after, most).await?);
    entries.sort_by_key(|(place, _)| *place);
    let more = entries.len() > limit;
    entries.truncate(limit);
    let next_cursor = entries.last().filter(|_| more).map(|(place, _)| place.encode());
    let reminder = ReminderNow { task_id: row.task_id, reminder, fired_at: row.fired_at, created_at: row.created_at };
    Ok(Json(Timeline { reminder, entries: entries.into_iter().map(|(_, entry)| entry).collect(), next_cursor }))
}

/// The steps in the audit log. Whether it was sent is read from its deliveries, which know when the provider accepted it.
async fn audited(
    conn: &mut PgConnection,
    user_id: Uuid,
    id: Uuid,
    after: Place,
    most: i64,
) -> Result<impl Iterator<Item = (Place, Entry)>> {
    let rows = sqlx::query!(
        r#"select id, created_at, substring(action from 10) as "what!", reminder_version, detail
           from audit_logs
           where reminder_id = $1 and user_id = $2 and action like 'reminder.%'
             and action not in ('reminder.due', 'reminder.sent')
             and (created_at, $3::int, id) > ($4, $5::int, $6)
           order by created_at, id limit $7"#,
        id,
        user_id,
        AUDITED,
        after.at,
        after.source,
        after.number(),
        most
    )
    .fetch_all(conn)
    .await?;
    Ok(rows.into_iter().map(|row| {
        let place = Place { at: row.created_at, source: AUDITED, id: Uuid::from_u128(row.id.unsigned_abs().into()) };
        // An entry with a detail of another form must not hide the other entries.
        let detail = serde_json::from_value(row.detail).unwrap_or_default();
        (place, Entry { at: row.created_at, what: row.what, version: row.reminder_version, detail })
    }))
}

/// The deliveries that a provider accepted.
async fn deliveries(
    conn: &mut PgConnection,
    user_id: Uuid,
    id: Uuid,
    after: Place,
    most: i64,
) -> Result<impl Iterator<Item = (Place, Entry)>> {
    let rows = sqlx::query!(
        r#"select id, reminder_version, channel, target, provider, sent_at as "sent_at!"
           from notification_deliveries
           where reminder_id = $1 and user_id = $2 and state = 'sent' and sent_at is not null
             and (sent_at, $3::int, id) > ($4, $5::int, $6)
           order by sent_at, id limit $7"#,
        id,
        user_id,
        DELIVERED,
        after.at,
        after.source,
        after.id,
        most
    )
    .fetch_all(conn)
    .await?;
    Ok(rows.into_iter().map(|row| {
        let detail = Detail {
            channel: Some(row.channel),
            target: Some(row.target).filter(|target| !target.is_nil()),
            delivery_id: Some(row.id),
            provider: row.provider,
            ..Detail::default()
        };
        let entry = Entry { at: row.sent_at, what: "sent".to_owned(), version: Some(row.reminder_version), detail };
        (Place { at: row.sent_at, source: DELIVERED, id: row.id }, entry)
    }))
}

/// The uses of links and buttons in messages, one for each version.
async fn acted(
    conn: &mut PgConnection,
    user_id: Uuid,
    id: Uuid,
    after: Place,
    most: i64,
) -> Result<impl Iterator<Item = (Place, Entry)>> {
    let rows = sqlx::query!(
        r#"select distinct reminder_version, action, acted_at as "acted_at!"
           from notification_deliveries
           where reminder_id = $1 and user_id = $2 and acted_at is not null
             and (acted_at, $3::int, reminder_version::bigint) > ($4, $5::int, $6)
           order by acted_at, reminder_version limit $7"#,
        id,
        user_id,
        ACTED,
        after.at,
        after.source,
        after.number(),
        most
    )
    .fetch_all(conn)
    .await?;
    Ok(rows.into_iter().map(|row| {
        let version = row.reminder_version;
        let place = Place { at: row.acted_at, source: ACTED, id: Uuid::from_u128(version.unsigned_abs().into()) };
        let detail = Detail { action: row.action, ..Detail::default() };
        (place, Entry { at: row.acted_at, what: "acted".to_owned(), version: Some(version), detail })
    }))
}

/// The step of the last command. Earlier moves show as the jobs that were armed for them.
fn last_command(reminder: &Reminder, at: DateTime<Utc>) -> Option<(Place, Entry)> {
    let (what, detail) = match reminder.state {
        ReminderState::Cancelled => {
            let reason = reminder.cancel_reason.map(|reason| reason.to_string());
            ("cancelled", Detail { reason, ..Detail::default() })
        }
        ReminderState::Scheduled if reminder.version > 1 => {
            ("moved", Detail { planned_at: Some(reminder.remind_at), ..Detail::default() })
        }
        _ => return None,
    };
    let entry = Entry { at, what: what.to_owned(), version: Some(reminder.version), detail };
    Some((Place { at, source: COMMANDED, id: Uuid::nil() }, entry))
}
