//! When a task comes again: simple recurrences, RRULE text, and the time zone both are computed in.
//!
//! Everything here is a pure function of its arguments. Asked twice, it answers the same, so a handler that runs
//! twice creates the same next occurrence. What holds:
//!
//! - **Wall clock.** An occurrence is a local date at the local time of day of the start: 09:00 stays 09:00 whatever
//!   the clocks do. A time that a change of clocks skips fires as much later as the clocks jumped (02:30 at 03:30, that
//!   day only); a time that comes twice fires the first time.
//! - **No drift.** Occurrence *n* is `start + n · interval`, computed from the start and clamped to the end of the
//!   month: 31 January, 28 February, 31 March. RRULE text follows RFC 5545 instead, which leaves out days that do not
//!   exist; `BYMONTHDAY=-1` is its last day of the month.
//! - **Bounded work.** Rules come from users. However far back the start and however absurd the rule, one answer costs
//!   one cycle of the calendar (400 years) at most; only `COUNT` has to walk from the start.
//!
//! RRULE text is expanded here and not by the `rrule` crate, which decides time zones by `chrono-tz`, panics on text
//! that is not ASCII and has no bound for a rule that never matches. The tests hold this module against it.

mod before_due;
mod days;
mod frequency;
mod parse;
mod rule;
mod series;
mod zone;

use std::str::FromStr;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

pub use self::before_due::{BeforeDue, NotADuration, TEXT_LIMIT as DURATION_LIMIT};
use self::frequency::Frequency;
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
    /// Every `interval` years, on the day of the start; 29 February becomes 28 where it must.
    Yearly,
    /// As the rule says.
    Custom,
}

impl Kind {
    /// The word of the API and of `tasks.recurrence_type`.
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
    /// The start of the series, whenever the task is completed: rent is due on the first.
    #[default]
    Due,
    /// The day the task was completed: water the plants three days after the last time.
    Completion,
}

impl Anchor {
    /// The word of the API and of `tasks.recurrence_anchor`.
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

/// A recurrence that was checked: what cannot be computed cannot be built.
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
    /// Parses a recurrence as the API and the columns of `tasks` give it.
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

    /// How it repeats.
    pub fn kind(&self) -> Kind {
        match &self.pattern {
            Pattern::Every { frequency: Frequency::Daily, .. } => Kind::Daily,
            Pattern::Every { frequency: Frequency::Weekly, .. } => Kind::Weekly,
            Pattern::Every { frequency: Frequency::Monthly, .. } => Kind::Monthly,
            Pattern::Every { frequency: Frequency::Yearly, .. } => Kind::Yearly,
            Pattern::Rule(_) => Kind::Custom,
        }
    }

    /// Every how many days, weeks, months or years; 1 beside a rule, which has its own `INTERVAL`.
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

    /// What the next occurrence is counted from.
    pub fn anchor(&self) -> Anchor {
        self.anchor
    }
}

/// Why a recurrence was refused, said so that its user can repair it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RecurrenceError {
    /// Not a word of [`Kind`].
    #[error("the recurrence type must be daily, weekly, monthly, yearly or custom")]
    UnknownKind,
    /// Not a word of [`Anchor`].
    #[error("the recurrence anchor must be due or completion")]
    UnknownAnchor,
    /// Zero, or beyond [`INTERVAL_LIMIT`].
    #[error("the interval must be between 1 and {INTERVAL_LIMIT}")]
    Interval,
    /// `custom` needs a rule.
    #[error("a custom recurrence needs a rule")]
    CustomWithoutRule,
    /// A rule beside a simple type.
    #[error("a rule needs the recurrence type custom")]
    RuleWithoutCustom,
    /// An interval beside a rule.
    #[error("a custom recurrence says INTERVAL in its rule and leaves the interval at 1")]
    IntervalBesideRule,
    /// `COUNT` counts from the start, which the anchor `completion` leaves behind.
    #[error("COUNT counts from the start and cannot be used with the anchor completion; UNTIL can")]
    CountFromCompletion,
    /// The RRULE text.
    #[error(transparent)]
    Rule(#[from] RuleError),
}
