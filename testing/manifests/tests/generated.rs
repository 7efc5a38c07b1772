//! The manifests that follow from the code: who subscribes to what, and the JSON Schemas of what is on the topics.
//! `cargo xtask manifests` writes them anew.

use std::{fmt::Write as _, fs, path::Path};

use schemars::{JsonSchema, schema_for};
use shared::{
    event::EventType,
    schema::{ReminderDue, ReminderSent, TaskChanged, TaskCompleted, TaskCreated, TaskDeleted, TaskUpdated},
};

const NOTE: &str = "# Written from shared/src/event.rs by `cargo xtask manifests`.\n";

/// Holds a file against what the code says, or writes it.
fn hold(path: &str, expected: &str) {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(path);
    if std::env::var_os("UPDATE_MANIFESTS").is_some() {
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(&file, expected).unwrap();
    }
    let found = fs::read_to_string(&file).unwrap_or_default();
    assert!(found == expected, "{path} is not what the code says; run `cargo xtask manifests`");
}

/// One Subscription. An event of another type goes to a route that acknowledges it: with a dead-letter topic and no default,
/// daprd would copy every event of another type there.
fn subscription(name: &str, scope: &str, topic: &str, rules: &[EventType], dead_letters: &str) -> String {
    let mut yaml = format!(
        "---\napiVersion: dapr.io/v2alpha1\nkind: Subscription\nmetadata:\n  name: {name}\nspec:\n  pubsubname: pubsub\n  topic: {topic}\n  routes:\n    rules:\n"
    );
    for kind in rules {
        let (kind, path) = (kind.as_str(), kind.consumer());
        writeln!(yaml, "      - match: event.type == \"{kind}\"\n        path: /events/{path}").unwrap();
    }
    write!(yaml, "    default: /events/_ignore\n  deadLetterTopic: {dead_letters}\nscopes:\n  - {scope}\n").unwrap();
    yaml
}

/// A Subscription to dead letters, raw: a payload that is no CloudEvent would block its own dead-letter topic.
fn dead_letters(scope: &str, topic: &str, function: &str) -> String {
    format!(
        "---\napiVersion: dapr.io/v2alpha1\nkind: Subscription\nmetadata:\n  name: dead-letters-{function}\nspec:\n  pubsubname: pubsub\n  topic: {topic}\n  routes:\n    default: /events/dead-letters/{function}\n  metadata:\n    rawPayload: \"true\"\nscopes:\n  - {scope}\n"
    )
}

#[test]
fn every_function_subscribes_to_its_type_alone() {
    for kind in EventType::ALL {
        let name = kind.consumer();
        let yaml = subscription(name, name, kind.topic(), &[kind], &kind.dead_letter_topic());
        hold(&format!("dapr/subscriptions/{name}.yaml"), &format!("{NOTE}{yaml}"));
    }
    let letters: String = EventType::ALL
        .iter()
        .map(|kind| dead_letters("dead-letters", &kind.dead_letter_topic(), kind.consumer()))
        .collect();
    hold("dapr/subscriptions/dead-letters.yaml", &format!("{NOTE}{letters}"));
}

#[test]
fn the_embedded_process_subscribes_to_each_topic_once() {
    // Of two Subscriptions of one app-id to one topic daprd uses the first and says nothing.
    let mut yaml = NOTE.to_owned();
    for topic in ["task-events", "reminders", "task-updates"] {
        let kinds: Vec<EventType> = EventType::ALL.into_iter().filter(|kind| kind.topic() == topic).collect();
        let letters = format!("{topic}.dlq.punctual");
        yaml += &subscription(topic, "punctual", topic, &kinds, &letters);
        yaml += &dead_letters("punctual", &letters, &format!("{topic}-punctual"))
            .replace(&format!("/{topic}-punctual"), "/punctual");
    }
    hold("dapr/subscriptions-embedded/subscriptions.yaml", &yaml);
}

#[test]
fn the_broker_component_lets_each_function_do_what_it_does() {
    // A relay publishes whatever row it finds, so every function may publish on every topic; beside that its daprd forwards to
    // its dead letters. What is not listed would be allowed everything.
    let topics = "task-events,reminders,task-updates";
    let mut publishing = vec![format!("tasks={topics}")];
    let mut subscribing = vec!["tasks=".to_owned()];
    for kind in EventType::ALL {
        publishing.push(format!("{}={topics},{}", kind.consumer(), kind.dead_letter_topic()));
        subscribing.push(format!("{}={}", kind.consumer(), kind.topic()));
    }
    publishing.extend([format!("dead-letters={topics}"), format!("upkeep={topics}")]);
    let letters: Vec<String> = EventType::ALL.iter().map(|kind| kind.dead_letter_topic()).collect();
    subscribing.extend([format!("dead-letters={}", letters.join(",")), "upkeep=".to_owned()]);
    for broker in ["kafka", "redis"] {
        let path = format!("dapr/pubsub/{broker}/pubsub.yaml");
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(&path);
        let text = fs::read_to_string(file).unwrap();
        let text = with_list(&text, "publishingScopes", &publishing);
        hold(&path, &with_list(&text, "subscriptionScopes", &subscribing));
    }
}

/// The component with the value of one metadata item replaced by a list, an entry a line.
fn with_list(yaml: &str, name: &str, entries: &[String]) -> String {
    let mut lines = yaml.lines();
    let mut text = String::new();
    for line in lines.by_ref() {
        text += &format!("{line}\n");
        if line.trim() == format!("- name: {name}") {
            break;
        }
    }
    text += &format!("      value: >-\n        {}\n", entries.join(";\n        "));
    for line in lines.skip(1).skip_while(|line| line.starts_with("        ")) {
        text += &format!("{line}\n");
    }
    text
}

fn hold_schema<T: JsonSchema>(kind: EventType) {
    let schema = serde_json::to_string_pretty(&schema_for!(T)).unwrap() + "\n";
    hold(&format!("shared/schema/{}.json", kind.as_str()), &schema);
}

#[test]
fn every_payload_has_its_schema() {
    hold_schema::<TaskCreated>(EventType::TaskCreated);
    hold_schema::<TaskUpdated>(EventType::TaskUpdated);
    hold_schema::<TaskCompleted>(EventType::TaskCompleted);
    hold_schema::<TaskDeleted>(EventType::TaskDeleted);
    hold_schema::<ReminderDue>(EventType::ReminderDue);
    hold_schema::<ReminderSent>(EventType::ReminderSent);
    hold_schema::<TaskChanged>(EventType::TaskChanged);
}
