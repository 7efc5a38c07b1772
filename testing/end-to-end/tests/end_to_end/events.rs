//! The topics carry valid CloudEvents 1.0, with our payloads, keyed by task, in the trace of the original request.

use std::{collections::BTreeMap, fs};

use chrono::DateTime;
use cloudevents::AttributesReader as _;
use lab::{
    api::{Answer, Method, text},
    kafka::topics::Record,
    wait,
};
use serde_json::{Value, json};
use shared::catalogue::EventType;
use uuid::Uuid;

use crate::{
    product::{SOON, beside_others},
    topics,
    user::{User, id},
};

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";

#[test]
fn topics_carry_valid_cloud_events_in_the_trace_of_the_original_request() {
    beside_others(async |product| {
        let user = product.user();
        let soon = user.in_ms(1_000).await;
        let due = text(user.in_ms(3_600_000).await);
        let body = json!({"title": "Üben – „täglich“", "due_at": due, "recurrence": {"type": "daily"},
                          "reminders": [{"remind_at": text(soon)}]});
        let task = traced(&user, Method::POST, "/v1/tasks", body).await;
        let path = format!("/v1/tasks/{}", id(&task["id"]));
        traced(&user, Method::PATCH, &path, json!({"priority": "high"})).await;
        user.settled().await;
        product.clock_reaches(soon).await;
        wait::until_equal("the reminder is sent", SOON, 1, async || product.mails(&user).len()).await;
        traced(&user, Method::POST, &format!("{path}/complete"), json!({})).await;
        traced(&user, Method::DELETE, &path, json!({})).await;
        user.settled().await;

        let kafka = product.kafka().await;
        let mut seen: BTreeMap<Uuid, Value> = BTreeMap::new();
        for topic in ["task-events", "reminders", "task-updates"] {
            for record in topics::read(&kafka, topic).await {
                let value = record.value.as_deref().unwrap_or_default();
                let event: Value = serde_json::from_slice(value).unwrap_or_default();
                if event["data"]["user_id"] == json!(user.id) {
                    assert_valid(topic, &record, &event);
                    seen.insert(id(&event["id"]), event);
                }
            }
        }
        let rows: Vec<(Uuid, Value)> = sqlx::query_as("select id, data from task_events where user_id = $1")
            .bind(user.id)
            .fetch_all(&product.db)
            .await
            .expect("the database answers");
        assert_eq!(seen.len(), rows.len(), "the topics hold exactly the events of the outbox");
        for (id, data) in rows {
            assert_eq!(seen[&id]["data"], data);
        }
        for kind in EventType::ALL {
            assert!(seen.values().any(|event| event["type"] == kind.as_str()), "no {}", kind.as_str());
        }
        assert_traced(&seen);
    });
}

/// A request in our trace.
async fn traced(user: &User, method: Method, path: &str, body: Value) -> Value {
    let request = user.request(method, path).json(&body);
    let answer = Answer::to(request.header("traceparent", format!("00-{TRACE}-00f067aa0ba902b7-01"))).await;
    let answer = answer.expect("an answer");
    assert!(answer.is_success(), "{path} was answered {answer:?}");
    answer.body
}

/// Checks CloudEvents 1.0.2 and our own rules.
fn assert_valid(topic: &str, record: &Record, json: &Value) {
    let event: cloudevents::Event =
        serde_json::from_value(json.clone()).unwrap_or_else(|error| panic!("{error}: {json}"));
    assert_eq!(json["specversion"], "1.0");
    let kind = EventType::parse(event.ty()).unwrap_or_else(|| panic!("{json}"));
    assert_eq!(kind.topic(), topic);
    assert_eq!(event.id().parse::<Uuid>().map(|id| id.get_version_num()), Ok(7), "{json}");
    assert_eq!(event.source().as_str(), "/backend/tasks");
    assert_eq!(event.datacontenttype(), Some("application/json"));
    assert!(json["time"].as_str().is_some_and(|time| DateTime::parse_from_rfc3339(time).is_ok()), "{json}");
    let task_id = json["data"]["task_id"].as_str().unwrap_or_default();
    assert_eq!(event.subject(), Some(task_id));
    assert_eq!(record.key.as_deref(), Some(task_id.as_bytes()), "the record's key");
    assert_eq!(json["partitionkey"], task_id);
    assert_eq!(json["sequence"], format!("{:010}", json["data"]["version"].as_i64().unwrap_or_default()));

    for (name, value) in json.as_object().expect("an object") {
        // CloudEvents, "Naming conventions" and "Type system".
        assert!(name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit()), "{name}");
        assert!(name == "data" || name.len() <= 20, "{name}");
        assert!(name == "data" || value.is_string() || value.is_boolean() || value.is_i64(), "{name}: {value}");
        // Attributes are non-empty, except the `tracestate` that daprd adds.
        assert!(name == "tracestate" || value != "", "{name} is empty");
    }
    let schema = lab::root().join(format!("shared/schema/{}.json", kind.as_str()));
    let schema: Value = serde_json::from_slice(&fs::read(schema).expect("a schema")).expect("JSON");
    let errors: Vec<String> = jsonschema::validator_for(&schema)
        .expect("a schema")
        .iter_errors(&json["data"])
        .map(|error| error.to_string())
        .collect();
    assert!(errors.is_empty(), "{errors:?}: {json}");
}

/// Everything that follows from a request is in its trace, including a later reminder.
fn assert_traced(seen: &BTreeMap<Uuid, Value>) {
    for event in seen.values() {
        let trace = event["traceparent"].as_str().and_then(|text| text.get(3..35));
        assert_eq!(trace, Some(TRACE), "{event}");
    }
}
