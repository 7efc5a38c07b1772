//! Parsing of rules, recurrences, zones and words: which are accepted, and why the others are refused.

use shared::recurrence::{Anchor, Kind, Recurrence, RecurrenceError, Rule, UnknownZone, Zone};

use super::zone;

#[test]
fn an_invalid_rule_is_refused_with_a_reason() {
    let long = format!("FREQ=DAILY;BYMONTHDAY={}1", "1,".repeat(500));
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
        (long.as_str(), "the rule is longer than 1000 characters"),
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
fn a_zone_must_be_an_exact_name_of_the_tz_database() {
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

/// `Factory` says that nobody has set a zone.
#[test]
fn every_name_of_the_tz_database_is_a_zone() {
    let names: Vec<_> =
        include_str!("zones.txt").lines().filter(|line| !line.is_empty() && !line.starts_with('#')).collect();
    assert_eq!(names.len(), 598);
    let unknown: Vec<_> =
        names.into_iter().filter(|name| Zone::parse(name).ok().is_none_or(|zone| zone.as_str() != *name)).collect();
    assert_eq!(unknown, ["Factory"]);
}

#[test]
fn enum_values_have_one_spelling_in_json_and_in_the_database() {
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
