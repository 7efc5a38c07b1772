//! `task_versions`: the content that a task had before each command that changed or deleted it. The current content is in `tasks`.
//!
//! `history` compares versions, `restore` brings one back. Upkeep deletes a version 30 days after it was replaced.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use shared::problem::Result;
use sqlx::{PgConnection, types::Json};
use uuid::Uuid;

use crate::{
    change::NEWER,
    series::SeriesValues,
    task::{Inner, Priority, Reminder, Repeats, Task},
};

/// How many versions of a task are kept.
pub(crate) const KEPT: i64 = 1_000;
/// Versions that are read at a time. Each may have a long text.
const AT_ONCE: i64 = 25;

/// What `history` compares: the fields of a task that commands change, under the names that they have in answers.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Content {
    title: String,
    description: Option<String>,
    completed: bool,
    priority: Priority,
    due_at: Option<DateTime<Utc>>,
    time_zone: String,
    tags: Vec<String>,
    reminders: Vec<Remind>,
    recurrence: Option<Repeats>,
}

/// A reminder without its state, which functions change too.
#[derive(Debug, Serialize, Deserialize)]
struct Remind {
    id: Uuid,
    remind_at: DateTime<Utc>,
    before_due: Option<String>,
    channels: Vec<String>,
}

/// `task_versions.snapshot`: all that brings a task back. A field that is added later has a default, for the versions that lack it.
#[derive(Debug, Serialize, Deserialize)]
struct Snapshot {
    content: Content,
    reminders: Vec<Reminder>,
    completed_at: Option<DateTime<Utc>>,
    created_at: DateTime<Utc>,
    recurrence_start: Option<DateTime<Utc>>,
    series_id: Option<Uuid>,
    occurrence: Option<i32>,
    series_values: SeriesValues,
}

/// A kept version of one of the user's tasks, as an export has it.
#[derive(Serialize)]
pub(crate) struct OwnVersion {
    task_id: Uuid,
    version: i64,
    /// When a command replaced it.
    replaced_at: DateTime<Utc>,
    content: Value,
}

impl OwnVersion {
    /// Its place among the versions of the user.
    pub(crate) fn place(&self) -> (Uuid, i64) {
        (self.task_id, self.version)
    }
}

/// A version of a task that is kept.
pub(crate) struct Kept {
    /// The task as it was, read now.
    pub(crate) task: Task,
    /// When the last command replaced a version of the task.
    pub(crate) last_command_at: DateTime<Utc>,
}

impl From<&Task> for Content {
    fn from(task: &Task) -> Self {
        let remind = |reminder: &Reminder| Remind {
            id: reminder.id,
            remind_at: reminder.remind_at,
            before_due: reminder.before_due.clone(),
            channels: reminder.channels.clone(),
        };
        Self {
            title: task.title.clone(),
            description: task.description.clone(),
            completed: task.completed,
            priority: task.priority,
            due_at: task.due_at,
            time_zone: task.time_zone.clone(),
            tags: task.tags.clone(),
            reminders: task.reminders.iter().map(remind).collect(),
            recurrence: task.recurrence.clone(),
        }
    }
}

impl From<&Task> for Snapshot {
    fn from(task: &Task) -> Self {
        let Inner { recurrence_start, series_id, occurrence, series_values, .. } = task.inner.clone();
        Self {
            content: task.into(),
            reminders: task.reminders.clone(),
            completed_at: task.completed_at,
            created_at: task.created_at,
            recurrence_start,
            series_id,
            occurrence,
            series_values,
        }
    }
}

/// Keeps the content of a task that a command replaces. Deletes the content of versions before the last [`KEPT`].
pub(crate) async fn keep(conn: &mut PgConnection, task: &Task) -> sqlx::Result<()> {
    // Of a value of a newer release the task shows a default.
    if task.inner.has_newer_words {
        return Ok(());
    }
    sqlx::query!(
        "with old as (
             delete from task_versions where user_id = $1 and task_id = $2 and version <= $3 - $6::bigint
         )
         insert into task_versions (user_id, task_id, version, snapshot, replaced_at) values ($1, $2, $3, $4, $5)
         -- A writer that knows no versions can set one back.
         on conflict do nothing",
        task.inner.user_id,
        task.id,
        task.version,
        Json(Snapshot::from(task)) as _,
        // When the task was locked: what fired before that is not brought back.
        task.inner.now,
        KEPT
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Reads kept versions of all tasks of a user after a place, task by task, each oldest first.
pub(crate) async fn of_user(
    conn: &mut PgConnection,
    user_id: Uuid,
    (task_id, version): (Uuid, i64),
) -> sqlx::Result<Vec<OwnVersion>> {
    let versions = sqlx::query_as!(
        OwnVersion,
        r#"select task_id, version, replaced_at, snapshot->'content' as "content!" from task_versions
           where user_id = $1 and (task_id, version) > ($2, $3)
           order by task_id, version limit $4"#,
        user_id,
        task_id,
        version,
        AT_ONCE
    );
    versions.fetch_all(conn).await
}

/// Reads a version of a task, or the last one. `None` if it is not kept.
pub(crate) async fn read(
    conn: &mut PgConnection,
    user_id: Uuid,
    id: Uuid,
    version: Option<i64>,
) -> Result<Option<Kept>> {
    let row = sqlx::query!(
        r#"select version, snapshot, clock_timestamp() as "now!",
                  (select max(replaced_at) from task_versions where user_id = $1 and task_id = $2) as "last_command_at!"
           from task_versions
           where user_id = $1 and task_id = $2 and ($3::bigint is null or version = $3)
             and replaced_at > now() - interval '30 days'
           order by version desc limit 1"#,
        user_id,
        id,
        version
    )
    .fetch_optional(conn)
    .await?;
    let Some(row) = row else { return Ok(None) };
    let Snapshot {
        content,
        reminders,
        completed_at,
        created_at,
        recurrence_start,
        series_id,
        occurrence,
        series_values,
    } = serde_json::from_value(row.snapshot).map_err(|_| NEWER)?;
    let inner =
        Inner { user_id, recurrence_start, series_id, occurrence, series_values, has_newer_words: false, now: row.now };
    let task = Task {
        id,
        title: content.title,
        description: content.description,
        completed: content.completed,
        completed_at,
        priority: content.priority,
        due_at: content.due_at,
        time_zone: content.time_zone,
        tags: content.tags,
        reminders,
        recurrence: content.recurrence,
        next_occurrence_at: None,
        version: row.version,
        created_at,
        updated_at: row.last_command_at,
        inner,
    };
    if task.recurrence.is_some() && task.written().recurrence.is_none() {
        return Err(NEWER);
    }
    Ok(Some(Kept { task, last_command_at: row.last_command_at }))
}
