//! A recurrence rule: what RFC 5545 calls RRULE, as far as it tells days.
//!
//! Supported: `FREQ` daily to yearly, `INTERVAL`, `COUNT` or `UNTIL`, `WKST`, `BYMONTH`, `BYMONTHDAY`, `BYDAY`,
//! `BYSETPOS`. Everything else is refused, and so is what RFC 5545 forbids together.

use std::fmt;

use chrono::{DateTime, Utc};
use jiff::civil::{DateTime as Wall, Weekday};

use super::{Frequency, days::DayFilter};

/// The longest RRULE text, in characters, all of which are ASCII.
pub const TEXT_LIMIT: usize = 500;

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
    /// Longer than any sensible rule.
    #[error("the rule is longer than {TEXT_LIMIT} characters")]
    TooLong,
    /// RRULE text is ASCII.
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
    /// `FREQ` is missing.
    #[error("the rule needs FREQ=DAILY, WEEKLY, MONTHLY or YEARLY")]
    NoFrequency,
    /// Hourly and faster.
    #[error("a task recurs daily at most; FREQ=HOURLY, MINUTELY and SECONDLY are not taken")]
    SubDaily,
    /// A part of RFC 5545 that is not supported, or no part at all.
    #[error(
        "a rule is made of FREQ, INTERVAL, COUNT, UNTIL, WKST, BYMONTH, BYMONTHDAY, BYDAY and BYSETPOS; the time of day is the start's"
    )]
    Unsupported,
    /// A part comes twice.
    #[error("{0} is there twice")]
    Twice(&'static str),
    /// The value of a part.
    #[error("{part} must be {expected}")]
    Value {
        /// The part's name.
        part: &'static str,
        /// What its value may be.
        expected: &'static str,
    },
    /// Parts that RFC 5545 does not allow together.
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

    /// Whether an occurrence at `wall`, which is `instant` in its zone, is not past `UNTIL`.
    pub(super) fn reaches(&self, wall: Wall, instant: DateTime<Utc>) -> bool {
        match self.end {
            End::At(until) => instant <= until,
            End::Wall(until) => wall <= until,
            End::Never | End::Count(_) => true,
        }
    }
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}
