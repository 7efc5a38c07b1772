//! CloudEvents: the format in which events travel, and the trace that they carry.
//!
//! Attributes follow CloudEvents 1.0.2. `partitionkey`, `sequence` and `traceparent` are documented extensions. `sequence` "MUST be a
//! non-empty lexicographically-orderable string", so the outbox pads it with zeros.

use chrono::{DateTime, Utc};
use cloudevents::{AttributesReader as _, Data, event::ExtensionValue};
use uuid::Uuid;

use crate::schema::Payload;

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

/// Why a message is not an event of the expected type. It can never be handled.
#[derive(Debug, thiserror::Error)]
pub enum Malformed {
    /// Not a CloudEvent 1.0 in JSON.
    #[error("it is not a CloudEvent 1.0 in JSON: {0}")]
    Envelope(serde_json::Error),
    /// Its id is not a UUIDv7.
    #[error("its id is not a UUIDv7")]
    Id,
    /// Its type is not the expected one.
    #[error("its type is not {0}")]
    Type(&'static str),
    /// Its subject is not the task in its data.
    #[error("its subject is not the task of its data")]
    Subject,
    /// Its data is missing, or does not fit its type.
    #[error("its data is not that of its type: {0}")]
    Data(String),
}

/// Parses a CloudEvent in JSON whose payload is `T`.
pub fn parse<T: Payload>(body: &[u8]) -> Result<Event<T>, Malformed> {
    let event: cloudevents::Event = serde_json::from_slice(body).map_err(Malformed::Envelope)?;
    let id = event.id().parse::<Uuid>().ok().filter(|id| id.get_version_num() == 7).ok_or(Malformed::Id)?;
    if event.ty() != T::TYPE.as_str() {
        return Err(Malformed::Type(T::TYPE.as_str()));
    }
    let data: T = match event.data() {
        Some(Data::Json(value)) => T::deserialize(value).map_err(|error| Malformed::Data(error.to_string()))?,
        _ => return Err(Malformed::Data("there is no JSON".to_owned())),
    };
    if event.subject().and_then(|subject| subject.parse().ok()) != Some(data.task().task_id) {
        return Err(Malformed::Subject);
    }
    let trace = Trace::from_header(match event.extension("traceparent") {
        Some(ExtensionValue::String(text)) => Some(text),
        _ => None,
    });
    Ok(Event { id, trace, time: event.time().copied().unwrap_or_else(Utc::now), data })
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
