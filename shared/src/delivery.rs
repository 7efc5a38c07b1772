//! Deliveries: the state of one, and the Dapr job that makes its next attempt.
//!
//! A delivery is one reminder, version, channel and target: a row of `notification_deliveries`. `reminder-due` attempts it and arms the
//! job of the next attempt; repair arms that job again if it was lost.

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::json;
use uuid::Uuid;

use crate::{
    sidecar::{Sidecar, SidecarError},
    text_enum::text_enum,
};

text_enum! {
    /// State of a delivery: `notification_deliveries.state`.
    #[derive(utoipa::ToSchema)]
    pub enum DeliveryState {
        /// No attempt has begun.
        Pending = "pending",
        /// An attempt has begun and has not recorded its outcome.
        Sending = "sending",
        /// Another attempt follows at `next_attempt_at`.
        Retrying = "retrying",
        /// Ended: the provider accepted the message.
        Sent = "sent",
        /// Ended: the message was no longer wanted, and no attempt can have been accepted.
        Skipped = "skipped",
        /// Ended: refused, or tried for too long, and no attempt can have been accepted.
        Failed = "failed",
        /// Ended: an attempt may have been accepted, and nobody can find out.
        Unknown = "unknown",
    }
}

impl DeliveryState {
    /// Whether the delivery has ended: no attempt follows. For all we know, one in a state of a newer release has not.
    #[must_use]
    pub const fn has_ended(self) -> bool {
        match self {
            Self::Pending | Self::Sending | Self::Retrying | Self::Other => false,
            Self::Sent | Self::Skipped | Self::Failed | Self::Unknown => true,
        }
    }
}

/// The Dapr job that makes the next attempt of a delivery.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DeliveryJob {
    /// The delivery.
    pub delivery_id: Uuid,
    /// The number of attempts made before it.
    pub attempts: i32,
}

impl DeliveryJob {
    /// The prefix of every delivery job's name.
    pub const PREFIX: &str = "delivery-";

    /// `delivery-<uuid>-<attempts>`. Each attempt arms a name of its own, so a callback never deletes the job of the next.
    #[must_use]
    pub fn name(&self) -> String {
        format!("{}{}-{}", Self::PREFIX, self.delivery_id, self.attempts)
    }

    /// The delivery that a job name belongs to; `None` if it names another kind of job. The row, not the name, counts attempts.
    #[must_use]
    pub fn delivery_in(name: &str) -> Option<Uuid> {
        name.strip_prefix(Self::PREFIX)?.get(..36)?.parse().ok()
    }

    /// Arms the job and replaces one of the same name.
    ///
    /// # Errors
    /// If the scheduler did not confirm it. The job may be armed nevertheless.
    pub async fn arm(&self, sidecar: &Sidecar, at: DateTime<Utc>) -> Result<(), SidecarError> {
        sidecar.delivery_jobs.arm(&self.name(), at, &json!({"delivery_id": self.delivery_id})).await
    }

    /// While the job calls `early`: has it call again, see [`crate::sidecar::Jobs::call_again`].
    ///
    /// # Errors
    /// If the scheduler did not confirm it. The job may be armed nevertheless.
    pub async fn call_again(&self, sidecar: &Sidecar, early: TimeDelta) -> Result<(), SidecarError> {
        sidecar.delivery_jobs.call_again(&self.name(), early, &json!({"delivery_id": self.delivery_id})).await
    }

    /// Arms the job unless one of its name exists. Returns whether it was missing.
    ///
    /// # Errors
    /// If the scheduler did not confirm it. The job may be armed nevertheless.
    pub async fn arm_if_missing(&self, sidecar: &Sidecar, at: DateTime<Utc>) -> Result<bool, SidecarError> {
        sidecar.delivery_jobs.arm_if_missing(&self.name(), at, &json!({"delivery_id": self.delivery_id})).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_job_name_is_parsed_to_its_delivery_with_any_suffix() {
        let delivery_id = Uuid::from_u128(7);
        let name = DeliveryJob { delivery_id, attempts: 3 }.name();
        assert_eq!(name, "delivery-00000000-0000-0000-0000-000000000007-3");
        assert_eq!(DeliveryJob::delivery_in(&name), Some(delivery_id));
        assert_eq!(DeliveryJob::delivery_in(&format!("delivery-{delivery_id}-again")), Some(delivery_id));
        for other in ["", "delivery-", "delivery-7-1", "reminder-00000000-0000-0000-0000-000000000007-3"] {
            assert_eq!(DeliveryJob::delivery_in(other), None, "{other}");
        }
    }
}
