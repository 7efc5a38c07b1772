//! The next occurrence of a recurring task.
//!
//! [`decide`] computes it from the current row. A successor is created only while the task is completed, not after it was reopened or
//! deleted. Each number of a series is created at most once, because `task_occurrences` has a row for it.
//!
//! A change of one occurrence leaves the later ones as they were. `tasks.series_values` has the series' values of the columns that were
//! changed for this occurrence alone, and is laid over the row. An absolute reminder keeps the distance to the due time that its user set,
//! although it was snoozed or the due time moved.

use chrono::{DateTime, Utc};
use shared::{
    faults::crash,
    inbox::{Claimed, HandlerError},
    recurrence::{Recurrence, Series, Zone, carry},
    reminder::{BeforeDue, CancelReason, ReminderState},
    schema::{TaskCreated, TaskRef},
    search_text, tag,
};
use sqlx::{PgConnection, types::Json};
use uuid::Uuid;

/// A recurring task that an event says was completed.
struct CompletedTask {
    task: TaskRef,
    series_id: Uuid,
    occurrence: Occurrence,
    reminders: Vec<OldReminder>,
    /// Of the series' title and description.
    search_text: String,
    /// The series' tags, if those of this occurrence alone were changed.
    tags: Option<Vec<String>>,
    now: DateTime<Utc>,
}

/// An occurrence of a series.
struct Occurrence {
    series: Series,
    number: i32,
    /// When the rule makes it due, whether or not it was moved.
    due_at: DateTime<Utc>,
    /// `None` if it was reopened.
    completed_at: Option<DateTime<Utc>>,
}

/// A reminder of the completed task.
struct OldReminder {
    /// Where its user set it, whether or not it was snoozed since.
    remind_at: DateTime<Utc>,
    /// The due time that it was set for.
    due_at: DateTime<Utc>,
    before_due: Option<String>,
    channels: Vec<String>,
    cancel_reason: Option<CancelReason>,
}

/// The next occurrence.
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
    /// The instant and the due time that later occurrences count from, if `remind_at` has another distance: the clock skips its local time
    /// on this day, or shows it twice.
    set: Option<(DateTime<Utc>, DateTime<Utc>)>,
    /// Its instant has passed. It is created as cancelled, so that the occurrence after this one has it again.
    has_passed: bool,
}

/// Decides which occurrence follows, if any, and its reminders.
///
/// It gets the reminders of the task, each at the distance to the due time that its user set. Those that the user cancelled, or that were
/// cancelled because the due time was removed, are left out.
fn decide(done: &Occurrence, reminders: &[OldReminder], now: DateTime<Utc>) -> Option<Successor> {
    let Occurrence { series, number, due_at, completed_at } = done;
    let next = series.next(*due_at, (*completed_at)?)?;
    let left_out = |old: &OldReminder| matches!(old.cancel_reason, Some(CancelReason::User | CancelReason::DueRemoved));
    let reminders = reminders.iter().filter(|old| !left_out(old)).map(|old| {
        let relative = old.before_due.as_deref().and_then(|text| BeforeDue::parse(text).ok());
        let remind_at = relative
            .and_then(|before| before.resolve(next, &series.zone))
            .unwrap_or_else(|| carry(&series.zone, old.due_at, next, old.remind_at));
        let back = carry(&series.zone, next, old.due_at, remind_at);
        let set = (old.before_due.is_none() && back != old.remind_at).then_some((old.remind_at, old.due_at));
        let (before_due, channels) = (old.before_due.clone(), old.channels.clone());
        Reminder { remind_at, before_due, channels, set, has_passed: remind_at <= now }
    });
    Some(Successor {
        number: number + 1,
        due_at: next,
        next_occurrence_at: series.next(next, next),
        reminders: reminders.collect(),
    })
}

/// Creates the successor of a completed task, if it is to have one that does not exist yet. Returns its id.
pub(crate) async fn create(tx: &mut Claimed, task: &TaskRef) -> Result<Option<Uuid>, HandlerError> {
    let Some(done) = CompletedTask::read(tx, task.task_id).await? else { return Ok(None) };
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
        next.reminders.iter().filter(|reminder| !reminder.has_passed).map(|reminder| reminder.remind_at).min();
    sqlx::query!(
        "insert into tasks (id, user_id, title, description, priority, due_at, time_zone, series_id, occurrence, version,
                            recurrence_type, recurrence_interval, recurrence_rule, recurrence_anchor, recurrence_start,
                            next_occurrence_at, remind_at, search_text)
         select $2, series.user_id, series.title, series.description, series.priority, $3, series.time_zone,
                series.series_id, series.occurrence + 1, 1, series.recurrence_type, series.recurrence_interval,
                series.recurrence_rule, series.recurrence_anchor, series.recurrence_start, $4, $5, $6
         from tasks, jsonb_populate_record(tasks, series_values) as series
         where tasks.id = $1",
        task.task_id,
        id,
        next.due_at,
        next.next_occurrence_at,
        next_reminder,
        done.search_text,
    )
    .execute(tx.conn())
    .await?;
    match &done.tags {
        Some(names) => add_tags(tx.conn(), done.task.user_id, id, names).await?,
        None => copy_tags(tx.conn(), task.task_id, id).await?,
    }
    for reminder in next.reminders {
        sqlx::query!(
            "insert into task_reminders (id, task_id, user_id, remind_at, before_due, channels, state, cancel_reason,
                                         series_remind_at, series_due_at)
             values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)",
            Uuid::now_v7(),
            id,
            done.task.user_id,
            reminder.remind_at,
            reminder.before_due,
            &reminder.channels,
            if reminder.has_passed { ReminderState::Cancelled } else { ReminderState::Scheduled }.as_str(),
            reminder.has_passed.then_some(CancelReason::Completed.as_str()),
            reminder.set.map(|(at, _)| at),
            reminder.set.map(|(_, due)| due),
        )
        .execute(tx.conn())
        .await?;
    }
    let created = TaskCreated { task: TaskRef { task_id: id, version: 1, ..done.task } };
    tx.emit(&created).await?;
    crash("successor-made");
    Ok(Some(id))
}

/// Adds tags by name. One that no task has anymore may be deleted, so it is made again.
async fn add_tags(conn: &mut PgConnection, user_id: Uuid, task_id: Uuid, names: &[String]) -> sqlx::Result<()> {
    let names: Vec<_> = names.iter().map(|name| tag::nfc(name)).collect();
    tag::insert(conn, user_id, &names).await?;
    sqlx::query!(
        "insert into task_tag_associations (task_id, tag_id)
         select $1, id from task_tags where user_id = $2 and name = any($3)",
        task_id,
        user_id,
        &names,
    )
    .execute(conn)
    .await?;
    Ok(())
}

async fn copy_tags(conn: &mut PgConnection, from: Uuid, to: Uuid) -> sqlx::Result<()> {
    sqlx::query!(
        "insert into task_tag_associations (task_id, tag_id)
         select $2, tag_id from task_tag_associations where task_id = $1",
        from,
        to,
    )
    .execute(conn)
    .await?;
    Ok(())
}

impl CompletedTask {
    async fn read(tx: &mut Claimed, id: Uuid) -> Result<Option<Self>, HandlerError> {
        // First the usage, which the successor will change, and then the task, as a command locks them.
        sqlx::query!("select lock_user_usage(user_id) from tasks where id = $1 and recurrence_type is not null", id)
            .fetch_optional(tx.conn())
            .await?;
        // A command that reopens the task waits until the successor exists. This is a statement of its own because one that waited for a
        // lock sees the new row, but `series` below as computed from the old one.
        let recurs = sqlx::query!("select from tasks where id = $1 and recurrence_type is not null for share", id);
        if recurs.fetch_optional(tx.conn()).await?.is_none() {
            return Ok(None);
        }
        let row = sqlx::query!(
            r#"select series.user_id as "user_id!", series.title as "title!", series.description,
                      series.version as "version!", series.series_id as "series_id!", series.occurrence as "occurrence!",
                      series.due_at as "due_at!", tasks.due_at as "moved_to!", series.completed as "completed!", series.completed_at,
                      series.recurrence_type as "kind!", series.recurrence_interval as "interval!", series.recurrence_rule,
                      series.recurrence_anchor as "anchor!", series.recurrence_start as "start!",
                      coalesce(series.time_zone, 'UTC') as "zone!", tasks.series_values->'tags' as "tags: Json<Vec<String>>",
                      clock_timestamp() as "now!"
               from tasks, jsonb_populate_record(tasks, series_values) as series
               where tasks.id = $1 and tasks.due_at is not null and tasks.series_id is not null"#,
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
        let recurrence = recurrence.map_err(HandlerError::Failed)?;
        let zone = Zone::parse(&row.zone).map_err(|error| HandlerError::Failed(error.into()))?;
        let reminders = sqlx::query_as!(
            OldReminder,
            r#"select coalesce(series_remind_at, remind_at) as "remind_at!", coalesce(series_due_at, $2) as "due_at!",
                      before_due, channels, cancel_reason as "cancel_reason: CancelReason"
               from task_reminders
               where task_id = $1 order by remind_at, id"#,
            id,
            row.moved_to
        )
        .fetch_all(tx.conn())
        .await?;
        Ok(Some(Self {
            search_text: search_text::of_task(&row.title, row.description.as_deref()),
            tags: row.tags.map(|Json(names)| names),
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
