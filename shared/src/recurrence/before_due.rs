//! "A quarter of an hour before it is due": a reminder relative to its task's due time.

use chrono::{DateTime, Utc};
use jiff::{Span, SpanRelativeTo, Unit};

use super::Zone;

/// The longest text of a duration.
pub const TEXT_LIMIT: usize = 32;

/// How long before the due time; an ISO 8601 duration such as `PT15M` or `P1D`, at most a year.
#[derive(Clone, Debug)]
pub struct BeforeDue {
    text: String,
    span: Span,
}

/// Not such a duration.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("is not an ISO 8601 duration between PT0S and P366D, such as PT15M or P1D")]
pub struct NotADuration;

impl BeforeDue {
    /// Reads the duration.
    ///
    /// # Errors
    /// When it is none, negative, or longer than 366 days.
    pub fn parse(text: &str) -> Result<Self, NotADuration> {
        if text.len() > TEXT_LIMIT || !text.starts_with('P') {
            return Err(NotADuration);
        }
        let span: Span = text.parse().map_err(|_| NotADuration)?;
        let length = span.total((Unit::Second, SpanRelativeTo::days_are_24_hours())).map_err(|_| NotADuration)?;
        if !(0.0..=366.0 * 86_400.0).contains(&length) {
            return Err(NotADuration);
        }
        Ok(Self { text: text.to_owned(), span })
    }

    /// The text it was read from.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The instant that much before `due`: days and weeks by the clock on the wall, so that `P1D` before 09:00 is 09:00 also when
    /// the clocks change in between; hours, minutes and seconds as they elapse. `None` before the calendar begins.
    #[must_use]
    pub fn resolve(&self, due: DateTime<Utc>, zone: &Zone) -> Option<DateTime<Utc>> {
        let days = Span::new().try_weeks(self.span.get_weeks()).ok()?.try_days(self.span.get_days()).ok()?;
        let elapsed = self.span.weeks(0).days(0);
        let day = zone.instant(zone.wall(due)?.checked_sub(days).ok()?)?;
        let elapsed = elapsed.total(Unit::Microsecond).ok()?;
        #[expect(clippy::cast_possible_truncation, reason = "a year is 3e13 microseconds")]
        day.checked_sub_signed(chrono::Duration::microseconds(elapsed as i64))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> DateTime<Utc> {
        text.parse().unwrap()
    }

    #[test]
    fn a_day_before_is_the_same_time_of_day_and_24_hours_before_are_24_hours() {
        let berlin = Zone::parse("Europe/Berlin").unwrap();
        let due = at("2027-03-28T07:00:00Z"); // 09:00, after the clocks went forward that night
        let before = |text: &str| BeforeDue::parse(text).unwrap().resolve(due, &berlin).unwrap();
        assert_eq!(before("P1D"), at("2027-03-27T08:00:00Z"));
        assert_eq!(before("PT24H"), at("2027-03-27T07:00:00Z"));
        assert_eq!(before("P1W"), at("2027-03-21T08:00:00Z"));
        assert_eq!(before("PT15M"), at("2027-03-28T06:45:00Z"));
        assert_eq!(before("P1DT30M"), at("2027-03-27T07:30:00Z"));
        assert_eq!(before("PT0S"), due);
    }

    #[test]
    fn what_is_no_short_positive_duration_is_refused() {
        for text in ["", "15", "15 minutes", "-PT15M", "P367D", "P2Y", "P1M", "PT", "P", "PT99999999999999999999H"] {
            assert!(BeforeDue::parse(text).is_err(), "{text}");
        }
    }
}
