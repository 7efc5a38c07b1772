//! The Dapr job of a reminder. Each version of a reminder has a job name of its own, so a late job of another version never fires this one.

use std::{fmt, str::FromStr};

use chrono::{DateTime, TimeDelta, Utc};
use serde::{Deserialize, Serialize};
use serde_json::json;
use uuid::Uuid;

use crate::sidecar::{Sidecar, SidecarError};

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

    /// Arms it. It replaces a job of the same name.
    ///
    /// # Errors
    /// The job may be armed or not.
    pub async fn arm(&self, sidecar: &Sidecar) -> Result<(), SidecarError> {
        sidecar.reminder_jobs.arm(&self.name().to_string(), self.due_at, &json!(self)).await
    }

    /// While it calls `early`: has it call again, see [`crate::sidecar::Jobs::call_again`].
    ///
    /// # Errors
    /// The job may be armed or not.
    pub async fn call_again(&self, sidecar: &Sidecar, early: TimeDelta) -> Result<(), SidecarError> {
        sidecar.reminder_jobs.call_again(&self.name().to_string(), early, &json!(self)).await
    }

    /// Arms it unless there is a job of its name. Returns whether it was missing.
    ///
    /// # Errors
    /// The job may be armed or not.
    pub async fn arm_if_missing(&self, sidecar: &Sidecar) -> Result<bool, SidecarError> {
        sidecar.reminder_jobs.arm_if_missing(&self.name().to_string(), self.due_at, &json!(self)).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_canonical_job_name_is_parsed() {
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
}
