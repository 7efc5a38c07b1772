//! Compares our expansion of rules with the `rrule` crate's. Both run in UTC, where that crate cannot get a zone wrong.
//!
//! The test excludes the cases in which that crate departs from RFC 5545:
//!
//! - the fifth weekday from the end of a month: it refuses it
//! - plain and numbered weekdays in one `BYDAY`: it takes only days that match both
//! - `BYSETPOS` in weeks: its first week begins at the start

use chrono::{DateTime, TimeDelta, Utc};
use proptest::{collection::btree_set, option, prelude::*, sample::select};
use rrule::{RRule, RRuleSet, Tz, Unvalidated};

use super::custom;

fn list<T: ToString>(name: &str, items: Option<impl IntoIterator<Item = T>>) -> String {
    let items: Vec<_> = items.into_iter().flatten().map(|item| item.to_string()).collect();
    if items.is_empty() { String::new() } else { format!(";{name}={}", items.join(",")) }
}

fn weekday() -> impl Strategy<Value = String> {
    select(vec!["MO", "TU", "WE", "TH", "FR", "SA", "SU"]).prop_map(str::to_owned)
}

fn numbered_weekday() -> impl Strategy<Value = String> {
    (select(vec![1, 2, 3, 4, 5, -1, -2, -4]), weekday()).prop_map(|(n, day)| format!("{n}{day}"))
}

fn weekdays() -> impl Strategy<Value = Vec<String>> {
    let plain = btree_set(weekday(), 1..4);
    let numbered = btree_set(numbered_weekday(), 1..4);
    prop_oneof![plain, numbered].prop_map(Vec::from_iter)
}

prop_compose! {
    /// Rules that both engines read alike. The test skips the ones that we refuse.
    fn rule()(
        frequency in select(vec!["DAILY", "WEEKLY", "MONTHLY", "YEARLY"]),
        interval in 1..=14_u32,
        week_start in weekday(),
        months in option::weighted(0.3, btree_set(1..=12, 1..4)),
        month_days in option::weighted(0.3, btree_set(prop_oneof![1..=31, -31..=-1], 1..4)),
        weekdays in option::weighted(0.5, weekdays()),
        positions in option::weighted(0.3, btree_set(prop_oneof![1..=6, -6..=-1], 1..3)),
    ) -> String {
        let positions = positions.filter(|_| frequency != "WEEKLY");
        format!(
            "FREQ={frequency};INTERVAL={interval};WKST={week_start}{}{}{}{}",
            list("BYMONTH", months),
            list("BYMONTHDAY", month_days),
            list("BYDAY", weekdays),
            list("BYSETPOS", positions),
        )
    }
}

proptest! {
    #![proptest_config(ProptestConfig { max_global_rejects: 10_000, ..ProptestConfig::with_cases(300) })]

    #[test]
    fn both_engines_give_the_same_dates(text in rule(), minute in -40_000_000..80_000_000_i64) {
        prop_assume!(text.parse::<shared::recurrence::Rule>().is_ok());
        let start = DateTime::<Utc>::from_timestamp(minute * 60, 0).expect("an instant of this age");
        // If no date matches for a long time, the other engine searches for seconds.
        let horizon = start + TimeDelta::days(366 * 60);
        let mut ours = custom(&text, &start.to_rfc3339(), "UTC").upcoming(start - TimeDelta::nanoseconds(1), 25);
        ours.retain(|at| *at < horizon);
        prop_assume!(!ours.is_empty());

        let theirs: RRule<Unvalidated> = text.parse().expect(&text);
        let theirs = theirs.validate(start.with_timezone(&Tz::UTC)).expect(&text);
        let set = RRuleSet::new(start.with_timezone(&Tz::UTC)).rrule(theirs);
        let theirs = set.into_iter().map(|date| date.to_utc()).take_while(|at| *at < horizon);
        let theirs: Vec<_> = theirs.take(25).collect();
        prop_assert_eq!(ours, theirs);
    }
}
