//! Rules, starts and dates of libical, ical.js, google-rfc-2445 and dateutil (`tables.txt`).

use chrono::{DateTime, TimeDelta, Utc};
use jiff::{ToSpan, civil, tz::TimeZone};
use shared::recurrence::Rule;

use super::custom;

const TABLES: &str = include_str!("tables.txt");

const EVERY_MONTH: &str = "a day of the month without BYMONTH is a day of every month, as dateutil has it";
const START_MAY_NOT_MATCH: &str = "a start that the rule does not match is no occurrence and does not count";
const WHOLE_DAY: &str = "a date in UNTIL includes all of that day";
const WHOLE_FIRST_WEEK: &str = "BYSETPOS counts in the whole first week, not from the start on";
const FORBIDDEN: &str = "RFC 5545 forbids BYMONTHDAY in a weekly rule";
const NEVER_TOO_FAR: &str = "the search never gives up before the calendar ends";

/// Where we differ: the beginning of the line, what we have instead, and why.
const DIFFERENCES: [(&str, &str, &str); 11] = [
    ("FREQ=YEARLY;BYMONTHDAY=29;COUNT=3 |", "0 29 31 .", EVERY_MONTH),
    ("FREQ=YEARLY;BYMONTHDAY=-29,-1;COUNT=4 |", "0 28 3 28 .", EVERY_MONTH),
    ("FREQ=YEARLY;BYMONTHDAY=-1 |", "0 31 30 31*2 30 ...", EVERY_MONTH),
    ("FREQ=MONTHLY;BYSETPOS=-1;BYDAY=SU,MO,TU,WE,TH,FR,SA;INTERVAL=1;COUNT=4 |", "30 29 31 30 .", START_MAY_NOT_MATCH),
    ("FREQ=MONTHLY;BYSETPOS=2;BYDAY=SU,MO,TU,WE,TH,FR,SA;INTERVAL=1;COUNT=4 |", "1 31 29 31 .", START_MAY_NOT_MATCH),
    ("FREQ=WEEKLY;UNTIL=19971007;WKST=SU;BYDAY=TU,TH |", "0 2 5 2 5 2 5 2 5 2 5 .", WHOLE_DAY),
    ("FREQ=WEEKLY;BYDAY=MO,TU,WE,TH,FR;BYSETPOS=2 | 1997-01-01T00:00 |", "6 7*3 ...", WHOLE_FIRST_WEEK),
    ("FREQ=WEEKLY;COUNT=4;BYDAY=TU,SU;BYMONTHDAY=13,14,15,16,17,18,19,20 |", "refused", FORBIDDEN),
    ("FREQ=WEEKLY;INTERVAL=2;BYMONTHDAY=1,-1;BYDAY=FR;COUNT=3 |", "refused", FORBIDDEN),
    ("FREQ=WEEKLY;WKST=SU;INTERVAL=1;BYMONTH=9,1,12,8;BYMONTHDAY=-9,-29,24;BYSETPOS=", "refused", FORBIDDEN),
    ("FREQ=YEARLY;BYMONTH=2;BYMONTHDAY=28 | 2000-01-01T00:00 from 2500-01-01T00:00 |", "182680 ...", NEVER_TOO_FAR),
];

/// When a rule begins, and from when on its dates are wanted.
struct Beginning<'a> {
    zone: &'a str,
    start: civil::DateTime,
    from: civil::DateTime,
}

impl<'a> Beginning<'a> {
    fn read(text: &'a str) -> Self {
        let time = |text: &str| text.parse().expect("a local time");
        let (text, from) = text.split_once(" from ").map_or((text, None), |(text, from)| (text, Some(time(from))));
        let (start, zone) = text.split_once(' ').unwrap_or((text, "UTC"));
        Self { zone, start: time(start), from: from.unwrap_or_else(|| time(start)) }
    }

    /// The instants that a column says, and whether they end.
    fn dates(&self, days: &str) -> (Vec<DateTime<Utc>>, bool) {
        let (days, ends) = days.strip_suffix("...").map_or((days, true), |days| (days, false));
        let mut dates = Vec::new();
        let mut date = self.start;
        for word in days.trim_end_matches('.').split_whitespace() {
            let (step, times) = word.split_once('*').unwrap_or((word, "1"));
            for _ in 0..times.parse().expect("a number") {
                date += step.parse::<i64>().expect("a number of days").days();
                dates.push(self.instant(date));
            }
        }
        (dates, ends)
    }

    /// The instant of a local time. One in a gap moves forward by its length, and of two the first counts.
    fn instant(&self, wall: civil::DateTime) -> DateTime<Utc> {
        let zone = TimeZone::get(self.zone).expect("a zone of the database");
        let at = zone.to_timestamp(wall).expect("an instant");
        DateTime::from_timestamp(at.as_second(), 0).expect("an instant")
    }

    /// Our first `n` instants of a rule.
    fn ours(&self, rule: &str, n: usize) -> Vec<DateTime<Utc>> {
        let series = custom(rule, &self.instant(self.start).to_rfc3339(), self.zone);
        let (mut ours, mut after) = (Vec::new(), self.instant(self.from) - TimeDelta::nanoseconds(1));
        while ours.len() < n
            && let Some(at) = series.upcoming(after, 1).pop()
        {
            ours.push(at);
            after = at;
        }
        ours
    }
}

#[test]
fn dates_match_the_tables_of_other_products_except_for_listed_differences() {
    let mut seen = 0;
    for line in TABLES.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
        let different = DIFFERENCES.iter().find(|(beginning, ..)| line.starts_with(beginning));
        seen += usize::from(different.is_some());
        let (rule, rest) = line.split_once(" | ").expect("columns");
        let (beginning, theirs) = rest.split_once(" | ").unwrap_or(("", rest));
        let (expected, why) = different.map_or((theirs, ""), |(_, ours, why)| (*ours, *why));
        assert!(different.is_none() || expected != theirs, "{line}: no difference");
        if expected == "refused" {
            assert!(rule.parse::<Rule>().is_err(), "{line}: accepted {why}");
            continue;
        }
        let beginning = Beginning::read(beginning);
        let (dates, ends) = beginning.dates(expected);
        assert_eq!(beginning.ours(rule, dates.len() + usize::from(ends)), dates, "{line} {why}");
    }
    assert_eq!(seen, DIFFERENCES.len(), "every difference is one");
}
