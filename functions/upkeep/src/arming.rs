//! Arming: reminders that must have a job and may have none.
//!
//! - [`near`], part of repair: of reminders due within two repair intervals, asks the scheduler which jobs are missing. So a scheduler that
//!   lost its data delays a reminder by at most one interval. Overdue reminders get a new job: a scheduler whose clock was ahead and is put
//!   right holds jobs that call late.
//! - [`entering`], part of repair and of `upkeep`'s own job every 6 hours: arms reminders within the arming window whose `armed_version` is
//!   not their version. It asks the database alone, which keeps such rows in a partial index.
//! - [`take_over`], once per database: deletes the jobs that releases before `alarm` armed at `reminder-due`.
//!
//! Each step is idempotent. Two processes that arm the same version schedule the same job.

use chrono::{DateTime, TimeDelta, Utc};
use shared::{
    App,
    reminder::{ARMING_WINDOW_HOURS, ReminderJob, ReminderJobName, record_armed},
};
use sqlx::PgExecutor;
use tokio::task::JoinSet;
use uuid::Uuid;

use crate::repair::Settings;

/// Calls to the scheduler at a time.
pub(crate) const AT_ONCE: usize = 32;
/// The job of a reminder that is overdue by this is replaced.
const LATE: TimeDelta = TimeDelta::minutes(1);
/// Maximum rows of one query.
const PAGE: i64 = 10_000;
/// An instant before that of every reminder.
const BEGINNING: DateTime<Utc> = DateTime::from_timestamp(-100_000_000_000, 0).unwrap();

/// Arms the reminders due within two repair intervals that have no job, and those that are overdue. Returns how many there were.
///
/// # Errors
/// The first job that could not be armed, or the database is unavailable.
pub async fn near(app: &App, now: DateTime<Utc>, settings: &Settings) -> anyhow::Result<u64> {
    let mut armed = Armed::default();
    loop {
        let jobs = due(&app.db, now, settings, armed.last.as_ref()).await?;
        if jobs.is_empty() {
            return armed.result();
        }
        armed.page(app, jobs, Call::IfMissingOrLate { now }).await?;
    }
}

/// Arms the reminders within the arming window that were not armed in this version. Returns how many there were.
///
/// # Errors
/// The first job that could not be armed, or the database is unavailable.
pub async fn entering(app: &App, now: DateTime<Utc>) -> anyhow::Result<u64> {
    let mut armed = Armed::default();
    loop {
        let jobs = unarmed(&app.db, now, armed.last.as_ref()).await?;
        if jobs.is_empty() {
            return armed.result();
        }
        armed.page(app, jobs, Call::Replace).await?;
    }
}

/// Deletes the jobs that older releases armed at `reminder-due`, once; the mark `alarm-took-over` remembers it and has its time.
///
/// Call it after [`near`] and [`entering`] have succeeded: `alarm` then has a job for every reminder that is due soon. During a rollout a
/// process of the older release may arm a job after they read the rows. So [`entering`] runs again after the deletion; whatever was deleted
/// belongs to a row that was committed before.
///
/// After a rollback the older release's repair arms at `reminder-due` again, within two intervals of the instant. The mark stays, so after the
/// next upgrade the jobs it armed are not deleted. They are called at `reminder-due`, and `alarm` fires each version once.
///
/// # Errors
/// The scheduler or the database is unavailable; the next repair tries again.
pub async fn take_over(app: &App, now: DateTime<Utc>) -> anyhow::Result<()> {
    if app.config.alarm_endpoint() == app.config.reminder_due_endpoint() {
        return Ok(()); // One daprd for all functions: the jobs there are the ones that `alarm` needs.
    }
    let done = sqlx::query_scalar!(r#"select exists (select from marks where name = 'alarm-took-over') as "done!""#);
    if done.fetch_one(&app.db).await? {
        return Ok(());
    }
    app.sidecar.delivery_jobs.disarm_all(ReminderJobName::PREFIX).await?;
    entering(app, now).await?;
    sqlx::query!("insert into marks values ('alarm-took-over', uuid_v7_floor(now())) on conflict do nothing")
        .execute(&app.db)
        .await?;
    tracing::info!("upkeep: alarm has the jobs of all reminders, those at reminder-due are deleted");
    Ok(())
}

/// Makes up to [`AT_ONCE`] calls to the scheduler. Returns the results and the first error. If all fail, the scheduler is unavailable.
pub(crate) async fn at_once<T: Send + 'static>(
    calls: impl IntoIterator<Item = impl Future<Output = anyhow::Result<T>> + Send + 'static>,
) -> anyhow::Result<(Vec<T>, Option<anyhow::Error>)> {
    let (mut results, mut first_error) = (Vec::new(), None);
    for called in calls.into_iter().collect::<JoinSet<_>>().join_all().await {
        match called {
            Ok(result) => results.push(result),
            Err(error) => first_error = first_error.or(Some(error)),
        }
    }
    match first_error {
        Some(error) if results.is_empty() => Err(error),
        first_error => Ok((results, first_error)),
    }
}

/// How to arm a job.
#[derive(Clone, Copy)]
enum Call {
    IfMissingOrLate { now: DateTime<Utc> },
    Replace,
}

/// What has been armed so far.
#[derive(Default)]
struct Armed {
    count: u64,
    last: Option<ReminderJob>,
    first_error: Option<anyhow::Error>,
}

impl Armed {
    /// Arms a page of jobs, and records those that exist then.
    async fn page(&mut self, app: &App, jobs: Vec<ReminderJob>, call: Call) -> anyhow::Result<()> {
        for some in jobs.chunks(AT_ONCE) {
            let calls = some.iter().map(|job| {
                let (job, sidecar) = (job.clone(), app.sidecar.clone());
                async move {
                    let missing = match call {
                        Call::IfMissingOrLate { now } if job.due_at >= now - LATE => {
                            job.arm_if_missing(&sidecar).await?
                        }
                        Call::IfMissingOrLate { .. } | Call::Replace => job.arm(&sidecar).await.map(|()| true)?,
                    };
                    Ok((job, missing))
                }
            });
            let (called, error) = at_once(calls).await?;
            self.first_error = self.first_error.take().or(error);
            self.count += called.iter().filter(|(_, missing)| *missing).count() as u64;
            let exist: Vec<ReminderJob> = called.into_iter().map(|(job, _)| job).collect();
            let mut tx = app.db.begin_single().await?;
            record_armed(&mut tx, &exist).await?;
            tx.commit().await?;
        }
        self.last = jobs.into_iter().last();
        Ok(())
    }

    fn result(self) -> anyhow::Result<u64> {
        self.first_error.map_or(Ok(self.count), Err)
    }
}

/// The reminders that must have a job at `now`: due within two repair intervals, or overdue and not fired. Ordered, after `last`.
///
/// If repair were always on time, one interval would suffice: the next repair handles later reminders. The second interval covers a repair that is
/// late or missing.
///
/// # Errors
/// The database is unavailable.
pub async fn due(
    db: impl PgExecutor<'_>,
    now: DateTime<Utc>,
    settings: &Settings,
    last: Option<&ReminderJob>,
) -> sqlx::Result<Vec<ReminderJob>> {
    sqlx::query_as!(
        ReminderJob,
        "select id as reminder_id, version, remind_at as due_at from task_reminders
         where reminder_is_live(state, version, fired_version)
           and remind_at <= $1::timestamptz + make_interval(secs => $2) and (remind_at, id) > ($3, $4)
         order by remind_at, id limit $5",
        now,
        2.0 * f64::from(settings.repair_interval_seconds),
        last.map_or(BEGINNING, |last| last.due_at),
        last.map_or(Uuid::nil(), |last| last.reminder_id),
        PAGE,
    )
    .fetch_all(db)
    .await
}

/// The reminders within the arming window at `now` that were not armed in this version. Ordered, after `last`.
///
/// # Errors
/// The database is unavailable.
pub async fn unarmed(
    db: impl PgExecutor<'_>,
    now: DateTime<Utc>,
    last: Option<&ReminderJob>,
) -> sqlx::Result<Vec<ReminderJob>> {
    sqlx::query_as!(
        ReminderJob,
        "select id as reminder_id, version, remind_at as due_at from task_reminders
         where reminder_is_live(state, version, fired_version) and armed_version is distinct from version
           and remind_at <= $1::timestamptz + make_interval(hours => $2) and (remind_at, id) > ($3, $4)
         order by remind_at, id limit $5",
        now,
        ARMING_WINDOW_HOURS,
        last.map_or(BEGINNING, |last| last.due_at),
        last.map_or(Uuid::nil(), |last| last.reminder_id),
        PAGE,
    )
    .fetch_all(db)
    .await
}
