//! RRULE text (RFC 5545) into a rule: strict, because a rule that means something else fires at the wrong time.
//!
//! Supported: `FREQ` daily to yearly, `INTERVAL`, `COUNT` or `UNTIL`, `WKST`, `BYMONTH`, `BYMONTHDAY`, `BYDAY`,
//! `BYSETPOS`. Everything else is refused by name. The text comes from users: nothing here panics or grows with it.

use std::{fmt, ops::RangeInclusive, str::FromStr};

use chrono::{DateTime, Utc};
use jiff::civil::{Date, DateTime as Wall, Time, Weekday};

use super::{Frequency, INTERVAL_LIMIT, Zone, days::DayFilter};

const TEXT_LIMIT: usize = 500;
const COUNT_LIMIT: u32 = 9_999;

/// A parsed recurrence rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    text: String,
    pub(super) frequency: Frequency,
    pub(super) interval: u32,
    end: End,
    pub(super) week_start: Weekday,
    pub(super) days: DayFilter,
    pub(super) positions: Vec<i16>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
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
    #[error("the rule is one RRULE line; DTSTART, RDATE, EXDATE and EXRULE are not taken, the task's due time is the start")]
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
    #[error("a rule is made of FREQ, INTERVAL, COUNT, UNTIL, WKST, BYMONTH, BYMONTHDAY, BYDAY and BYSETPOS; the time of day is the start's")]
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

/// The values of the parts that were there.
#[derive(Default)]
struct Parts {
    frequency: Option<Frequency>,
    interval: Option<u32>,
    count: Option<u32>,
    until: Option<End>,
    week_start: Option<Weekday>,
    months: Option<Vec<i16>>,
    month_days: Option<Vec<i16>>,
    weekdays: Option<Vec<(i16, Weekday)>>,
    positions: Option<Vec<i16>>,
}

impl FromStr for Rule {
    type Err = RuleError;

    fn from_str(text: &str) -> Result<Self, RuleError> {
        if text.len() > TEXT_LIMIT {
            return Err(RuleError::TooLong);
        }
        let text = text.trim().to_uppercase();
        if !text.is_ascii() {
            return Err(RuleError::NotAscii);
        }
        let text = text.strip_prefix("RRULE:").unwrap_or(&text);
        let text = text.strip_suffix(';').unwrap_or(text);
        if text.contains(['\r', '\n', ':']) {
            return Err(RuleError::OtherProperty);
        }
        let mut parts = Parts::default();
        for part in text.split(';') {
            let (name, value) = part.split_once('=').ok_or(RuleError::Part)?;
            parts.read(name, value)?;
        }
        parts.into_rule(text)
    }
}

impl Parts {
    fn read(&mut self, name: &str, value: &str) -> Result<(), RuleError> {
        match name {
            "FREQ" => put(&mut self.frequency, "FREQ", frequency(value)?),
            "INTERVAL" => {
                let expected = "a number between 1 and 999";
                put(&mut self.interval, "INTERVAL", count("INTERVAL", value, 1..=INTERVAL_LIMIT, expected)?)
            }
            "COUNT" => {
                let expected = "a number between 1 and 9999";
                put(&mut self.count, "COUNT", count("COUNT", value, 1..=COUNT_LIMIT, expected)?)
            }
            "UNTIL" => {
                let expected = "a time such as 20301231T170000Z or a date such as 20301231";
                let until = until(value).ok_or(RuleError::Value { part: "UNTIL", expected })?;
                put(&mut self.until, "UNTIL", until)
            }
            "WKST" => {
                let expected = "MO, TU, WE, TH, FR, SA or SU";
                put(&mut self.week_start, "WKST", weekday(value).ok_or(RuleError::Value { part: "WKST", expected })?)
            }
            "BYMONTH" => put(&mut self.months, "BYMONTH", numbers("BYMONTH", value, 1..=12, "months from 1 to 12")?),
            "BYMONTHDAY" => {
                let expected = "days from 1 to 31, or -1 to -31 from the end of the month";
                put(&mut self.month_days, "BYMONTHDAY", numbers("BYMONTHDAY", value, -31..=31, expected)?)
            }
            "BYDAY" => put(&mut self.weekdays, "BYDAY", weekdays(value)?),
            "BYSETPOS" => {
                let expected = "positions from 1 to 366, or -1 to -366 from the end";
                put(&mut self.positions, "BYSETPOS", numbers("BYSETPOS", value, -366..=366, expected)?)
            }
            "DTSTART" | "RDATE" | "EXDATE" | "EXRULE" => Err(RuleError::OtherProperty),
            _ => Err(RuleError::Unsupported),
        }
    }

    fn into_rule(self, text: &str) -> Result<Rule, RuleError> {
        let frequency = self.frequency.ok_or(RuleError::NoFrequency)?;
        let months = self.months.unwrap_or_default();
        let month_days = self.month_days.unwrap_or_default();
        let weekdays = self.weekdays.unwrap_or_default();
        let mut positions = self.positions.unwrap_or_default();
        positions.sort_unstable();
        positions.dedup();

        let ordinals_within_year = frequency == Frequency::Yearly && months.is_empty();
        let largest_ordinal = weekdays.iter().map(|(ordinal, _)| ordinal.unsigned_abs()).max().unwrap_or(0);
        if frequency == Frequency::Weekly && !month_days.is_empty() {
            return Err(RuleError::Together("BYMONTHDAY cannot be used with FREQ=WEEKLY"));
        }
        if matches!(frequency, Frequency::Daily | Frequency::Weekly) && largest_ordinal > 0 {
            return Err(RuleError::Together("a numbered BYDAY such as 1MO needs FREQ=MONTHLY or YEARLY"));
        }
        if largest_ordinal > 5 && !ordinals_within_year {
            return Err(RuleError::Together("a month has five of a weekday at most"));
        }
        if !positions.is_empty() && months.is_empty() && month_days.is_empty() && weekdays.is_empty() {
            return Err(RuleError::Together("BYSETPOS needs BYDAY, BYMONTHDAY or BYMONTH to choose from"));
        }
        let end = match (self.count, self.until) {
            (Some(_), Some(_)) => return Err(RuleError::Together("a rule ends by COUNT or by UNTIL, not by both")),
            (Some(count), None) => End::Count(count),
            (None, until) => until.unwrap_or(End::Never),
        };
        Ok(Rule {
            text: text.to_owned(),
            frequency,
            interval: self.interval.unwrap_or(1),
            end,
            week_start: self.week_start.unwrap_or(Weekday::Monday),
            days: DayFilter::new(&months, &month_days, &weekdays, ordinals_within_year),
            positions,
        })
    }
}

fn put<T>(slot: &mut Option<T>, part: &'static str, value: T) -> Result<(), RuleError> {
    match slot.replace(value) {
        None => Ok(()),
        Some(_) => Err(RuleError::Twice(part)),
    }
}

fn frequency(value: &str) -> Result<Frequency, RuleError> {
    match value {
        "DAILY" => Ok(Frequency::Daily),
        "WEEKLY" => Ok(Frequency::Weekly),
        "MONTHLY" => Ok(Frequency::Monthly),
        "YEARLY" => Ok(Frequency::Yearly),
        "HOURLY" | "MINUTELY" | "SECONDLY" => Err(RuleError::SubDaily),
        _ => Err(RuleError::NoFrequency),
    }
}

fn count(
    part: &'static str,
    value: &str,
    range: RangeInclusive<u32>,
    expected: &'static str,
) -> Result<u32, RuleError> {
    let number = value.parse().ok().filter(|number| range.contains(number));
    number.ok_or(RuleError::Value { part, expected })
}

/// Numbers with commas between them, none of them 0.
fn numbers(
    part: &'static str,
    value: &str,
    range: RangeInclusive<i16>,
    expected: &'static str,
) -> Result<Vec<i16>, RuleError> {
    let number = |item: &str| item.parse().ok().filter(|number| *number != 0 && range.contains(number));
    value.split(',').map(number).collect::<Option<_>>().ok_or(RuleError::Value { part, expected })
}

/// `MO,-1FR`: weekdays, each with its ordinal or 0 for every one.
fn weekdays(value: &str) -> Result<Vec<(i16, Weekday)>, RuleError> {
    let one = |item: &str| {
        let (ordinal, name) = item.split_at_checked(item.len().checked_sub(2)?)?;
        let ordinal = match ordinal {
            "" => 0,
            written => written.parse().ok().filter(|n: &i16| *n != 0 && (-53..=53).contains(n))?,
        };
        Some((ordinal, weekday(name)?))
    };
    let expected = "weekdays such as MO or WE, numbered from 1 to 53 or from -1 to -53 such as 1MO or -1FR";
    value.split(',').map(one).collect::<Option<_>>().ok_or(RuleError::Value { part: "BYDAY", expected })
}

fn weekday(name: &str) -> Option<Weekday> {
    match name {
        "MO" => Some(Weekday::Monday),
        "TU" => Some(Weekday::Tuesday),
        "WE" => Some(Weekday::Wednesday),
        "TH" => Some(Weekday::Thursday),
        "FR" => Some(Weekday::Friday),
        "SA" => Some(Weekday::Saturday),
        "SU" => Some(Weekday::Sunday),
        _ => None,
    }
}

/// `20301231T170000Z` is an instant. Without `Z` it is a time in the task's zone, and a date is all of that day there.
fn until(value: &str) -> Option<End> {
    let field = |at: usize, length: usize| -> Option<i16> {
        let digits = value.get(at..at + length)?;
        digits.bytes().all(|digit| digit.is_ascii_digit()).then(|| digits.parse().ok())?
    };
    let small = |at: usize| -> Option<i8> { i8::try_from(field(at, 2)?).ok() };
    let date = Date::new(field(0, 4)?, small(4)?, small(6)?).ok()?;
    let rest = value.get(8..)?;
    if rest.is_empty() {
        return Some(End::Wall(date.to_datetime(Time::MAX)));
    }
    let time = Time::new(small(9)?, small(11)?, small(13)?, 0).ok()?;
    match (rest.starts_with('T'), rest.get(7..)?) {
        (true, "") => Some(End::Wall(date.to_datetime(time))),
        (true, "Z") => Some(End::At(Zone::utc().instant(date.to_datetime(time))?)),
        _ => None,
    }
}
