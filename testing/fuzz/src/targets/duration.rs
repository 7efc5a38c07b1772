//! Durations before the due time: a zone and a newline, eight bytes of due time, then an ISO-8601 duration. An accepted duration is
//! displayed as written, and resolves to a plausible earlier instant or to `None`.

use chrono::{DateTime, TimeDelta, Utc};
use shared::recurrence::{BeforeDue, Zone, carry, end_of_calendar};

use crate::Target;

pub(crate) const TARGET: Target = Target { name: "duration", seeds, words: WORDS, run };

const WORDS: &[&str] = &[
    "P",
    "PT",
    "1W",
    "1D",
    "1Y",
    "1M",
    "T15M",
    "T24H",
    "T0S",
    "T0.000000001S",
    "P366D",
    "P52W",
    "-",
    ",5",
    "UTC",
    "Europe/Berlin",
    "America/Havana",
    "Pacific/Apia",
    "Africa/Monrovia",
    "Etc/GMT+12",
    "Factory",
    "Etc/Unknown",
];

fn seeds() -> Vec<Vec<u8>> {
    let seed = |(zone, text): (&str, &str)| {
        [zone.as_bytes(), b"\n", &1_900_000_000_i64.to_le_bytes(), text.as_bytes()].concat()
    };
    [
        ("Europe/Berlin", "PT15M"),
        ("America/Havana", "P1DT30M"),
        ("Pacific/Apia", "P1W"),
        ("UTC", "PT0.5S"),
        ("Etc/GMT+12", "P366D"),
        ("Factory", "PT24H0M0S"),
    ]
    .map(seed)
    .to_vec()
}

fn run(input: &[u8]) {
    let Some(end) = input.iter().position(|byte| *byte == b'\n') else { return };
    let Ok(name) = std::str::from_utf8(&input[..end]) else { return };
    let Some((due, text)) = input[end + 1..].split_first_chunk::<8>() else { return };
    let Ok(text) = std::str::from_utf8(text) else { return };
    let zone = Zone::parse(name).inspect(|zone| {
        assert_eq!((zone.as_str(), zone.to_string().as_str()), (name, name));
        let written = serde_json::to_string(zone).expect("a zone is written");
        assert_eq!(serde_json::from_str::<Zone>(&written).as_ref().ok(), Some(zone));
    });
    let zone = zone.unwrap_or_else(|_| Zone::utc());
    let due: DateTime<Utc> = DateTime::from_timestamp(i64::from_le_bytes(*due), 0).unwrap_or_default();
    let _ = zone.show(due);

    let Ok(before) = BeforeDue::parse(text) else { return };
    assert_eq!(before.as_str(), text);
    let Some(at) = before.resolve(due, &zone) else { return };
    assert_eq!(before.resolve(due, &zone), Some(at));
    // A wall-clock day may be longer than 24 hours: daylight-saving time, and the day that Samoa skipped.
    assert!(at <= due + TimeDelta::hours(25) && due - at <= TimeDelta::days(368), "{text} before {due} is {at}");
    // The reminder moves with the task to the next year's occurrence.
    let later = due + TimeDelta::days(365);
    assert!(carry(&zone, due, later, at) <= end_of_calendar());
}
