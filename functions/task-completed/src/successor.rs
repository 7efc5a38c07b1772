//! The next occurrence of a recurring task.
//!
//! Made only while the task is still completed: a reopened or deleted one has no successor yet. Each number of a series is made
//! once, whoever comes first, because `task_occurrences` keeps it.

use chrono::{DateTime, Utc};
use shared::{
    faults::crash,
    inbox::{Claimed, Failure},
    recurrence::{Recurrence, Series, Zone, carry},
    reminder::BeforeDue,
    schema::{TaskCreated, TaskRef},
};
use uuid::Uuid;

/// Makes the successor of a completed task where there is one to make, and returns its id.
///
/// # Errors
/// When the database is away, or a row holds what no command could have written.
pub(crate) async fn make(tx: &mut Claimed, task: &TaskRef) -> Result<Option<Uuid>, Failure> {
    let Some(done) = Done::read(tx, task.task_id).await? else { return Ok(None) };
    let Some(due) = done.series.next(done.due_at, done.completed_at) else { return Ok(None) };
    let first = sqlx::query!(
        "insert into task_occurrences (series_id, occurrence, task_id) values ($1, $2, $3) on conflict do nothing",
        done.series_id,
        done.occurrence + 1,
        done.successor,
    )
    .execute(tx.conn())
    .await?
    .rows_affected();
    if first == 0 {
        return Ok(None);
    }
    let reminders = reminders(tx, task.task_id, &done, due).await?;
    let next_reminder = reminders.iter().filter(|reminder| !reminder.past).map(|reminder| reminder.remind_at).min();
    sqlx::query!(
        "insert into tasks (id, user_id, title, description, priority, due_at, time_zone, series_id, occurrence, version,
                            recurrence_type, recurrence_interval, recurrence_rule, recurrence_anchor, recurrence_start,
                            next_occurrence_at, remind_at)
         select $2, user_id, title, description, priority, $3, time_zone, series_id, occurrence + 1, 1,
                recurrence_type, recurrence_interval, recurrence_rule, recurrence_anchor, recurrence_start, $4, $5
         from tasks where id = $1",
        task.task_id,
        done.successor,
        due,
        done.series.next(due, due),
        next_reminder,
    )
    .execute(tx.conn())
    .await?;
    sqlx::query!(
        "insert into task_tag_associations (task_id, tag_id)
         select $2, tag_id from task_tag_associations where task_id = $1",
        task.task_id,
        done.successor,
    )
    .execute(tx.conn())
    .await?;
    for reminder in reminders {
        sqlx::query!(
            "insert into task_reminders (id, task_id, user_id, remind_at, before_due, channels, state, cancel_reason)
             values ($1, $2, $3, $4, $5, $6, $7, $8)",
            Uuid::now_v7(),
            done.successor,
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
    let created = TaskCreated { task: TaskRef { task_id: done.successor, version: 1, ..done.task } };
    tx.emit(&created).await?;
    crash("successor-made");
    Ok(Some(done.successor))
}

/// A recurring task that is completed.
struct Done {
    task: TaskRef,
    series: Series,
    series_id: Uuid,
    occurrence: i32,
    due_at: DateTime<Utc>,
    completed_at: DateTime<Utc>,
    successor: Uuid,
}

impl Done {
    async fn read(tx: &mut Claimed, id: Uuid) -> Result<Option<Self>, Failure> {
        // `for share`: whoever reopens it meanwhile waits until the successor is there.
        let row = sqlx::query!(
            r#"select user_id, title, version as "version!", series_id as "series_id!", occurrence as "occurrence!",
                      due_at as "due_at!", completed_at as "completed_at!", recurrence_type as "kind!",
                      recurrence_interval as "interval!", recurrence_rule, recurrence_anchor as "anchor!",
                      recurrence_start as "start!", coalesce(time_zone, 'UTC') as "zone!"
               from tasks
               where id = $1 and completed and recurrence_type is not null and due_at is not null
                 and series_id is not null
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
        Ok(Some(Self {
            task: TaskRef { task_id: id, user_id: row.user_id, title: row.title, version: row.version },
            series: Series { recurrence, start: row.start, zone },
            series_id: row.series_id,
            occurrence: row.occurrence,
            due_at: row.due_at,
            completed_at: row.completed_at,
            successor: Uuid::now_v7(),
        }))
    }
}

struct Reminder {
    remind_at: DateTime<Utc>,
    before_due: Option<String>,
    channels: Vec<String>,
    past: bool,
}

/// The reminders of the successor: those of the task, each at its distance to the due time, but those its user had cancelled.
/// One whose instant has passed already stays silent on this occurrence and comes again on the next.
async fn reminders(tx: &mut Claimed, task: Uuid, done: &Done, due: DateTime<Utc>) -> Result<Vec<Reminder>, Failure> {
    let rows = sqlx::query!(
        r#"select remind_at, before_due, channels, clock_timestamp() as "now!" from task_reminders
           where task_id = $1 and cancel_reason is distinct from 'user' and cancel_reason is distinct from 'due_removed'
           order by remind_at, id"#,
        task
    )
    .fetch_all(tx.conn())
    .await?;
    let zone = &done.series.zone;
    let moved = rows.into_iter().map(|row| {
        let relative = row.before_due.as_deref().and_then(|text| BeforeDue::parse(text).ok());
        let remind_at = relative
            .and_then(|before| before.resolve(due, zone))
            .unwrap_or_else(|| carry(zone, done.due_at, due, row.remind_at));
        Reminder { remind_at, before_due: row.before_due, channels: row.channels, past: remind_at <= row.now }
    });
    Ok(moved.collect())
}
