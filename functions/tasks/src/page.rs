//! How much a page holds.
//!
//! A page is cut twice. The sizes of the stored texts decide what is loaded, so that a request takes little memory. The size in JSON, where a
//! character may take six bytes, decides what is answered.

use chrono::{DateTime, Datelike as _, Utc};
use serde::Serialize;
use uuid::Uuid;

/// Maximum size of the items of a page. The largest tasks take 40 KB each, and 60 KB in JSON.
const BYTES: usize = 256 * 1024;

/// How many items a page holds: those before their sizes together pass the limit, and at least one.
pub(crate) fn fitting(sizes: impl IntoIterator<Item = i64>) -> usize {
    let ends = sizes.into_iter().scan(0, |end: &mut usize, size| {
        *end = end.saturating_add(usize::try_from(size).unwrap_or_default());
        Some(*end)
    });
    ends.take_while(|end| *end <= BYTES).count().max(1)
}

/// As [`fitting`], of items whose size in JSON counts.
pub(crate) fn fitting_in_json(items: &[impl Serialize]) -> usize {
    fitting(items.iter().map(|item| {
        let size = serde_json::to_vec(item).map_or(0, |json| json.len());
        i64::try_from(size).unwrap_or(i64::MAX)
    }))
}

/// The place of an item in a list by time and id, as a cursor has it.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Place {
    pub(crate) at: DateTime<Utc>,
    pub(crate) id: Uuid,
}

impl Place {
    pub(crate) fn encode(self) -> String {
        format!("{}_{}", self.at.timestamp_micros(), self.id.simple())
    }

    pub(crate) fn decode(text: &str) -> Option<Self> {
        let (at, id) = text.split_once('_')?;
        Some(Self { at: instant(at.parse().ok()?)?, id: id.parse().ok()? })
    }
}

/// The instant of a cursor, from its microseconds. `None` outside the years 0 to 9999: PostgreSQL could not have returned it.
pub(crate) fn instant(micros: i64) -> Option<DateTime<Utc>> {
    DateTime::from_timestamp_micros(micros).filter(|at| (0..=9999).contains(&at.year()))
}
