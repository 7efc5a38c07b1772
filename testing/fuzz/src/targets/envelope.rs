//! CloudEvents as daprd delivers them, parsed as every type. At most one type accepts an event, and an accepted event survives a round
//! trip.

use chrono::{DateTime, Utc};
use serde_json::{Value, json};
use shared::{
    catalogue::EventType,
    cloud_event::{self, Malformed, SOURCE, Trace},
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
    EventType::ALL.into_iter().map(|kind| written(ID, at, data.clone(), kind).to_string().into_bytes()).collect()
}

fn written(id: impl ToString, time: impl ToString, data: Value, kind: EventType) -> Value {
    json!({
        "specversion": "1.0", "id": id.to_string(), "source": SOURCE, "type": kind.as_str(), "subject": data["task_id"],
        "time": time.to_string(), "datacontenttype": "application/json", "partitionkey": ID, "sequence": "0000000001",
        "traceparent": "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01", "data": data,
    })
}

fn run(input: &[u8]) {
    let mut accepted = Accepted { input, types: 0 };
    visit_payloads(&mut accepted);
    assert!(accepted.types <= 1, "{} types accept it", accepted.types);
    if let Ok(text) = std::str::from_utf8(input) {
        let trace = Trace::from_header(Some(text));
        assert_eq!((trace.as_str().len(), trace.id().len()), (55, 32));
        assert!(trace.as_str().is_ascii() && trace.id().bytes().any(|digit| digit != b'0'), "{}", trace.as_str());
        let _ = EventType::parse(text);
    }
}

/// The number of event types that accept an input.
struct Accepted<'a> {
    input: &'a [u8],
    types: usize,
}

impl PayloadVisitor for Accepted<'_> {
    fn visit<T: Payload>(&mut self) {
        self.types += accepted::<T>(self.input);
    }
}

fn accepted<T: Payload>(input: &[u8]) -> usize {
    let event = match cloud_event::parse::<T>(input) {
        Ok(event) => event,
        Err(malformed) => {
            // The message is logged and stored, so it must be short.
            assert!(malformed.to_string().len() < 1_000 + 8 * input.len(), "{malformed}");
            return 0;
        }
    };
    assert_eq!(event.id.get_version_num(), 7);
    let sent: Value = serde_json::from_slice(input).expect("an event is JSON");
    let id = |text: &Value| text.as_str().and_then(|text| text.parse::<Uuid>().ok());
    assert_eq!(id(&sent["id"]), Some(event.id));
    if sent["data"].is_object() {
        assert_eq!(id(&sent["data"]["task_id"]), Some(event.data.task().task_id));
    }
    assert_eq!((event.trace.as_str().len(), event.trace.id().len()), (55, 32));
    let time: DateTime<Utc> = event.time;
    let again = written(event.id, time.to_rfc3339(), serde_json::to_value(&event.data).expect("data"), T::TYPE);
    match cloud_event::parse::<T>(again.to_string().as_bytes()) {
        Ok(again) => assert_eq!((again.id, &again.data, again.time), (event.id, &event.data, time)),
        Err(Malformed::Envelope(error)) => panic!("{again} is not an envelope: {error}"),
        Err(other) => panic!("{again}: {other}"),
    }
    1
}
