//! A task as the API shows it, and how it is read from the database.

use std::str::FromStr;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::json;
use shared::{
    problem::{Problem, Result},
    recurrence::{Anchor, Kind, Recurrence, RecurrenceError, Zone},
    reminder::{CancelReason, ReminderState},
    schema::TaskRef,
};
use sqlx::{PgConnection, types::Json};
use utoipa::ToSchema;
use uuid::Uuid;

use crate::series::SeriesValues;

/// A task.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(crate) struct Task {
    pub(crate) id: Uuid,
    pub(crate) title: String,
    pub(crate) description: Option<String>,
    pub(crate) completed: bool,
    pub(crate) completed_at: Option<DateTime<Utc>>,
    pub(crate) priority: Priority,
    pub(crate) due_at: Option<DateTime<Utc>>,
    /// An IANA name. Recurrence and reminders of whole days follow its clock.
    #[schema(example = "Europe/Berlin")]
    pub(crate) time_zone: String,
    /// In the order of their code points.
    pub(crate) tags: Vec<String>,
    /// Without the reminders that the user cancelled, whose timelines remain.
    pub(crate) reminders: Vec<Reminder>,
    pub(crate) recurrence: Option<Repeats>,
    /// When the next occurrence would be due if this one were completed on time. Moving this one alone does not move it.
    pub(crate) next_occurrence_at: Option<DateTime<Utc>>,
    /// Raised by every command that changes the task; also the `ETag`.
    pub(crate) version: i64,
    pub(crate) created_at: DateTime<Utc>,
    pub(crate) updated_at: DateTime<Utc>,
    /// Fields that commands need and answers do not show.
    #[serde(skip)]
    pub(crate) inner: Inner,
}

/// The fields of a task that only commands need.
#[derive(Clone, Debug, Default)]
pub(crate) struct Inner {
    pub(crate) user_id: Uuid,
    pub(crate) recurrence_start: Option<DateTime<Utc>>,
    pub(crate) series_id: Option<Uuid>,
    pub(crate) occurrence: Option<i32>,
    pub(crate) series_values: SeriesValues,
    /// Whether a column has a word of a newer release, which this one shows as if it were the default.
    pub(crate) has_newer_words: bool,
    /// The time by the database's clock when the task was read.
    pub(crate) now: DateTime<Utc>,
}

/// The importance of a task.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Priority {
    Low,
    #[default]
    Medium,
    High,
    Urgent,
}

impl Priority {
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Low => "low",
            Self::Medium => "medium",
            Self::High => "high",
            Self::Urgent => "urgent",
        }
    }

    /// Its place in the order of priorities.
    pub(crate) const fn rank(self) -> i32 {
        match self {
            Self::Low => 1,
            Self::Medium => 2,
            Self::High => 3,
            Self::Urgent => 4,
        }
    }
}

impl FromStr for Priority {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let all = [Self::Low, Self::Medium, Self::High, Self::Urgent];
        all.into_iter().find(|priority| priority.as_str() == text).ok_or("must be low, medium, high or urgent")
    }
}

/// A reminder of a task.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Reminder {
    /// In the path of `/v1/reminders/{id}`.
    pub id: Uuid,
    /// When it fires. For a relative reminder, computed from the current due time.
    pub remind_at: DateTime<Utc>,
    /// How long before the due time (ISO 8601).
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = "PT15M")]
    pub before_due: Option<String>,
    /// How the message is sent: `email` or `push`.
    pub channels: Vec<String>,
    /// Whether it is still to be sent, and if not, why.
    pub state: ReminderState,
    /// Why it is cancelled.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cancel_reason: Option<CancelReason>,
    /// Its time has passed and it has not fired yet. It fires at once.
    pub overdue: bool,
    /// Raised whenever its instant changes, and whenever it becomes live or ceases to be.
    pub version: i32,
    /// Whether this version has fired.
    #[serde(skip_serializing, default)]
    #[schema(ignore)]
    pub fired: bool,
}

/// How a task repeats.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[schema(as = Recurrence)]
pub(crate) struct Repeats {
    #[serde(rename = "type")]
    pub(crate) kind: Kind,
    /// The number of days, weeks, months or years from one occurrence to the next. 1 beside a rule.
    #[schema(minimum = 1, maximum = 999)]
    pub(crate) interval: u32,
    /// RFC 5545. Only with `custom`.
    #[schema(example = "FREQ=MONTHLY;BYDAY=-1FR")]
    pub(crate) rule: Option<String>,
    pub(crate) anchor: Anchor,
}

impl From<&Recurrence> for Repeats {
    fn from(recurrence: &Recurrence) -> Self {
        Self {
            kind: recurrence.kind(),
            interval: recurrence.interval(),
            rule: recurrence.rule().map(ToString::to_string),
            anchor: recurrence.anchor(),
        }
    }
}

impl Repeats {
    pub(crate) fn parse(&self) -> Result<Recurrence, RecurrenceError> {
        Recurrence::new(self.kind, self.interval, self.rule.as_deref(), self.anchor)
    }
}

impl Task {
    /// The task as an event names it.
    pub(crate) fn reference(&self) -> TaskRef {
        TaskRef { task_id: self.id, user_id: self.inner.user_id, title: self.title.clone(), version: self.version }
    }

    /// Whether every command since this version would have shown this task: no function and no clock has changed a reminder.
    pub(crate) fn follows_from_its_version(&self) -> bool {
        let is_as_commanded = |reminder: &Reminder| {
            !reminder.overdue && matches!(reminder.state, ReminderState::Scheduled | ReminderState::Cancelled)
        };
        self.reminders.iter().all(is_as_commanded)
    }

    /// The task's zone. A name that this version's time zone database lacks counts as UTC.
    pub(crate) fn zone(&self) -> Zone {
        Zone::parse(&self.time_zone).unwrap_or_else(|_| Zone::utc())
    }
}

/// Locks a task and its reminders until the transaction ends, and then reads them. A function that marks a reminder as sent does so
/// before or after the command, never in between. Reminders that the user cancelled are final and are not locked; there may be many.
pub(crate) async fn lock(conn: &mut PgConnection, user_id: Uuid, id: Uuid) -> Result<Task> {
    sqlx::query!(
        "with task as (
             select id from tasks where id = $1 and user_id = $2 for no key update
         ), reminder as (
             select id from task_reminders
             where task_id = (select id from task) and cancel_reason is distinct from 'user'
             order by id for no key update
         )
         select id, (select count(*) from reminder) as reminders from task",
        id,
        user_id
    )
    .fetch_one(&mut *conn)
    .await?;
    load(conn, user_id, id).await
}

/// Reads one task.
pub(crate) async fn load(conn: &mut PgConnection, user_id: Uuid, id: Uuid) -> Result<Task> {
    load_all(conn, user_id, &[id]).await?.pop().ok_or(Problem::NotFound)
}

/// Reads tasks, in the order of `ids`.
pub(crate) async fn load_all(conn: &mut PgConnection, user_id: Uuid, ids: &[Uuid]) -> sqlx::Result<Vec<Task>> {
    let rows = sqlx::query!(
        r#"
        select task.id, title, description, completed, completed_at, priority, due_at,
               coalesce(time_zone, 'UTC') as "time_zone!", recurrence_type, recurrence_interval, recurrence_rule,
               recurrence_anchor, recurrence_start, series_id, occurrence, next_occurrence_at,
               series_values,
               coalesce(version, 1) as "version!", created_at, updated_at,
               array(select name from task_tag_associations
                     join task_tags on task_tags.id = tag_id
                     where task_id = task.id order by name collate "C") as "tags!",
               (select coalesce(jsonb_agg(jsonb_build_object(
                           'id', id, 'remind_at', remind_at, 'before_due', before_due, 'channels', channels,
                           'state', state, 'cancel_reason', cancel_reason, 'version', version,
                           'fired', fired_version is not distinct from version,
                           'overdue', reminder_is_live(state, version, fired_version)
                                      and remind_at <= clock_timestamp())
                       order by remind_at, id), '[]')
                from task_reminders
                where task_id = task.id and cancel_reason is distinct from 'user') as "reminders!: Json<Vec<Reminder>>",
               clock_timestamp() as "now!"
        from unnest($1::uuid[]) with ordinality as wanted (id, place)
        join tasks task on task.id = wanted.id
        where user_id = $2
        order by place
        "#,
        ids,
        user_id
    )
    .fetch_all(conn)
    .await?;
    let tasks = rows.into_iter().map(|row| {
        let mut has_newer_words = false;
        let priority = known(row.priority, &mut has_newer_words).unwrap_or_default();
        let anchor = known(row.recurrence_anchor, &mut has_newer_words).unwrap_or_default();
        let recurrence = known(row.recurrence_type, &mut has_newer_words).map(|kind| Repeats {
            kind,
            interval: row.recurrence_interval.and_then(|interval| interval.try_into().ok()).unwrap_or(1),
            rule: row.recurrence_rule,
            anchor,
        });
        let series_values = serde_json::from_value(row.series_values.unwrap_or_else(|| json!({})));
        has_newer_words |= series_values.is_err();
        Task {
            id: row.id,
            title: row.title,
            description: row.description,
            completed: row.completed,
            completed_at: row.completed_at,
            priority,
            due_at: row.due_at,
            time_zone: row.time_zone,
            tags: row.tags,
            reminders: row.reminders.0,
            recurrence,
            next_occurrence_at: row.next_occurrence_at,
            version: row.version,
            created_at: row.created_at,
            updated_at: row.updated_at,
            inner: Inner {
                user_id,
                recurrence_start: row.recurrence_start,
                series_id: row.series_id,
                occurrence: row.occurrence,
                series_values: series_values.unwrap_or_default(),
                has_newer_words,
                now: row.now,
            },
        }
    });
    Ok(tasks.collect())
}

/// The ids of tasks, in the order of `ids`, each with the bytes of its long texts. What else a task has is at most a few kilobytes.
pub(crate) async fn sizes(conn: &mut PgConnection, user_id: Uuid, ids: &[Uuid]) -> sqlx::Result<Vec<(Uuid, i64)>> {
    let rows = sqlx::query!(
        r#"
        select task.id, octet_length(title)::bigint + coalesce(octet_length(description), 0)
                        + coalesce(octet_length(series_values::text), 0) as "bytes!"
        from unnest($1::uuid[]) with ordinality as wanted (id, place)
        join tasks task on task.id = wanted.id
        where user_id = $2
        order by place
        "#,
        ids,
        user_id
    )
    .fetch_all(conn)
    .await?;
    Ok(rows.into_iter().map(|row| (row.id, row.bytes)).collect())
}

/// The word in a column; `None` for one of a newer release, which is noted.
fn known<T: FromStr>(word: Option<String>, has_newer_words: &mut bool) -> Option<T> {
    let parsed = word?.parse().ok();
    *has_newer_words |= parsed.is_none();
    parsed
}
