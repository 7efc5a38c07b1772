//! Rules: the examples of RFC 5545, how rules end, and how much time they cost.

use std::time::{Duration, Instant};

use chrono::{Datelike, TimeDelta, Weekday};
use shared::recurrence::{Anchor, Kind, Recurrence, RecurrenceError, Series};

use super::{at, clock, custom, every, zone};

fn days(rule: &str, start: &str, n: usize) -> Vec<String> {
    let series = custom(rule, start, "America/New_York");
    clock(&series, n).into_iter().map(|time| time[..10].to_owned()).collect()
}

#[test]
fn examples_of_the_standard_give_its_dates() {
    let september = "1997-09-02T13:00:00Z";
    let examples: [(&str, &str, &[&str]); 12] = [
        (
            "FREQ=WEEKLY;INTERVAL=2;COUNT=4;BYDAY=TU,TH;WKST=SU",
            september,
            &["1997-09-02", "1997-09-04", "1997-09-16", "1997-09-18"],
        ),
        (
            "FREQ=MONTHLY;COUNT=4;BYDAY=1FR",
            "1997-09-05T13:00:00Z",
            &["1997-09-05", "1997-10-03", "1997-11-07", "1997-12-05"],
        ),
        (
            "FREQ=MONTHLY;INTERVAL=2;COUNT=4;BYDAY=1SU,-1SU",
            "1997-09-07T13:00:00Z",
            &["1997-09-07", "1997-09-28", "1997-11-02", "1997-11-30"],
        ),
        (
            "FREQ=MONTHLY;BYMONTHDAY=-3",
            "1997-09-28T13:00:00Z",
            &["1997-09-28", "1997-10-29", "1997-11-28", "1997-12-29"],
        ),
        (
            "FREQ=MONTHLY;COUNT=4;BYMONTHDAY=1,-1",
            "1997-09-30T13:00:00Z",
            &["1997-09-30", "1997-10-01", "1997-10-31", "1997-11-01"],
        ),
        ("FREQ=YEARLY;COUNT=3;BYMONTH=6,7", "1997-06-10T13:00:00Z", &["1997-06-10", "1997-07-10", "1998-06-10"]),
        ("FREQ=YEARLY;BYDAY=20MO", "1997-05-19T13:00:00Z", &["1997-05-19", "1998-05-18", "1999-05-17"]),
        (
            "FREQ=MONTHLY;BYDAY=FR;BYMONTHDAY=13",
            september,
            &["1998-02-13", "1998-03-13", "1998-11-13", "1999-08-13", "2000-10-13"],
        ),
        (
            "FREQ=YEARLY;INTERVAL=4;BYMONTH=11;BYDAY=TU;BYMONTHDAY=2,3,4,5,6,7,8",
            "1996-11-05T14:00:00Z",
            &["1996-11-05", "2000-11-07", "2004-11-02"],
        ),
        (
            "FREQ=MONTHLY;COUNT=3;BYDAY=TU,WE,TH;BYSETPOS=3",
            "1997-09-04T13:00:00Z",
            &["1997-09-04", "1997-10-07", "1997-11-06"],
        ),
        (
            "FREQ=MONTHLY;BYDAY=MO,TU,WE,TH,FR;BYSETPOS=-2",
            "1997-09-29T13:00:00Z",
            &["1997-09-29", "1997-10-30", "1997-11-27", "1997-12-30"],
        ),
        (
            "FREQ=MONTHLY;BYMONTHDAY=15,30;COUNT=5",
            "2007-01-15T14:00:00Z",
            &["2007-01-15", "2007-01-30", "2007-02-15", "2007-03-15", "2007-03-30"],
        ),
    ];
    for (rule, start, expected) in examples {
        assert_eq!(days(rule, start, expected.len()), expected, "{rule}");
    }
}

#[test]
fn the_start_of_the_week_decides_which_weeks_count_in_a_fortnightly_rule() {
    let start = "1997-08-05T13:00:00Z";
    let monday = days("FREQ=WEEKLY;INTERVAL=2;COUNT=4;BYDAY=TU,SU;WKST=MO", start, 9);
    assert_eq!(monday, ["1997-08-05", "1997-08-10", "1997-08-19", "1997-08-24"]);
    let sunday = days("FREQ=WEEKLY;INTERVAL=2;COUNT=4;BYDAY=TU,SU;WKST=SU", start, 9);
    assert_eq!(sunday, ["1997-08-05", "1997-08-17", "1997-08-19", "1997-08-31"]);
}

#[test]
fn a_rule_skips_months_outside_bymonth() {
    assert_eq!(days("FREQ=WEEKLY;BYMONTH=2", "2027-02-22T14:00:00Z", 2), ["2027-02-22", "2028-02-07"]);
    assert_eq!(days("FREQ=DAILY;BYMONTH=2", "2027-02-28T14:00:00Z", 2), ["2027-02-28", "2028-02-01"]);
}

#[test]
fn numbered_and_plain_weekdays_form_a_union() {
    let found = days("FREQ=MONTHLY;BYDAY=MO,1TU", "2027-02-01T14:00:00Z", 6);
    assert_eq!(found, ["2027-02-01", "2027-02-02", "2027-02-08", "2027-02-15", "2027-02-22", "2027-03-01"]);
}

#[test]
fn bysetpos_counts_days_of_the_first_week_before_the_start() {
    // The start is a Thursday. The second matching weekday of its week is the Tuesday before it.
    let found = days("FREQ=WEEKLY;BYDAY=MO,TU,FR;BYSETPOS=2", "2027-01-07T14:00:00Z", 2);
    assert_eq!(found, ["2027-01-12", "2027-01-19"]);
}

#[test]
fn a_rule_skips_months_without_its_day() {
    assert_eq!(days("FREQ=MONTHLY", "2027-01-31T14:00:00Z", 3), ["2027-01-31", "2027-03-31", "2027-05-31"]);
    assert_eq!(days("FREQ=YEARLY", "2028-02-29T14:00:00Z", 2), ["2028-02-29", "2032-02-29"]);
    let last = days("FREQ=MONTHLY;BYMONTHDAY=-1", "2027-01-31T14:00:00Z", 3);
    assert_eq!(last, ["2027-01-31", "2027-02-28", "2027-03-31"]);
}

#[test]
fn a_rule_ends_after_count_occurrences_from_the_start() {
    let thrice = custom("FREQ=DAILY;COUNT=3", "2027-01-01T09:00:00Z", "UTC");
    let third = at("2027-01-03T09:00:00Z");
    assert_eq!(thrice.next(at("2027-01-02T09:00:00Z"), at("2027-01-02T09:00:00Z")), Some(third));
    assert_eq!(thrice.next(third, third), None);
    let both_ends = custom("FREQ=MONTHLY;COUNT=2;BYDAY=1FR;BYSETPOS=1,-1", "2027-01-01T09:00:00Z", "UTC");
    assert_eq!(both_ends.upcoming(both_ends.start, 9), [at("2027-02-05T09:00:00Z")], "a date counts once");
    assert_eq!(thrice.next(thrice.start, at("2027-02-01T08:00:00Z")), None, "missed occurrences count too");
}

#[test]
fn until_is_an_instant_a_time_in_the_zone_or_a_whole_day_there() {
    let start = "2027-03-26T08:00:00Z";
    let last = |rule: &str| clock(&custom(rule, start, "Europe/Berlin"), 9).pop();
    let saturday = Some("2027-03-27 09:00 +01:00".to_owned());
    let sunday = Some("2027-03-28 09:00 +02:00".to_owned());
    assert_eq!(last("FREQ=DAILY;UNTIL=20270328T070000Z"), sunday);
    assert_eq!(last("FREQ=DAILY;UNTIL=20270328T065959Z"), saturday);
    assert_eq!(last("FREQ=DAILY;UNTIL=20270328T090000"), sunday);
    assert_eq!(last("FREQ=DAILY;UNTIL=20270328T085959"), saturday);
    assert_eq!(last("FREQ=DAILY;UNTIL=20270328"), sunday);
    assert_eq!(last("FREQ=DAILY;UNTIL=20270325"), None);
}

#[test]
fn a_rule_follows_the_clock_of_its_zone() {
    let mondays = custom("FREQ=WEEKLY;BYDAY=SU", "2027-03-21T01:30:00Z", "Europe/Berlin");
    assert_eq!(clock(&mondays, 3), ["2027-03-21 02:30 +01:00", "2027-03-28 03:30 +02:00", "2027-04-04 02:30 +02:00"]);
}

#[test]
fn a_rule_anchored_at_completion_starts_on_the_day_of_the_completion() {
    let from_completion = |rule: &str| Series {
        recurrence: Recurrence::new(Kind::Custom, 1, Some(rule), Anchor::Completion).expect("a rule"),
        start: at("2027-01-04T08:00:00Z"),
        zone: zone("Europe/Berlin"),
    };
    let wednesday = at("2027-01-06T20:00:00Z");
    let next = |rule: &str| from_completion(rule).next(at("2027-01-04T08:00:00Z"), wednesday);
    assert_eq!(next("FREQ=DAILY;INTERVAL=3"), Some(at("2027-01-09T08:00:00Z")));
    assert_eq!(next("FREQ=WEEKLY;BYDAY=MO"), Some(at("2027-01-11T08:00:00Z")));
    assert_eq!(next("FREQ=WEEKLY;BYDAY=WE"), Some(at("2027-01-13T08:00:00Z")));
    assert_eq!(next("FREQ=WEEKLY;UNTIL=20270112"), None);
    let counted = Recurrence::new(Kind::Custom, 1, Some("FREQ=DAILY;COUNT=2"), Anchor::Completion);
    assert_eq!(counted, Err(RecurrenceError::CountFromCompletion));
}

#[test]
fn a_rule_without_occurrences_ends_at_once() {
    let never = [
        "FREQ=YEARLY;BYMONTH=2;BYMONTHDAY=30",
        "FREQ=MONTHLY;BYDAY=MO;BYSETPOS=6",
        "FREQ=MONTHLY;INTERVAL=12;BYMONTH=3",
        "FREQ=WEEKLY;BYDAY=MO;BYSETPOS=2",
        "FREQ=DAILY;BYMONTH=2;BYMONTHDAY=30",
        "FREQ=DAILY;INTERVAL=7;BYDAY=TU",
        "FREQ=YEARLY;INTERVAL=2;BYMONTH=2;BYMONTHDAY=29",
    ];
    for rule in never {
        let series = custom(rule, "2027-01-04T09:00:00Z", "Europe/Berlin");
        let begun = Instant::now();
        assert_eq!(series.next(series.start, series.start), None, "{rule}");
        assert!(begun.elapsed() < Duration::from_secs(1), "{rule} took {:?}", begun.elapsed());
    }
}

#[test]
fn a_rule_with_one_occurrence_in_two_thousand_years_finds_it() {
    // Every tenth day that is a Monday and a 29 February. The longest search takes 64,575 steps, up to the year 7672.
    let rare = custom("FREQ=DAILY;INTERVAL=10;BYMONTH=2;BYMONTHDAY=29;BYDAY=MO", "2027-01-04T09:00:00Z", "UTC");
    let tenth_days = std::iter::successors(Some(rare.start), |day| Some(*day + TimeDelta::days(10)));
    let expected: Vec<_> = tenth_days
        .take_while(|day| day.year() < 10_000)
        .filter(|day| (day.month(), day.day(), day.weekday()) == (2, 29, Weekday::Mon))
        .collect();
    assert!(expected.contains(&at("7672-02-29T09:00:00Z")));
    assert_eq!(rare.upcoming(rare.start, 100), expected);
}

#[test]
fn a_rule_that_starts_in_the_year_one_is_computed_quickly() {
    let rules = ["FREQ=DAILY", "FREQ=WEEKLY;BYDAY=MO,FR", "FREQ=MONTHLY;BYDAY=-1FR", "FREQ=YEARLY;BYMONTH=5"];
    let begun = Instant::now();
    for rule in rules {
        let ancient = custom(rule, "0001-01-31T09:00:00Z", "UTC");
        for day in 1..=50 {
            let now = at("2027-01-01T09:00:00Z") + TimeDelta::days(day);
            assert!(ancient.next(ancient.start, now).expect("an occurrence") > now);
        }
    }
    assert!(begun.elapsed() < Duration::from_secs(2), "200 answers took {:?}", begun.elapsed());
}

#[test]
fn a_monthly_recurrence_uses_the_last_day_of_short_months_and_a_monthly_rule_skips_them() {
    let simple = every(1, Kind::Monthly, "2027-01-31T09:00:00Z", "UTC");
    let rule = custom("FREQ=MONTHLY", "2027-01-31T09:00:00Z", "UTC");
    assert_eq!(simple.next(simple.start, simple.start), Some(at("2027-02-28T09:00:00Z")));
    assert_eq!(rule.next(rule.start, rule.start), Some(at("2027-03-31T09:00:00Z")));
}
