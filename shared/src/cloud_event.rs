//! CloudEvents: the format in which events travel, and the trace that they carry.
//!
//! Attributes follow CloudEvents 1.0.2. `partitionkey`, `sequence` and `traceparent` are documented extensions. `sequence` "MUST be a
//! non-empty lexicographically-orderable string", so the outbox pads it with zeros.

use catalogue::EventType;
use chrono::{DateTime, Utc};
use serde::Deserialize;
use uuid::Uuid;

/// The CloudEvents `source` of our events.
pub const SOURCE: &str = "/backend/tasks";

/// A W3C `traceparent` (Trace Context, section 3.2). A request passes it to every event that it causes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trace(String);

impl Trace {
    /// Continues the caller's trace if the header is well-formed (daprd may send an all-zero one). Otherwise starts a new trace.
    #[must_use]
    pub fn from_header(header: Option<&str>) -> Self {
        match header {
            Some(text) if is_traceparent(text) => Self(text.to_owned()),
            _ => Self(format!("00-{}-{:016x}-01", Uuid::new_v4().simple(), Uuid::new_v4().as_u64_pair().0 | 1)),
        }
    }

    /// The value of the header.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The id that all spans of the trace share.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.0[3..35]
    }
}

fn is_traceparent(text: &str) -> bool {
    let hex = |part: &str, length: usize| {
        part.len() == length && part.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
    };
    let parts: Vec<&str> = text.split('-').collect();
    matches!(parts[..], ["00", trace, span, flags]
        if hex(trace, 32) && hex(span, 16) && hex(flags, 2) && trace.contains(|c| c != '0') && span.contains(|c| c != '0'))
}

/// An event as its function receives it.
#[derive(Clone, Debug)]
pub struct Event<T> {
    /// The event's id, which is the same for every delivery.
    pub id: Uuid,
    /// Its trace.
    pub trace: Trace,
    /// When it happened.
    pub time: DateTime<Utc>,
    /// Its payload.
    pub data: T,
}

/// Why a message names no event of the expected type.
#[derive(Debug, thiserror::Error)]
pub enum Malformed {
    /// Not JSON with the id and the type of an event.
    #[error("it is not a CloudEvent in JSON: {0}")]
    Envelope(#[from] serde_json::Error),
    /// Its id is not a UUIDv7.
    #[error("its id is not a UUIDv7")]
    Id,
    /// Its type is not the expected one.
    #[error("its type is not {0}")]
    Type(&'static str),
}

/// Reads the id of an event of type `kind` from a CloudEvent in JSON. Everything else is in the event's row.
pub fn id_of(message: &[u8], kind: EventType) -> Result<Uuid, Malformed> {
    #[derive(Deserialize)]
    struct Envelope {
        id: String,
        r#type: String,
    }
    let event: Envelope = serde_json::from_slice(message)?;
    let id = event.id.parse::<Uuid>().ok().filter(|id| id.get_version_num() == 7).ok_or(Malformed::Id)?;
    if event.r#type == kind.as_str() { Ok(id) } else { Err(Malformed::Type(kind.as_str())) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_well_formed_traceparent_is_continued_and_any_other_replaced() {
        let good = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
        assert_eq!(Trace::from_header(Some(good)).as_str(), good);
        for bad in [
            "00-00000000000000000000000000000000-0000000000000000-00", // daprd sends this without tracing
            "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
            "01-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7",
            "",
        ] {
            let trace = Trace::from_header(Some(bad));
            assert_ne!(trace.as_str(), bad);
            assert!(is_traceparent(trace.as_str()), "{trace:?}");
        }
    }
}
