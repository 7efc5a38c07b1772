//! Real dates: clock changes, ends of months, leap years, the last year.

use std::time::{Duration, Instant};

use chrono::{DateTime, TimeDelta, Utc};
use shared::recurrence::{Kind, carry, end_of_calendar};

use super::{after_completion, at, clock, custom, every, shown, zone};

#[test]
fn nine_in_berlin_stays_nine_when_the_clocks_change() {
    let spring = every(1, Kind::Daily, "2027-03-27T08:00:00Z", "Europe/Berlin");
    assert_eq!(clock(&spring, 3), ["2027-03-27 09:00 +01:00", "2027-03-28 09:00 +02:00", "2027-03-29 09:00 +02:00"]);
    let autumn = every(1, Kind::Weekly, "2027-10-25T07:00:00Z", "Europe/Berlin");
    assert_eq!(clock(&autumn, 2), ["2027-10-25 09:00 +02:00", "2027-11-01 09:00 +01:00"]);
}

#[test]
fn a_local_time_skipped_by_the_clocks_is_an_hour_later_on_that_day_only() {
    let berlin = every(1, Kind::Daily, "2027-03-27T01:30:00Z", "Europe/Berlin");
    assert_eq!(clock(&berlin, 3), ["2027-03-27 02:30 +01:00", "2027-03-28 03:30 +02:00", "2027-03-29 02:30 +02:00"]);
}

#[test]
fn a_local_time_that_occurs_twice_means_the_first() {
    let new_york = every(1, Kind::Daily, "2027-11-06T05:30:00Z", "America/New_York");
    assert_eq!(clock(&new_york, 3), ["2027-11-06 01:30 -04:00", "2027-11-07 01:30 -04:00", "2027-11-08 01:30 -05:00"]);
}

#[test]
fn vancouver_keeps_its_summer_time_in_the_winter_of_2026() {
    let vancouver = every(1, Kind::Monthly, "2026-10-15T16:00:00Z", "America/Vancouver");
    assert_eq!(clock(&vancouver, 3), ["2026-10-15 09:00 -07:00", "2026-11-15 09:00 -07:00", "2026-12-15 09:00 -07:00"]);
}

#[test]
fn the_day_that_samoa_skipped_causes_no_duplicate_occurrence() {
    let apia = every(1, Kind::Daily, "2011-12-28T19:00:00Z", "Pacific/Apia");
    assert_eq!(
        clock(&apia, 4),
        ["2011-12-28 09:00 -10:00", "2011-12-29 09:00 -10:00", "2011-12-31 09:00 +14:00", "2012-01-01 09:00 +14:00"]
    );
}

#[test]
fn an_occurrence_on_the_day_that_samoa_skipped_is_due_on_the_next_day() {
    let thirtieth = custom("FREQ=DAILY;BYMONTHDAY=30", "2011-11-30T19:00:00Z", "Pacific/Apia");
    let morning_after = at("2011-12-30T15:00:00Z");
    assert_eq!(shown(&thirtieth.zone, morning_after), "2011-12-31 05:00 +14:00");
    let next = thirtieth.next(thirtieth.start, morning_after).expect("an occurrence");
    assert_eq!(shown(&thirtieth.zone, next), "2011-12-31 09:00 +14:00");
}

#[test]
fn the_thirty_first_goes_to_the_end_of_a_short_month_and_back() {
    let rent = every(1, Kind::Monthly, "2027-01-31T08:00:00Z", "Europe/Berlin");
    let days: Vec<_> = clock(&rent, 14).into_iter().map(|time| time[..10].to_owned()).collect();
    assert_eq!(
        days,
        [
            "2027-01-31",
            "2027-02-28",
            "2027-03-31",
            "2027-04-30",
            "2027-05-31",
            "2027-06-30",
            "2027-07-31",
            "2027-08-31",
            "2027-09-30",
            "2027-10-31",
            "2027-11-30",
            "2027-12-31",
            "2028-01-31",
            "2028-02-29",
        ]
    );
}

#[test]
fn the_thirty_first_comes_back_when_each_occurrence_is_completed_in_turn() {
    let rent = every(1, Kind::Monthly, "2027-01-31T08:00:00Z", "Europe/Berlin");
    let february = rent.next(rent.start, rent.start).expect("an occurrence");
    let march = rent.next(february, february).expect("an occurrence");
    assert_eq!(shown(&rent.zone, february), "2027-02-28 09:00 +01:00");
    assert_eq!(shown(&rent.zone, march), "2027-03-31 09:00 +02:00");
}

#[test]
fn the_twenty_ninth_of_february_returns_in_leap_years() {
    let birthday = every(1, Kind::Yearly, "2028-02-29T12:00:00Z", "UTC");
    let days: Vec<_> = clock(&birthday, 5).into_iter().map(|time| time[..10].to_owned()).collect();
    assert_eq!(days, ["2028-02-29", "2029-02-28", "2030-02-28", "2031-02-28", "2032-02-29"]);
    let century = every(4, Kind::Yearly, "2096-02-29T12:00:00Z", "UTC");
    let days: Vec<_> = clock(&century, 3).into_iter().map(|time| time[..10].to_owned()).collect();
    assert_eq!(days, ["2096-02-29", "2100-02-28", "2104-02-29"]);
}

#[test]
fn late_completion_skips_missed_occurrences() {
    let daily = every(2, Kind::Daily, "2027-01-01T09:00:00Z", "UTC");
    let next = daily.next(at("2027-01-03T09:00:00Z"), at("2027-01-08T10:00:00Z"));
    assert_eq!(next, Some(at("2027-01-09T09:00:00Z")));
    let on_the_minute = daily.next(at("2027-01-03T09:00:00Z"), at("2027-01-09T09:00:00Z"));
    assert_eq!(on_the_minute, Some(at("2027-01-11T09:00:00Z")));
}

#[test]
fn early_completion_advances_by_one_occurrence() {
    let weekly = every(1, Kind::Weekly, "2027-01-04T09:00:00Z", "UTC");
    let next = weekly.next(at("2027-01-11T09:00:00Z"), at("2027-01-05T12:00:00Z"));
    assert_eq!(next, Some(at("2027-01-18T09:00:00Z")));
}

#[test]
fn the_occurrence_after_a_moved_due_time_is_on_the_series_again() {
    let weekly = every(1, Kind::Weekly, "2027-01-04T09:00:00Z", "UTC");
    let next = weekly.next(at("2027-01-13T15:00:00Z"), at("2027-01-13T15:00:00Z"));
    assert_eq!(next, Some(at("2027-01-18T09:00:00Z")));
}

#[test]
fn anchor_completion_counts_days_in_the_time_zone() {
    let plants = after_completion(3, Kind::Daily, "2027-01-01T16:00:00Z", "America/Los_Angeles");
    // 22:30 on 9 January in Los Angeles is 10 January in UTC.
    let next = plants.next(at("2027-01-04T16:00:00Z"), at("2027-01-10T06:30:00Z"));
    assert_eq!(next, Some(at("2027-01-12T16:00:00Z")));
    let early = plants.next(at("2027-01-20T16:00:00Z"), at("2027-01-10T06:30:00Z"));
    assert_eq!(early, next, "the day of the completion counts, not the due time");
}

#[test]
fn anchor_completion_uses_the_last_day_of_short_months() {
    let filter = after_completion(1, Kind::Monthly, "2027-01-15T08:00:00Z", "Europe/Berlin");
    let next = filter.next(at("2027-01-15T08:00:00Z"), at("2027-01-31T20:00:00Z"));
    assert_eq!(next, Some(at("2027-02-28T08:00:00Z")));
}

#[test]
fn a_preview_with_anchor_completion_assumes_completion_at_the_due_time() {
    let plants = after_completion(3, Kind::Daily, "2027-03-26T08:00:00Z", "Europe/Berlin");
    assert_eq!(clock(&plants, 3), ["2027-03-26 09:00 +01:00", "2027-03-29 09:00 +02:00", "2027-04-01 09:00 +02:00"]);
}

#[test]
fn a_series_ends_with_the_last_year_of_the_calendar() {
    let yearly = every(1, Kind::Yearly, "2027-06-01T12:00:00Z", "UTC");
    let last = at("9999-06-01T12:00:00Z");
    assert_eq!(yearly.next(at("9998-06-01T12:00:00Z"), at("2027-06-01T12:00:00Z")), Some(last));
    assert_eq!(yearly.next(last, last), None);
    assert_eq!(after_completion(1, Kind::Yearly, "2027-06-01T12:00:00Z", "UTC").next(last, last), None);
    let end_of_time = DateTime::<Utc>::MAX_UTC;
    assert_eq!(yearly.next(end_of_time, end_of_time), None);
    assert_eq!(yearly.upcoming(DateTime::<Utc>::MIN_UTC, 1), [yearly.start]);
    for start in [DateTime::<Utc>::MAX_UTC, DateTime::<Utc>::MIN_UTC] {
        let mut nowhere = yearly.clone();
        nowhere.start = start;
        assert!(nowhere.upcoming(at("2027-01-01T00:00:00Z"), 1).is_empty());
    }
}

#[test]
fn a_series_that_starts_in_the_year_one_is_computed_quickly() {
    let begun = Instant::now();
    for kind in [Kind::Daily, Kind::Weekly, Kind::Monthly, Kind::Yearly] {
        let ancient = every(1, kind, "0001-01-31T09:00:00Z", "UTC");
        for day in 1..=250 {
            let now = at("2027-01-01T09:00:00Z") + TimeDelta::days(day);
            let next = ancient.next(ancient.start, now).expect("an occurrence");
            assert!(next > now && next <= now + TimeDelta::days(366));
        }
    }
    // A walk from the year one would take 185 million steps for the daily series alone.
    assert!(begun.elapsed() < Duration::from_secs(2), "1000 answers took {:?}", begun.elapsed());
}

#[test]
fn a_reminder_the_evening_before_stays_in_the_evening() {
    let berlin = zone("Europe/Berlin");
    let (saturday, sunday) = (at("2027-03-27T08:00:00Z"), at("2027-03-28T07:00:00Z"));
    let evening_before = at("2027-03-26T17:00:00Z");
    assert_eq!(shown(&berlin, evening_before), "2027-03-26 18:00 +01:00");
    let carried = carry(&berlin, saturday, sunday, evening_before);
    assert_eq!(shown(&berlin, carried), "2027-03-27 18:00 +01:00");
    let monday = at("2027-03-29T07:00:00Z");
    assert_eq!(shown(&berlin, carry(&berlin, sunday, monday, carried)), "2027-03-28 18:00 +02:00");
}

#[test]
fn a_reminder_beyond_the_calendar_keeps_its_elapsed_distance() {
    let utc = zone("UTC");
    let end_of_time = DateTime::<Utc>::MAX_UTC;
    let (due, reminder) = (at("2027-01-01T09:00:00Z"), at("2027-01-01T08:00:00Z"));
    assert_eq!(carry(&utc, due, end_of_time, reminder), end_of_calendar());
    assert_eq!(carry(&utc, reminder, end_of_time, due), end_of_calendar());
}
