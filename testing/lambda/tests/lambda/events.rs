//! Events are handled once, whatever their source, and acknowledged only when they were handled or dead-lettered.

use chrono::{TimeDelta, Utc};
use lab::api::{User, id, text};
use serde_json::{Value, json};
use shared::catalogue::EventType;
use uuid::Uuid;

use crate::{
    host::{Function, LambdaHost, on_lambda},
    sources::{event_bridge, msk, sqs},
};

const AUDITED: &str = "select count(*) from audit_logs where task_id = $1 and action = 'task.created'";
const FED: &str = "select count(*) from task_events where task_id = $1 and type = 'task.changed'";
const CLAIMED: &str = "select count(*) from processed_events where event_id = $1";

/// Creates a task; returns it with its event as published.
async fn created(host: &LambdaHost, tasks: &Function, user: &User) -> (Uuid, Vec<u8>) {
    let at = text(Utc::now() + TimeDelta::hours(1)); // within the arming window
    let task = id(&tasks.create(user, json!({"title": "through Lambda", "remind_at": at})).await["id"]);
    let mut events = host.on_topic(EventType::TaskCreated, task).await;
    assert_eq!(events.len(), 1, "published before the answer");
    (task, events.remove(0))
}

/// An event in the format of each source.
fn sources(event: &Vec<u8>) -> [Value; 3] {
    let one = std::slice::from_ref(event);
    [msk("task-events", one), sqs(one), event_bridge(&parsed(event))]
}

fn parsed(event: &[u8]) -> Value {
    serde_json::from_slice(event).expect("JSON")
}

async fn assert_handled_once(host: &LambdaHost, task: Uuid) {
    assert_eq!((host.count(AUDITED, task).await, host.count(FED, task).await), (1, 1));
}

#[test]
fn an_event_delivered_by_any_number_of_sources_is_handled_once() {
    on_lambda(async |host| {
        let (tasks, function, user) = (host.function("tasks").await, host.function("task-created").await, host.user());
        let mut events = Vec::new();
        for _ in 0..3 {
            events.push(created(host, &tasks, &user).await);
        }
        for (n, (task, event)) in events.iter().enumerate() {
            let mut sources = sources(event);
            sources.rotate_left(n); // each source is the first for one event
            for source in sources {
                assert_eq!(function.invoke(source).await, (true, Value::Null));
                assert_handled_once(host, *task).await;
            }
            let armed = "select count(*) from task_reminders where task_id = $1 and job_id is not null";
            assert_eq!(host.count(armed, *task).await, 1);
            assert_eq!(host.on_topic(EventType::TaskChanged, *task).await.len(), 1);
        }
    });
}

#[test]
fn an_event_delivered_to_two_processes_at_once_has_one_effect() {
    on_lambda(async |host| {
        let (tasks, user) = (host.function("tasks").await, host.user());
        let (one, other) = (host.function("task-created").await, host.function("task-created").await);
        for _ in 0..5 {
            let (task, event) = created(host, &tasks, &user).await;
            let twice = msk("task-events", &[event.clone(), event]);
            let answers = tokio::join!(one.invoke(twice.clone()), other.invoke(twice));
            assert_eq!(answers, ((true, Value::Null), (true, Value::Null)));
            assert_handled_once(host, task).await;
        }
    });
}

#[test]
fn an_event_during_a_database_outage_is_not_acknowledged_and_is_handled_when_redelivered() {
    on_lambda(async |host| {
        let (tasks, function, user) = (host.function("tasks").await, host.function("task-created").await, host.user());
        let (task, event) = created(host, &tasks, &user).await;
        host.postgres.process.kill9();
        for source in sources(&event) {
            let (acknowledged, error) = function.invoke(source).await;
            assert!(!acknowledged, "{error}");
            assert_eq!(error["errorMessage"], "1 of 1 records were not handled");
        }
        host.postgres.start().expect("it starts");
        assert_eq!(host.count(FED, task).await, 0);
        assert_eq!(function.invoke(msk("task-events", &[event])).await, (true, Value::Null));
        assert_handled_once(host, task).await;
    });
}

#[test]
fn a_failing_record_causes_redelivery_of_its_batch_and_its_neighbours_are_handled_once() {
    on_lambda(async |host| {
        let (tasks, function) = (host.function("tasks").await, host.function("task-created").await);
        let (user, unlucky) = (host.user(), host.user());
        let before = created(host, &tasks, &user).await;
        let failing = created(host, &tasks, &unlucky).await;
        let after = created(host, &tasks, &user).await;
        let bytes = [before.1, failing.1, after.1];
        host.break_for(&unlucky);
        for batch in [msk("task-events", &bytes), sqs(&bytes)] {
            let (acknowledged, error) = function.invoke(batch).await;
            assert!(!acknowledged && error["errorMessage"] == "1 of 3 records were not handled", "{error}");
            assert_handled_once(host, before.0).await;
            assert_handled_once(host, after.0).await;
        }
        host.mend();
        assert_eq!(function.invoke(sqs(&bytes)).await, (true, Value::Null));
        for task in [before.0, failing.0, after.0] {
            assert_handled_once(host, task).await;
        }
    });
}

#[test]
fn an_event_that_the_outbox_does_not_have_is_dead_lettered_by_its_function_and_acknowledged() {
    on_lambda(async |host| {
        let (tasks, function, user) = (host.function("tasks").await, host.function("task-created").await, host.user());
        let (before, after) = (created(host, &tasks, &user).await, created(host, &tasks, &user).await);
        let mut poison = parsed(&before.1);
        let poison_id = Uuid::now_v7();
        poison["id"] = json!(poison_id);
        poison["data"] = json!({"task_id": 7});
        let batch = msk("task-events", &[before.1, poison.to_string().into_bytes(), after.1]);
        for _ in 0..2 {
            assert_eq!(function.invoke(batch.clone()).await, (true, Value::Null));
            let letters = "select count(*) from dead_letters where payload like concat('%', $1::uuid, '%') and event_id is null
                           and consumer = 'task-created' and origin = 'function' and reason = 'the outbox does not have it'";
            assert_eq!((host.count(letters, poison_id).await, host.count(CLAIMED, poison_id).await), (1, 0));
            assert_handled_once(host, before.0).await;
            assert_handled_once(host, after.0).await;
        }
    });
}

#[test]
fn an_event_without_a_route_is_never_acknowledged() {
    on_lambda(async |host| {
        let (tasks, function, user) = (host.function("tasks").await, host.function("task-updated").await, host.user());
        let (task, event) = created(host, &tasks, &user).await;
        let mut unknown = parsed(&event);
        unknown["type"] = json!("task.unheard");
        for record in [event, unknown.to_string().into_bytes(), b"no JSON".to_vec()] {
            let (acknowledged, error) = function.invoke(sqs(&[record])).await;
            assert!(!acknowledged && error["errorMessage"] == "1 of 1 records were not handled", "{error}");
        }
        let (acknowledged, error) = function.invoke(json!({"Records": [{"s3": {"object": {"key": "k"}}}]})).await;
        assert!(!acknowledged, "{error}");
        let (acknowledged, error) = function.invoke(json!({"hello": "world"})).await;
        assert!(!acknowledged, "{error}");
        assert_eq!(host.count(AUDITED, task).await, 0);
    });
}
