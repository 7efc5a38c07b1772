//! Reminders: their states, and the Dapr job of each, kept in line with its row.
//!
//! The row is the truth. Each version of a reminder has a job name of its own, so a late job of another version never fires this one.
//! [`align`] may run any number of times, concurrently and on old rows. If it arms a version that has passed, the callback finds the
//! newer version and does nothing; the event of the newer version aligns the job of that version.

use std::{fmt, str::FromStr};

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
    text_enum::text_enum,
};

pub use crate::recurrence::BeforeDue;

text_enum! {
    /// State of a reminder: `task_reminders.state`.
    #[derive(utoipa::ToSchema)]
    pub enum ReminderState {
        /// Live until this version has fired, see the SQL function `reminder_is_live`.
        Scheduled = "scheduled",
        /// Accepted by the provider of at least one channel.
        Sent = "sent",
        /// Given up on every channel.
        Failed = "failed",
        /// Cancelled, see [`CancelReason`].
        Cancelled = "cancelled",
    }
}

text_enum! {
    /// Why a reminder is cancelled: `task_reminders.cancel_reason`.
    #[derive(utoipa::ToSchema)]
    pub enum CancelReason {
        /// The user cancelled it.
        User = "user",
        /// The task was completed. If the task is reopened before the instant, the reminder is live again.
        Completed = "completed",
        /// The task was deleted.
        Deleted = "deleted",
        /// It is relative to a due time that the task no longer has.
        DueRemoved = "due_removed",
    }
}

/// Name of a reminder's job: `reminder-<uuid>-<version>`, a name that Dapr allows (RFC 1123).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ReminderJobName {
    /// The reminder.
    pub reminder_id: Uuid,
    /// The version that the job fires.
    pub version: i32,
}

impl ReminderJobName {
    /// The prefix of every reminder job's name.
    pub const PREFIX: &str = "reminder-";
}

impl fmt::Display for ReminderJobName {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}{}-{}", Self::PREFIX, self.reminder_id, self.version)
    }
}

impl FromStr for ReminderJobName {
    type Err = NotAReminderJob;

    fn from_str(name: &str) -> Result<Self, NotAReminderJob> {
        let parse = || {
            let (id, version) = name.strip_prefix(Self::PREFIX)?.split_at_checked(36)?;
            Some(Self { reminder_id: id.parse().ok()?, version: version.strip_prefix('-')?.parse().ok()? })
        };
        // Uuid and i32 read more spellings than one; a name is only the one that `Display` writes.
        parse().filter(|parsed| parsed.to_string() == name).ok_or(NotAReminderJob)
    }
}

/// The text is not the name of a reminder's job.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not of the form reminder-<uuid>-<version>")]
pub struct NotAReminderJob;

/// Payload of a reminder job.
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
    /// Its name.
    #[must_use]
    pub fn name(&self) -> ReminderJobName {
        ReminderJobName { reminder_id: self.reminder_id, version: self.version }
    }

    /// Arms it; one of the same name is replaced.
    ///
    /// # Errors
    /// When it is not known to be armed.
    pub async fn arm(&self, sidecar: &Sidecar) -> Result<(), SidecarError> {
        sidecar.arm(&self.name().to_string(), self.due_at, &json!(self)).await
    }

    /// Arms it unless it is, and says whether it was missing.
    ///
    /// # Errors
    /// When it is not known to be armed.
    pub async fn arm_if_missing(&self, sidecar: &Sidecar) -> Result<bool, SidecarError> {
        sidecar.arm_if_missing(&self.name().to_string(), self.due_at, &json!(self)).await
    }
}

/// What [`align`] did, to be recorded in the transaction of the claim.
#[derive(Debug, Default)]
#[must_use = "what was armed is to be recorded"]
pub struct Aligned {
    armed: Vec<(ReminderRef, ReminderJob)>,
    disarmed: Vec<ReminderJobName>,
}

/// Arms the live reminders of a task and deletes the jobs of the others: an effect outside the database, before the claim.
///
/// # Errors
/// When the scheduler or the database is away; then it has to run again.
pub async fn align(app: &App, task_id: Uuid) -> Result<Aligned, Failure> {
    let rows = sqlx::query!(
        r#"select id, user_id, version, remind_at, job_id,
                  reminder_is_live(state, version, fired_version) as "live!"
           from task_reminders where task_id = $1 order by id"#,
        task_id
    )
    .fetch_all(&app.db)
    .await?;
    let mut aligned = Aligned::default();
    for row in rows {
        let job = ReminderJob { reminder_id: row.id, version: row.version, due_at: row.remind_at };
        let recorded = row.job_id.and_then(|name| name.parse().ok());
        let unwanted = unwanted(job.name(), row.live, recorded);
        if row.live {
            job.arm(&app.sidecar).await?;
            let of = ReminderRef { id: row.id, version: row.version, task_id, user_id: row.user_id };
            aligned.armed.push((of, job));
        }
        for name in unwanted {
            app.sidecar.disarm(&name.to_string()).await?;
            aligned.disarmed.push(name);
        }
    }
    Ok(aligned)
}

/// The jobs that a reminder must not have, given the job of its current version and the job on record.
///
/// The job of the version before is among them: its handler may have armed it after the record was read.
#[must_use]
pub fn unwanted(current: ReminderJobName, live: bool, recorded: Option<ReminderJobName>) -> Vec<ReminderJobName> {
    let before = (current.version > 1).then(|| ReminderJobName { version: current.version - 1, ..current });
    let mut names: Vec<_> = [recorded, before].into_iter().flatten().filter(|name| *name != current).collect();
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
        for name in self.disarmed {
            sqlx::query!(
                "update task_reminders set job_id = null where id = $1 and job_id = $2",
                name.reminder_id,
                name.to_string()
            )
            .execute(&mut *conn)
            .await?;
        }
        for (of, job) in self.armed {
            sqlx::query!(
                "update task_reminders set job_id = $3 where id = $1 and version = $2",
                of.id,
                of.version,
                job.name().to_string()
            )
            .execute(&mut *conn)
            .await?;
            audit::reminder(conn, of, "reminder.armed", json!({"planned_at": job.due_at, "job_id": job.name().to_string()}))
                .await?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_job_name_is_parsed_back_and_nothing_else_is_one() {
        let name = ReminderJobName { reminder_id: Uuid::from_u128(0xabc), version: 12 };
        assert_eq!(name.to_string(), "reminder-00000000-0000-0000-0000-000000000abc-12");
        assert_eq!(name.to_string().parse(), Ok(name));
        for text in [
            "",
            "reminder-",
            "reminder-1-1",
            "reminder-00000000-0000-0000-0000-000000000abc",
            "reminder-00000000-0000-0000-0000-000000000abc-",
            "reminder-00000000-0000-0000-0000-000000000abc-+1",
            "reminder-00000000-0000-0000-0000-000000000abc-01",
            "reminder-00000000-0000-0000-0000-000000000ABC-1",
            "reminder-00000000-0000-0000-0000-000000000abc-1 ",
            "reminder-00000000-0000-0000-0000-00000000000é-1",
            "delivery-00000000-0000-0000-0000-000000000abc-1",
        ] {
            assert_eq!(text.parse::<ReminderJobName>(), Err(NotAReminderJob), "{text}");
        }
    }

    #[test]
    fn a_reminder_must_not_have_the_jobs_of_other_versions_nor_any_once_it_is_not_live() {
        let job = |version| ReminderJobName { reminder_id: Uuid::from_u128(1), version };
        assert_eq!(unwanted(job(1), true, None), []);
        assert_eq!(unwanted(job(1), true, Some(job(1))), []);
        assert_eq!(unwanted(job(1), false, None), [job(1)]);
        assert_eq!(unwanted(job(4), true, Some(job(4))), [job(3)]);
        assert_eq!(unwanted(job(4), true, Some(job(2))), [job(2), job(3)]);
        assert_eq!(unwanted(job(4), false, Some(job(3))), [job(3), job(4)]);
    }

    #[test]
    fn states_and_reasons_are_the_stored_texts() {
        for state in ReminderState::ALL {
            assert_eq!(state.as_str().parse::<ReminderState>().unwrap(), *state);
            assert_eq!(json!(state), json!(state.as_str()));
        }
        for reason in CancelReason::ALL {
            assert_eq!(reason.as_str().parse::<CancelReason>().unwrap(), *reason);
            assert_eq!(json!(reason), json!(reason.as_str()));
        }
        let error = "Sent".parse::<ReminderState>().unwrap_err();
        assert_eq!(error.to_string(), r#""Sent" is not a ReminderState"#);
    }
}
