//! Reminders: their states, and why one is cancelled or skipped. A reminder that is due soon has a Dapr job ([`ReminderJob`]), which
//! [`align()`] keeps in line with its row.

mod align;
mod job;

use std::fmt;

pub use self::{
    align::{ARMING_WINDOW_HOURS, Aligned, Alignment, JobCall, align, record_armed},
    job::{NotAReminderJob, ReminderJob, ReminderJobName},
};
pub use crate::recurrence::BeforeDue;
use crate::text_enum::text_enum;

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

/// Why a version of a reminder does not fire or is not sent: `reason` of `reminder.skipped` and of a delivery that ended for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SkipReason {
    /// The reminder is cancelled, or an application that knows no reminders has completed or deleted its task.
    Cancelled(CancelReason),
    /// The reminder has a newer version.
    Moved,
    /// The reminder is in this state and no longer scheduled.
    Ended(ReminderState),
    /// Its user does not exist any more, so there is no address.
    UserGone,
}

impl SkipReason {
    /// The text that is stored and shown.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Cancelled(reason) => reason.as_str(),
            Self::Moved => "moved",
            Self::Ended(state) => state.as_str(),
            Self::UserGone => "the user is gone",
        }
    }
}

impl fmt::Display for SkipReason {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn states_and_reasons_are_the_stored_texts() {
        for state in ReminderState::ALL {
            assert_eq!(ReminderState::from(state.as_str()), *state);
            assert_eq!(json!(state), json!(state.as_str()));
        }
        for reason in CancelReason::ALL {
            assert_eq!(CancelReason::from(reason.as_str()), *reason);
            assert_eq!(json!(reason), json!(reason.as_str()));
        }
        for newer in ["Sent", "snoozed", ""] {
            assert_eq!(ReminderState::from(newer), ReminderState::Other);
            assert_eq!(serde_json::from_value::<ReminderState>(json!(newer)).unwrap(), ReminderState::Other);
        }
    }
}
