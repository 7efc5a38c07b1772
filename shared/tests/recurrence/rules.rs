//! Rules: what is taken, what is refused and why, and examples of RFC 5545.

use std::time::{Duration, Instant};

use shared::recurrence::{Anchor, Kind, Recurrence, RecurrenceError, Rule, Series, UnknownZone, Zone};

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
fn the_start_of_the_week_decides_what_every_other_week_means() {
    let start = "1997-08-05T13:00:00Z";
    let monday = days("FREQ=WEEKLY;INTERVAL=2;COUNT=4;BYDAY=TU,SU;WKST=MO", start, 9);
    assert_eq!(monday, ["1997-08-05", "1997-08-10", "1997-08-19", "1997-08-24"]);
    let sunday = days("FREQ=WEEKLY;INTERVAL=2;COUNT=4;BYDAY=TU,SU;WKST=SU", start, 9);
    assert_eq!(sunday, ["1997-08-05", "1997-08-17", "1997-08-19", "1997-08-31"]);
}

#[test]
fn numbered_and_plain_weekdays_add_up() {
    let found = days("FREQ=MONTHLY;BYDAY=MO,1TU", "2027-02-01T14:00:00Z", 6);
    assert_eq!(found, ["2027-02-01", "2027-02-02", "2027-02-08", "2027-02-15", "2027-02-22", "2027-03-01"]);
}

#[test]
fn a_position_counts_the_whole_first_week() {
    // The start is a Thursday; the second weekday of its week was a Tuesday, before it.
    let found = days("FREQ=WEEKLY;BYDAY=MO,TU,FR;BYSETPOS=2", "2027-01-07T14:00:00Z", 2);
    assert_eq!(found, ["2027-01-12", "2027-01-19"]);
}

#[test]
fn a_rule_leaves_out_months_without_its_day() {
    assert_eq!(days("FREQ=MONTHLY", "2027-01-31T14:00:00Z", 3), ["2027-01-31", "2027-03-31", "2027-05-31"]);
    assert_eq!(days("FREQ=YEARLY", "2028-02-29T14:00:00Z", 2), ["2028-02-29", "2032-02-29"]);
    let last = days("FREQ=MONTHLY;BYMONTHDAY=-1", "2027-01-31T14:00:00Z", 3);
    assert_eq!(last, ["2027-01-31", "2027-02-28", "2027-03-31"]);
}

#[test]
fn count_counts_from_the_start_and_then_ends() {
    let thrice = custom("FREQ=DAILY;COUNT=3", "2027-01-01T09:00:00Z", "UTC");
    let third = at("2027-01-03T09:00:00Z");
    assert_eq!(thrice.next(at("2027-01-02T09:00:00Z"), at("2027-01-02T09:00:00Z")), Some(third));
    assert_eq!(thrice.next(third, third), None);
    assert_eq!(thrice.next(thrice.start, at("2027-02-01T09:00:00Z")), None, "missed occurrences count too");
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
fn from_completion_a_rule_starts_on_the_day_of_the_completion() {
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
fn what_is_refused_says_why() {
    let long = format!("FREQ=DAILY;BYMONTHDAY={}1", "1,".repeat(250));
    let refused = [
        ("", "every part of the rule reads NAME=VALUE"),
        ("FREQ", "every part of the rule reads NAME=VALUE"),
        ("FREQ=DAILY;;COUNT=2", "every part of the rule reads NAME=VALUE"),
        ("INTERVAL=2", "the rule needs FREQ"),
        ("FREQ=FORTNIGHTLY", "the rule needs FREQ"),
        ("FREQ=HOURLY", "a task recurs daily at most"),
        ("FREQ=MINUTELY;INTERVAL=1", "a task recurs daily at most"),
        ("FREQ=SECONDLY", "a task recurs daily at most"),
        ("FREQ=DAILY;FREQ=DAILY", "FREQ is there twice"),
        ("FREQ=DAILY;INTERVAL=0", "INTERVAL must be a number between 1 and 999"),
        ("FREQ=DAILY;INTERVAL=1000", "INTERVAL must be a number between 1 and 999"),
        ("FREQ=DAILY;INTERVAL=99999999999999999999", "INTERVAL must be a number between 1 and 999"),
        ("FREQ=DAILY;COUNT=0", "COUNT must be a number between 1 and 9999"),
        ("FREQ=DAILY;COUNT=10000", "COUNT must be a number between 1 and 9999"),
        ("FREQ=DAILY;COUNT=2;UNTIL=20300101", "a rule ends by COUNT or by UNTIL"),
        ("FREQ=DAILY;UNTIL=20300230", "UNTIL must be"),
        ("FREQ=DAILY;UNTIL=20300101T250000Z", "UNTIL must be"),
        ("FREQ=DAILY;UNTIL=20300101T170000+0100", "UNTIL must be"),
        ("FREQ=DAILY;UNTIL=20300101X170000Z", "UNTIL must be"),
        ("FREQ=DAILY;UNTIL=2030-01-01", "UNTIL must be"),
        ("FREQ=DAILY;UNTIL=99991231T235959Z", "UNTIL must be"),
        ("FREQ=WEEKLY;WKST=1", "WKST must be"),
        ("FREQ=YEARLY;BYMONTH=13", "BYMONTH must be months from 1 to 12"),
        ("FREQ=YEARLY;BYMONTH=-1", "BYMONTH must be months from 1 to 12"),
        ("FREQ=MONTHLY;BYMONTHDAY=0", "BYMONTHDAY must be days from 1 to 31"),
        ("FREQ=MONTHLY;BYMONTHDAY=-32", "BYMONTHDAY must be days from 1 to 31"),
        ("FREQ=MONTHLY;BYMONTHDAY=", "BYMONTHDAY must be days from 1 to 31"),
        ("FREQ=WEEKLY;BYMONTHDAY=1", "BYMONTHDAY cannot be used with FREQ=WEEKLY"),
        ("FREQ=WEEKLY;BYDAY=MONDAY", "BYDAY must be weekdays"),
        ("FREQ=WEEKLY;BYDAY=XYMO", "BYDAY must be weekdays"),
        ("FREQ=WEEKLY;BYDAY=O", "BYDAY must be weekdays"),
        ("FREQ=YEARLY;BYDAY=54MO", "BYDAY must be weekdays"),
        ("FREQ=MONTHLY;BYDAY=0MO", "BYDAY must be weekdays"),
        ("FREQ=MONTHLY;BYDAY=-32768MO", "BYDAY must be weekdays"),
        ("FREQ=MONTHLY;BYDAY=6MO", "a month has five of a weekday at most"),
        ("FREQ=YEARLY;BYMONTH=2;BYDAY=-6MO", "a month has five of a weekday at most"),
        ("FREQ=DAILY;BYDAY=1MO", "a numbered BYDAY such as 1MO needs FREQ=MONTHLY or YEARLY"),
        ("FREQ=WEEKLY;BYDAY=-1MO", "a numbered BYDAY such as 1MO needs FREQ=MONTHLY or YEARLY"),
        ("FREQ=MONTHLY;BYSETPOS=1", "BYSETPOS needs BYDAY"),
        ("FREQ=MONTHLY;BYDAY=MO;BYSETPOS=0", "BYSETPOS must be positions"),
        ("FREQ=DAILY;BYHOUR=9", "a rule is made of FREQ"),
        ("FREQ=YEARLY;BYWEEKNO=1", "a rule is made of FREQ"),
        ("FREQ=YEARLY;BYYEARDAY=1", "a rule is made of FREQ"),
        ("FREQ=YEARLY;BYEASTER=1", "a rule is made of FREQ"),
        ("DTSTART:20270101T090000Z\nRRULE:FREQ=DAILY", "the rule is one RRULE line"),
        ("RRULE:FREQ=DAILY\nEXDATE:20270101T090000Z", "the rule is one RRULE line"),
        ("FREQ=DAILY;RDATE=20270101", "the rule is one RRULE line"),
        ("EXRULE:FREQ=DAILY", "the rule is one RRULE line"),
        ("RRULE:RRULE:FREQ=DAILY", "the rule is one RRULE line"),
        ("FREQ=WEEKLY;BYDAY=ΩMO", "the rule contains characters that no RRULE has"),
        ("ﬀREQ=DAILY", "the rule contains characters that no RRULE has"),
        (long.as_str(), "the rule is longer than 500 characters"),
    ];
    for (text, reason) in refused {
        let error = text.parse::<Rule>().expect_err(text).to_string();
        assert!(error.starts_with(reason), "{text}: {error}");
    }
}

#[test]
fn a_rule_is_kept_in_one_spelling() {
    for text in ["RRULE:FREQ=WEEKLY;BYDAY=MO", "freq=weekly;byday=mo", "  rrule:FREQ=WEEKLY;BYDAY=MO;\r\n"] {
        let rule: Rule = text.parse().expect(text);
        assert_eq!(rule.as_str(), "FREQ=WEEKLY;BYDAY=MO");
        assert_eq!(rule.to_string(), rule.as_str());
    }
}

#[test]
fn a_recurrence_is_a_type_and_an_interval_or_a_rule() {
    let new = |kind, interval, rule| Recurrence::new(kind, interval, rule, Anchor::Due);
    assert_eq!(new(Kind::Daily, 0, None), Err(RecurrenceError::Interval));
    assert_eq!(new(Kind::Daily, 1000, None), Err(RecurrenceError::Interval));
    assert_eq!(new(Kind::Weekly, 1, Some("FREQ=DAILY")), Err(RecurrenceError::RuleWithoutCustom));
    assert_eq!(new(Kind::Custom, 1, None), Err(RecurrenceError::CustomWithoutRule));
    assert_eq!(new(Kind::Custom, 2, Some("FREQ=DAILY")), Err(RecurrenceError::IntervalBesideRule));
    let monthly = new(Kind::Monthly, 999, None).expect("a recurrence");
    assert_eq!((monthly.kind(), monthly.interval(), monthly.anchor()), (Kind::Monthly, 999, Anchor::Due));
    assert_eq!(monthly.rule(), None);
    let custom = new(Kind::Custom, 1, Some("freq=daily")).expect("a recurrence");
    assert_eq!((custom.kind(), custom.interval()), (Kind::Custom, 1));
    assert_eq!(custom.rule().map(Rule::as_str), Some("FREQ=DAILY"));
}

#[test]
fn a_rule_that_never_comes_ends_at_once() {
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
fn a_rule_that_comes_once_in_a_lifetime_still_comes() {
    // 29 February on a Monday: the century without a leap year makes it wait for 40 years.
    let rare = custom("FREQ=DAILY;BYMONTH=2;BYMONTHDAY=29;BYDAY=MO", "2072-03-01T09:00:00Z", "UTC");
    assert_eq!(rare.next(rare.start, rare.start), Some(at("2112-02-29T09:00:00Z")));
}

#[test]
fn a_rule_from_the_year_one_costs_nothing() {
    let rules = ["FREQ=DAILY", "FREQ=WEEKLY;BYDAY=MO,FR", "FREQ=MONTHLY;BYDAY=-1FR", "FREQ=YEARLY;BYMONTH=5"];
    let begun = Instant::now();
    for rule in rules {
        let ancient = custom(rule, "0001-01-31T09:00:00Z", "UTC");
        for day in 1..=50 {
            let now = at("2027-01-01T09:00:00Z") + chrono::TimeDelta::days(day);
            assert!(ancient.next(ancient.start, now).expect("an occurrence") > now);
        }
    }
    assert!(begun.elapsed() < Duration::from_secs(2), "200 answers took {:?}", begun.elapsed());
}

#[test]
fn a_zone_is_an_exact_name_of_the_database() {
    for name in ["Europe/Berlin", "America/Argentina/ComodRivadavia", "UTC", "Etc/GMT+5", "EST5EDT"] {
        assert_eq!(Zone::parse(name).expect(name).as_str(), name);
    }
    let long = "Europe/Berlin".repeat(1000);
    let unknown = [
        "",
        " ",
        "europe/berlin",
        "Europe/Berlin ",
        "Europe/Atlantis",
        "utc",
        "Etc/Unknown",
        "Factory",
        "CET-1CEST",
        "EST5EDT,M3.2.0,M11.1.0",
        "+01:00",
        "../../etc/passwd",
        "Europe/Berlin\0",
        ":UTC",
        long.as_str(),
    ];
    for name in unknown {
        assert_eq!(Zone::parse(name), Err(UnknownZone), "{name}");
    }
    assert_eq!(Zone::utc(), zone("UTC"));
}

#[test]
fn words_are_the_same_in_json_and_in_the_database() {
    for kind in [Kind::Daily, Kind::Weekly, Kind::Monthly, Kind::Yearly, Kind::Custom] {
        assert_eq!(kind.as_str().parse(), Ok(kind));
        assert_eq!(serde_json::to_value(kind).expect("JSON"), kind.as_str());
        assert_eq!(serde_json::from_value::<Kind>(kind.as_str().into()).expect("a kind"), kind);
    }
    for anchor in [Anchor::Due, Anchor::Completion] {
        assert_eq!(anchor.as_str().parse(), Ok(anchor));
        assert_eq!(serde_json::to_value(anchor).expect("JSON"), anchor.as_str());
    }
    assert_eq!("Daily".parse::<Kind>(), Err(RecurrenceError::UnknownKind));
    assert_eq!("start".parse::<Anchor>(), Err(RecurrenceError::UnknownAnchor));
    let berlin = zone("Europe/Berlin");
    assert_eq!(serde_json::to_value(&berlin).expect("JSON"), "Europe/Berlin");
    assert_eq!(serde_json::from_value::<Zone>("Europe/Berlin".into()).expect("a zone"), berlin);
    assert!(serde_json::from_value::<Zone>("Mars/Olympus".into()).is_err());
}

#[test]
fn a_simple_recurrence_is_not_a_rule() {
    let simple = every(1, Kind::Monthly, "2027-01-31T09:00:00Z", "UTC");
    let rule = custom("FREQ=MONTHLY", "2027-01-31T09:00:00Z", "UTC");
    assert_eq!(simple.next(simple.start, simple.start), Some(at("2027-02-28T09:00:00Z")));
    assert_eq!(rule.next(rule.start, rule.start), Some(at("2027-03-31T09:00:00Z")));
}
