//! Laws that hold for every series, whatever the calendar and the clock changes.

use chrono::{DateTime, TimeDelta, Utc};
use jiff::{
    Timestamp,
    civil::DateTime as Wall,
    tz::{AmbiguousOffset, TimeZone},
};
use proptest::{prelude::*, sample::select, string::string_regex};
use shared::recurrence::{Anchor, Kind, Recurrence, Rule, Series, Zone, carry};

/// Zones with ordinary, half-hour, midnight and day-long clock changes, and zones without any.
const ZONES: [&str; 12] = [
    "UTC",
    "Europe/Berlin",
    "America/New_York",
    "America/Vancouver",
    "America/Havana",
    "America/Sao_Paulo",
    "Africa/Casablanca",
    "Asia/Beirut",
    "Asia/Kathmandu",
    "Australia/Lord_Howe",
    "Pacific/Apia",
    "Antarctica/Troll",
];

fn wall(zone: &Zone, instant: DateTime<Utc>) -> Wall {
    let timestamp = Timestamp::from_second(instant.timestamp()).expect("an instant of the calendar");
    TimeZone::get(zone.as_str()).expect("a zone").to_datetime(timestamp)
}

/// The local time that the clock shows instead of `nominal`, if a clock change skips `nominal`.
fn after_gap(zone: &Zone, nominal: Wall) -> Option<Wall> {
    let rules = TimeZone::get(zone.as_str()).expect("a zone");
    let found = rules.to_ambiguous_timestamp(nominal);
    match found.offset() {
        AmbiguousOffset::Gap { .. } => Some(rules.to_datetime(found.compatible().expect("an instant"))),
        _ => None,
    }
}

fn a_zone() -> impl Strategy<Value = Zone> {
    select(ZONES.as_slice()).prop_map(|name| Zone::parse(name).expect("a zone of the database"))
}

/// An instant from 1900 to 2200, mostly at odd seconds.
fn an_instant() -> impl Strategy<Value = DateTime<Utc>> {
    (-2_208_988_800..7_258_118_400_i64).prop_map(|second| DateTime::from_timestamp(second, 0).expect("an instant"))
}

fn a_simple_kind() -> impl Strategy<Value = Kind> {
    select(vec![Kind::Daily, Kind::Weekly, Kind::Monthly, Kind::Yearly])
}

fn a_rule() -> impl Strategy<Value = &'static str> {
    select(vec![
        "FREQ=DAILY;INTERVAL=3",
        "FREQ=DAILY;BYMONTH=1,3,10;BYDAY=SU",
        "FREQ=WEEKLY;INTERVAL=2;BYDAY=SA,SU;WKST=SU",
        "FREQ=MONTHLY;BYMONTHDAY=31",
        "FREQ=MONTHLY;BYMONTHDAY=-1",
        "FREQ=MONTHLY;BYDAY=MO,TU,WE,TH,FR;BYSETPOS=1,-1",
        "FREQ=YEARLY;BYMONTH=3,11;BYDAY=-1SU,1SU",
        "FREQ=YEARLY;BYMONTH=2;BYMONTHDAY=29",
    ])
}

prop_compose! {
    fn a_simple_series()(
        kind in a_simple_kind(),
        interval in prop_oneof![4 => 1..=4_u32, 1 => 1..=100_u32],
        start in an_instant(),
        zone in a_zone(),
    ) -> Series {
        let recurrence = Recurrence::new(kind, interval, None, Anchor::Due).expect("a recurrence");
        Series { recurrence, start, zone }
    }
}

prop_compose! {
    fn a_custom_series()(rule in a_rule(), start in an_instant(), zone in a_zone()) -> Series {
        let recurrence = Recurrence::new(Kind::Custom, 1, Some(rule), Anchor::Due).expect("a rule");
        Series { recurrence, start, zone }
    }
}

fn a_series() -> impl Strategy<Value = Series> {
    prop_oneof![a_simple_series(), a_custom_series()]
}

proptest! {
    #[test]
    fn the_next_occurrence_is_after_both_the_due_time_and_the_completion(
        series in a_series(), due in an_instant(), completed in an_instant(),
    ) {
        let next = series.next(due, completed).expect("series of these years go on");
        prop_assert!(next > due && next > completed);
        prop_assert!(next >= series.start || series.recurrence.kind() != Kind::Custom);
    }

    #[test]
    fn occurrences_only_ever_move_forward(series in a_series(), after in an_instant()) {
        let upcoming = series.upcoming(after, 30);
        prop_assert_eq!(upcoming.len(), 30);
        prop_assert!(upcoming[0] > after);
        prop_assert!(upcoming.is_sorted_by(|a, b| a < b));
    }

    #[test]
    fn skipping_occurrences_reaches_the_same_one_as_stepping(series in a_series(), steps in 0..60_usize) {
        let stepped = std::iter::successors(series.next(series.start, series.start), |at| series.next(*at, *at));
        let stepped: Vec<_> = stepped.take(60).collect();
        prop_assert_eq!(&series.upcoming(series.start, 60), &stepped);
        let (from, to) = (if steps == 0 { series.start } else { stepped[steps - 1] }, stepped[steps]);
        prop_assert_eq!(series.next(series.start, from), Some(to));
        // A completion at any time in between leads to the same occurrence.
        prop_assert_eq!(series.next(from, from + (to - from) / 2), Some(to));
        prop_assert_eq!(series.next(from, to - TimeDelta::nanoseconds(1)), Some(to));
    }

    #[test]
    fn occurrences_keep_the_local_time_of_the_start_unless_the_clocks_skip_it(series in a_series(), after in an_instant()) {
        let time = wall(&series.zone, series.start).time();
        for at in series.upcoming(after, 20) {
            let shown = wall(&series.zone, at);
            if shown.time() != time {
                // A clock change skipped the time on that day, or skipped the whole day before.
                let skipped = [shown.date(), shown.date().yesterday().expect("a date")]
                    .map(|date| after_gap(&series.zone, date.to_datetime(time)));
                prop_assert!(skipped.contains(&Some(shown)), "{shown} in {}", series.zone);
            }
        }
    }

    #[test]
    fn a_month_later_is_the_same_day_or_the_last_of_the_month(
        interval in 1..=48_u32, start in an_instant(), after in an_instant(),
    ) {
        let recurrence = Recurrence::new(Kind::Monthly, interval, None, Anchor::Due).expect("a recurrence");
        let series = Series { recurrence, start, zone: Zone::utc() };
        let from = wall(&series.zone, start);
        for at in series.upcoming(after, 20) {
            let to = wall(&series.zone, at);
            prop_assert_eq!(to.day(), from.day().min(to.days_in_month()));
            let months = (i64::from(to.year()) - i64::from(from.year())) * 12 + i64::from(to.month() - from.month());
            prop_assert_eq!(months % i64::from(interval), 0);
        }
    }

    #[test]
    fn no_occurrence_is_left_out_between_two_others(series in a_simple_series(), after in an_instant()) {
        let after = after.max(series.start);
        let longest = match series.recurrence.kind() {
            Kind::Daily => 1,
            Kind::Weekly => 7,
            Kind::Monthly => 31,
            _ => 366,
        };
        // One more day, because a clock change may add to the distance.
        let longest = TimeDelta::days(longest * i64::from(series.recurrence.interval()) + 1);
        let upcoming = series.upcoming(after, 20);
        prop_assert!(upcoming[0] - after <= longest);
        prop_assert!(upcoming.windows(2).all(|pair| pair[1] - pair[0] <= longest));
    }

    #[test]
    fn with_anchor_completion_the_next_occurrence_is_one_interval_after_the_completion(
        kind in a_simple_kind(), interval in 1..=60_u32,
        start in an_instant(), due in an_instant(), completed in an_instant(), zone in a_zone(),
    ) {
        let recurrence = Recurrence::new(kind, interval, None, Anchor::Completion).expect("a recurrence");
        let series = Series { recurrence, start, zone };
        let next = series.next(due, completed).expect("an occurrence");
        prop_assert!(next > completed);
        let day = wall(&series.zone, completed).date();
        let days = day.duration_until(wall(&series.zone, next).date()).as_hours() / 24;
        let unit = match kind {
            Kind::Daily => 1..=1,
            Kind::Weekly => 7..=7,
            Kind::Monthly => 28..=31,
            _ => 365..=366,
        };
        let interval = i64::from(interval);
        // One more day, if the zone skipped the expected day.
        prop_assert!((unit.start() * interval..=unit.end() * interval + 1).contains(&days), "{days} days");
    }

    #[test]
    fn a_carried_over_reminder_keeps_its_offset_in_local_time(
        zone in a_zone(), from in an_instant(), to in an_instant(), minutes in -20_000..20_000_i64,
    ) {
        let reminder = from + TimeDelta::minutes(minutes);
        let carried = carry(&zone, from, to, reminder);
        let distance = wall(&zone, from).duration_until(wall(&zone, reminder));
        let nominal = wall(&zone, to).checked_add(distance).expect("a date");
        prop_assert_eq!(wall(&zone, carried), after_gap(&zone, nominal).unwrap_or(nominal));
    }

    #[test]
    fn the_parser_never_panics(text in any::<String>()) {
        if let Ok(rule) = text.parse::<Rule>() {
            prop_assert_eq!(rule.as_str().parse::<Rule>(), Ok(rule.clone()));
        }
        let _ = Zone::parse(&text);
    }

    #[test]
    fn text_that_resembles_a_rule_never_makes_the_engine_panic_or_hang(
        text in string_regex(
            "(RRULE:)?FREQ=(DAILY|WEEKLY|MONTHLY|YEARLY)\
             (;(INTERVAL=[0-9]{1,4}|COUNT=[0-9]{1,5}|UNTIL=[0-9]{8}(T[0-9]{6}Z?)?|WKST=(MO|SU)|\
             BYMONTH=-?[0-9]{1,2}(,[0-9]{1,2}){0,3}|BYMONTHDAY=-?[0-9]{1,2}(,-?[0-9]{1,2}){0,3}|\
             BYDAY=[+-]?[0-9]{0,2}(MO|TU|WE|SA)(,-?[0-9]{0,2}(MO|FR|SU)){0,3}|BYSETPOS=-?[0-9]{1,3})){0,4}"
        ).expect("a pattern"),
        start in an_instant(), zone in a_zone(),
    ) {
        if let Ok(rule) = text.parse::<Rule>() {
            prop_assert_eq!(rule.as_str().parse::<Rule>(), Ok(rule.clone()));
            let recurrence = Recurrence::new(Kind::Custom, 1, Some(&text), Anchor::Due).expect("a rule that was taken");
            let series = Series { recurrence, start, zone };
            let begun = std::time::Instant::now();
            let upcoming = series.upcoming(start, 5);
            prop_assert!(begun.elapsed() < std::time::Duration::from_secs(5), "{:?}", begun.elapsed());
            prop_assert!(upcoming.is_sorted_by(|a, b| a < b));
        }
    }
}
