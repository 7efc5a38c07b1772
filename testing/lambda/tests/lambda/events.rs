//! Events: handled once however they come, and acknowledged only when they were handled or rejected.

use serde_json::{Value, json};
use shared::catalogue::EventType;
use uuid::Uuid;

use crate::{
    sources::{event_bridge, msk, sqs},
    world::{Function, User, World, id, on_lambda},
};

const AUDITED: &str = "select count(*) from audit_logs where task_id = $1 and action = 'task.created'";
const FED: &str = "select count(*) from task_events where task_id = $1 and type = 'task.changed'";
const CLAIMED: &str = "select count(*) from processed_events where event_id = $1";

/// A new task of a user, and its event as it is on the topic.
async fn created(world: &World, tasks: &Function, user: &User) -> (Uuid, Vec<u8>) {
    let at = "2099-01-01T00:00:00Z";
    let task = id(&tasks.create(user, json!({"title": "through Lambda", "remind_at": at})).await["id"]);
    let mut events = world.on_topic(EventType::TaskCreated, task).await;
    assert_eq!(events.len(), 1, "on the topic before the answer");
    (task, events.remove(0))
}

/// An event as each source brings it.
fn sources(event: &Vec<u8>) -> [Value; 3] {
    let one = std::slice::from_ref(event);
    [msk("task-events", one), sqs(one), event_bridge(&parsed(event))]
}

fn parsed(event: &[u8]) -> Value {
    serde_json::from_slice(event).expect("JSON")
}

async fn assert_handled_once(world: &World, task: Uuid) {
    assert_eq!((world.count(AUDITED, task).await, world.count(FED, task).await), (1, 1));
}

#[test]
fn an_event_of_each_source_is_handled_and_the_same_from_another_has_no_further_effect() {
    on_lambda(async |world| {
        let (tasks, function, user) =
            (world.function("tasks").await, world.function("task-created").await, world.user());
        let mut events = Vec::new();
        for _ in 0..3 {
            events.push(created(world, &tasks, &user).await);
        }
        for (n, (task, event)) in events.iter().enumerate() {
            let mut sources = sources(event);
            sources.rotate_left(n); // each is the first to bring one of them
            for source in sources {
                assert_eq!(function.invoke(source).await, (true, Value::Null));
                assert_handled_once(world, *task).await;
            }
            let armed = "select count(*) from task_reminders where task_id = $1 and job_id is not null";
            assert_eq!(world.count(armed, *task).await, 1);
            assert_eq!(world.on_topic(EventType::TaskChanged, *task).await.len(), 1);
        }
    });
}

#[test]
fn an_event_that_comes_to_two_processes_at_once_has_one_effect() {
    on_lambda(async |world| {
        let (tasks, user) = (world.function("tasks").await, world.user());
        let (one, other) = (world.function("task-created").await, world.function("task-created").await);
        for _ in 0..5 {
            let (task, event) = created(world, &tasks, &user).await;
            let twice = msk("task-events", &[event.clone(), event]);
            let answers = tokio::join!(one.invoke(twice.clone()), other.invoke(twice));
            assert_eq!(answers, ((true, Value::Null), (true, Value::Null)));
            assert_handled_once(world, task).await;
        }
    });
}

#[test]
fn an_event_that_comes_while_the_database_is_away_is_not_acknowledged_and_is_handled_when_it_comes_again() {
    on_lambda(async |world| {
        let (tasks, function, user) =
            (world.function("tasks").await, world.function("task-created").await, world.user());
        let (task, event) = created(world, &tasks, &user).await;
        world.postgres.process.kill9();
        for source in sources(&event) {
            let (acknowledged, error) = function.invoke(source).await;
            assert!(!acknowledged, "{error}");
            assert_eq!(error["errorMessage"], "1 of 1 records were not handled");
        }
        world.postgres.start().expect("it starts");
        assert_eq!(world.count(FED, task).await, 0);
        assert_eq!(function.invoke(msk("task-events", &[event])).await, (true, Value::Null));
        assert_handled_once(world, task).await;
    });
}

#[test]
fn a_record_that_fails_brings_its_batch_again_and_its_neighbours_are_handled_once() {
    on_lambda(async |world| {
        let (tasks, function) = (world.function("tasks").await, world.function("task-created").await);
        let (user, unlucky) = (world.user(), world.user());
        let before = created(world, &tasks, &user).await;
        let failing = created(world, &tasks, &unlucky).await;
        let after = created(world, &tasks, &user).await;
        let bytes = [before.1, failing.1, after.1];
        world.break_for(&unlucky);
        for batch in [msk("task-events", &bytes), sqs(&bytes)] {
            let (acknowledged, error) = function.invoke(batch).await;
            assert!(!acknowledged && error["errorMessage"] == "1 of 3 records were not handled", "{error}");
            assert_handled_once(world, before.0).await;
            assert_handled_once(world, after.0).await;
        }
        world.mend();
        assert_eq!(function.invoke(sqs(&bytes)).await, (true, Value::Null));
        for task in [before.0, failing.0, after.0] {
            assert_handled_once(world, task).await;
        }
    });
}

#[test]
fn an_event_that_can_never_be_handled_is_set_aside_by_its_function_and_acknowledged() {
    on_lambda(async |world| {
        let (tasks, function, user) =
            (world.function("tasks").await, world.function("task-created").await, world.user());
        let (before, after) = (created(world, &tasks, &user).await, created(world, &tasks, &user).await);
        let mut poison = parsed(&before.1);
        let poison_id = Uuid::now_v7();
        poison["id"] = json!(poison_id);
        poison["data"] = json!({"task_id": 7});
        let batch = msk("task-events", &[before.1, poison.to_string().into_bytes(), after.1]);
        for _ in 0..2 {
            assert_eq!(function.invoke(batch.clone()).await, (true, Value::Null));
            let letters = "select count(*) from dead_letters where event_id = $1 and consumer = 'task-created'
                           and origin = 'function' and reason like 'its data is not that of its type%'";
            assert_eq!((world.count(letters, poison_id).await, world.count(CLAIMED, poison_id).await), (1, 1));
            assert_handled_once(world, before.0).await;
            assert_handled_once(world, after.0).await;
        }
    });
}

#[test]
fn what_has_no_route_here_is_never_acknowledged() {
    on_lambda(async |world| {
        let (tasks, function, user) =
            (world.function("tasks").await, world.function("task-updated").await, world.user());
        let (task, event) = created(world, &tasks, &user).await;
        let mut unknown = parsed(&event);
        unknown["type"] = json!("task.archived");
        for record in [event, unknown.to_string().into_bytes(), b"no JSON".to_vec()] {
            let (acknowledged, error) = function.invoke(sqs(&[record])).await;
            assert!(!acknowledged && error["errorMessage"] == "1 of 1 records were not handled", "{error}");
        }
        let (acknowledged, error) = function.invoke(json!({"Records": [{"s3": {"object": {"key": "k"}}}]})).await;
        assert!(!acknowledged, "{error}");
        let (acknowledged, error) = function.invoke(json!({"hello": "world"})).await;
        assert!(!acknowledged, "{error}");
        assert_eq!(world.count(AUDITED, task).await, 0);
    });
}
