//! Keeps the job of each reminder in line with its row.
//!
//! The row is the truth. [`align`] may run any number of times, concurrently and on old rows. If it arms a version that has passed, the
//! callback finds the newer version and does nothing; the event of the newer version aligns the job of that version. `aligned_version`
//! says which version was aligned last: an aligned reminder costs its task's events nothing.
//!
//! Only reminders due within [`ARMING_WINDOW_HOURS`] have a job, so the scheduler holds a day of jobs and not years of them. `upkeep` arms a
//! reminder when it enters the window. `armed_version` says which version was armed last.

use serde_json::{Value, json};
use sqlx::PgConnection;
use tokio::task::JoinSet;
use uuid::Uuid;

use super::{ReminderJob, ReminderJobName};
use crate::{
    App,
    inbox::HandlerError,
    sidecar::{Sidecar, SidecarError},
};

/// Reminders due within this many hours, by the database's clock, are armed.
///
/// More than a day, so that a reminder is armed in time although nothing entered the window for a day.
pub const ARMING_WINDOW_HOURS: i32 = 25;

/// Reminders of a task whose jobs are armed and deleted at a time.
const AT_ONCE: usize = 16;

/// The reminders that [`align`] brought in line at the scheduler, to be recorded in the transaction of the claim.
#[derive(Debug)]
#[must_use = "record it, or the next event of the task aligns the same reminders again"]
pub struct Aligned(Vec<Alignment>);

/// A reminder whose jobs must be brought in line with its row. It decides the calls, and the simulation makes them in virtual time.
#[derive(Clone, Debug)]
pub struct Alignment {
    /// The job of its current version.
    pub job: ReminderJob,
    /// Whether the reminder is live.
    pub live: bool,
    /// Whether the reminder is due within the arming window.
    pub near: bool,
    /// The job on record.
    pub recorded: Option<ReminderJobName>,
}

/// A call to the scheduler for a reminder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum JobCall {
    /// Arms the job of its current version.
    Arm,
    /// Deletes a job, if it exists.
    Disarm(ReminderJobName),
}

impl Alignment {
    /// Whether the reminder has a job after the calls.
    #[must_use]
    pub const fn is_armed(&self) -> bool {
        self.live && self.near
    }

    /// The calls that align it, in order.
    ///
    /// The job of the version before is deleted too: its handler may have armed it after the record was read. Jobs are deleted by name and not
    /// by prefix, because a handler that is late would delete the job of a newer version.
    #[must_use]
    pub fn calls(&self) -> Vec<JobCall> {
        let current = self.job.name();
        let before = (current.version > 1).then(|| ReminderJobName { version: current.version - 1, ..current });
        let mut unwanted: Vec<_> =
            [self.recorded, before].into_iter().flatten().filter(|name| *name != current).collect();
        if !self.live {
            unwanted.push(current);
        }
        unwanted.sort();
        unwanted.dedup();
        let arm = self.is_armed().then_some(JobCall::Arm);
        arm.into_iter().chain(unwanted.into_iter().map(JobCall::Disarm)).collect()
    }

    async fn perform(self, sidecar: Sidecar) -> Result<Self, SidecarError> {
        for call in self.calls() {
            match call {
                JobCall::Arm => self.job.arm(&sidecar).await?,
                JobCall::Disarm(name) => sidecar.reminder_jobs.disarm(&name.to_string()).await?,
            }
        }
        Ok(self)
    }
}

/// Arms the live reminders of a task that are due within the arming window, and deletes the jobs that its reminders must not have.
///
/// Reads only reminders that are not aligned in their current version, so an event costs nothing for the others, however many there are. A job
/// that the scheduler lost since then is repair's.
///
/// An effect outside the database, so it runs before the claim.
///
/// # Errors
/// The scheduler or the database is unavailable; run it again.
pub async fn align(app: &App, task_id: Uuid) -> Result<Aligned, HandlerError> {
    let rows = sqlx::query!(
        r#"select id, version, remind_at, job_id, reminder_is_live(state, version, fired_version) as "live!",
                  remind_at <= now() + make_interval(hours => $2) as "near!"
           from task_reminders where task_id = $1 and aligned_version is distinct from version
           order by "live!" desc, id"#, // many cancelled ones never delay one that is due
        task_id,
        ARMING_WINDOW_HOURS,
    )
    .fetch_all(&app.db)
    .await?;
    let mut aligned = Vec::with_capacity(rows.len());
    for some in rows.chunks(AT_ONCE) {
        let mut calls = JoinSet::new();
        for row in some {
            let alignment = Alignment {
                job: ReminderJob { reminder_id: row.id, version: row.version, due_at: row.remind_at },
                live: row.live,
                near: row.near,
                recorded: row.job_id.as_deref().and_then(|name| name.parse().ok()),
            };
            calls.spawn(alignment.perform(app.sidecar.clone()));
        }
        while let Some(called) = calls.join_next().await {
            aligned.push(called.map_err(|panic| HandlerError::Failed(panic.into()))??);
        }
    }
    Ok(Aligned(aligned))
}

impl Aligned {
    /// Records which jobs exist, and that the rows are aligned, for the versions that are still current.
    ///
    /// # Errors
    /// The database is unavailable.
    pub async fn record(self, conn: &mut PgConnection) -> Result<(), HandlerError> {
        let jobs: Vec<_> = self.0.iter().map(|aligned| (&aligned.job, aligned.is_armed())).collect();
        Ok(record(conn, &jobs, true).await?)
    }
}

/// Records that jobs were armed: in the rows that still have the version of the job, and as `reminder.armed` in the audit log.
///
/// Rows that say so already are neither locked nor written.
///
/// # Errors
/// The database is unavailable.
pub async fn record_armed(conn: &mut PgConnection, jobs: &[ReminderJob]) -> sqlx::Result<()> {
    record(conn, &jobs.iter().map(|job| (job, true)).collect::<Vec<_>>(), false).await
}

/// Records jobs, each with whether it was armed, and with `aligned` that the reminder has no other job.
async fn record(conn: &mut PgConnection, jobs: &[(&ReminderJob, bool)], aligned: bool) -> sqlx::Result<()> {
    if jobs.is_empty() {
        return Ok(());
    }
    let (ids, versions): (Vec<Uuid>, Vec<i32>) = jobs.iter().map(|(job, _)| (job.reminder_id, job.version)).unzip();
    let names: Vec<Option<String>> = jobs.iter().map(|(job, armed)| armed.then(|| job.name().to_string())).collect();
    let details: Vec<Value> =
        jobs.iter().zip(&names).map(|((job, _), name)| json!({"planned_at": job.due_at, "job_id": name})).collect();
    sqlx::query!(
        "with job as (
             -- Without a name: not armed.
             select * from unnest($1::uuid[], $2::integer[], $3::text[], $4::jsonb[]) as job (id, version, name, detail)
         ), held as (
             -- By id, as commands lock reminders, so that no two statements wait for each other. One that is erased meanwhile is not found.
             select job.*, user_id, task_id, armed_version
             from task_reminders reminder join job on job.id = reminder.id
             where job.name is not null and armed_version is distinct from job.version
                or $5 and reminder.version = job.version and aligned_version is distinct from job.version
             order by reminder.id for no key update of reminder
         ), recorded as (
             update task_reminders reminder
             set job_id = held.name,
                 armed_version = case when held.name is null then reminder.armed_version else held.version end,
                 aligned_version = case when $5 then held.version else aligned_version end
             from held
             where reminder.id = held.id and reminder.version = held.version
         )
         insert into audit_logs (user_id, task_id, reminder_id, reminder_version, action, detail)
         select user_id, task_id, id, version, 'reminder.armed', detail
         from held where name is not null and armed_version is distinct from version
         order by id on conflict do nothing",
        &ids,
        &versions,
        &names as &[Option<String>],
        &details,
        aligned,
    )
    .execute(conn)
    .await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use chrono::DateTime;

    use super::*;

    #[test]
    fn a_job_within_the_window_is_armed_before_unwanted_jobs_are_deleted() {
        let name = |version| ReminderJobName { reminder_id: Uuid::from_u128(1), version };
        let calls = |version, live, near, recorded| {
            let job = ReminderJob { reminder_id: Uuid::from_u128(1), version, due_at: DateTime::UNIX_EPOCH };
            Alignment { job, live, near, recorded }.calls()
        };
        let disarm = |version| JobCall::Disarm(name(version));
        assert_eq!(calls(1, true, true, None), [JobCall::Arm]);
        assert_eq!(calls(1, true, true, Some(name(1))), [JobCall::Arm]);
        assert_eq!(calls(1, true, false, None), []);
        assert_eq!(calls(1, false, true, None), [disarm(1)]);
        assert_eq!(calls(4, true, true, Some(name(4))), [JobCall::Arm, disarm(3)]);
        assert_eq!(calls(4, true, true, Some(name(2))), [JobCall::Arm, disarm(2), disarm(3)]);
        assert_eq!(calls(4, true, false, Some(name(2))), [disarm(2), disarm(3)]);
        assert_eq!(calls(4, false, true, Some(name(3))), [disarm(3), disarm(4)]);
    }
}
