//! An event has exactly one effect, no matter how often, how concurrently and by which path it is delivered.

use lab::{api::text, kafka::topics::record};
use serde_json::{Value, json};
use shared::schema::{ReminderDue, TaskCompleted, TaskRef, TaskUpdated};

use crate::{
    product::{RunningProduct, beside_others, together},
    topics::{self, Outboxed},
    user::{User, id, instant},
};

const COPIES: usize = 100;

#[test]
fn an_event_published_a_hundred_times_has_one_effect() {
    beside_others(async |product| {
        let user = product.user();
        let task = user.create(json!({"title": "a hundred times"})).await;
        user.settled().await;
        let event = product.outboxed(&TaskUpdated { task: reference(&user, &task) }).await;
        flood(product, &event).await;
        user.settled().await;
        assert_one_effect(product, &user, &event).await;
    });
}

#[test]
fn an_event_delivered_a_hundred_times_at_once_has_one_effect() {
    beside_others(async |product| {
        let user = product.user();
        let task = user.create(json!({"title": "a hundred deliveries"})).await;
        user.settled().await;
        let event = product.outboxed(&TaskUpdated { task: reference(&user, &task) }).await;
        let url = format!("http://127.0.0.1:{}/events/task-updated", product.function("task-updated").port);
        let deliveries = (0..COPIES).map(|_| {
            let request = product
                .http
                .post(&url)
                .header("content-type", "application/cloudevents+json")
                .header("dapr-api-token", &product.topology.app_api_token)
                .body(event.json.to_string());
            async move { request.send().await.map(|answer| answer.status().as_u16()) }
        });
        let answers = together(deliveries).await;
        let statuses: Vec<u16> = answers.into_iter().map(|answer| answer.expect("an answer")).collect();
        // 503 means that no database connection was free in time; daprd would retry.
        assert!(statuses.iter().all(|status| matches!(status, 200 | 503)), "{statuses:?}");
        assert!(statuses.contains(&200), "{statuses:?}");
        user.settled().await;
        assert_one_effect(product, &user, &event).await;
    });
}

#[test]
fn a_reminder_due_a_hundred_times_at_once_is_one_mail() {
    beside_others(async |product| {
        let user = product.user();
        let task = user.remind("due a hundred times", user.in_ms(3_600_000).await).await;
        user.settled().await;
        // The row as `alarm` leaves it when the job fires, before the relay publishes.
        let reminder = &task["reminders"][0];
        let remind_at = sqlx::query_scalar(
            "update task_reminders set remind_at = now(), fired_version = version, fired_at = now() where id = $1
             returning remind_at",
        )
        .bind(id(&reminder["id"]))
        .fetch_one(&product.db)
        .await
        .expect("the database answers");
        let due = ReminderDue {
            task: reference(&user, &task),
            reminder_id: id(&reminder["id"]),
            remind_at,
            reminder_version: 1,
        };
        flood(product, &product.outboxed(&due).await).await;
        product.mail_about(&user, "due a hundred times").await;
        user.settled().await;
        assert_eq!(product.mails(&user).len(), 1);
        let deliveries = user.deliveries().await;
        assert_eq!((deliveries.len(), deliveries[0].attempts), (1, 1), "{deliveries:?}");
        assert_eq!(user.events("reminder.sent").await, 1);
    });
}

#[test]
fn a_task_completed_a_hundred_times_has_one_successor() {
    beside_others(async |product| {
        let user = product.user();
        let due = user.in_ms(3_600_000).await;
        let task = json!({"title": "one after the other", "due_at": text(due), "recurrence": {"type": "daily"}});
        let task = user.create(task).await;
        user.settled().await;
        let completed_at = sqlx::query_scalar(
            "update tasks set completed = true, completed_at = now() where id = $1 returning completed_at",
        )
        .bind(id(&task["id"]))
        .fetch_one(&product.db)
        .await
        .expect("the database answers");
        // Two events, as if the task had been reopened in between, each published many times.
        let completed = TaskCompleted { task: reference(&user, &task), completed_at };
        let (first, second) = (product.outboxed(&completed).await, product.outboxed(&completed).await);
        tokio::join!(flood(product, &first), flood(product, &second));
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

/// Writes an event to every partition of its topic, at least a hundred times in all, and waits until all copies are delivered.
async fn flood(product: &RunningProduct, event: &Outboxed) {
    let partitions = topics::partitions(&product.kafka().await, event.kind.topic()).await;
    let copies = COPIES / partitions.len() + 1;
    let mut last = Vec::new();
    let mut appends = Vec::new();
    for partition in partitions {
        // An event that the outbox does not have is rejected at once. Its letter shows that everything before it was delivered.
        let mut end = event.json.clone();
        end["id"] = json!(uuid::Uuid::now_v7());
        last.push(id(&end["id"]));
        let mut records = vec![event.record(); copies];
        records.push(record(Some("end"), end.to_string().into_bytes()));
        appends.push(async move { topics::append(&partition, records).await });
    }
    together(appends).await;
    product.rejected(&last).await;
}

async fn assert_one_effect(product: &RunningProduct, user: &User, event: &Outboxed) {
    assert_eq!(product.count("select count(*) from processed_events where event_id = $1", event.id).await, 1);
    assert_eq!(product.count("select count(*) from audit_logs where event_id = $1", event.id).await, 1);
    let told = "select count(*) from feed where user_id = $1 and data ->> 'cause' = 'task.updated'";
    assert_eq!(user.count(told).await, 1);
    assert_eq!(user.events("task.changed").await, 2, "one for the creation, one for the update");
}
