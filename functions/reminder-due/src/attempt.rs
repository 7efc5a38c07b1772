//! One attempt of a delivery as a state machine without I/O.
//!
//! [`start`] takes the delivery as it was read and returns the first [`Step`]. The driver performs the step and hands the result
//! back to it, which returns the next step. [`crate::send`] drives the machine over PostgreSQL and the provider; the simulation
//! drives the same machine in virtual time.
//!
//! ```text
//! start ─┬─► RecordSent                                                   accepted earlier, not recorded
//!        ├─► End ────────────────────────────────────────────────► Done   given up
//!        ├─► Wait ───────────────────────────────────────────────► Done   not its time, or another process has the lease
//!        └─► CheckThrottle ─┬─► Postpone ─► ArmRetry ────────────► Done   the provider asked us to wait, or the user has had enough
//!                           └─► Begin ─► LookAgain ─┐
//!               ┌───────────────────────────────────┘
//!               ├─► End ─────────────────────────────────────────► Done   no longer wanted
//!               └─► CallProvider ─┬─► RecordSent                          accepted
//!                                 ├─► End ───────────────────────► Done   refused
//!                                 └─► [ShareThrottle] ─► Postpone ─► ArmRetry ─► Done
//!
//! Begin, Postpone, End ─► ReadAgain ─► start                              lost: another process has taken the delivery over
//! ```
//!
//! An attempt is safe because of this order, so the types enforce it. Outside this module a step can only be had from the step
//! before it, and only in exchange for that step's result:
//!
//! - The provider is called after the attempt is committed: a process that dies during the call leaves a row that says so.
//! - The row is read again between the two: a command that was answered before the attempt began always stops the message.
//! - The outcome is recorded after the provider answered, and the retry is armed after it is recorded.
//!
//! Two processes never call the provider at the same time, because `Begin` takes a lease by the database's clock and every write
//! has a [`Fence`]. A process whose lease was taken over writes nothing, with one exception: it may record that its message was
//! accepted. That stays true whatever another process does, and stops that process before its final dot.
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
    /// Ask how long the provider throttles us.
    CheckThrottle(CheckThrottle),
    /// Commit that an attempt begins.
    Begin(Begin),
    /// Read the delivery and its reminder again.
    LookAgain(LookAgain),
    /// Hand the message to the provider.
    CallProvider(CallProvider),
    /// Commit that the provider accepted the message, and emit `reminder.sent`. The last step.
    RecordSent(RecordSent),
    /// Tell the other processes that the provider wants no messages.
    ShareThrottle(ShareThrottle),
    /// Commit that another attempt follows.
    Postpone(Postpone),
    /// Commit that the delivery ended without an accepted message.
    End(End),
    /// Arm the job that makes the next attempt.
    ArmRetry(ArmRetry),
    /// Arm the job that looks at the delivery again, unless it exists.
    Wait(Wait),
    /// Read the delivery and start over: another process has taken it over.
    ReadAgain(ReadAgain),
    /// Nothing: the delivery has ended, or its next attempt is armed.
    Done,
}

/// The condition of a write: the row is still as the machine knows it. Otherwise the write changes nothing, and is lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fence {
    /// So many attempts have begun, and no process has a valid lease.
    Free {
        /// The number of attempts.
        attempts: i32,
    },
    /// The attempt of this number is in progress.
    Held {
        /// The number of attempts, this one included.
        attempts: i32,
    },
}

impl Fence {
    /// How many attempts have begun.
    #[must_use]
    pub const fn attempts(self) -> i32 {
        match self {
            Self::Free { attempts } | Self::Held { attempts } => attempts,
        }
    }

    /// Whether the attempt in progress is this machine's.
    #[must_use]
    pub const fn is_held(self) -> bool {
        matches!(self, Self::Held { .. })
    }
}

/// Returns the first step of an attempt.
///
/// `accepted` is the provider's message id if this process has had the message accepted and could not record it.
pub fn start(found: &Snapshot, has_key: bool, accepted: Option<String>) -> Step {
    if let Some(message_id) = accepted {
        return Step::RecordSent(RecordSent { message_id });
    }
    let attempt = Attempt { record: found.record, fence: Fence::Free { attempts: found.attempts }, has_key };
    match delivery::next(&found.record, has_key, found.now) {
        Next::Nothing => Step::Done,
        Next::Wait(until) => attempt.wait(until),
        Next::GiveUp if has_key => {
            attempt.end(DeliveryState::Unknown, "outcome unknown, and the provider forgot the key")
        }
        Next::GiveUp => attempt.end(DeliveryState::Unknown, "outcome unknown, also of the one repeat"),
        // A database whose clock was ahead has fired it.
        Next::Attempt { .. } if found.reminder.is_early(found.now) => attempt.wait(found.reminder.remind_at),
        Next::Attempt { repeat } => Step::CheckThrottle(CheckThrottle { attempt, repeat }),
    }
}

/// Data that every step carries.
#[derive(Clone, Copy, Debug)]
struct Attempt {
    record: Record,
    fence: Fence,
    has_key: bool,
}

impl Attempt {
    fn follow(self, after: After, reason: &str) -> Step {
        match after {
            After::Failed => self.end(DeliveryState::Failed, reason),
            After::Unknown => self.end(DeliveryState::Unknown, reason),
            After::Retry { at, repeat } => {
                Step::Postpone(Postpone { attempt: self, at, repeat, reason: reason.to_owned() })
            }
        }
    }

    /// The provider was not called. The next attempt is at `at`.
    fn not_called(self, at: DateTime<Utc>, reason: &str) -> Step {
        self.follow(After::Retry { at, repeat: false }, reason)
    }

    fn end(self, state: DeliveryState, reason: impl Into<String>) -> Step {
        Step::End(End { attempt: self, state, reason: reason.into(), target_is_gone: false })
    }

    fn wait(self, until: DateTime<Utc>) -> Step {
        Step::Wait(Wait { attempts: self.fence.attempts(), until, seal: Seal })
    }

    fn lost(self) -> Step {
        Step::ReadAgain(ReadAgain { has_key: self.has_key })
    }
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
            None => Step::Begin(Begin { attempt, repeat }),
        }
    }

    /// The user gets no message until `at`, because of a quota. That ends no delivery, unless a late attempt could repeat a message.
    pub fn over_quota(self, at: DateTime<Utc>) -> Step {
        let Self { attempt, repeat } = self;
        let after = if repeat { delivery::again(&attempt.record, repeat, at) } else { After::Retry { at, repeat } };
        attempt.follow(after, "the user had the maximum of messages in this clock hour; the others follow in the next")
    }
}

/// See [`Step::Begin`].
#[derive(Debug)]
pub struct Begin {
    attempt: Attempt,
    /// Whether the attempt before may have been accepted, so that this one repeats it.
    pub repeat: bool,
}

impl Begin {
    /// The condition of the write.
    #[must_use]
    pub fn fence(&self) -> Fence {
        self.attempt.fence
    }

    /// The attempt is committed.
    pub fn committed(self) -> Step {
        let fence = Fence::Held { attempts: self.attempt.fence.attempts() + 1 };
        Step::LookAgain(LookAgain { attempt: Attempt { fence, ..self.attempt } })
    }

    /// Another process has begun or ended an attempt since the delivery was read.
    pub fn lost(self) -> Step {
        self.attempt.lost()
    }
}

/// See [`Step::LookAgain`].
#[derive(Debug)]
pub struct LookAgain {
    attempt: Attempt,
}

impl LookAgain {
    /// The delivery and its reminder, read after the attempt was committed.
    pub fn found(self, found: &Snapshot) -> Step {
        if found.attempts != self.attempt.fence.attempts() || found.record.state != DeliveryState::Sending {
            return self.attempt.lost();
        }
        let attempt = Attempt { record: found.record, ..self.attempt };
        match (found.reminder.obstacle(), delivery::unwanted(&found.record)) {
            // The database's clock was put back since the first look.
            (None, _) if found.reminder.is_early(found.now) => {
                attempt.not_called(found.reminder.remind_at, "the clock was put back, and the reminder is due later")
            }
            (None, _) if !found.reminder.has_target => {
                let ended = delivery::ended(found.record.repeated);
                attempt.follow(ended, "the push subscription is gone, or the user has none")
            }
            (None, _) => Step::CallProvider(CallProvider { attempt }),
            (Some(reason), state @ DeliveryState::Unknown) => {
                attempt.end(state, format!("{reason}, and it may have been accepted before"))
            }
            (Some(reason), state) => attempt.end(state, reason.as_str()),
        }
    }
}

/// See [`Step::CallProvider`].
#[derive(Debug)]
pub struct CallProvider {
    attempt: Attempt,
}

impl CallProvider {
    /// The process is stopping, and calls no provider any more. Another process makes the next attempt at once.
    pub fn stopped(self, now: DateTime<Utc>) -> Step {
        self.attempt.not_called(now, "the process stopped before the provider was called")
    }

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
            (Step::End(end), SendError::Gone { .. }) => Step::End(End { target_is_gone: true, ..end }),
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
    /// The condition of the write.
    #[must_use]
    pub fn fence(&self) -> Fence {
        self.attempt.fence
    }

    /// The postponement is committed.
    pub fn committed(self) -> Step {
        Step::ArmRetry(ArmRetry { attempts: self.attempt.fence.attempts(), at: self.at, seal: Seal })
    }

    /// Another process has taken the delivery over.
    pub fn lost(self) -> Step {
        self.attempt.lost()
    }
}

/// See [`Step::End`].
#[derive(Debug)]
pub struct End {
    attempt: Attempt,
    /// How the delivery ended: skipped, failed or unknown.
    pub state: DeliveryState,
    /// Why.
    pub reason: String,
    /// Whether the provider said that the target no longer exists, so that no other delivery can reach it either.
    pub target_is_gone: bool,
}

impl End {
    /// The condition of the write.
    #[must_use]
    pub fn fence(&self) -> Fence {
        self.attempt.fence
    }

    /// The end is committed.
    pub fn committed(self) -> Step {
        Step::Done
    }

    /// Another process has taken the delivery over.
    pub fn lost(self) -> Step {
        self.attempt.lost()
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

/// See [`Step::Wait`]. The process with the lease may have armed the job of its next attempt already, so it is not replaced.
#[derive(Debug)]
pub struct Wait {
    /// How many attempts have begun: part of the job's name.
    pub attempts: i32,
    /// When to look again.
    pub until: DateTime<Utc>,
    #[expect(dead_code, reason = "it only keeps others from making the step")]
    seal: Seal,
}

impl Wait {
    /// The job is armed.
    pub fn armed(self) -> Step {
        Step::Done
    }
}

/// See [`Step::ReadAgain`].
#[derive(Debug)]
pub struct ReadAgain {
    has_key: bool,
}

impl ReadAgain {
    /// The delivery, read after the write was lost, and the message id that this process may have got for it.
    pub fn found(self, found: &Snapshot, accepted: Option<String>) -> Step {
        start(found, self.has_key, accepted)
    }
}
