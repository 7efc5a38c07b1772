//! Decides what to do next with a delivery. Pure functions, so that tests can try every order of deaths and answers.
//!
//! A delivery is one reminder, version, channel and, for push, device. Each attempt first sets the row to `sending`, with a lease. A process that reads
//! `sending` waits for the end of the lease. After that the last attempt counts as ended without a record. What follows depends on
//! the provider:
//!
//! - It recognises our idempotency key (Resend, within 24 hours; push, by the topic): the outcome is unknown, but another attempt
//!   cannot show it twice.
//! - It does not (SMTP, Mailgun): `at_dot` tells whether the message had left. If not, attempt again. If so, the outcome is
//!   unknown: it is repeated once, with the same Message-ID. If it stays unknown, the delivery ends `unknown`.
//!
//! `repeated` records that such an attempt exists. From then on the delivery ends `sent` or `unknown`, never `failed` or
//! `skipped`: a message that may have been accepted is never reported as unsent, whatever is refused or cancelled later.

use chrono::{DateTime, Duration, Utc};
use shared::{
    delivery::DeliveryState,
    reminder::{CancelReason, SkipReason},
};

use crate::email::SendError;

/// How long a provider remembers an idempotency key. No attempt is planned after it. A late attempt is made only if it cannot
/// send an undetected duplicate.
pub const WINDOW: Duration = Duration::hours(24);

/// The shortest wait between two attempts: a short outage of the provider delays a message by little more than the outage.
pub const SOON: Duration = Duration::seconds(4);
/// The longest wait between two attempts.
pub const LATER: Duration = Duration::minutes(10);

/// The row of a delivery.
#[derive(Clone, Copy, Debug)]
pub struct Record {
    /// Its state.
    pub state: DeliveryState,
    /// The earliest moment of the first attempt.
    pub created_at: DateTime<Utc>,
    /// Whether the last attempt came to the point where the message leaves.
    pub at_dot: bool,
    /// Whether the outcome of an earlier attempt is unknown: the message may have been accepted.
    pub repeated: bool,
    /// When the next attempt is planned.
    pub next_attempt_at: DateTime<Utc>,
    /// Until when the attempt in progress belongs to the process that began it. Only `sending` has a lease.
    pub lease_until: DateTime<Utc>,
}

/// The next action for a delivery.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// Attempt it.
    Attempt {
        /// Whether the last attempt may have been accepted.
        repeat: bool,
    },
    /// Attempt it at this time, not before.
    Wait(DateTime<Utc>),
    /// End it as `unknown`: its one repeat is used, or the provider has forgotten the key.
    GiveUp,
    /// Nothing: it has ended, or newer code goes on with it.
    Nothing,
}

/// Decides what to do with a delivery.
#[must_use]
pub fn next(record: &Record, has_key: bool, now: DateTime<Utc>) -> Next {
    match record.state {
        DeliveryState::Sent
        | DeliveryState::Skipped
        | DeliveryState::Failed
        | DeliveryState::Unknown
        | DeliveryState::Other => Next::Nothing,
        DeliveryState::Pending => Next::Attempt { repeat: false },
        DeliveryState::Retrying if has_key && record.repeated && is_forgotten(record, now) => Next::GiveUp,
        DeliveryState::Retrying if record.next_attempt_at > now => Next::Wait(record.next_attempt_at),
        DeliveryState::Retrying => Next::Attempt { repeat: false },
        DeliveryState::Sending if record.lease_until > now => Next::Wait(record.lease_until),
        DeliveryState::Sending if has_key && is_forgotten(record, now) => Next::GiveUp,
        DeliveryState::Sending if !has_key && !record.at_dot => Next::Attempt { repeat: false },
        DeliveryState::Sending if !has_key && record.repeated => Next::GiveUp,
        DeliveryState::Sending => Next::Attempt { repeat: true },
    }
}

fn is_forgotten(record: &Record, now: DateTime<Utc>) -> bool {
    now - record.created_at >= WINDOW
}

/// The reminder of a delivery, with its task and user, at one moment.
#[derive(Clone, Copy, Debug)]
pub struct Reminder {
    /// The version that the delivery belongs to.
    pub of_version: i32,
    /// The current version.
    pub version: i32,
    /// Why it is cancelled, if it is.
    pub cancel_reason: Option<CancelReason>,
    /// When it is due.
    pub remind_at: DateTime<Utc>,
    /// Whether its task is completed; `None` if the task is deleted.
    pub completed: Option<bool>,
    /// Whether its user exists: every user has an address.
    pub has_address: bool,
    /// Whether the delivery has somewhere to go: for push, whether the user still has this subscription.
    pub has_target: bool,
}

impl Reminder {
    /// Why the message must not be sent, if so.
    #[must_use]
    pub fn obstacle(&self) -> Option<SkipReason> {
        match *self {
            Self { cancel_reason: Some(reason), .. } => Some(SkipReason::Cancelled(reason)),
            _ if self.version != self.of_version => Some(SkipReason::Moved),
            Self { completed: None, .. } => Some(SkipReason::Cancelled(CancelReason::Deleted)),
            Self { completed: Some(true), .. } => Some(SkipReason::Cancelled(CancelReason::Completed)),
            Self { has_address: false, .. } => Some(SkipReason::UserGone),
            _ => None,
        }
    }

    /// Whether the reminder is still to come: a database with a faster clock has fired it.
    #[must_use]
    pub fn is_early(&self, now: DateTime<Utc>) -> bool {
        self.version == self.of_version && self.remind_at > now
    }
}

/// The action after an attempt that was not accepted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum After {
    /// Another attempt.
    Retry {
        /// When.
        at: DateTime<Utc>,
        /// Whether this attempt may have been accepted.
        repeat: bool,
    },
    /// The end: refused, or tried for too long.
    Failed,
    /// The end: refused, or tried for too long, but an attempt may have been accepted. Or the one repeat has no outcome either.
    Unknown,
}

/// Decides what follows an attempt. The backoff is a sixth of the delivery's age.
#[must_use]
pub fn after(record: &Record, error: &SendError, has_key: bool, now: DateTime<Utc>) -> After {
    let backoff = ((now - record.created_at) / 6).clamp(SOON, LATER);
    let at = match error {
        SendError::Permanent { .. } | SendError::Gone { .. } => return ended(record.repeated),
        SendError::Unknown { .. } if record.repeated && !has_key => return After::Unknown,
        SendError::Throttled { retry_after, .. } => {
            now + Duration::from_std(*retry_after).unwrap_or(backoff).max(Duration::seconds(1))
        }
        SendError::Unknown { .. } | SendError::Transient { .. } => now + backoff,
    };
    again(record, matches!(error, SendError::Unknown { .. }), at)
}

/// Plans another attempt at `at`, unless that is outside the [`WINDOW`]; `repeat` if this attempt may have been accepted. So a delivery
/// that only waits for a throttled provider ends too.
#[must_use]
pub fn again(record: &Record, repeat: bool, at: DateTime<Utc>) -> After {
    if at - record.created_at < WINDOW { After::Retry { at, repeat } } else { ended(repeat || record.repeated) }
}

/// How a delivery ends if its message is no longer wanted.
#[must_use]
pub const fn unwanted(record: &Record) -> DeliveryState {
    if record.repeated { DeliveryState::Unknown } else { DeliveryState::Skipped }
}

/// The outcome after the last attempt.
pub(crate) const fn ended(may_be_accepted: bool) -> After {
    if may_be_accepted { After::Unknown } else { After::Failed }
}

#[cfg(test)]
mod tests;
