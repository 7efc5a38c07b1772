//! Recurrence, checked against real calendars (`dates`, `rules`), its laws (`laws`), another engine (`engine`) and the test values of
//! other products (`tables`). `preview` tests the reasons for shifts and omissions, `parsing` which inputs are accepted.

mod dates;
mod engine;
mod laws;
mod parsing;
mod preview;
mod rules;
mod tables;

use chrono::{DateTime, Utc};
use shared::recurrence::{Anchor, Kind, Recurrence, Series, Zone};

fn at(instant: &str) -> DateTime<Utc> {
    instant.parse().expect("an instant in RFC 3339")
}

fn zone(name: &str) -> Zone {
    Zone::parse(name).expect("a zone of the database")
}

fn every(interval: u32, kind: Kind, start: &str, zone_name: &str) -> Series {
    let recurrence = Recurrence::new(kind, interval, None, Anchor::Due).expect("a simple recurrence");
    Series { recurrence, start: at(start), zone: zone(zone_name) }
}

fn after_completion(interval: u32, kind: Kind, start: &str, zone_name: &str) -> Series {
    let recurrence = Recurrence::new(kind, interval, None, Anchor::Completion).expect("a simple recurrence");
    Series { recurrence, start: at(start), zone: zone(zone_name) }
}

fn custom(rule: &str, start: &str, zone_name: &str) -> Series {
    let recurrence = Recurrence::new(Kind::Custom, 1, Some(rule), Anchor::Due).expect("a rule that is taken");
    Series { recurrence, start: at(start), zone: zone(zone_name) }
}

/// The first `n` occurrences in local time, beginning with the start if it belongs to the series.
fn clock(series: &Series, n: usize) -> Vec<String> {
    let before = series.start - chrono::TimeDelta::nanoseconds(1);
    series.upcoming(before, n).into_iter().map(|instant| shown(&series.zone, instant)).collect()
}

fn shown(zone: &Zone, instant: DateTime<Utc>) -> String {
    let rules = jiff::tz::TimeZone::get(zone.as_str()).expect("a zone of the database");
    let timestamp = jiff::Timestamp::from_second(instant.timestamp()).expect("an instant of the calendar");
    timestamp.to_zoned_datetime(rules).strftime("%Y-%m-%d %H:%M %:z").to_string()
}
