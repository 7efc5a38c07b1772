//! CloudEvents as daprd delivers them, read by the route of every type, and their data parsed as every payload. At most one route accepts a
//! message, and a payload survives a round trip.

use serde_json::{Value, json};
use shared::{
    catalogue::EventType,
    cloud_event::{self, SOURCE, Trace},
    schema::{Payload, PayloadVisitor, visit_payloads},
};
use uuid::Uuid;

use crate::{Target, offline::ID};

pub(crate) const TARGET: Target = Target { name: "envelope", seeds, words: WORDS, run };

pub(crate) const WORDS: &[&str] = &[
    "specversion",
    "id",
    "source",
    "type",
    "subject",
    "time",
    "datacontenttype",
    "dataschema",
    "traceparent",
    "data",
    "data_base64",
    "task_id",
    "user_id",
    "title",
    "version",
    "reminder_id",
    "reminder_version",
    "remind_at",
    "completed_at",
    "delivery_id",
    "channel",
    "cause",
    "1.0",
    "0.3",
    ID,
    "task.created",
    "task.updated",
    "task.completed",
    "task.deleted",
    "task.changed",
    "reminder.due",
    "reminder.sent",
    "email",
    "application/json",
    "text/plain",
    "2031-01-01T00:00:00Z",
    "+262142-12-31T23:59:60Z",
    "null",
    "\\u0000",
    "\\ud800",
    "1e400",
    "-9223372036854775808",
];

/// An event of every type.
pub(crate) fn seeds() -> Vec<Vec<u8>> {
    let at = "2031-01-01T09:00:00Z";
    // The fields of all payloads: each type ignores the other types' fields.
    let data = json!({
        "task_id": ID, "user_id": ID, "title": "call the dentist", "version": 1, "completed_at": at, "reminder_id": ID,
        "remind_at": at, "reminder_version": 1, "channel": "email", "delivery_id": ID, "cause": "task.updated",
    });
    let event = |kind: EventType| {
        json!({
            "specversion": "1.0", "id": ID, "source": SOURCE, "type": kind.as_str(), "subject": ID, "time": at,
            "datacontenttype": "application/json", "partitionkey": ID, "sequence": "0000000001",
            "traceparent": "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01", "data": data,
        })
    };
    EventType::ALL.into_iter().map(|kind| event(kind).to_string().into_bytes()).collect()
}

fn run(input: &[u8]) {
    let accepting = EventType::ALL.into_iter().filter(|kind| accepted(input, *kind)).count();
    assert!(accepting <= 1, "{accepting} types accept it");
    if let Ok(event) = serde_json::from_slice::<Value>(input) {
        visit_payloads(&mut Data(&event["data"]));
    }
    if let Ok(text) = std::str::from_utf8(input) {
        let trace = Trace::from_header(Some(text));
        assert_eq!((trace.as_str().len(), trace.id().len()), (55, 32));
        assert!(trace.as_str().is_ascii() && trace.id().bytes().any(|digit| digit != b'0'), "{}", trace.as_str());
        let _ = EventType::parse(text);
    }
}

/// Whether the route of `kind` accepts a message.
fn accepted(message: &[u8], kind: EventType) -> bool {
    let id = match cloud_event::id_of(message, kind) {
        Ok(id) => id,
        Err(malformed) => {
            // The message is logged and stored, so it must be short.
            assert!(malformed.to_string().len() < 1_000 + 8 * message.len(), "{malformed}");
            return false;
        }
    };
    assert_eq!(id.get_version_num(), 7);
    // Only these two fields are decoded. Another may hold what a full parser refuses, such as half of a surrogate pair.
    if let Ok(sent) = serde_json::from_slice::<Value>(message) {
        assert_eq!(sent["id"].as_str().and_then(|text| text.parse().ok()), Some(id));
        assert_eq!(sent["type"], kind.as_str());
    }
    true
}

/// The data of an event, as it lies in the outbox.
struct Data<'a>(&'a Value);

impl PayloadVisitor for Data<'_> {
    fn visit<T: Payload>(&mut self) {
        let Ok(payload) = serde_json::from_value::<T>(self.0.clone()) else { return };
        let written = serde_json::to_value(&payload).expect("a payload is JSON");
        let id = |data: &Value| data["task_id"].as_str().and_then(|text| text.parse::<Uuid>().ok());
        assert_eq!((id(self.0), id(&written)), (Some(payload.task().task_id), Some(payload.task().task_id)));
        assert_eq!(serde_json::from_value::<T>(written).expect("it was written by us"), payload);
    }
}
