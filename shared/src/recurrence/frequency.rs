//! Arithmetic in days, weeks, months and years: steps from a date, and their number between two dates.
//!
//! Both take one division or one addition, never a walk: a start in 1900 costs as much as a start today.

use jiff::{Span, civil::Date};

/// The unit of an interval.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Frequency {
    Daily,
    Weekly,
    Monthly,
    Yearly,
}

impl Frequency {
    /// Adds `n` units to `from`, clamped to the end of the month. `None` outside of the calendar.
    pub(super) fn step(self, from: Date, n: i64) -> Option<Date> {
        let span = match self {
            Self::Daily => Span::new().try_days(n),
            Self::Weekly => Span::new().try_weeks(n),
            Self::Monthly => Span::new().try_months(n),
            Self::Yearly => Span::new().try_years(n),
        };
        from.checked_add(span.ok()?).ok()
    }

    /// The largest `n` for which `from` plus `n` units is not past the day, month or year of `to` (the day, for weeks).
    pub(super) fn between(self, from: Date, to: Date) -> i64 {
        let years = i64::from(to.year()) - i64::from(from.year());
        match self {
            Self::Daily => days(from, to),
            Self::Weekly => days(from, to).div_euclid(7),
            Self::Monthly => years * 12 + i64::from(to.month()) - i64::from(from.month()),
            Self::Yearly => years,
        }
    }

    /// The number of units in 400 years. After them the calendar repeats, including leap years and weekdays.
    pub(super) fn cycle(self) -> i64 {
        match self {
            Self::Daily => 146_097,
            Self::Weekly => 20_871,
            Self::Monthly => 4_800,
            Self::Yearly => 400,
        }
    }
}

fn days(from: Date, to: Date) -> i64 {
    from.duration_until(to).as_hours() / 24
}
