//! Events: their types, the topic and the one function of each, and the CloudEvent they travel as.
//!
//! The tables here are the one source of `dapr/subscriptions`, of the dead-letter topics and of every check that an event
//! has exactly one consumer (`cargo xtask manifests` writes the manifests, a test holds them against this file).
//!
//! Attributes follow CloudEvents 1.0.2; `partitionkey` and `sequence` its documented extensions of these names
//! (`sequence` "MUST be a non-empty lexicographically-orderable string", hence the zeros), `traceparent` the distributed
//! tracing extension.

use chrono::{DateTime, Utc};
use cloudevents::{AttributesReader as _, Data, EventBuilder as _, EventBuilderV10, event::ExtensionValue};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::schema::Payload;

/// Where our events come from: their CloudEvents `source`.
pub const SOURCE: &str = "/backend/tasks";

/// The types of events.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum EventType {
    /// A task was created.
    #[serde(rename = "task.created")]
    TaskCreated,
    /// A task or a reminder of it was changed.
    #[serde(rename = "task.updated")]
    TaskUpdated,
    /// A task was completed.
    #[serde(rename = "task.completed")]
    TaskCompleted,
    /// A task was deleted.
    #[serde(rename = "task.deleted")]
    TaskDeleted,
    /// A reminder's time has come.
    #[serde(rename = "reminder.due")]
    ReminderDue,
    /// A reminder was accepted by a provider.
    #[serde(rename = "reminder.sent")]
    ReminderSent,
    /// Something a client shows has changed.
    #[serde(rename = "task.changed")]
    TaskChanged,
}

impl EventType {
    /// All of them.
    pub const ALL: [Self; 7] = [
        Self::TaskCreated,
        Self::TaskUpdated,
        Self::TaskCompleted,
        Self::TaskDeleted,
        Self::ReminderDue,
        Self::ReminderSent,
        Self::TaskChanged,
    ];

    /// The CloudEvents `type`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::TaskCreated => "task.created",
            Self::TaskUpdated => "task.updated",
            Self::TaskCompleted => "task.completed",
            Self::TaskDeleted => "task.deleted",
            Self::ReminderDue => "reminder.due",
            Self::ReminderSent => "reminder.sent",
            Self::TaskChanged => "task.changed",
        }
    }

    /// The one function that handles it: its crate, app-id, consumer group and name in `processed_events`.
    #[must_use]
    pub const fn consumer(self) -> &'static str {
        match self {
            Self::TaskCreated => "task-created",
            Self::TaskUpdated => "task-updated",
            Self::TaskCompleted => "task-completed",
            Self::TaskDeleted => "task-deleted",
            Self::ReminderDue => "reminder-due",
            Self::ReminderSent => "reminder-sent",
            Self::TaskChanged => "task-changed",
        }
    }

    /// The topic it is published on.
    #[must_use]
    pub const fn topic(self) -> &'static str {
        match self {
            Self::TaskCreated | Self::TaskUpdated | Self::TaskCompleted | Self::TaskDeleted => "task-events",
            Self::ReminderDue | Self::ReminderSent => "reminders",
            Self::TaskChanged => "task-updates",
        }
    }

    /// Where daprd puts what it could not deliver to the function.
    #[must_use]
    pub fn dead_letter_topic(self) -> String {
        format!("{}.dlq.{}", self.topic(), self.consumer())
    }

    /// The type of this name.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == text)
    }
}

/// A W3C `traceparent` (Trace Context, section 3.2), carried from the request through every event behind it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trace(String);

impl Trace {
    /// Continues the caller's trace where the header is well-formed (daprd may send an all-zero one), else starts one.
    #[must_use]
    pub fn from_header(header: Option<&str>) -> Self {
        match header {
            Some(text) if is_traceparent(text) => Self(text.to_owned()),
            _ => Self(format!("00-{}-{:016x}-01", Uuid::new_v4().simple(), Uuid::new_v4().as_u64_pair().0 | 1)),
        }
    }

    /// The header.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The id all spans of the trace share.
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

/// An event as a function receives it, parsed.
#[derive(Clone, Debug)]
pub struct Event<T> {
    /// Its id: the same however often it is delivered.
    pub id: Uuid,
    /// The trace it belongs to.
    pub trace: Trace,
    /// When it happened.
    pub time: DateTime<Utc>,
    /// What it carries.
    pub data: T,
}

/// What an event must be and was not. Such an event can never be handled.
#[derive(Debug, thiserror::Error)]
pub enum Malformed {
    /// Not a CloudEvent 1.0 in JSON.
    #[error("it is not a CloudEvent 1.0 in JSON: {0}")]
    Envelope(serde_json::Error),
    /// Its id is not a UUIDv7.
    #[error("its id is not a UUIDv7")]
    Id,
    /// Meant for another function.
    #[error("its type is not {0}")]
    Type(&'static str),
    /// Its subject is not the task its data names.
    #[error("its subject is not the task of its data")]
    Subject,
    /// Without data, or with other data than its type has.
    #[error("its data is not that of its type: {0}")]
    Data(String),
}

/// Reads a CloudEvent in JSON.
///
/// # Errors
/// [`Malformed`] says what it is not.
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

/// The CloudEvent of a row of the outbox, as JSON.
///
/// # Errors
/// Never for a row that [`crate::outbox::emit`] wrote.
pub(crate) fn to_json(row: &crate::outbox::Unpublished) -> anyhow::Result<Vec<u8>> {
    let mut builder = EventBuilderV10::new()
        .id(row.id.to_string())
        .source(SOURCE)
        .ty(row.kind.clone())
        .subject(row.task_id.to_string())
        .time(row.occurred_at)
        .data("application/json", row.data.clone())
        .extension("partitionkey", row.task_id.to_string())
        .extension("sequence", format!("{:010}", row.sequence));
    if let Some(traceparent) = &row.traceparent {
        // Both: an event without `traceid` has its `traceparent` replaced by daprd (components-contrib pubsub/envelope.go).
        builder = builder.extension("traceparent", traceparent.clone()).extension("traceid", traceparent.clone());
    }
    Ok(serde_json::to_vec(&builder.build()?)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_well_formed_traceparent_is_continued_and_any_other_replaced() {
        let good = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
        assert_eq!(Trace::from_header(Some(good)).as_str(), good);
        for bad in [
            "00-00000000000000000000000000000000-0000000000000000-00", // what daprd sends without tracing
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

    #[test]
    fn a_type_is_found_by_its_name() {
        for kind in EventType::ALL {
            assert_eq!(EventType::parse(kind.as_str()), Some(kind));
            assert_eq!(serde_json::to_value(kind).unwrap(), kind.as_str());
            assert_eq!(kind.consumer(), kind.as_str().replace('.', "-"));
        }
    }
}
