//! One attempt of a delivery as a state machine without I/O.
//!
//! [`start`] takes the delivery as it was read and returns the first [`Step`]. The driver performs the step and hands the result
//! back to it, which returns the next step. [`crate::send`] drives the machine over PostgreSQL and the provider; the simulation
//! drives the same machine in virtual time.
//!
//! ```text
//! start ─┬─► RecordSent ─────────────────────────────────────────► Done   accepted earlier, not recorded
//!        ├─► End ────────────────────────────────────────────────► Done   given up
//!        ├─► ArmRetry ───────────────────────────────────────────► Done   not its time yet
//!        └─► CheckThrottle ─┬─► Postpone ─► ArmRetry ────────────► Done   the provider asked us to wait
//!                           └─► Begin ─► LookAgain ─┐
//!               ┌───────────────────────────────────┘
//!               ├─► End ─────────────────────────────────────────► Done   no longer wanted
//!               └─► CallProvider ─┬─► RecordSent ────────────────► Done   accepted
//!                                 ├─► End ───────────────────────► Done   refused
//!                                 └─► [ShareThrottle] ─► Postpone ─► ArmRetry ─► Done
//! ```
//!
//! An attempt is safe because of this order, so the types enforce it. Outside this module a step can only be had from the step
//! before it, and only in exchange for that step's result:
//!
//! - The provider is called after the attempt is committed: a process that dies during the call leaves a row that says so.
//! - The row is read again between the two: a command that was answered before the attempt began always stops the message.
//! - The outcome is recorded after the provider answered, and the retry is armed after it is recorded.
//!
//! A driver that fails or dies drops the machine at any step. The row tells the next attempt how far this one came, and
//! [`delivery::next`] decides what that means.

use chrono::{DateTime, Utc};
use shared::delivery::DeliveryState;

use crate::{
    delivery::{self, After, Next, Record, Reminder},
    email::SendError,
};

/// A delivery and its reminder as read from the database.
#[derive(Clone, Copy, Debug)]
pub struct Snapshot {
    /// The delivery.
    pub record: Record,
    /// How many attempts of it have begun.
    pub attempts: i32,
    /// The reminder.
    pub reminder: Reminder,
    /// The database's clock.
    pub now: DateTime<Utc>,
}

/// The next action for the driver.
#[derive(Debug)]
#[must_use = "a step that is not performed leaves the delivery to repair"]
pub enum Step {
    /// Ask until when the provider wants no messages.
    CheckThrottle(CheckThrottle),
    /// Commit that an attempt begins.
    Begin(Begin),
    /// Read the delivery and its reminder again.
    LookAgain(LookAgain),
    /// Hand the message to the provider.
    CallProvider(CallProvider),
    /// Commit that the provider accepted the message, and emit `reminder.sent`.
    RecordSent(RecordSent),
    /// Tell the other processes that the provider wants no messages.
    ShareThrottle(ShareThrottle),
    /// Commit that another attempt follows.
    Postpone(Postpone),
    /// Commit that the delivery ended without an accepted message.
    End(End),
    /// Arm the job that makes the next attempt.
    ArmRetry(ArmRetry),
    /// Nothing: the delivery has ended, or its next attempt is armed.
    Done,
    /// Fail, so that the caller comes again: by the database's clock the reminder is not due.
    TooEarly,
}

/// Returns the first step of an attempt.
///
/// `accepted` is the provider's message id if this process has had the message accepted and could not record it.
pub fn start(found: &Snapshot, has_key: bool, accepted: Option<String>) -> Step {
    if let Some(message_id) = accepted {
        return Step::RecordSent(RecordSent { message_id });
    }
    let attempt = Attempt { record: found.record, attempts: found.attempts, has_key };
    match delivery::next(&found.record, has_key, found.now) {
        Next::Nothing => Step::Done,
        Next::Wait(until) => attempt.arm(until),
        Next::GiveUp if has_key => end(DeliveryState::Unknown, "outcome unknown, and the provider forgot the key"),
        Next::GiveUp => end(DeliveryState::Unknown, "outcome unknown, also of the one repeat"),
        Next::Attempt { .. } if found.reminder.is_early(found.now) => Step::TooEarly,
        Next::Attempt { repeat } => Step::CheckThrottle(CheckThrottle { attempt, repeat }),
    }
}

/// Data that every step carries.
#[derive(Clone, Copy, Debug)]
struct Attempt {
    record: Record,
    attempts: i32,
    has_key: bool,
}

impl Attempt {
    fn follow(self, after: After, reason: &str) -> Step {
        match after {
            After::Failed => end(DeliveryState::Failed, reason),
            After::Unknown => end(DeliveryState::Unknown, reason),
            After::Retry { at, repeat } => {
                Step::Postpone(Postpone { attempt: self, at, repeat, reason: reason.to_owned() })
            }
        }
    }

    fn arm(self, at: DateTime<Utc>) -> Step {
        Step::ArmRetry(ArmRetry { attempts: self.attempts, at, seal: Seal })
    }
}

fn end(state: DeliveryState, reason: impl Into<String>) -> Step {
    Step::End(End { state, reason: reason.into(), seal: Seal })
}

/// Private, so that a step with public fields can be made in this module only.
#[derive(Debug)]
struct Seal;

/// See [`Step::CheckThrottle`].
#[derive(Debug)]
pub struct CheckThrottle {
    attempt: Attempt,
    repeat: bool,
}

impl CheckThrottle {
    /// The provider wants no messages until `until`, if that is given.
    pub fn found(self, until: Option<DateTime<Utc>>) -> Step {
        let Self { attempt, repeat } = self;
        match until {
            Some(at) => {
                attempt.follow(delivery::again(&attempt.record, repeat, at), "the provider asked all of us to wait")
            }
            None => Step::Begin(Begin { repeat, has_key: attempt.has_key }),
        }
    }
}

/// See [`Step::Begin`].
#[derive(Debug)]
pub struct Begin {
    /// Whether the attempt before may have been accepted, so that this one repeats it.
    pub repeat: bool,
    has_key: bool,
}

impl Begin {
    /// The attempt is committed.
    pub fn committed(self) -> Step {
        Step::LookAgain(LookAgain { has_key: self.has_key })
    }
}

/// See [`Step::LookAgain`].
#[derive(Debug)]
pub struct LookAgain {
    has_key: bool,
}

impl LookAgain {
    /// The delivery and its reminder, read after the attempt was committed.
    pub fn found(self, found: &Snapshot) -> Step {
        let attempt = Attempt { record: found.record, attempts: found.attempts, has_key: self.has_key };
        match (found.reminder.obstacle(), delivery::unwanted(&found.record)) {
            (None, _) => Step::CallProvider(CallProvider { attempt }),
            (Some(reason), state @ DeliveryState::Unknown) => {
                end(state, format!("{reason}, and it may have been accepted before"))
            }
            (Some(reason), state) => end(state, reason),
        }
    }
}

/// See [`Step::CallProvider`].
#[derive(Debug)]
pub struct CallProvider {
    attempt: Attempt,
}

impl CallProvider {
    /// The provider's answer, and when it came. A wait that the provider asks for counts from then.
    pub fn answered(self, answer: Result<String, SendError>, now: DateTime<Utc>) -> Step {
        let attempt = self.attempt;
        let error = match answer {
            Ok(message_id) => return Step::RecordSent(RecordSent { message_id }),
            Err(error) => error,
        };
        let after = delivery::after(&attempt.record, &error, attempt.has_key, now);
        match (attempt.follow(after, error.reason()), error) {
            (Step::Postpone(postpone), SendError::Throttled { .. }) => {
                Step::ShareThrottle(ShareThrottle { until: postpone.at, now, postpone })
            }
            (step, _) => step,
        }
    }
}

/// See [`Step::RecordSent`].
#[derive(Debug)]
pub struct RecordSent {
    message_id: String,
}

impl RecordSent {
    /// The provider's id of the message. The driver keeps it in memory until it is recorded.
    #[must_use]
    pub fn message_id(&self) -> &str {
        &self.message_id
    }

    /// The acceptance is committed.
    pub fn committed(self) -> Step {
        Step::Done
    }
}

/// See [`Step::ShareThrottle`].
#[derive(Debug)]
pub struct ShareThrottle {
    /// When the provider wants messages again.
    pub until: DateTime<Utc>,
    /// When it said so.
    pub now: DateTime<Utc>,
    postpone: Postpone,
}

impl ShareThrottle {
    /// The others know, or could not be told.
    pub fn shared(self) -> Step {
        Step::Postpone(self.postpone)
    }
}

/// See [`Step::Postpone`].
#[derive(Debug)]
pub struct Postpone {
    attempt: Attempt,
    /// When the next attempt follows.
    pub at: DateTime<Utc>,
    /// Whether this one may have been accepted.
    pub repeat: bool,
    /// Why it was not accepted.
    pub reason: String,
}

impl Postpone {
    /// The postponement is committed.
    pub fn committed(self) -> Step {
        self.attempt.arm(self.at)
    }
}

/// See [`Step::End`].
#[derive(Debug)]
pub struct End {
    /// How the delivery ended: skipped, failed or unknown.
    pub state: DeliveryState,
    /// Why.
    pub reason: String,
    #[expect(dead_code, reason = "it only keeps others from making the step")]
    seal: Seal,
}

impl End {
    /// The end is committed.
    pub fn committed(self) -> Step {
        Step::Done
    }
}

/// See [`Step::ArmRetry`].
#[derive(Debug)]
pub struct ArmRetry {
    /// How many attempts have begun: part of the job's name.
    pub attempts: i32,
    /// When the next one follows.
    pub at: DateTime<Utc>,
    #[expect(dead_code, reason = "it only keeps others from making the step")]
    seal: Seal,
}

impl ArmRetry {
    /// The job is armed.
    pub fn armed(self) -> Step {
        Step::Done
    }
}
