//! RRULEs: a zone and a newline, eight bytes of start, then the rule. An accepted rule survives a round trip. Its occurrences are
//! computed within the timeout, ascend, and respect `UNTIL` and `COUNT`.

use chrono::{DateTime, Utc};
use shared::recurrence::{Anchor, Kind, Recurrence, Rule, Series, Zone};

use crate::Target;

pub(crate) const TARGET: Target = Target { name: "recurrence", seeds, words: WORDS, run };

const WORDS: &[&str] = &[
    "RRULE:",
    "FREQ=",
    "DAILY",
    "WEEKLY",
    "MONTHLY",
    "YEARLY",
    "HOURLY",
    ";INTERVAL=",
    ";COUNT=",
    ";UNTIL=",
    ";WKST=",
    ";BYMONTH=",
    ";BYMONTHDAY=",
    ";BYDAY=",
    ";BYSETPOS=",
    "DTSTART",
    "20301231",
    "20301231T170000Z",
    "99991231",
    "MO",
    "TU",
    "WE",
    "TH",
    "FR",
    "SA",
    "SU",
    "-1SU",
    "53MO",
    "-53",
    "366",
    "-366",
    "31",
    "-31",
    "29",
    "999",
    "9999",
    "+1",
    "UTC",
    "Europe/Berlin",
    "America/Havana",
    "Pacific/Apia",
    "Australia/Lord_Howe",
    "Africa/Casablanca",
];

const SHOWN: usize = 20;

fn seeds() -> Vec<Vec<u8>> {
    let rules = [
        "FREQ=DAILY;INTERVAL=3;COUNT=5",
        "RRULE:FREQ=DAILY;BYMONTH=1,3,10;BYDAY=SU;",
        "FREQ=WEEKLY;INTERVAL=2;BYDAY=SA,SU;WKST=SU",
        "FREQ=MONTHLY;BYMONTHDAY=31,-1",
        "FREQ=MONTHLY;BYDAY=MO,TU,WE,TH,FR;BYSETPOS=1,-1;UNTIL=20401231T170000Z",
        "FREQ=YEARLY;BYMONTH=3,11;BYDAY=-1SU,1SU;UNTIL=20401231",
        "FREQ=YEARLY;BYMONTH=2;BYMONTHDAY=30",
        "FREQ=YEARLY;BYDAY=53MO",
    ];
    let zones = ["Europe/Berlin", "America/Havana", "Pacific/Apia", "UTC"];
    let seed = |(zone, rule): (&str, &str)| {
        [zone.as_bytes(), b"\n", &1_900_000_000_i64.to_le_bytes(), rule.as_bytes()].concat()
    };
    zones.into_iter().cycle().zip(rules).map(seed).collect()
}

fn run(input: &[u8]) {
    let Some(end) = input.iter().position(|byte| *byte == b'\n') else { return };
    let Ok(zone) = std::str::from_utf8(&input[..end]) else { return };
    let Some((start, text)) = input[end + 1..].split_first_chunk::<8>() else { return };
    let Ok(text) = std::str::from_utf8(text) else { return };
    let start = DateTime::from_timestamp(i64::from_le_bytes(*start), 0);

    let zone = Zone::parse(zone).inspect(|parsed| assert_eq!(parsed.as_str(), zone));
    let Ok(rule) = text.parse::<Rule>() else { return };
    let shown = rule.as_str();
    assert_eq!(shown.parse::<Rule>().as_ref(), Ok(&rule), "{shown} differs from {text:?}");
    // Defaults for an invalid zone or start, because the rule is the target.
    let (zone, start) = (zone.unwrap_or_else(|_| Zone::utc()), start.unwrap_or_default());
    for anchor in [Anchor::Due, Anchor::Completion] {
        let Ok(recurrence) = Recurrence::new(Kind::Custom, 1, Some(text), anchor) else {
            assert_eq!(anchor, Anchor::Completion, "an accepted rule is not a recurrence");
            continue;
        };
        expand(&Series { recurrence, start, zone: zone.clone() }, shown);
    }
}

fn expand(series: &Series, rule: &str) {
    let upcoming = series.upcoming(series.start, SHOWN);
    let next = series.next(series.start, series.start);
    assert!(upcoming.is_sorted_by(|a, b| a < b), "{rule}: {upcoming:?}");
    assert!(upcoming.iter().all(|at| *at > series.start), "{rule}: {upcoming:?} is not after {}", series.start);
    assert_eq!(next, series.next(series.start, series.start), "{rule}: the result is not deterministic");
    if series.recurrence.anchor() == Anchor::Due {
        assert_eq!(next, upcoming.first().copied(), "{rule}: {upcoming:?}");
    }
    if let Some(count) = value(rule, "COUNT").and_then(|count| count.parse::<usize>().ok()) {
        assert!(upcoming.len() <= count, "{rule}: {upcoming:?}");
    }
    let until =
        value(rule, "UNTIL").and_then(|until| chrono::NaiveDateTime::parse_from_str(until, "%Y%m%dT%H%M%SZ").ok());
    if let Some(until) = until.map(|until: chrono::NaiveDateTime| until.and_utc()) {
        assert!(upcoming.iter().all(|at: &DateTime<Utc>| *at <= until), "{rule}: {upcoming:?}");
    }
}

fn value<'a>(rule: &'a str, name: &str) -> Option<&'a str> {
    rule.split(';').find_map(|part| part.strip_prefix(name)?.strip_prefix('='))
}
