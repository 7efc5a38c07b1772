//! Recurrence: when a task is due again, from a simple recurrence or RRULE text, in the task's time zone.
//!
//! Every function here is pure: the same arguments always give the same result. A handler that runs twice therefore creates the same next
//! occurrence. The rules:
//!
//! - **Wall clock.** An occurrence is a local date at the start's local time: 09:00 stays 09:00 when the clocks change. If a clock change
//!   skips that time, the occurrence moves by the length of the gap (02:30 becomes 03:30, that day only). If the time occurs twice, the
//!   first one counts.
//! - **No drift.** Occurrence *n* is `start + n · interval`, computed from the start and clamped to the end of the month: 31 January, 28
//!   February, 31 March. RRULE text follows RFC 5545 instead, which skips days that do not exist; `BYMONTHDAY=-1` is the last day of the
//!   month.
//! - **Bounded work.** Users write the rules. One answer costs at most one cycle of the calendar (400 years), whatever the start and the
//!   rule. Only `COUNT` walks from the start.
//!
//! This module expands RRULE text itself. The `rrule` crate takes time zones from `chrono-tz`, panics on text that is not ASCII, and has no
//! bound for a rule that never matches. The tests compare this module with that crate.

mod before_due;
mod days;
mod frequency;
mod parse;
mod planned;
mod rule;
mod series;
mod zone;

use std::str::FromStr;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

pub use self::before_due::{BeforeDue, NotADuration, TEXT_LIMIT as DURATION_LIMIT};
use self::frequency::Frequency;
pub use self::planned::{NamedTime, Planned, Reason};
pub use self::rule::{Rule, RuleError, TEXT_LIMIT as RULE_LIMIT};
pub use self::series::{Series, UPCOMING_LIMIT};
pub use self::zone::{UnknownZone, Zone, carry, end_of_calendar};

/// The largest interval: every 999 days, weeks, months or years.
pub const INTERVAL_LIMIT: u32 = 999;

/// How a recurrence repeats; `custom` follows an RRULE.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// Every `interval` days.
    Daily,
    /// Every `interval` weeks, on the weekday of the start.
    Weekly,
    /// Every `interval` months, on the day of the start or the last of a shorter month.
    Monthly,
    /// Every `interval` years, on the day of the start. 29 February becomes 28 February where the year has no 29th.
    Yearly,
    /// On the dates of the RRULE.
    Custom,
}

impl Kind {
    /// The text in the API and in `tasks.recurrence_type`.
    pub fn as_str(self) -> &'static str {
        match self {
            Kind::Daily => "daily",
            Kind::Weekly => "weekly",
            Kind::Monthly => "monthly",
            Kind::Yearly => "yearly",
            Kind::Custom => "custom",
        }
    }
}

impl FromStr for Kind {
    type Err = RecurrenceError;

    fn from_str(word: &str) -> Result<Self, RecurrenceError> {
        match word {
            "daily" => Ok(Kind::Daily),
            "weekly" => Ok(Kind::Weekly),
            "monthly" => Ok(Kind::Monthly),
            "yearly" => Ok(Kind::Yearly),
            "custom" => Ok(Kind::Custom),
            _ => Err(RecurrenceError::UnknownKind),
        }
    }
}

/// What the next occurrence is counted from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Anchor {
    /// The start of the series, no matter when the task is completed: rent is due on the first.
    #[default]
    Due,
    /// The day the task was completed: water the plants three days after the last time.
    Completion,
}

impl Anchor {
    /// The text in the API and in `tasks.recurrence_anchor`.
    pub fn as_str(self) -> &'static str {
        match self {
            Anchor::Due => "due",
            Anchor::Completion => "completion",
        }
    }
}

impl FromStr for Anchor {
    type Err = RecurrenceError;

    fn from_str(word: &str) -> Result<Self, RecurrenceError> {
        match word {
            "due" => Ok(Anchor::Due),
            "completion" => Ok(Anchor::Completion),
            _ => Err(RecurrenceError::UnknownAnchor),
        }
    }
}

/// A validated recurrence. It can always be computed, because [`Recurrence::new`] rejects every other one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recurrence {
    pattern: Pattern,
    anchor: Anchor,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Pattern {
    Every { interval: u32, frequency: Frequency },
    Rule(Box<Rule>),
}

impl Recurrence {
    /// Validates a recurrence from the API or from the columns of `tasks`.
    pub fn new(kind: Kind, interval: u32, rule: Option<&str>, anchor: Anchor) -> Result<Self, RecurrenceError> {
        if !(1..=INTERVAL_LIMIT).contains(&interval) {
            return Err(RecurrenceError::Interval);
        }
        let frequency = match kind {
            Kind::Daily => Frequency::Daily,
            Kind::Weekly => Frequency::Weekly,
            Kind::Monthly => Frequency::Monthly,
            Kind::Yearly => Frequency::Yearly,
            Kind::Custom => return Self::custom(interval, rule, anchor),
        };
        if rule.is_some() {
            return Err(RecurrenceError::RuleWithoutCustom);
        }
        Ok(Self { pattern: Pattern::Every { interval, frequency }, anchor })
    }

    fn custom(interval: u32, rule: Option<&str>, anchor: Anchor) -> Result<Self, RecurrenceError> {
        let rule: Rule = rule.ok_or(RecurrenceError::CustomWithoutRule)?.parse()?;
        if interval != 1 {
            return Err(RecurrenceError::IntervalBesideRule);
        }
        if anchor == Anchor::Completion && rule.count().is_some() {
            return Err(RecurrenceError::CountFromCompletion);
        }
        Ok(Self { pattern: Pattern::Rule(Box::new(rule)), anchor })
    }

    /// The kind of repetition.
    pub fn kind(&self) -> Kind {
        match &self.pattern {
            Pattern::Every { frequency: Frequency::Daily, .. } => Kind::Daily,
            Pattern::Every { frequency: Frequency::Weekly, .. } => Kind::Weekly,
            Pattern::Every { frequency: Frequency::Monthly, .. } => Kind::Monthly,
            Pattern::Every { frequency: Frequency::Yearly, .. } => Kind::Yearly,
            Pattern::Rule(_) => Kind::Custom,
        }
    }

    /// The number of days, weeks, months or years between occurrences. Always 1 with a rule, which has its own `INTERVAL`.
    pub fn interval(&self) -> u32 {
        match &self.pattern {
            Pattern::Every { interval, .. } => *interval,
            Pattern::Rule(_) => 1,
        }
    }

    /// The rule of a custom recurrence.
    pub fn rule(&self) -> Option<&Rule> {
        match &self.pattern {
            Pattern::Every { .. } => None,
            Pattern::Rule(rule) => Some(rule),
        }
    }

    /// The point from which the next occurrence is counted.
    pub fn anchor(&self) -> Anchor {
        self.anchor
    }
}

/// Why a recurrence is invalid. The message tells the user how to fix it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RecurrenceError {
    /// Not a value of [`Kind`].
    #[error("the recurrence type must be daily, weekly, monthly, yearly or custom")]
    UnknownKind,
    /// Not a value of [`Anchor`].
    #[error("the recurrence anchor must be due or completion")]
    UnknownAnchor,
    /// Zero, or larger than [`INTERVAL_LIMIT`].
    #[error("the interval must be between 1 and {INTERVAL_LIMIT}")]
    Interval,
    /// The type `custom` without a rule.
    #[error("a custom recurrence needs a rule")]
    CustomWithoutRule,
    /// A rule with a type other than `custom`.
    #[error("a rule needs the recurrence type custom")]
    RuleWithoutCustom,
    /// An interval other than 1 with a rule.
    #[error("a custom recurrence says INTERVAL in its rule and leaves the interval at 1")]
    IntervalBesideRule,
    /// `COUNT` with the anchor `completion`. It counts from the start, which that anchor does not use.
    #[error("COUNT counts from the start and cannot be used with the anchor completion; UNTIL can")]
    CountFromCompletion,
    /// The RRULE text is invalid.
    #[error(transparent)]
    Rule(#[from] RuleError),
}
