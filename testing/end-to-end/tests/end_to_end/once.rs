//! An event has one effect, however often, however concurrently and by whichever way it comes.

use serde_json::{Value, json};
use shared::schema::{ReminderDue, TaskCompleted, TaskRef, TaskUpdated};

use crate::{
    topics::{self, Outboxed},
    user::{User, id, instant, text},
    wait::together,
    world::{World, beside_others},
};

const COPIES: usize = 100;

#[test]
fn an_event_that_is_on_the_topic_a_hundred_times_has_one_effect() {
    beside_others(async |world| {
        let user = world.user();
        let task = user.create(json!({"title": "a hundred times"})).await;
        user.settled().await;
        let event = world.outboxed(&TaskUpdated { task: reference(&user, &task) }).await;
        flood(world, &event).await;
        user.settled().await;
        assert_one_effect(world, &user, &event).await;
    });
}

#[test]
fn an_event_that_is_delivered_a_hundred_times_at_once_has_one_effect() {
    beside_others(async |world| {
        let user = world.user();
        let task = user.create(json!({"title": "a hundred deliveries"})).await;
        user.settled().await;
        let event = world.outboxed(&TaskUpdated { task: reference(&user, &task) }).await;
        let url = format!("http://127.0.0.1:{}/events/task-updated", world.function("task-updated").port);
        let deliveries = (0..COPIES).map(|_| {
            let request = world
                .http
                .post(&url)
                .header("content-type", "application/cloudevents+json")
                .header("dapr-api-token", &world.topology.app_api_token)
                .body(event.json.to_string());
            async move { request.send().await.map(|answer| answer.status().as_u16()) }
        });
        let answers = together(deliveries).await;
        let statuses: Vec<u16> = answers.into_iter().map(|answer| answer.expect("an answer")).collect();
        // A 503 is a connection that could not be had in time: daprd would deliver that one again.
        assert!(statuses.iter().all(|status| matches!(status, 200 | 503)), "{statuses:?}");
        assert!(statuses.contains(&200), "{statuses:?}");
        user.settled().await;
        assert_one_effect(world, &user, &event).await;
    });
}

#[test]
fn a_reminder_that_is_due_a_hundred_times_at_once_is_one_mail() {
    beside_others(async |world| {
        let user = world.user();
        let task = user.remind("due a hundred times", user.in_ms(3_600_000).await).await;
        user.settled().await;
        // As `alarm` leaves it when the job fires, without the relay.
        let reminder = &task["reminders"][0];
        let remind_at = sqlx::query_scalar(
            "update task_reminders set remind_at = now(), fired_version = version, fired_at = now() where id = $1
             returning remind_at",
        )
        .bind(id(&reminder["id"]))
        .fetch_one(&world.db)
        .await
        .expect("the database answers");
        let due = ReminderDue {
            task: reference(&user, &task),
            reminder_id: id(&reminder["id"]),
            remind_at,
            reminder_version: 1,
        };
        flood(world, &world.outboxed(&due).await).await;
        world.mail_about(&user, "due a hundred times").await;
        user.settled().await;
        assert_eq!(world.mails(&user).len(), 1);
        let deliveries = user.deliveries().await;
        assert_eq!((deliveries.len(), deliveries[0].attempts), (1, 1), "{deliveries:?}");
        assert_eq!(user.events("reminder.sent").await, 1);
    });
}

#[test]
fn a_task_that_is_completed_a_hundred_times_has_one_successor() {
    beside_others(async |world| {
        let user = world.user();
        let due = user.in_ms(3_600_000).await;
        let task = json!({"title": "one after the other", "due_at": text(due), "recurrence": {"type": "daily"}});
        let task = user.create(task).await;
        user.settled().await;
        let completed_at = sqlx::query_scalar(
            "update tasks set completed = true, completed_at = now() where id = $1 returning completed_at",
        )
        .bind(id(&task["id"]))
        .fetch_one(&world.db)
        .await
        .expect("the database answers");
        // Two events, each many times: as if it had been reopened in between.
        let completed = TaskCompleted { task: reference(&user, &task), completed_at };
        let (first, second) = (world.outboxed(&completed).await, world.outboxed(&completed).await);
        tokio::join!(flood(world, &first), flood(world, &second));
        user.settled().await;
        let tasks = user.tasks().await;
        assert_eq!(tasks.len(), 2, "{tasks:?}");
        let successor = tasks.iter().find(|found| found["id"] != task["id"]).expect("a successor");
        assert!(instant(&successor["due_at"]) > due);
        assert_eq!(user.events("task.created").await, 2);
    });
}

fn reference(user: &User, task: &Value) -> TaskRef {
    TaskRef {
        task_id: id(&task["id"]),
        user_id: user.id,
        title: task["title"].as_str().unwrap_or_default().to_owned(),
        version: 2,
    }
}

/// Puts an event on every partition of its topic, a hundred times in all, and waits until all of it was delivered.
async fn flood(world: &World, event: &Outboxed) {
    let partitions = topics::partitions(&world.kafka().await, event.kind.topic()).await;
    let copies = COPIES / partitions.len() + 1;
    let mut last = Vec::new();
    let mut puts = Vec::new();
    for partition in partitions {
        // What is rejected at once, to know that all before it on the partition was delivered.
        let mut end = event.json.clone();
        end["id"] = json!(uuid::Uuid::now_v7());
        end["data"] = json!({});
        last.push(id(&end["id"]));
        let mut records = vec![event.record(); copies];
        records.push(topics::record("end", end.to_string().into_bytes()));
        puts.push(async move { topics::put(&partition, records).await });
    }
    together(puts).await;
    world.claimed(&last).await;
}

async fn assert_one_effect(world: &World, user: &User, event: &Outboxed) {
    assert_eq!(world.count("select count(*) from processed_events where event_id = $1", event.id).await, 1);
    assert_eq!(world.count("select count(*) from audit_logs where event_id = $1", event.id).await, 1);
    let told = "select count(*) from feed where user_id = $1 and data ->> 'cause' = 'task.updated'";
    assert_eq!(user.count(told).await, 1);
    assert_eq!(user.events("task.changed").await, 2, "that of the creation, and one");
}
