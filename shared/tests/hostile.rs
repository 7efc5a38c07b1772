//! Whatever bytes come where an event, a trace or a duration is read: no panic, no long wait, and nothing is taken for what it is
//! not. `PROPTEST_CASES` makes these run as long as wanted.

use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};
use proptest::{collection::vec, option, prelude::*, sample::select};
use serde_json::{Value, json};
use shared::{
    catalogue::EventType,
    cloud_event::{self, Malformed, Trace},
    recurrence::{BeforeDue, Zone},
    schema::{Payload, ReminderDue, ReminderSent, TaskChanged, TaskCompleted, TaskCreated, TaskDeleted, TaskUpdated},
};
use uuid::Uuid;

const TASK: &str = "0198c0de-0000-7000-8000-000000000001";

/// Reads the bytes as every type of event; how many of them took it.
fn read_as_everything(bytes: &[u8]) -> usize {
    fn taken<T: Payload>(bytes: &[u8]) -> usize {
        let read = cloud_event::parse::<T>(bytes);
        if let Ok(event) = &read {
            assert_eq!(event.id.get_version_num(), 7);
            assert_eq!(event.trace.as_str().len(), 55);
        }
        if let Err(malformed) = &read {
            assert!(malformed.to_string().len() < 100_000 + bytes.len() * 8, "{malformed}");
        }
        usize::from(read.is_ok())
    }
    let begun = Instant::now();
    let sum = taken::<TaskCreated>(bytes)
        + taken::<TaskUpdated>(bytes)
        + taken::<TaskCompleted>(bytes)
        + taken::<TaskDeleted>(bytes)
        + taken::<ReminderDue>(bytes)
        + taken::<ReminderSent>(bytes)
        + taken::<TaskChanged>(bytes);
    // Also on a machine that has other things to do.
    assert!(begun.elapsed() < Duration::from_secs(30), "{} bytes took {:?}", bytes.len(), begun.elapsed());
    sum
}

fn good() -> Value {
    json!({
        "specversion": "1.0", "id": TASK, "source": cloud_event::SOURCE, "type": "task.updated", "subject": TASK,
        "time": "2031-01-01T00:00:00Z", "datacontenttype": "application/json", "partitionkey": TASK,
        "sequence": "0000000001", "traceparent": "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
        "data": {"task_id": TASK, "user_id": TASK, "title": "a", "version": 1},
    })
}

/// Any JSON, some of it of the kinds that readers trip over.
fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        any::<String>().prop_map(Value::from),
        select(vec![
            "",
            "\0",
            TASK,
            "1.0",
            "task.updated",
            "application/json",
            "+999999-01-01T00:00:00Z",
            "0000-00-00T00:00:60Z"
        ])
        .prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 32, 5, |inner| {
        prop_oneof![
            vec(inner.clone(), 0..5).prop_map(Value::from),
            vec((any::<String>(), inner), 0..5).prop_map(|fields| Value::Object(fields.into_iter().collect())),
        ]
    })
}

const ATTRIBUTES: [&str; 14] = [
    "specversion",
    "id",
    "source",
    "type",
    "subject",
    "time",
    "datacontenttype",
    "dataschema",
    "partitionkey",
    "sequence",
    "traceparent",
    "data",
    "data_base64",
    "x",
];

proptest! {
    #[test]
    fn no_bytes_are_an_event(bytes in vec(any::<u8>(), 0..2_000)) {
        prop_assert_eq!(read_as_everything(&bytes), 0);
    }

    /// An envelope of ours with attributes changed, taken away or added: at most one type takes it, and only with an id, a subject
    /// and data that fit each other.
    #[test]
    fn an_envelope_with_attributes_changed_is_taken_whole_or_not_at_all(
        changes in vec((select(ATTRIBUTES.as_slice()), option::of(any_json())), 0..6),
        inside in vec((select(vec!["task_id", "user_id", "title", "version", "x"]), option::of(any_json())), 0..3),
        cut in option::of(0usize..600), flips in vec((0usize..600, any::<u8>()), 0..4),
    ) {
        let mut event = good();
        for (name, value) in inside {
            match value {
                Some(value) => event["data"][name] = value,
                None => drop(event["data"].as_object_mut().unwrap().remove(name)),
            }
        }
        for (name, value) in changes {
            match value {
                Some(value) => event[name] = value,
                None => drop(event.as_object_mut().unwrap().remove(name)),
            }
        }
        let mut bytes = event.to_string().into_bytes();
        for (at, flip) in flips {
            let at = at % bytes.len();
            bytes[at] ^= flip;
        }
        if let Some(cut) = cut {
            bytes.truncate(cut);
        }
        let taken = read_as_everything(&bytes);
        prop_assert!(taken <= 1);
        if let Ok(read) = cloud_event::parse::<TaskUpdated>(&bytes) {
            let event: Value = serde_json::from_slice(&bytes).unwrap();
            prop_assert_eq!(event["id"].as_str().unwrap().parse::<Uuid>().unwrap(), read.id);
            prop_assert_eq!(event["data"]["task_id"].as_str().unwrap().parse::<Uuid>().unwrap(), read.data.task.task_id);
        }
    }

    #[test]
    fn any_header_is_a_trace_or_starts_one(text in any::<String>(), like in "0[0-9a-f]-[0-9a-fA-F]{30,34}-[0-9a-f]{15,17}-[0-9a-f]{1,3}") {
        for text in [&text, &like] {
            let trace = Trace::from_header(Some(text));
            prop_assert_eq!((trace.as_str().len(), trace.id().len()), (55, 32));
            prop_assert!(trace.as_str().is_ascii() && trace.id().bytes().any(|digit| digit != b'0'));
        }
        let _ = EventType::parse(&text);
    }

    #[test]
    fn any_text_is_a_duration_that_can_be_resolved_or_none(
        text in any::<String>(), like in "[-+]?P([0-9]{1,12}[YMWD]){0,3}(T([0-9]{1,12}([.,][0-9]{1,12})?[HMS]){0,3})?",
        due in -62_135_596_800_i64..253_402_300_799,
        zone in select(vec!["UTC", "Pacific/Apia", "America/Havana", "Africa/Monrovia", "Etc/GMT+12"]),
    ) {
        let due: DateTime<Utc> = DateTime::from_timestamp(due, 0).unwrap();
        let zone = Zone::parse(zone).unwrap();
        for text in [&text, &like] {
            if let Ok(before) = BeforeDue::parse(text) {
                prop_assert_eq!(before.as_str(), text.as_str());
                if let Some(at) = before.resolve(due, &zone) {
                    // A day by the clock on the wall may be longer than 24 hours, by what the clocks and Samoa's calendar did.
                    prop_assert!(at <= due + chrono::TimeDelta::hours(25) && due - at <= chrono::TimeDelta::days(368), "{at} {due}");
                }
            }
        }
    }
}

/// Depth and size that a recursive or quadratic reader would not survive.
#[test]
fn deep_and_large_envelopes_are_refused_in_time() {
    let deep = |open: &str, close: &str| format!("{}{}", open.repeat(100_000), close.repeat(100_000));
    let nested = deep("[", "]");
    let mut fields = good().to_string();
    fields.truncate(fields.len() - 1);
    for n in 0..50_000 {
        fields += &format!(",\"x{n}\":\"{n}\"");
    }
    fields.push('}');
    for body in [
        nested.clone(),
        deep("{\"data\":", "}"),
        good().to_string().replace("\"a\"", &nested),
        good().to_string().replace("\"0000000001\"", &nested),
        format!("{}{}", good(), nested),
        "\"".repeat(1 << 20),
        "9".repeat(1 << 20),
    ] {
        assert_eq!(read_as_everything(body.as_bytes()), 0, "{}", &body[..40]);
    }
    assert_eq!(read_as_everything(fields.as_bytes()), 1, "extensions are allowed");
    let long = good().to_string().replace("\"a\"", &format!("\"{}\"", "a".repeat(8 << 20)));
    assert_eq!(read_as_everything(long.as_bytes()), 1);
    assert!(matches!(cloud_event::parse::<TaskCreated>(good().to_string().as_bytes()), Err(Malformed::Type(_))));
}
