//! `GET /v1/reminders/{id}/timeline`: why did I get this reminder, or why not?
//!
//! Assembled from the reminder itself, the audit log of the functions, and its deliveries. It outlives the task.

use axum::{Json, extract::State};
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use shared::{App, auth::User, problem::Result, reminder::ReminderState};
use sqlx::{PgConnection, types::Json as Jsonb};
use utoipa::ToSchema;
use uuid::Uuid;

use crate::{command::Id, docs::ReadProblems, task::Reminder, user_tx::UserTx};

/// What happened to a reminder, oldest first.
#[derive(Serialize, ToSchema)]
pub(crate) struct Timeline {
    reminder: ReminderNow,
    entries: Vec<Entry>,
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
    /// `created`, `moved`, `armed`, `fired`, `skipped`, `sending`, `retrying`, `unknown`, `sent`, `failed`, `cancelled`.
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
    /// Why it was skipped, retried, cancelled or given up.
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    channel: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    delivery_id: Option<Uuid>,
    #[serde(skip_serializing_if = "Option::is_none")]
    attempt: Option<i32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    next_attempt_at: Option<DateTime<Utc>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    provider: Option<String>,
}

/// Explain a reminder
///
/// What happened to it, when and why, or why not. Also after its task was deleted.
#[utoipa::path(
    get, path = "/v1/reminders/{id}/timeline", operation_id = "reminder_timeline", tag = "reminders",
    params(("id" = Uuid, Path)),
    responses((status = 200, description = "Its timeline, oldest first", body = Timeline), ReadProblems),
    security(("bearer" = [])),
)]
pub(crate) async fn reminder_timeline(State(app): State<App>, user: User, Id(id): Id) -> Result<Json<Timeline>> {
    let mut tx = UserTx::begin(&app.db, user.id).await?;
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
    let mut entries =
        vec![Entry { at: row.created_at, what: "created".to_owned(), version: Some(1), ..Entry::default() }];
    entries.extend(audited(&mut tx, user.id, id).await?);
    entries.extend(deliveries(&mut tx, user.id, id).await?);
    entries.extend(last_command(&reminder, row.updated_at));
    entries.sort_by_key(|entry| entry.at);
    let reminder = ReminderNow { task_id: row.task_id, reminder, fired_at: row.fired_at, created_at: row.created_at };
    Ok(Json(Timeline { reminder, entries }))
}

/// The steps in the audit log. Whether it was sent is read from its deliveries, which know when the provider accepted it.
async fn audited(conn: &mut PgConnection, user_id: Uuid, id: Uuid) -> Result<Vec<Entry>> {
    let rows = sqlx::query!(
        r#"select created_at, substring(action from 10) as "what!", reminder_version, detail
           from audit_logs
           where reminder_id = $1 and user_id = $2 and action like 'reminder.%'
             and action not in ('reminder.due', 'reminder.sent')
           order by id"#,
        id,
        user_id
    )
    .fetch_all(conn)
    .await?;
    let entries = rows.into_iter().map(|row| Entry {
        at: row.created_at,
        what: row.what,
        version: row.reminder_version,
        // An entry with a detail of another form must not hide the other entries.
        detail: serde_json::from_value(row.detail).unwrap_or_default(),
    });
    Ok(entries.collect())
}

/// The deliveries that a provider accepted.
async fn deliveries(conn: &mut PgConnection, user_id: Uuid, id: Uuid) -> Result<Vec<Entry>> {
    let rows = sqlx::query!(
        r#"select id, reminder_version, channel, provider, sent_at as "sent_at!"
           from notification_deliveries
           where reminder_id = $1 and user_id = $2 and state = 'sent' and sent_at is not null
           order by sent_at"#,
        id,
        user_id
    )
    .fetch_all(conn)
    .await?;
    let entries = rows.into_iter().map(|row| Entry {
        at: row.sent_at,
        what: "sent".to_owned(),
        version: Some(row.reminder_version),
        detail: Detail {
            channel: Some(row.channel),
            delivery_id: Some(row.id),
            provider: row.provider,
            ..Detail::default()
        },
    });
    Ok(entries.collect())
}

/// The step of the last command. Earlier moves show as the jobs that were armed for them.
fn last_command(reminder: &Reminder, at: DateTime<Utc>) -> Option<Entry> {
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
    Some(Entry { at, what: what.to_owned(), version: Some(reminder.version), detail })
}
