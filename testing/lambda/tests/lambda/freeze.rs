//! Lambda freezes a process after its answer, perhaps forever. Committed events are published before the answer, or by the next process.

use std::time::{Duration, Instant};

use lab::{
    api::{User, id},
    wait,
};
use serde_json::{Value, json};
use shared::catalogue::EventType;
use uuid::Uuid;

use crate::{
    forgetful::ForgetfulProxy,
    host::{Answer, Function, LambdaHost, SOON, bearer, on_lambda},
    runtime_api::Outcome,
    sources::{http_api, msk},
};

const UNPUBLISHED: &str = "select count(*) from task_events where task_id = $1 and published_at is null";

fn create(user: &User, title: &str) -> Value {
    http_api("POST", "/v1/tasks", "", &[("authorization", &bearer(user))], Some(&json!({"title": title})))
}

/// Creates a task and runs `at_the_answer` after the process has posted its answer, before it continues.
async fn created(function: &Function, user: &User, at_the_answer: impl FnOnce()) -> Uuid {
    let Outcome { acknowledged, body, release } = function.api.invoke(create(user, "kept")).await;
    at_the_answer();
    drop(release);
    let answer = Answer::of(&body);
    assert!(acknowledged && answer.status == 201, "{answer:?}");
    id(&answer.body["id"])
}

async fn assert_published_once(host: &LambdaHost, kind: EventType, task: Uuid) {
    assert_eq!(host.on_topic(kind, task).await.len(), 1);
    assert_eq!(host.count(UNPUBLISHED, task).await, 0);
}

#[test]
fn events_of_a_command_are_published_even_if_the_process_is_killed_at_its_answer() {
    on_lambda(async |host| {
        let user = host.user();
        for _ in 0..3 {
            let tasks = host.function("tasks").await;
            let task = created(&tasks, &user, || tasks.process.kill9()).await;
            assert_published_once(host, EventType::TaskCreated, task).await;
        }
    });
}

#[test]
fn events_of_a_handler_are_published_even_if_the_process_is_frozen_at_its_answer() {
    on_lambda(async |host| {
        let (tasks, function, user) = (host.function("tasks").await, host.function("task-created").await, host.user());
        let task = created(&tasks, &user, || tasks.process.pause()).await;
        assert_published_once(host, EventType::TaskCreated, task).await;
        let event = host.on_topic(EventType::TaskCreated, task).await;
        let Outcome { acknowledged, body, release } = function.api.invoke(msk("task-events", &event)).await;
        function.process.pause();
        drop(release);
        assert!(acknowledged, "{body}");
        assert_published_once(host, EventType::TaskChanged, task).await;
    });
}

#[test]
fn while_daprd_hangs_the_answer_waits_two_seconds_and_the_next_process_publishes() {
    on_lambda(async |host| {
        let (tasks, user) = (host.function("tasks").await, host.user());
        let usual = Instant::now();
        created(&tasks, &user, || {}).await;
        let usual = usual.elapsed();
        host.daprd.process.pause();
        let began = Instant::now();
        let task = created(&tasks, &user, || tasks.process.kill9()).await;
        let took = began.elapsed();
        let two = Duration::from_secs(2);
        assert!(took >= two && took < two + Duration::from_secs(2), "{took:?}; the usual time is {usual:?}");
        assert_eq!(host.count(UNPUBLISHED, task).await, 1);
        host.daprd.process.resume();

        let next = host.function("tasks").await;
        // The database may take a moment to notice the death of the other process and release the relay's lock.
        wait::until_equal("a request to the next process publishes the event", SOON, 0, async || {
            assert_eq!(next.request(&user, "GET", "/v1/tasks", None).await.status, 200);
            host.count(UNPUBLISHED, task).await
        })
        .await;
        assert!(!host.on_topic(EventType::TaskCreated, task).await.is_empty());
    });
}

#[test]
fn while_daprd_is_dead_the_answer_is_immediate_and_the_next_process_publishes() {
    on_lambda(async |host| {
        let (tasks, user) = (host.function("tasks").await, host.user());
        host.daprd.process.kill9();
        let began = Instant::now();
        let task = created(&tasks, &user, || tasks.process.kill9()).await;
        assert!(began.elapsed() < Duration::from_secs(2), "{:?}", began.elapsed());
        assert_eq!(host.count(UNPUBLISHED, task).await, 1);
        host.daprd.process.start().expect("it starts");
        host.daprd.wait_callable(SOON).expect("it answers");

        let next = host.function("tasks").await;
        assert_eq!(next.request(&user, "GET", "/v1/tasks", None).await.status, 200);
        assert_published_once(host, EventType::TaskCreated, task).await;
    });
}

#[test]
fn a_process_that_thaws_after_restarts_of_daprd_and_the_database_serves_its_first_request() {
    on_lambda(async |host| {
        let (tasks, user) = (host.function("tasks").await, host.user());
        created(&tasks, &user, || {}).await;
        tasks.process.pause();
        host.postgres.process.kill9();
        host.daprd.process.kill9();
        host.postgres.start().expect("it starts");
        host.daprd.process.start().expect("it starts");
        host.daprd.wait_callable(SOON).expect("it answers");
        tasks.process.resume();
        let task = created(&tasks, &user, || tasks.process.kill9()).await;
        assert_published_once(host, EventType::TaskCreated, task).await;
    });
}

#[test]
fn a_process_that_thaws_with_forgotten_connections_serves_its_first_request() {
    on_lambda(async |host| {
        let user = host.user();
        let daprd = ForgetfulProxy::in_front_of(host.daprd.grpc_port).await;
        let database = ForgetfulProxy::in_front_of(host.postgres.port).await;
        let program = host
            .program("tasks")
            .env("DAPR_GRPC_ENDPOINT", format!("http://127.0.0.1:{}", daprd.port))
            .env("DATABASE_URL", format!("postgres://postgres@127.0.0.1:{}/punctual", database.port));
        let tasks = host.function_of(program).await;
        created(&tasks, &user, || {}).await;
        tasks.process.pause();
        daprd.forget();
        database.forget();
        tasks.process.resume();
        let task = created(&tasks, &user, || tasks.process.kill9()).await;
        assert_published_once(host, EventType::TaskCreated, task).await;
    });
}
