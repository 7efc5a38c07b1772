//! Reminders: when one is due, and how its job at the Dapr scheduler is kept in line with its row.
//!
//! The row is the truth. Each version of a reminder has a job of its own name, so a job of another version, however late it
//! was armed or deleted, cannot fire this one. [`align`] may run any number of times, concurrently and on old rows: a job it
//! arms for a version that has passed is answered and forgotten by `reminder-due`, and the event of the newer version
//! brings its own job in line.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::json;
use sqlx::PgConnection;
use uuid::Uuid;

use crate::{
    App,
    audit::{self, ReminderRef},
    inbox::Failure,
    sidecar::{Sidecar, SidecarError},
};

pub use crate::recurrence::BeforeDue;

/// What a reminder job carries: the callback tells nothing else.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReminderJob {
    /// The reminder.
    pub reminder_id: Uuid,
    /// The version it was armed for.
    pub version: i32,
    /// When it is due.
    pub due_at: DateTime<Utc>,
}

impl ReminderJob {
    /// `reminder-<uuid>-<version>`: what Dapr allows as a name (RFC 1123), and told apart by version.
    #[must_use]
    pub fn name(&self) -> String {
        job_name(self.reminder_id, self.version)
    }

    /// Arms it; one of the same name is replaced.
    ///
    /// # Errors
    /// When it is not known to be armed.
    pub async fn arm(&self, sidecar: &Sidecar) -> Result<(), SidecarError> {
        sidecar.arm(&self.name(), self.due_at, &json!(self)).await
    }

    /// Arms it unless it is, and says whether it was missing.
    ///
    /// # Errors
    /// When it is not known to be armed.
    pub async fn arm_if_missing(&self, sidecar: &Sidecar) -> Result<bool, SidecarError> {
        sidecar.arm_if_missing(&self.name(), self.due_at, &json!(self)).await
    }
}

fn job_name(id: Uuid, version: i32) -> String {
    format!("reminder-{id}-{version}")
}

/// What [`align`] did, to be recorded in the transaction of the claim.
#[derive(Debug, Default)]
#[must_use = "what was armed is to be recorded"]
pub struct Aligned {
    armed: Vec<(ReminderRef, ReminderJob)>,
    disarmed: Vec<(Uuid, String)>,
}

/// Arms the live reminders of a task and deletes the jobs of the others: an effect outside the database, before the claim.
///
/// # Errors
/// When the scheduler or the database is away; then it has to run again.
pub async fn align(app: &App, task_id: Uuid) -> Result<Aligned, Failure> {
    let rows = sqlx::query!(
        r#"select id, user_id, version, remind_at, job_id,
                  state = 'scheduled' and (fired_version is null or fired_version < version) as "live!"
           from task_reminders where task_id = $1 order by id"#,
        task_id
    )
    .fetch_all(&app.db)
    .await?;
    let mut aligned = Aligned::default();
    for row in rows {
        let job = ReminderJob { reminder_id: row.id, version: row.version, due_at: row.remind_at };
        let unwanted = unwanted(&job, row.live, row.job_id);
        if row.live {
            job.arm(&app.sidecar).await?;
            let of = ReminderRef { id: row.id, version: row.version, task_id, user_id: row.user_id };
            aligned.armed.push((of, job));
        }
        for name in unwanted {
            app.sidecar.disarm(&name).await?;
            aligned.disarmed.push((row.id, name));
        }
    }
    Ok(aligned)
}

/// The jobs that a reminder is not to have, where `job` is that of its version: the job on record, and the one that a handler of
/// the version before may have armed since.
#[must_use]
pub fn unwanted(job: &ReminderJob, live: bool, on_record: Option<String>) -> Vec<String> {
    let current = job.name();
    let before = (job.version > 1).then(|| job_name(job.reminder_id, job.version - 1));
    let mut names: Vec<String> = [on_record, before].into_iter().flatten().filter(|name| *name != current).collect();
    if !live {
        names.push(current);
    }
    names.sort();
    names.dedup();
    names
}

impl Aligned {
    /// Writes down which jobs are armed, for the versions that are still current.
    ///
    /// # Errors
    /// When the database is away.
    pub async fn record(self, conn: &mut PgConnection) -> Result<(), Failure> {
        for (id, name) in self.disarmed {
            sqlx::query!("update task_reminders set job_id = null where id = $1 and job_id = $2", id, name)
                .execute(&mut *conn)
                .await?;
        }
        for (of, job) in self.armed {
            sqlx::query!(
                "update task_reminders set job_id = $3 where id = $1 and version = $2",
                of.id,
                of.version,
                job.name()
            )
            .execute(&mut *conn)
            .await?;
            audit::reminder(conn, of, "reminder.armed", json!({"planned_at": job.due_at, "job_id": job.name()}))
                .await?;
        }
        Ok(())
    }
}
