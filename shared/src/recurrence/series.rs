//! A recurrence with its start and zone: the instants at which the task is due.

use chrono::{DateTime, Utc};
use jiff::{
    ToSpan,
    civil::{Date, DateTime as Wall},
};

use super::{Anchor, Pattern, Recurrence, Zone};

/// Maximum number of occurrences that [`Series::upcoming`] returns.
pub const UPCOMING_LIMIT: usize = 100;

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
            Anchor::Due => self.after(due.max(completed_at))?.next(),
            Anchor::Completion => self.after_completion(completed_at),
        }
    }

    /// The next `n` occurrences strictly after `after`, at most [`UPCOMING_LIMIT`], for a preview.
    ///
    /// With the anchor `completion`, each occurrence counts as completed when it is due, beginning with the start if that is ahead.
    pub fn upcoming(&self, after: DateTime<Utc>, n: usize) -> Vec<DateTime<Utc>> {
        let n = n.min(UPCOMING_LIMIT);
        match self.recurrence.anchor() {
            Anchor::Due => self.after(after).into_iter().flatten().take(n).collect(),
            Anchor::Completion => {
                let first = if self.start > after { Some(self.start) } else { self.after_completion(after) };
                std::iter::successors(first, |at| self.after_completion(*at)).take(n).collect()
            }
        }
    }

    /// The occurrences counted from the start, strictly after `after`.
    fn after(&self, after: DateTime<Utc>) -> Option<impl Iterator<Item = DateTime<Utc>>> {
        let start = self.zone.wall(self.start)?;
        let from = match self.zone.wall(after) {
            // A zone may skip a whole day (Samoa, 2011). An occurrence on that day moves to the next one, so begin a day earlier.
            Some(wall) => wall.date().saturating_sub(1.day()),
            None if after < self.start => start.date(),
            None => return None,
        };
        Some(self.instants(start, from, after))
    }

    fn after_completion(&self, completed_at: DateTime<Utc>) -> Option<DateTime<Utc>> {
        let time = self.zone.wall(self.start)?.time();
        let day = self.zone.wall(completed_at)?.date();
        let next_day = self.zone.instant(day.tomorrow().ok()?.to_datetime(time))?;
        // The day of the completion does not count: the earliest result is the same time on the next day.
        self.instants(day.to_datetime(time), day, completed_at).find(|at| *at >= next_day)
    }

    /// The occurrences strictly after `after`, in order, as if the series started at `start`. Occurrences on days before `from` may be
    /// missing.
    fn instants(&self, start: Wall, from: Date, after: DateTime<Utc>) -> impl Iterator<Item = DateTime<Utc>> {
        let mut last = after;
        self.dates(start.date(), from)
            .map_while(move |date| {
                let wall = date.to_datetime(start.time());
                let instant = self.zone.instant(wall)?;
                let ended = self.recurrence.rule().is_some_and(|rule| !rule.reaches(wall, instant));
                (!ended).then_some(instant)
            })
            // Two days share an instant if the zone skipped one of them.
            .filter(move |at| {
                let later = *at > last;
                last = last.max(*at);
                later
            })
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
