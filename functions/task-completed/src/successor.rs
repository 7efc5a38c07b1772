//! The next occurrence of a recurring task.
//!
//! [`decide`] says which it is and what reminds of it; it goes by the row alone. Made only while the task is still completed: a
//! reopened or deleted one has no successor yet. Each number of a series is made once, whoever comes first, because
//! `task_occurrences` keeps it.

use chrono::{DateTime, Utc};
use shared::{
    faults::crash,
    inbox::{Claimed, Failure},
    recurrence::{Recurrence, Series, Zone, carry},
    reminder::BeforeDue,
    schema::{TaskCreated, TaskRef},
};
use uuid::Uuid;

/// A recurring task whose completion was told.
struct Done {
    task: TaskRef,
    series_id: Uuid,
    occurrence: Occurrence,
    reminders: Vec<Kept>,
    now: DateTime<Utc>,
}

/// An occurrence of a series.
struct Occurrence {
    series: Series,
    number: i32,
    due_at: DateTime<Utc>,
    /// While it is completed.
    completed_at: Option<DateTime<Utc>>,
}

/// A reminder of a task as its completion left it.
struct Kept {
    remind_at: DateTime<Utc>,
    before_due: Option<String>,
    channels: Vec<String>,
    cancel_reason: Option<String>,
}

/// The occurrence that follows.
#[derive(Debug, PartialEq)]
struct Successor {
    number: i32,
    due_at: DateTime<Utc>,
    next_occurrence_at: Option<DateTime<Utc>>,
    reminders: Vec<Reminder>,
}

/// A reminder of the successor.
#[derive(Debug, PartialEq)]
struct Reminder {
    remind_at: DateTime<Utc>,
    before_due: Option<String>,
    channels: Vec<String>,
    /// Its instant has passed already: it stays silent on this occurrence and comes again on the next.
    past: bool,
}

/// Decides which occurrence follows, if one does, and with which reminders: those of the task, each at its distance to the due
/// time, but those its user had cancelled.
fn decide(done: &Occurrence, reminders: &[Kept], now: DateTime<Utc>) -> Option<Successor> {
    let Occurrence { series, number, due_at, completed_at } = done;
    let next = series.next(*due_at, (*completed_at)?)?;
    let cancelled = |kept: &Kept| matches!(kept.cancel_reason.as_deref(), Some("user" | "due_removed"));
    let reminders = reminders.iter().filter(|kept| !cancelled(kept)).map(|kept| {
        let relative = kept.before_due.as_deref().and_then(|text| BeforeDue::parse(text).ok());
        let remind_at = relative
            .and_then(|before| before.resolve(next, &series.zone))
            .unwrap_or_else(|| carry(&series.zone, *due_at, next, kept.remind_at));
        let (before_due, channels) = (kept.before_due.clone(), kept.channels.clone());
        Reminder { remind_at, before_due, channels, past: remind_at <= now }
    });
    Some(Successor {
        number: number + 1,
        due_at: next,
        next_occurrence_at: series.next(next, next),
        reminders: reminders.collect(),
    })
}

/// Makes the successor of a completed task where there is one to make, and returns its id.
///
/// # Errors
/// When the database is away, or a row holds what no command could have written.
pub(crate) async fn make(tx: &mut Claimed, task: &TaskRef) -> Result<Option<Uuid>, Failure> {
    let Some(done) = Done::read(tx, task.task_id).await? else { return Ok(None) };
    let Some(next) = decide(&done.occurrence, &done.reminders, done.now) else { return Ok(None) };
    let id = Uuid::now_v7();
    let first = sqlx::query!(
        "insert into task_occurrences (series_id, occurrence, task_id) values ($1, $2, $3) on conflict do nothing",
        done.series_id,
        next.number,
        id,
    )
    .execute(tx.conn())
    .await?
    .rows_affected();
    if first == 0 {
        return Ok(None);
    }
    let next_reminder =
        next.reminders.iter().filter(|reminder| !reminder.past).map(|reminder| reminder.remind_at).min();
    sqlx::query!(
        "insert into tasks (id, user_id, title, description, priority, due_at, time_zone, series_id, occurrence, version,
                            recurrence_type, recurrence_interval, recurrence_rule, recurrence_anchor, recurrence_start,
                            next_occurrence_at, remind_at)
         select $2, user_id, title, description, priority, $3, time_zone, series_id, occurrence + 1, 1,
                recurrence_type, recurrence_interval, recurrence_rule, recurrence_anchor, recurrence_start, $4, $5
         from tasks where id = $1",
        task.task_id,
        id,
        next.due_at,
        next.next_occurrence_at,
        next_reminder,
    )
    .execute(tx.conn())
    .await?;
    sqlx::query!(
        "insert into task_tag_associations (task_id, tag_id)
         select $2, tag_id from task_tag_associations where task_id = $1",
        task.task_id,
        id,
    )
    .execute(tx.conn())
    .await?;
    for reminder in next.reminders {
        sqlx::query!(
            "insert into task_reminders (id, task_id, user_id, remind_at, before_due, channels, state, cancel_reason)
             values ($1, $2, $3, $4, $5, $6, $7, $8)",
            Uuid::now_v7(),
            id,
            done.task.user_id,
            reminder.remind_at,
            reminder.before_due,
            &reminder.channels,
            if reminder.past { "cancelled" } else { "scheduled" },
            reminder.past.then_some("completed"),
        )
        .execute(tx.conn())
        .await?;
    }
    let created = TaskCreated { task: TaskRef { task_id: id, version: 1, ..done.task } };
    tx.emit(&created).await?;
    crash("successor-made");
    Ok(Some(id))
}

impl Done {
    async fn read(tx: &mut Claimed, id: Uuid) -> Result<Option<Self>, Failure> {
        // `for share`: whoever reopens it meanwhile waits until the successor is there.
        let row = sqlx::query!(
            r#"select user_id, title, version as "version!", series_id as "series_id!", occurrence as "occurrence!",
                      due_at as "due_at!", completed, completed_at, recurrence_type as "kind!",
                      recurrence_interval as "interval!", recurrence_rule, recurrence_anchor as "anchor!",
                      recurrence_start as "start!", coalesce(time_zone, 'UTC') as "zone!", clock_timestamp() as "now!"
               from tasks
               where id = $1 and recurrence_type is not null and due_at is not null and series_id is not null
               for share"#,
            id
        )
        .fetch_optional(tx.conn())
        .await?;
        let Some(row) = row else { return Ok(None) };
        let recurrence = (|| {
            let interval = u32::try_from(row.interval)?;
            Recurrence::new(row.kind.parse()?, interval, row.recurrence_rule.as_deref(), row.anchor.parse()?)
                .map_err(anyhow::Error::from)
        })();
        let recurrence = recurrence.map_err(Failure::Fault)?;
        let zone = Zone::parse(&row.zone).map_err(|error| Failure::Fault(error.into()))?;
        let reminders = sqlx::query_as!(
            Kept,
            "select remind_at, before_due, channels, cancel_reason from task_reminders
             where task_id = $1 order by remind_at, id",
            id
        )
        .fetch_all(tx.conn())
        .await?;
        Ok(Some(Self {
            task: TaskRef { task_id: id, user_id: row.user_id, title: row.title, version: row.version },
            series_id: row.series_id,
            occurrence: Occurrence {
                series: Series { recurrence, start: row.start, zone },
                number: row.occurrence,
                due_at: row.due_at,
                completed_at: row.completed_at.filter(|_| row.completed),
            },
            reminders,
            now: row.now,
        }))
    }
}

#[cfg(test)]
mod tests;
