//! The dates of a rule: the days that match its `BY…` parts, period by period.
//!
//! The calendar repeats every 400 years. A rule that matches no day in as many periods in a row as 400 years have never matches again. The
//! search stops there, which is exact and bounds its work.

use std::vec;

use jiff::civil::{Date, Weekday};

use super::{Frequency, Rule};

/// `BYMONTH`, `BYMONTHDAY` and `BYDAY` as bits. A part without bits is absent and matches every day.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct DayFilter {
    months: u64,
    month_days: FromEnds,
    /// Bit 0 matches every such weekday, bit n the nth of the month or year.
    weekdays: [FromEnds; 7],
    ordinals_within_year: bool,
}

/// Two sets of bits, counted from the start and from the end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct FromEnds {
    first: u64,
    last: u64,
}

impl FromEnds {
    fn set(&mut self, n: i16) {
        let bits = if n < 0 { &mut self.last } else { &mut self.first };
        *bits |= 1 << n.unsigned_abs();
    }

    fn has(self, nth: i16, nth_last: i16) -> bool {
        (self.first >> nth) & 1 == 1 || (self.last >> nth_last) & 1 == 1
    }

    fn is_empty(self) -> bool {
        self.first == 0 && self.last == 0
    }
}

impl DayFilter {
    pub(super) fn new(
        months: &[i16],
        month_days: &[i16],
        weekdays: &[(i16, Weekday)],
        ordinals_within_year: bool,
    ) -> Self {
        let mut filter =
            Self { months: 0, month_days: FromEnds::default(), weekdays: Default::default(), ordinals_within_year };
        months.iter().for_each(|month| filter.months |= 1 << month);
        month_days.iter().for_each(|day| filter.month_days.set(*day));
        weekdays.iter().for_each(|(ordinal, weekday)| filter.weekday(*weekday).set(*ordinal));
        filter
    }

    fn weekday(&mut self, weekday: Weekday) -> &mut FromEnds {
        &mut self.weekdays[usize::from(weekday.to_monday_zero_offset().unsigned_abs())]
    }

    /// Takes a missing weekday, day or month from the start (RFC 5545, 3.3.10).
    fn completed_by(mut self, frequency: Frequency, start: Date) -> Self {
        let names_days = !self.month_days.is_empty() || self.weekdays.iter().any(|ordinals| !ordinals.is_empty());
        if names_days {
            return self;
        }
        match frequency {
            Frequency::Daily => {}
            Frequency::Weekly => self.weekday(start.weekday()).set(0),
            Frequency::Monthly => self.month_days.set(start.day().into()),
            Frequency::Yearly => {
                self.month_days.set(start.day().into());
                if self.months == 0 {
                    self.months |= 1 << start.month();
                }
            }
        }
        self
    }

    fn names_no_weekday(&self) -> bool {
        self.weekdays.iter().all(|ordinals| ordinals.is_empty())
    }

    /// Whether it names a day that not every month has.
    fn names_late_days(&self) -> bool {
        self.month_days.first >> 29 != 0
    }

    /// The days that it names and that a month does not have.
    fn beyond(&self, month: Date) -> impl Iterator<Item = i8> + use<> {
        let named = if self.leaves_month(month) { self.month_days.first } else { 0 };
        (month.days_in_month() + 1..=31).filter(move |day| (named >> day) & 1 == 1)
    }

    fn leaves(&self, date: Date) -> bool {
        self.leaves_month(date) && self.leaves_month_day(date) && self.leaves_weekday(date)
    }

    fn leaves_month(&self, date: Date) -> bool {
        self.months == 0 || (self.months >> date.month()) & 1 == 1
    }

    fn leaves_month_day(&self, date: Date) -> bool {
        let (day, days) = (i16::from(date.day()), i16::from(date.days_in_month()));
        self.month_days.is_empty() || self.month_days.has(day, days - day + 1)
    }

    fn leaves_weekday(&self, date: Date) -> bool {
        if self.names_no_weekday() {
            return true;
        }
        let ordinals = self.weekdays[usize::from(date.weekday().to_monday_zero_offset().unsigned_abs())];
        if ordinals.first & 1 == 1 {
            return true;
        }
        let (day, days) = if self.ordinals_within_year {
            (date.day_of_year(), date.days_in_year())
        } else {
            (date.day().into(), date.days_in_month().into())
        };
        ordinals.has((day - 1) / 7 + 1, (days - day) / 7 + 1)
    }
}

impl Rule {
    /// The dates of the rule in order, from `start` on, whatever `COUNT` and `UNTIL` say. Dates before `from` may be missing.
    pub(super) fn dates(&self, start: Date, from: Date) -> impl Iterator<Item = Date> {
        let first_of_period = self.period_of(start);
        // Only COUNT needs the dates before `from`: it counts them.
        let period = match (self.count(), first_of_period) {
            (None, Some(first)) => self.periods_before(first, from),
            _ => 0,
        };
        let days = self.days.completed_by(self.frequency, start);
        Dates { rule: self, days, first_of_period, period, found: Vec::new().into_iter() }
            .filter(move |date| *date >= start)
    }

    /// The days of the month that the rule names between two dates and that do not exist: the first of their month, and their number.
    ///
    /// A day that must also be a certain weekday, or one of several positions, is not named alone.
    pub(super) fn missing_days(
        &self,
        start: Date,
        after: Date,
        before: Option<Date>,
    ) -> impl Iterator<Item = (Date, i8)> {
        let days = self.days.completed_by(self.frequency, start);
        let months: i8 = match self.frequency {
            Frequency::Monthly => 1,
            Frequency::Yearly => 12,
            Frequency::Daily | Frequency::Weekly => 0,
        };
        let names_days_alone = self.positions.is_empty() && days.names_no_weekday();
        let first = self.period_of(start).filter(|_| months > 0 && names_days_alone && days.names_late_days());
        let periods = first.into_iter().flat_map(move |first| {
            (self.periods_before(first, after)..)
                .map_while(move |n| self.frequency.step(first, n.checked_mul(self.interval.into())?))
        });
        periods
            .take_while(move |period| before.is_none_or(|before| *period <= before))
            .flat_map(move |period| (0..months).filter_map(move |n| Frequency::Monthly.step(period, n.into())))
            .flat_map(move |month| days.beyond(month).map(move |day| (month, day)))
            .filter(move |(month, day)| {
                let named = (month.year(), month.month(), *day);
                let of = |date: Date| (date.year(), date.month(), date.day());
                named > of(after) && before.is_none_or(|before| named < of(before))
            })
    }

    /// How many periods of the rule end before the one of `date`, or fewer.
    fn periods_before(&self, first: Date, date: Date) -> i64 {
        (self.frequency.between(first, date) / i64::from(self.interval)).max(0)
    }

    /// The first day of the period that contains `date`. `None` if the week begins before the calendar does.
    fn period_of(&self, date: Date) -> Option<Date> {
        match self.frequency {
            Frequency::Daily => Some(date),
            Frequency::Weekly => Frequency::Daily.step(date, -i64::from(date.weekday().since(self.week_start))),
            Frequency::Monthly => Some(date.first_of_month()),
            Frequency::Yearly => Some(date.first_of_year()),
        }
    }
}

struct Dates<'a> {
    rule: &'a Rule,
    days: DayFilter,
    first_of_period: Option<Date>,
    period: i64,
    found: vec::IntoIter<Date>,
}

impl Iterator for Dates<'_> {
    type Item = Date;

    fn next(&mut self) -> Option<Date> {
        if let Some(date) = self.found.next() {
            return Some(date);
        }
        // One period more than a cycle, because all dates of the first period may lie before the place where the search begins.
        for _ in 0..=self.rule.frequency.cycle() {
            self.found = self.next_period()?.into_iter();
            if let Some(date) = self.found.next() {
                return Some(date);
            }
        }
        None
    }
}

impl Dates<'_> {
    /// The matching dates of the next period. `None` past the end of the calendar.
    fn next_period(&mut self) -> Option<Vec<Date>> {
        let rule = self.rule;
        let first = rule.frequency.step(self.first_of_period?, self.period.checked_mul(rule.interval.into())?)?;
        self.period += 1;
        let length = match rule.frequency {
            Frequency::Daily => 1,
            Frequency::Weekly => 7,
            Frequency::Monthly => first.days_in_month().into(),
            Frequency::Yearly => first.days_in_year(),
        };
        let mut dates = Vec::new();
        let mut next = Some(first);
        for _ in 0..length {
            let Some(date) = next else { break };
            if self.days.leaves(date) {
                dates.push(date);
            }
            next = date.tomorrow().ok();
        }
        Some(if rule.positions.is_empty() { dates } else { chosen(&dates, &rule.positions) })
    }
}

/// Applies `BYSETPOS`: picks the dates at these positions, counted from 1 or from -1.
fn chosen(dates: &[Date], positions: &[i16]) -> Vec<Date> {
    let at = |position: &i16| {
        let distance = usize::from(position.unsigned_abs());
        let index = if *position > 0 { distance - 1 } else { dates.len().checked_sub(distance)? };
        dates.get(index).copied()
    };
    let mut chosen: Vec<Date> = positions.iter().filter_map(at).collect();
    chosen.sort_unstable();
    chosen.dedup();
    chosen
}
