//! Parses RRULE text. Strict, because a misread rule fires at the wrong time.
//!
//! The text comes from users. The parser never panics. Its time and memory are bounded by the length of the text, which is limited.

use std::{ops::RangeInclusive, str::FromStr};

use jiff::civil::{Date, Time, Weekday};

use super::{
    Frequency, INTERVAL_LIMIT, Rule, RuleError, Zone,
    days::DayFilter,
    rule::{End, TEXT_LIMIT},
};

const COUNT_LIMIT: u32 = 9_999;

/// The values of the parts in the text.
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
        if !text.is_ascii() {
            return Err(RuleError::NotAscii);
        }
        let text = text.trim().to_ascii_uppercase();
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
            "FREQ" => put(&mut self.frequency, "FREQ", Some(frequency(value)?), ""),
            "INTERVAL" => {
                let expected = "a number between 1 and 999";
                put(&mut self.interval, "INTERVAL", number(value, 1..=INTERVAL_LIMIT), expected)
            }
            "COUNT" => {
                let expected = "a number between 1 and 9999";
                put(&mut self.count, "COUNT", number(value, 1..=COUNT_LIMIT), expected)
            }
            "UNTIL" => {
                let expected = "a time such as 20301231T170000Z or a date such as 20301231";
                put(&mut self.until, "UNTIL", until(value), expected)
            }
            "WKST" => {
                let expected = "MO, TU, WE, TH, FR, SA or SU";
                put(&mut self.week_start, "WKST", weekday(value), expected)
            }
            "BYMONTH" => {
                let expected = "months from 1 to 12";
                put(&mut self.months, "BYMONTH", numbers(value, 1..=12), expected)
            }
            "BYMONTHDAY" => {
                let expected = "days from 1 to 31, or -1 to -31 from the end of the month";
                put(&mut self.month_days, "BYMONTHDAY", numbers(value, -31..=31), expected)
            }
            "BYDAY" => {
                let expected = "weekdays such as MO, numbered up to 53 from either end such as 1MO or -1FR";
                put(&mut self.weekdays, "BYDAY", weekdays(value), expected)
            }
            "BYSETPOS" => {
                let expected = "positions from 1 to 366, or -1 to -366 from the end";
                put(&mut self.positions, "BYSETPOS", numbers(value, -366..=366), expected)
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
        let positions = self.positions.unwrap_or_default();

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
            (Some(_), Some(_)) => {
                return Err(RuleError::Together("a rule ends by COUNT or by UNTIL, not by both"));
            }
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

fn put<T>(slot: &mut Option<T>, part: &'static str, value: Option<T>, expected: &'static str) -> Result<(), RuleError> {
    match slot.replace(value.ok_or(RuleError::Value { part, expected })?) {
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

fn number<T: FromStr + PartialOrd>(text: &str, range: RangeInclusive<T>) -> Option<T> {
    text.parse().ok().filter(|number| range.contains(number))
}

/// Parses numbers separated by commas. 0 is invalid.
fn numbers(text: &str, range: RangeInclusive<i16>) -> Option<Vec<i16>> {
    text.split(',').map(|item| number(item, range.clone()).filter(|number| *number != 0)).collect()
}

/// Parses weekdays such as `MO,-1FR`, each with its ordinal. The ordinal 0 means every such weekday.
fn weekdays(text: &str) -> Option<Vec<(i16, Weekday)>> {
    let one = |item: &str| {
        let (ordinal, name) = item.split_at_checked(item.len().checked_sub(2)?)?;
        let ordinal = match ordinal {
            "" => 0,
            written => number(written, -53..=53).filter(|number| *number != 0)?,
        };
        Some((ordinal, weekday(name)?))
    };
    text.split(',').map(one).collect()
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

/// Parses `UNTIL`: `20301231T170000Z` is an instant. Without `Z` it is a time in the task's zone. A date includes all of that day there.
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
