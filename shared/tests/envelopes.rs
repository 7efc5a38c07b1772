//! Envelopes that are too deep or too large for the fuzzer, whose inputs have at most 8 KB. A recursive or quadratic parser would not
//! survive them.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use shared::{
    catalogue::EventType,
    cloud_event::{self, Malformed},
};

const TASK: &str = "0198c0de-0000-7000-8000-000000000001";

/// The number of event types whose routes accept a message.
fn accepted(message: &[u8]) -> usize {
    let began = Instant::now();
    let accepts = |kind: &EventType| match cloud_event::id_of(message, *kind) {
        Ok(_) => true,
        Err(malformed) => {
            assert!(malformed.to_string().len() < 100_000 + message.len() * 8, "{malformed}");
            false
        }
    };
    let types = EventType::ALL.iter().filter(|kind| accepts(kind)).count();
    // Generous, because the machine may be busy.
    assert!(began.elapsed() < Duration::from_secs(30), "{} bytes took {:?}", message.len(), began.elapsed());
    types
}

fn valid() -> Value {
    json!({
        "specversion": "1.0", "id": TASK, "source": cloud_event::SOURCE, "type": "task.updated", "subject": TASK,
        "time": "2031-01-01T00:00:00Z", "datacontenttype": "application/json", "partitionkey": TASK,
        "sequence": "0000000001", "traceparent": "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
        "data": {"task_id": TASK, "user_id": TASK, "title": "a", "version": 1},
    })
}

#[test]
fn deep_and_large_envelopes_are_parsed_in_time() {
    let deep = |open: &str, close: &str| format!("{}{}", open.repeat(100_000), close.repeat(100_000));
    let nested = deep("[", "]");
    let mut fields = valid().to_string();
    fields.truncate(fields.len() - 1);
    for n in 0..50_000 {
        fields += &format!(",\"x{n}\":\"{n}\"");
    }
    fields.push('}');
    for body in [
        nested.clone(),
        deep("{\"data\":", "}"),
        valid().to_string().replace("\"task.updated\"", &nested),
        format!("{}{}", valid(), nested),
        "\"".repeat(1 << 20),
        "9".repeat(1 << 20),
    ] {
        assert_eq!(accepted(body.as_bytes()), 0, "{}", &body[..40]);
    }
    // Fields that nobody reads may be anything.
    for ignored in ["\"a\"", "\"0000000001\""] {
        assert_eq!(accepted(valid().to_string().replace(ignored, &nested).as_bytes()), 1, "{ignored}");
    }
    assert_eq!(accepted(fields.as_bytes()), 1, "extensions are allowed");
    let long = valid().to_string().replace("\"a\"", &format!("\"{}\"", "a".repeat(8 << 20)));
    assert_eq!(accepted(long.as_bytes()), 1);
    let other = cloud_event::id_of(valid().to_string().as_bytes(), EventType::TaskCreated);
    assert!(matches!(other, Err(Malformed::Type("task.created"))), "{other:?}");
}
