//! A recurrence rule: the parts of RFC 5545's RRULE that select days.
//!
//! Supported: `FREQ` daily to yearly, `INTERVAL`, `COUNT` or `UNTIL`, `WKST`, `BYMONTH`, `BYMONTHDAY`, `BYDAY`, `BYSETPOS`. Everything else
//! is refused, including the combinations that RFC 5545 forbids.

use std::fmt;

use chrono::{DateTime, Utc};
use jiff::civil::{DateTime as Wall, Weekday};

use super::{Frequency, days::DayFilter, planned::Reason};

/// Maximum length of RRULE text, in ASCII characters.
pub const TEXT_LIMIT: usize = 1000;

/// A parsed recurrence rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    pub(super) text: String,
    pub(super) frequency: Frequency,
    pub(super) interval: u32,
    pub(super) end: End,
    pub(super) week_start: Weekday,
    pub(super) days: DayFilter,
    pub(super) positions: Vec<i16>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    Never,
    Count(u32),
    At(DateTime<Utc>),
    Wall(Wall),
}

/// Why RRULE text was refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RuleError {
    /// Longer than [`TEXT_LIMIT`].
    #[error("the rule is longer than {TEXT_LIMIT} characters")]
    TooLong,
    /// Not ASCII.
    #[error("the rule contains characters that no RRULE has")]
    NotAscii,
    /// More than one line, or another property.
    #[error(
        "the rule is one RRULE line; DTSTART, RDATE, EXDATE and EXRULE are not taken, the task's due time is the start"
    )]
    OtherProperty,
    /// Not `NAME=VALUE`.
    #[error("every part of the rule reads NAME=VALUE, with a semicolon between parts")]
    Part,
    /// `FREQ` is missing or unknown.
    #[error("the rule needs FREQ=DAILY, WEEKLY, MONTHLY or YEARLY")]
    NoFrequency,
    /// Hourly or more often.
    #[error("a task recurs daily at most; FREQ=HOURLY, MINUTELY and SECONDLY are not taken")]
    SubDaily,
    /// An unsupported part of RFC 5545, or an unknown one.
    #[error(
        "a rule is made of FREQ, INTERVAL, COUNT, UNTIL, WKST, BYMONTH, BYMONTHDAY, BYDAY and BYSETPOS; the time of day is the start's"
    )]
    Unsupported,
    /// A part appears twice.
    #[error("{0} is there twice")]
    Twice(&'static str),
    /// A part has an invalid value.
    #[error("{part} must be {expected}")]
    Value {
        /// The part's name.
        part: &'static str,
        /// The allowed values.
        expected: &'static str,
    },
    /// Parts that cannot be used together.
    #[error("{0}")]
    Together(&'static str),
}

impl Rule {
    /// The rule as text: upper case, without `RRULE:`. Parsing it again gives the same rule.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    pub(super) fn count(&self) -> Option<u32> {
        match self.end {
            End::Count(count) => Some(count),
            _ => None,
        }
    }

    /// Whether `COUNT` or `UNTIL` ends the rule before this occurrence. `nth` counts from the start, beginning with 0. `instant` is the time
    /// `wall` in UTC.
    pub(super) fn ended_by(&self, nth: usize, wall: Wall, instant: DateTime<Utc>) -> Option<Reason> {
        match self.end {
            End::Count(count) => (nth >= count as usize).then_some(Reason::Count),
            End::At(until) => (instant > until).then_some(Reason::Until),
            End::Wall(until) => (wall > until).then_some(Reason::Until),
            End::Never => None,
        }
    }
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}
