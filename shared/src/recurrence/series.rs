//! A recurrence with its start and zone: the instants at which the task is due.

use chrono::{DateTime, Utc};
use jiff::{
    ToSpan,
    civil::{Date, DateTime as Wall},
};

use super::{
    Anchor, Frequency, Pattern, Recurrence, Zone,
    planned::{NamedTime, Planned, Reason},
};

/// Maximum number of occurrences that [`Series::preview`] returns.
pub const UPCOMING_LIMIT: usize = 100;
/// How many days that do not exist are shown of a rule that has no further date.
const MISSING_LIMIT: usize = 12;

/// A recurrence, the instant its first occurrence is due, and the zone whose clock it follows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Series {
    /// How it repeats.
    pub recurrence: Recurrence,
    /// When the first occurrence is due. Every occurrence has its local time of day.
    pub start: DateTime<Utc>,
    /// The zone of the task.
    pub zone: Zone,
}

impl Series {
    /// The next due time after the occurrence that was due at `due` and completed at `completed_at`.
    ///
    /// - Anchor `due`: the first occurrence, counted from the start, strictly after both times. An early completion moves on by one
    ///   occurrence. A late completion skips the missed ones, so the result is never already past.
    /// - Anchor `completion`: the day of the completion plus the interval. A rule instead gives its first day after the completion, with
    ///   that day as its start. The result may be before `due` if the task was completed early.
    ///
    /// `None` when the rule has ended or never matches again, or after the year 9999.
    pub fn next(&self, due: DateTime<Utc>, completed_at: DateTime<Utc>) -> Option<DateTime<Utc>> {
        match self.recurrence.anchor() {
            Anchor::Due => self.after(due.max(completed_at))?.find_map(|date| date.due_at),
            Anchor::Completion => self.after_completion(completed_at)?.find_map(|date| date.due_at),
        }
    }

    /// The next `n` occurrences strictly after `after`, at most [`UPCOMING_LIMIT`].
    pub fn upcoming(&self, after: DateTime<Utc>, n: usize) -> Vec<DateTime<Utc>> {
        self.preview(after, n).into_iter().filter_map(|date| date.due_at).collect()
    }

    /// The dates until the next `n` occurrences strictly after `after`, at most [`UPCOMING_LIMIT`], with those that are left out in between.
    /// The date that `COUNT` or `UNTIL` leaves out is the last one.
    ///
    /// With the anchor `completion`, each occurrence counts as completed when it is due, beginning with the start if that is ahead.
    pub fn preview(&self, after: DateTime<Utc>, n: usize) -> Vec<Planned> {
        let n = n.min(UPCOMING_LIMIT);
        if self.recurrence.anchor() == Anchor::Due {
            return through(n, self.after(after).into_iter().flatten());
        }
        let (mut preview, mut last) = (Vec::new(), after);
        if self.start > after {
            let start = self.zone.wall(self.start).map(NamedTime::from);
            preview.extend(start.map(|named| Planned { named, due_at: Some(self.start), reasons: Vec::new() }));
            preview.truncate(n);
            last = self.start;
        }
        for _ in preview.len()..n {
            let next = through(1, self.after_completion(last).into_iter().flatten());
            let due_at = next.last().and_then(|date| date.due_at);
            preview.extend(next);
            match due_at {
                Some(at) => last = at,
                None => break,
            }
        }
        preview
    }

    /// The dates counted from the start, strictly after `after`.
    fn after(&self, after: DateTime<Utc>) -> Option<impl Iterator<Item = Planned>> {
        let start = self.zone.wall(self.start)?;
        let from = match self.zone.wall(after) {
            // A zone may skip a whole day (Samoa, 2011). An occurrence on that day moves to the next one, so begin a day earlier.
            Some(wall) => wall.date().saturating_sub(1.day()),
            None if after < self.start => start.date(),
            None => return None,
        };
        Some(self.planned(start, from, after))
    }

    /// The dates after a completion, as if the series started on its day.
    fn after_completion(&self, completed_at: DateTime<Utc>) -> Option<impl Iterator<Item = Planned>> {
        let time = self.zone.wall(self.start)?.time();
        let day = self.zone.wall(completed_at)?.date();
        // The day of the completion does not count: the earliest result is the same time on the next day.
        let next_day = self.zone.instant(day.tomorrow().ok()?.to_datetime(time))?;
        let dates = self.planned(day.to_datetime(time), day, completed_at);
        Some(dates.filter(move |date| date.due_at.is_none_or(|at| at >= next_day)))
    }

    /// The dates strictly after `after`, in order, as if the series started at `start`, with those that are left out in between. Dates on days
    /// before `from` may be missing.
    fn planned(&self, start: Wall, from: Date, after: DateTime<Utc>) -> impl Iterator<Item = Planned> {
        let (mut last, mut seen, mut ended) = (after, from.max(start.date()), false);
        let dates = self.dates(start.date(), from).map(Some).chain([None]);
        let planned = dates.enumerate().map_while(move |(nth, date)| {
            if ended {
                return None;
            }
            let Some(date) = date else {
                return Some(self.missing(start, seen, None).take(MISSING_LIMIT).collect());
            };
            let wall = date.to_datetime(start.time());
            let (at, change) = self.zone.resolve(wall)?;
            if let Some(reason) = self.recurrence.rule().and_then(|rule| rule.ended_by(nth, wall, at)) {
                ended = true;
                return Some(vec![Planned::never(wall.into(), reason)]);
            }
            let mut planned: Vec<_> = self.missing(start, seen, Some(date)).collect();
            seen = seen.max(date);
            // Two days share an instant if the zone skipped one of them.
            if at > last {
                last = at;
                let named = NamedTime::new(date, self.day_meant_by(start.date(), date), start.time());
                let month_end = (named != NamedTime::from(wall)).then_some(Reason::MonthEnd);
                planned.push(Planned {
                    named,
                    due_at: Some(at),
                    reasons: month_end.into_iter().chain(change).collect(),
                });
            }
            Some(planned)
        });
        planned.flatten()
    }

    /// The day of the month that a date stands for: in a month that is too short, a simple recurrence takes the last day instead.
    fn day_meant_by(&self, start: Date, date: Date) -> i8 {
        match &self.recurrence.pattern {
            Pattern::Every { frequency: Frequency::Monthly | Frequency::Yearly, .. } => start.day(),
            _ => date.day(),
        }
    }

    /// The days that a rule names between two dates and that do not exist.
    fn missing(&self, start: Wall, after: Date, before: Option<Date>) -> impl Iterator<Item = Planned> {
        let rule = self.recurrence.rule().into_iter();
        rule.flat_map(move |rule| rule.missing_days(start.date(), after, before))
            .map(move |(month, day)| Planned::never(NamedTime::new(month, day, start.time()), Reason::MonthEnd))
    }

    fn dates(&self, start: Date, from: Date) -> Box<dyn Iterator<Item = Date> + '_> {
        match &self.recurrence.pattern {
            Pattern::Rule(rule) => Box::new(rule.dates(start, from)),
            Pattern::Every { interval, frequency } => {
                let (interval, frequency) = (i64::from(*interval), *frequency);
                let first = (frequency.between(start, from) / interval).max(0);
                Box::new((first..).map_while(move |n| frequency.step(start, n.checked_mul(interval)?)))
            }
        }
    }
}

/// The dates up to the `n`th that is due.
fn through(n: usize, mut dates: impl Iterator<Item = Planned>) -> Vec<Planned> {
    let (mut found, mut left) = (Vec::new(), n);
    // Looking for a date that is not wanted would cost as much as one that is.
    while left > 0
        && let Some(date) = dates.next()
    {
        left -= usize::from(date.due_at.is_some());
        found.push(date);
    }
    found
}
