//! A job's callback becomes `reminder.due`, once per version of a reminder.
//!
//! The row decides, not the job: a version that was moved, cancelled, completed or fired meanwhile is not fired, and the clock
//! that says whether it is time is the database's.

use std::time::Duration;

use chrono::{DateTime, Utc};
use serde_json::json;
use shared::{
    App,
    audit::{self, ReminderRef},
    event::Trace,
    faults::{broken, crash},
    inbox::Failure,
    outbox,
    reminder::ReminderJob,
    schema::{ReminderDue, TaskRef},
};
use sqlx::PgConnection;
use uuid::Uuid;

/// A callback that comes early by less than this waits; an earlier one has its job armed again.
const WAIT: chrono::Duration = chrono::Duration::seconds(5);
/// How often a row that changes, or a clock that is not there yet, is looked at before the job is called again.
const LOOKS: usize = 10;

/// A reminder as the callback of a job finds it, and the time by the clock of the database.
#[derive(Clone, Debug, Default)]
pub struct Row {
    /// Its task.
    pub task_id: Uuid,
    /// Whose it is.
    pub user_id: Uuid,
    /// Raised whenever its instant or its liveness changed.
    pub version: i32,
    /// As stored: `scheduled` while it is live.
    pub state: String,
    /// Why it is cancelled, if it is.
    pub cancel_reason: Option<String>,
    /// The version that was fired last.
    pub fired_version: Option<i32>,
    /// When it is due.
    pub remind_at: DateTime<Utc>,
    /// The task's title, if there is the task.
    pub title: Option<String>,
    /// The task's version, if there is the task.
    pub task_version: Option<i64>,
    /// Whether the task is completed, if there is the task.
    pub completed: Option<bool>,
    /// The trace of what last happened to the task.
    pub traceparent: Option<String>,
    /// The time by the clock of the database.
    pub now: DateTime<Utc>,
}

/// What the callback of a version does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision<'a> {
    /// It is time.
    Fire,
    /// A little early: look again after that long.
    Wait(chrono::Duration),
    /// Early: have the job come again when it is due.
    Arm,
    /// This version has fired.
    Fired,
    /// This version is not to be fired, and why.
    Skip(&'a str),
}

/// Decides what the callback of `version` does.
#[must_use]
pub fn decide(row: &Row, version: i32) -> Decision<'_> {
    let early = row.remind_at - row.now;
    match row.obstacle(version).filter(|_| !broken("no-second-look")) {
        Some("fired") => Decision::Fired,
        Some(reason) => Decision::Skip(reason),
        None if early > WAIT => Decision::Arm,
        None if early > chrono::Duration::zero() => Decision::Wait(early),
        None => Decision::Fire,
    }
}

impl Row {
    /// Why this version is not to be fired, if it is not.
    fn obstacle(&self, version: i32) -> Option<&str> {
        match self {
            _ if self.fired_version == Some(version) => Some("fired"),
            Self { cancel_reason: Some(reason), .. } => Some(reason),
            _ if self.version != version => Some("moved"),
            _ if self.state != "scheduled" => Some(&self.state),
            Self { title: None, .. } => Some("deleted"),
            Self { completed: Some(true), .. } => Some("completed"),
            _ => None,
        }
    }
}

/// Fires a version of a reminder, where it is still to be fired.
///
/// # Errors
/// When the database or the scheduler is away; the job is called again.
pub async fn fire(app: &App, id: Uuid, version: i32) -> Result<(), Failure> {
    for _ in 0..LOOKS {
        let mut conn = app.db.acquire().await?;
        let Some(row) = read(&mut conn, id).await? else {
            tracing::info!(reminder.id = %id, "reminder-due: reminder {id} is not known, its job is forgotten");
            return Ok(());
        };
        let version = if broken("no-second-look") { row.version } else { version };
        let of = ReminderRef { id, version, task_id: row.task_id, user_id: row.user_id };
        match decide(&row, version) {
            Decision::Fire => {
                if emit(app, &mut conn, of, &row).await? {
                    return Ok(());
                }
                // It changed since it was read: read it again.
            }
            Decision::Wait(early) => {
                drop(conn); // not to be kept while time passes, nor while the scheduler is asked
                tokio::time::sleep(early.to_std().unwrap_or_default() + Duration::from_millis(1)).await;
            }
            Decision::Arm => {
                drop(conn);
                let job = ReminderJob { reminder_id: id, version, due_at: row.remind_at };
                return Ok(job.arm(&app.sidecar).await?);
            }
            // A job that is called again after it has fired is no part of the story.
            Decision::Fired => {
                tracing::info!(reminder.id = %id, "reminder-due: reminder {id} version {version} has fired");
                return Ok(());
            }
            Decision::Skip(reason) => return skip(&mut conn, of, reason).await,
        }
    }
    Err(Failure::Outage(anyhow::anyhow!("the reminder changed each time it was to be fired")))
}

async fn read(conn: &mut PgConnection, id: Uuid) -> sqlx::Result<Option<Row>> {
    sqlx::query_as!(
        Row,
        r#"select reminder.task_id, reminder.user_id, reminder.version, reminder.state, cancel_reason, fired_version,
                  reminder.remind_at, title as "title?", task.version as "task_version?", completed as "completed?",
                  (select traceparent from task_events event where event.task_id = reminder.task_id
                   order by id desc limit 1) as traceparent,
                  clock_timestamp() as "now!"
           from task_reminders reminder left join tasks task on task.id = reminder.task_id
           where reminder.id = $1"#,
        id
    )
    .fetch_optional(conn)
    .await
}

async fn skip(conn: &mut PgConnection, of: ReminderRef, reason: &str) -> Result<(), Failure> {
    tracing::info!(reminder.id = %of.id, reason, "reminder-due: reminder {} version {} is not fired: {reason}", of.id, of.version);
    Ok(audit::reminder(conn, of, "reminder.skipped", json!({"reason": reason})).await?)
}

/// Fires it, or says that the row is not as it was read: a concurrent callback waits here and finds it fired. In one statement,
/// row, event and story at once: in a burst the round trips are what the last reminder waits for.
async fn emit(app: &App, conn: &mut PgConnection, of: ReminderRef, row: &Row) -> Result<bool, Failure> {
    let task = TaskRef {
        task_id: of.task_id,
        user_id: of.user_id,
        title: row.title.clone().unwrap_or_default(),
        version: row.task_version.unwrap_or_default(),
    };
    let due = ReminderDue { task, reminder_id: of.id, remind_at: row.remind_at, reminder_version: of.version };
    // In the trace of what last happened to the task: the request that set the reminder, as a rule.
    let trace = Trace::from_header(row.traceparent.as_deref());
    let event = outbox::Row::new(&due, &trace);
    crash("reminder-before-commit");
    let fired = sqlx::query_scalar!(
        r#"with fired as (
               update task_reminders set fired_version = version, fired_at = clock_timestamp()
               where id = $1 and version = $2 and state = 'scheduled'
                 and (fired_version is null or fired_version < version)
                 and remind_at = $3 and remind_at <= clock_timestamp()
               returning task_id, user_id, fired_at, (extract(epoch from fired_at - remind_at) * 1000)::bigint as late_ms
           ), event as (
               insert into task_events (id, type, task_id, user_id, sequence, data, traceparent)
               select $4, $5, task_id, user_id, $6, $7, $8 from fired
           ), story as (
               insert into audit_logs (user_id, task_id, reminder_id, reminder_version, action, detail)
               select user_id, task_id, $1, $2, 'reminder.fired', $9 || jsonb_build_object('late_ms', late_ms)
               from fired on conflict do nothing
           )
           select late_ms as "late_ms!" from fired"#,
        of.id,
        of.version,
        row.remind_at,
        event.id,
        event.kind,
        event.sequence,
        event.data,
        event.traceparent,
        json!({"planned_at": row.remind_at}),
    )
    .fetch_optional(&mut *conn)
    .await?;
    let late = match fired {
        Some(late) => late,
        None if broken("no-second-look") => {
            outbox::emit(&mut *conn, &due, &trace).await?;
            let late = (row.now - row.remind_at).num_milliseconds();
            audit::reminder(conn, of, "reminder.fired", json!({"planned_at": row.remind_at, "late_ms": late})).await?;
            late
        }
        None => return Ok(false),
    };
    crash("reminder-fired");
    app.outbox.wake();
    tracing::info!(reminder.id = %of.id, late_ms = late, "reminder-due: reminder {} fired {late} ms after its time", of.id);
    Ok(true)
}
