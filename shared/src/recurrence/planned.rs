//! A date that a series names, when it is due, and why that is another time or never.

use std::fmt;

use chrono::{DateTime, Utc};
use jiff::civil::{Date, DateTime as Wall, Time};
use serde::Serialize;
use utoipa::ToSchema;

/// A date that a series names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Planned {
    /// The local time that the series names.
    pub named: NamedTime,
    /// When it is due. `None`: never.
    pub due_at: Option<DateTime<Utc>>,
    /// Why it is due at another time or never, or which of two times counts. Empty for an ordinary date.
    pub reasons: Vec<Reason>,
}

impl Planned {
    pub(super) fn never(named: NamedTime, reason: Reason) -> Self {
        Self { named, due_at: None, reasons: vec![reason] }
    }
}

/// Why a date is not simply due at the local time that the series names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = DateReason)]
pub enum Reason {
    /// The clocks skip the time. It is due later by the length of the gap.
    Gap,
    /// The clocks show the time twice. It is due the first time.
    Fold,
    /// The month has no such day. A simple recurrence takes its last day, an RRULE leaves it out.
    MonthEnd,
    /// The series had as many dates as its `COUNT` says, and ends before this one.
    Count,
    /// It is after the series' `UNTIL`, which ends before this one.
    Until,
}

/// A local time, possibly on a day that does not exist. Shown as `2027-02-31T09:00:00`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NamedTime {
    month: Date,
    day: i8,
    time: Time,
}

impl NamedTime {
    /// The day may be one that the month of `date` does not have.
    pub(super) fn new(date: Date, day: i8, time: Time) -> Self {
        Self { month: date.first_of_month(), day, time }
    }
}

impl From<Wall> for NamedTime {
    fn from(wall: Wall) -> Self {
        Self::new(wall.date(), wall.day(), wall.time())
    }
}

impl fmt::Display for NamedTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:04}-{:02}-{:02}T{}", self.month.year(), self.month.month(), self.day, self.time)
    }
}
