//! Lambda freezes a process after its answer, for a minute or for ever: what it committed is on its topic by then, or is
//! published by the next one.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use shared::catalogue::EventType;
use uuid::Uuid;

use crate::{
    forgetful::Forgetful,
    runtime_api::Outcome,
    sources::{http_api, msk},
    world::{Answer, Function, User, World, id, on_lambda, until_equal},
};

const UNPUBLISHED: &str = "select count(*) from task_events where task_id = $1 and published_at is null";

fn create(user: &User, title: &str) -> Value {
    http_api("POST", "/v1/tasks", "", &[("authorization", &user.bearer)], Some(&json!({"title": title})))
}

/// Creates a task, and does something to the process when its answer is out and before it may go on.
async fn created(function: &Function, user: &User, at_the_answer: impl FnOnce()) -> Uuid {
    let Outcome { acknowledged, body, release } = function.api.invoke(create(user, "kept")).await;
    at_the_answer();
    drop(release);
    let answer = Answer::of(&body);
    assert!(acknowledged && answer.status == 201, "{answer:?}");
    id(&answer.body["id"])
}

async fn assert_published_once(world: &World, kind: EventType, task: Uuid) {
    assert_eq!(world.on_topic(kind, task).await.len(), 1);
    assert_eq!(world.count(UNPUBLISHED, task).await, 0);
}

#[test]
fn what_a_command_wrote_is_on_its_topic_when_the_process_is_killed_at_its_answer() {
    on_lambda(async |world| {
        let user = world.user();
        for _ in 0..3 {
            let tasks = world.function("tasks").await;
            let task = created(&tasks, &user, || tasks.process.kill9()).await;
            assert_published_once(world, EventType::TaskCreated, task).await;
        }
    });
}

#[test]
fn what_a_handler_wrote_is_on_its_topic_when_the_process_is_frozen_at_its_answer() {
    on_lambda(async |world| {
        let (tasks, function, user) =
            (world.function("tasks").await, world.function("task-created").await, world.user());
        let task = created(&tasks, &user, || tasks.process.pause()).await;
        assert_published_once(world, EventType::TaskCreated, task).await;
        let event = world.on_topic(EventType::TaskCreated, task).await;
        let Outcome { acknowledged, body, release } = function.api.invoke(msk("task-events", &event)).await;
        function.process.pause();
        drop(release);
        assert!(acknowledged, "{body}");
        assert_published_once(world, EventType::TaskChanged, task).await;
    });
}

#[test]
fn while_daprd_does_not_answer_the_answer_waits_two_seconds_and_the_next_process_publishes() {
    on_lambda(async |world| {
        let (tasks, user) = (world.function("tasks").await, world.user());
        let usual = Instant::now();
        created(&tasks, &user, || {}).await;
        let usual = usual.elapsed();
        world.daprd.process.pause();
        let began = Instant::now();
        let task = created(&tasks, &user, || tasks.process.kill9()).await;
        let took = began.elapsed();
        let two = Duration::from_secs(2);
        assert!(took >= two && took < two + Duration::from_secs(2), "{took:?}, where an answer takes {usual:?}");
        assert_eq!(world.count(UNPUBLISHED, task).await, 1);
        world.daprd.process.resume();

        let next = world.function("tasks").await;
        // The database may take a moment to see that the other process is gone, and with it the lock of its relay.
        until_equal("a request to the next process publishes it", 0, async || {
            assert_eq!(next.request(&user, "GET", "/v1/tasks", None).await.status, 200);
            world.count(UNPUBLISHED, task).await
        })
        .await;
        assert!(!world.on_topic(EventType::TaskCreated, task).await.is_empty());
    });
}

#[test]
fn while_daprd_is_gone_the_answer_comes_at_once_and_the_next_process_publishes() {
    on_lambda(async |world| {
        let (tasks, user) = (world.function("tasks").await, world.user());
        world.daprd.process.kill9();
        let began = Instant::now();
        let task = created(&tasks, &user, || tasks.process.kill9()).await;
        assert!(began.elapsed() < Duration::from_secs(2), "{:?}", began.elapsed());
        assert_eq!(world.count(UNPUBLISHED, task).await, 1);
        world.daprd.process.start().expect("it starts");
        world.daprd.wait_callable(crate::world::SOON).expect("it answers");

        let next = world.function("tasks").await;
        assert_eq!(next.request(&user, "GET", "/v1/tasks", None).await.status, 200);
        assert_published_once(world, EventType::TaskCreated, task).await;
    });
}

#[test]
fn a_process_that_thaws_after_daprd_and_the_database_were_restarted_serves_and_publishes_its_first_request() {
    on_lambda(async |world| {
        let (tasks, user) = (world.function("tasks").await, world.user());
        created(&tasks, &user, || {}).await;
        tasks.process.pause();
        world.postgres.process.kill9();
        world.daprd.process.kill9();
        world.postgres.start().expect("it starts");
        world.daprd.process.start().expect("it starts");
        world.daprd.wait_callable(crate::world::SOON).expect("it answers");
        tasks.process.resume();
        let task = created(&tasks, &user, || tasks.process.kill9()).await;
        assert_published_once(world, EventType::TaskCreated, task).await;
    });
}

#[test]
fn a_process_that_thaws_with_connections_that_were_forgotten_serves_and_publishes_its_first_request() {
    on_lambda(async |world| {
        let user = world.user();
        let daprd = Forgetful::in_front_of(world.daprd.grpc_port).await;
        let database = Forgetful::in_front_of(world.postgres.port).await;
        let program = world
            .program("tasks")
            .env("DAPR_GRPC_ENDPOINT", format!("http://127.0.0.1:{}", daprd.port))
            .env("DATABASE_URL", format!("postgres://postgres@127.0.0.1:{}/punctual", database.port));
        let tasks = world.function_of(program).await;
        created(&tasks, &user, || {}).await;
        tasks.process.pause();
        daprd.forget();
        database.forget();
        tasks.process.resume();
        let task = created(&tasks, &user, || tasks.process.kill9()).await;
        assert_published_once(world, EventType::TaskCreated, task).await;
    });
}
