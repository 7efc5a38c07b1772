//! Relative reminders: an ISO 8601 duration before the task's due time, such as `PT15M`.

use chrono::{DateTime, Utc};
use jiff::{Span, SpanRelativeTo, Unit};

use super::Zone;

/// Maximum length of a duration's text.
pub const TEXT_LIMIT: usize = 32;

/// How long before the due time a reminder fires: an ISO 8601 duration such as `PT15M` or `P1D`, at most 366 days.
#[derive(Clone, Debug)]
pub struct BeforeDue {
    text: String,
    span: Span,
}

/// The text is not a duration that a [`BeforeDue`] allows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("is not an ISO 8601 duration between PT0S and P366D, such as PT15M or P1D")]
pub struct NotADuration;

impl BeforeDue {
    /// Parses an ISO 8601 duration. Rejects a negative one and one longer than 366 days.
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

    /// The original text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Subtracts the duration from `due`. Returns `None` before the calendar begins.
    ///
    /// Days and weeks follow the wall clock: `P1D` before 09:00 is 09:00 even if the clocks change in between. Hours, minutes and seconds
    /// are elapsed time.
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
    fn durations_that_are_invalid_negative_or_too_long_are_refused() {
        for text in ["", "15", "15 minutes", "-PT15M", "P367D", "P2Y", "P1M", "PT", "P", "PT99999999999999999999H"] {
            assert!(BeforeDue::parse(text).is_err(), "{text}");
        }
    }
}
