//! Previews: which dates are shifted or left out, and why.

use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};
use shared::recurrence::{
    Kind,
    Reason::{self, Count, Fold, Gap, MonthEnd, Until},
    Series, UPCOMING_LIMIT,
};

use super::{after_completion, at, custom, every};

/// A date as named, when it is due, and the reasons.
type Shown = (String, Option<DateTime<Utc>>, Vec<Reason>);

fn preview(series: &Series, n: usize) -> Vec<Shown> {
    let dates = series.preview(series.start, n).into_iter();
    dates.map(|date| (date.named.to_string(), date.due_at, date.reasons)).collect()
}

fn due(named: &str, instant: &str, reasons: &[Reason]) -> Shown {
    (named.to_owned(), Some(at(instant)), reasons.to_vec())
}

fn left_out(named: &str, reason: Reason) -> Shown {
    (named.to_owned(), None, vec![reason])
}

#[test]
fn a_time_that_the_clocks_skip_is_due_later_because_of_the_gap() {
    for (zone, start, dates) in [
        (
            "Europe/Berlin",
            "2027-03-27T01:30:00Z",
            [
                due("2027-03-28T02:30:00", "2027-03-28T01:30:00Z", &[Gap]),
                due("2027-03-29T02:30:00", "2027-03-29T00:30:00Z", &[]),
            ],
        ),
        (
            "America/New_York",
            "2027-03-13T07:30:00Z",
            [
                due("2027-03-14T02:30:00", "2027-03-14T07:30:00Z", &[Gap]),
                due("2027-03-15T02:30:00", "2027-03-15T06:30:00Z", &[]),
            ],
        ),
        (
            // Its clocks move by half an hour.
            "Australia/Lord_Howe",
            "2027-10-01T15:45:00Z",
            [
                due("2027-10-03T02:15:00", "2027-10-02T15:45:00Z", &[Gap]),
                due("2027-10-04T02:15:00", "2027-10-03T15:15:00Z", &[]),
            ],
        ),
        (
            // It skipped 30 December. The date of the 31st is the same instant.
            "Pacific/Apia",
            "2011-12-29T19:00:00Z",
            [
                due("2011-12-30T09:00:00", "2011-12-30T19:00:00Z", &[Gap]),
                due("2012-01-01T09:00:00", "2011-12-31T19:00:00Z", &[]),
            ],
        ),
    ] {
        assert_eq!(preview(&every(1, Kind::Daily, start, zone), 2), dates, "{zone}");
    }
}

#[test]
fn a_time_that_the_clocks_show_twice_is_due_the_first_time_because_of_the_fold() {
    for (zone, start, date) in [
        ("Europe/Berlin", "2027-10-30T00:30:00Z", due("2027-10-31T02:30:00", "2027-10-31T00:30:00Z", &[Fold])),
        ("America/New_York", "2027-11-06T05:30:00Z", due("2027-11-07T01:30:00", "2027-11-07T05:30:00Z", &[Fold])),
        ("Australia/Lord_Howe", "2027-04-02T14:45:00Z", due("2027-04-04T01:45:00", "2027-04-03T14:45:00Z", &[Fold])),
    ] {
        assert_eq!(preview(&every(1, Kind::Daily, start, zone), 1), [date], "{zone}");
    }
}

#[test]
fn a_simple_recurrence_takes_the_last_day_of_a_month_that_is_too_short() {
    let rent = every(1, Kind::Monthly, "2027-01-31T08:00:00Z", "Europe/Berlin");
    assert_eq!(
        preview(&rent, 3),
        [
            due("2027-02-31T09:00:00", "2027-02-28T08:00:00Z", &[MonthEnd]),
            due("2027-03-31T09:00:00", "2027-03-31T07:00:00Z", &[]),
            due("2027-04-31T09:00:00", "2027-04-30T07:00:00Z", &[MonthEnd]),
        ]
    );
    let birthday = every(1, Kind::Yearly, "2028-02-29T12:00:00Z", "UTC");
    assert_eq!(preview(&birthday, 1), [due("2029-02-29T12:00:00", "2029-02-28T12:00:00Z", &[MonthEnd])]);
    let daily = every(30, Kind::Daily, "2027-01-31T12:00:00Z", "UTC");
    assert_eq!(preview(&daily, 1), [due("2027-03-02T12:00:00", "2027-03-02T12:00:00Z", &[])]);
}

#[test]
fn a_rule_leaves_out_the_days_that_a_month_does_not_have() {
    let of = |rule| preview(&custom(rule, "2027-01-31T09:00:00Z", "UTC"), 2);
    assert_eq!(
        of("FREQ=MONTHLY"),
        [
            left_out("2027-02-31T09:00:00", MonthEnd),
            due("2027-03-31T09:00:00", "2027-03-31T09:00:00Z", &[]),
            left_out("2027-04-31T09:00:00", MonthEnd),
            due("2027-05-31T09:00:00", "2027-05-31T09:00:00Z", &[]),
        ]
    );
    // Only the months that the rule looks at.
    assert_eq!(
        of("FREQ=MONTHLY;INTERVAL=8;BYMONTHDAY=31,30"),
        [
            due("2027-09-30T09:00:00", "2027-09-30T09:00:00Z", &[]),
            left_out("2027-09-31T09:00:00", MonthEnd),
            due("2028-05-30T09:00:00", "2028-05-30T09:00:00Z", &[]),
        ]
    );
    let leap = preview(&custom("FREQ=YEARLY", "2028-02-29T09:00:00Z", "UTC"), 1);
    assert_eq!(
        leap,
        [
            left_out("2029-02-29T09:00:00", MonthEnd),
            left_out("2030-02-29T09:00:00", MonthEnd),
            left_out("2031-02-29T09:00:00", MonthEnd),
            due("2032-02-29T09:00:00", "2032-02-29T09:00:00Z", &[]),
        ]
    );
    // These rules choose among the days that there are.
    for rule in ["FREQ=MONTHLY;BYMONTHDAY=-1", "FREQ=MONTHLY;BYMONTHDAY=28,29,30,31;BYSETPOS=-1"] {
        let last = due("2027-02-28T09:00:00", "2027-02-28T09:00:00Z", &[]);
        assert_eq!(of(rule)[0], last, "{rule}");
    }
}

#[test]
fn the_date_that_count_or_until_leaves_out_is_the_last_one() {
    let of = |rule| preview(&custom(rule, "2027-01-01T09:00:00Z", "UTC"), 9);
    let second = due("2027-01-02T09:00:00", "2027-01-02T09:00:00Z", &[]);
    assert_eq!(of("FREQ=DAILY;COUNT=2"), [second.clone(), left_out("2027-01-03T09:00:00", Count)]);
    assert_eq!(of("FREQ=DAILY;UNTIL=20270102"), [second, left_out("2027-01-03T09:00:00", Until)]);
    assert_eq!(of("FREQ=DAILY;COUNT=1"), [left_out("2027-01-02T09:00:00", Count)]);
}

#[test]
fn a_rule_without_a_further_date_shows_the_days_that_do_not_exist() {
    let of = |rule| preview(&custom(rule, "2027-01-04T09:00:00Z", "UTC"), 5);
    let never = of("FREQ=YEARLY;BYMONTH=2;BYMONTHDAY=30");
    assert_eq!(never[0], left_out("2027-02-30T09:00:00", MonthEnd));
    assert_eq!(never.len(), 12);
    assert_eq!(of("FREQ=MONTHLY;BYDAY=MO;BYSETPOS=6"), []);
}

#[test]
fn with_the_anchor_completion_each_date_counts_from_the_one_before() {
    let filter = after_completion(1, Kind::Monthly, "2027-01-31T09:00:00Z", "UTC");
    assert_eq!(
        preview(&filter, 2),
        [
            due("2027-02-31T09:00:00", "2027-02-28T09:00:00Z", &[MonthEnd]),
            due("2027-03-28T09:00:00", "2027-03-28T09:00:00Z", &[]),
        ]
    );
    let end = after_completion(999, Kind::Yearly, "9000-01-31T09:00:00Z", "UTC");
    assert_eq!(preview(&end, 9), [due("9999-01-31T09:00:00", "9999-01-31T09:00:00Z", &[])]);
}

/// 20 is the most that the API gives. A build without optimisations takes about twenty times as long as a release.
#[test]
fn the_most_expensive_rules_are_previewed_within_50_ms() {
    let limit = Duration::from_millis(50) * if cfg!(debug_assertions) { 20 } else { 1 };
    for rule in [
        "FREQ=DAILY;BYMONTH=2;BYMONTHDAY=29;BYDAY=MO",
        "FREQ=DAILY;INTERVAL=3;BYMONTH=2;BYMONTHDAY=29;BYDAY=MO",
        "FREQ=DAILY;INTERVAL=10;BYMONTH=2;BYMONTHDAY=29;BYDAY=MO",
        "FREQ=DAILY;BYMONTH=2;BYMONTHDAY=30",
        "FREQ=DAILY;COUNT=9999;BYMONTH=2;BYMONTHDAY=29;BYDAY=MO",
        "FREQ=WEEKLY;BYMONTH=2;BYDAY=MO,TU,WE,TH,FR,SA,SU;BYSETPOS=-7",
        "FREQ=MONTHLY;BYMONTH=2;BYMONTHDAY=29;BYDAY=MO",
        "FREQ=YEARLY;BYMONTH=2;BYMONTHDAY=29;BYDAY=MO",
        "FREQ=YEARLY;BYMONTH=2;BYMONTHDAY=30,31;BYDAY=5MO",
        "FREQ=YEARLY;BYMONTH=2;BYMONTHDAY=29,30,31",
    ] {
        let series = custom(rule, "2027-01-31T09:00:00Z", "Europe/Berlin");
        let begun = Instant::now();
        let dates = series.preview(series.start, 20);
        let took = begun.elapsed();
        assert!(took < limit, "{rule} took {took:?}");
        // The last rule names three days a year, and 2100 is no leap year.
        assert!(dates.len() <= 250, "{rule}: {} dates", dates.len());
    }
}

#[test]
fn a_preview_is_limited() {
    let daily = every(1, Kind::Daily, "2027-01-01T09:00:00Z", "UTC");
    assert_eq!(daily.preview(daily.start, usize::MAX).len(), UPCOMING_LIMIT);
    assert!(daily.preview(daily.start, 0).is_empty());
}
