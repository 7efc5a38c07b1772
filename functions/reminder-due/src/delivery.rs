//! What to do next with a delivery: pure decisions, so that every order of deaths and answers can be tried.
//!
//! A delivery is one reminder, version and channel. Before each attempt the row says `sending`; whoever finds it so, holding
//! the delivery's lock, knows that the attempt before ended without a record. What that means depends on the provider:
//!
//! - It recognises our key (Resend, within 24 hours): nobody knows, attempt again, it sends once.
//! - It does not (SMTP, Mailgun): `at_dot` tells whether the message had left. Not set: it had not, attempt again. Set: nobody knows;
//!   that is repeated once, with the same Message-ID, and if it stays unknown the delivery ends `unknown`.
//!
//! `repeated` keeps that there was such an attempt. From then on the delivery ends `sent` or `unknown`, never `failed` or `skipped`:
//! what may have been accepted is not called unsent, whatever is refused or cancelled later.

use chrono::{DateTime, Duration, Utc};

use crate::email::SendError;

/// A provider with a key recognises it this long. No attempt is planned for later than this; one that comes later all the same,
/// because we were away, is made only where it cannot repeat a message unseen.
pub const WINDOW: Duration = Duration::hours(24);

/// Between two attempts while the first is not long ago: an outage of the provider delays a message by little more than it lasts.
pub const SOON: Duration = Duration::seconds(4);
/// Between two attempts at most.
pub const LATER: Duration = Duration::minutes(10);

/// Where a delivery stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// No attempt yet.
    Pending,
    /// An attempt was begun.
    Sending,
    /// Another attempt at `next_attempt_at`.
    Retrying,
    /// Ended: accepted, not to be sent, refused, or nobody knows.
    Over,
}

impl State {
    /// As stored in `notification_deliveries.state`.
    #[must_use]
    pub fn parse(text: &str) -> Self {
        match text {
            "pending" => Self::Pending,
            "sending" => Self::Sending,
            "retrying" => Self::Retrying,
            _ => Self::Over,
        }
    }
}

/// What the row of a delivery says.
#[derive(Clone, Copy, Debug)]
pub struct Record {
    /// Where it stands.
    pub state: State,
    /// When the first attempt could have been made.
    pub created_at: DateTime<Utc>,
    /// Whether the message of the last attempt had left when the attempt ended without a record.
    pub at_dot: bool,
    /// Whether the outcome of an earlier attempt is unknown: the message may have been accepted.
    pub repeated: bool,
    /// When the next attempt is to be made.
    pub next_attempt_at: DateTime<Utc>,
}

/// What is to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// Attempt it.
    Attempt {
        /// The attempt before may have been accepted.
        repeat: bool,
    },
    /// Not before then.
    Wait(DateTime<Utc>),
    /// Nobody knows, and it was repeated, or the key is forgotten: end it so.
    GiveUp,
    /// Nothing.
    Nothing,
}

/// Decides what to do with a delivery whose lock is held.
#[must_use]
pub fn next(record: &Record, has_key: bool, now: DateTime<Utc>) -> Next {
    match record.state {
        State::Over => Next::Nothing,
        State::Pending => Next::Attempt { repeat: false },
        State::Retrying if has_key && record.repeated && is_forgotten(record, now) => Next::GiveUp,
        State::Retrying if record.next_attempt_at > now => Next::Wait(record.next_attempt_at),
        State::Retrying => Next::Attempt { repeat: false },
        State::Sending if has_key && is_forgotten(record, now) => Next::GiveUp,
        State::Sending if !has_key && !record.at_dot => Next::Attempt { repeat: false },
        State::Sending if !has_key && record.repeated => Next::GiveUp,
        State::Sending => Next::Attempt { repeat: true },
    }
}

fn is_forgotten(record: &Record, now: DateTime<Utc>) -> bool {
    now - record.created_at >= WINDOW
}

/// The reminder of a delivery, as it is once the attempt has begun.
#[derive(Clone, Copy, Debug)]
pub struct Reminder<'a> {
    /// The version the delivery was made for.
    pub of_version: i32,
    /// Its version.
    pub version: i32,
    /// Why it is cancelled, if it is.
    pub cancel_reason: Option<&'a str>,
    /// When it is due.
    pub remind_at: DateTime<Utc>,
    /// Whether its task is completed, if there is the task.
    pub completed: Option<bool>,
    /// Whether its user is there, who has one.
    pub has_address: bool,
}

impl<'a> Reminder<'a> {
    /// Why the message is not to be sent after all, if it is not.
    #[must_use]
    pub fn obstacle(&self) -> Option<&'a str> {
        match self {
            Self { cancel_reason: Some(reason), .. } => Some(reason),
            _ if self.version != self.of_version => Some("moved"),
            Self { completed: None, .. } => Some("deleted"),
            Self { completed: Some(true), .. } => Some("completed"),
            Self { has_address: false, .. } => Some("the user is gone"),
            _ => None,
        }
    }

    /// Whether it was fired by a database whose clock was ahead of this one's.
    #[must_use]
    pub fn is_early(&self, now: DateTime<Utc>) -> bool {
        self.version == self.of_version && self.remind_at > now
    }
}

/// How an attempt that was not accepted leaves the delivery.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum After {
    /// Another attempt.
    Retry {
        /// When.
        at: DateTime<Utc>,
        /// This one may have been accepted.
        repeat: bool,
    },
    /// Refused, or tried for too long.
    Failed,
    /// As [`After::Failed`], but one of its attempts may have been accepted; or nobody knows, and it was repeated.
    Unknown,
}

/// Decides what follows an attempt. The longer there is none that works, the longer the wait: a sixth of what has passed.
#[must_use]
pub fn after(record: &Record, error: &SendError, has_key: bool, now: DateTime<Utc>) -> After {
    let backoff = ((now - record.created_at) / 6).clamp(SOON, LATER);
    let at = match error {
        SendError::Permanent { .. } => return over(record.repeated),
        SendError::Unknown { .. } if record.repeated && !has_key => return After::Unknown,
        SendError::Throttled { retry_after, .. } => {
            now + Duration::from_std(*retry_after).unwrap_or(backoff).max(Duration::seconds(1))
        }
        SendError::Unknown { .. } | SendError::Transient { .. } => now + backoff,
    };
    again(record, matches!(error, SendError::Unknown { .. }), at)
}

/// Another attempt at `at`, after one that may have been accepted (`repeat`) or not, unless that is later than any is planned for: a
/// delivery that only ever waits for the provider ends as late as one that is only ever refused.
#[must_use]
pub fn again(record: &Record, repeat: bool, at: DateTime<Utc>) -> After {
    if at - record.created_at < WINDOW { After::Retry { at, repeat } } else { over(repeat || record.repeated) }
}

/// How a delivery ends whose message is not wanted any more.
#[must_use]
pub const fn unwanted(record: &Record) -> &'static str {
    if record.repeated { "unknown" } else { "skipped" }
}

fn over(may_be_accepted: bool) -> After {
    if may_be_accepted { After::Unknown } else { After::Failed }
}

#[cfg(test)]
mod tests;
