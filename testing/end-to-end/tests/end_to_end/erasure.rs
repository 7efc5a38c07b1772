//! A user who is erased in the middle of everything leaves nothing, also when the topics are read again from their beginning.

use chrono::Utc;
use lab::{
    api::{Answer, Method, text},
    kafka::topics::record,
    wait::{self, until_equal},
};
use serde_json::json;
use shared::{
    catalogue::TOPICS,
    schema::{Channel, Payload as _, ReminderDue, ReminderSent, TaskChanged, TaskCreated, TaskRef, TaskUpdated},
    testing::tables_with,
};
use sqlx::PgPool;
use uuid::Uuid;

use crate::{
    product::{RunningProduct, SOON, alone},
    topics::{self, Outboxed},
    user::id,
};

#[test]
fn an_erased_user_leaves_nothing_although_work_was_in_flight_and_the_topics_are_replayed() {
    alone(async |product| {
        let (user, other) = (product.user(), product.user());
        let canary = format!("canary-{}", Uuid::now_v7().simple());
        let far = user.in_ms(3_600_000).await;
        let body = json!({"title": canary, "description": canary, "tags": [canary], "remind_at": text(far)});
        let keyed = user.request(Method::POST, "/v1/tasks").header("idempotency-key", &canary).json(&body);
        let task = Answer::to(keyed).await.expect("an answer").body;
        user.remind(&canary, user.in_ms(0).await).await;
        product.mail_about(&user, &canary).await;
        user.settled().await;
        let everywhere = tables_with(&product.db, &canary).await;
        for table in ["feed", "idempotency_keys", "task_events", "task_tags", "tasks"] {
            assert!(everywhere.contains(&table.to_owned()), "{everywhere:?}");
        }

        // The server has the next message and does not answer. A function has an event and stands still.
        let smtp = product.topology.smtp.as_ref().expect("an SMTP server");
        smtp.order("silent 1").expect("the order is written");
        user.remind(&canary, user.in_ms(0).await).await;
        let sending = "select count(*) from notification_deliveries where user_id = $1 and state = 'sending' and at_dot is not null";
        until_equal("an attempt waits for its answer", SOON, 1, async || user.count(sending).await).await;
        product.function("task-updated").process.pause();
        user.patch(&format!("/v1/tasks/{}", id(&task["id"])), json!({"description": format!("{canary} again")})).await;
        let waiting = "select count(*) from task_events where user_id = $1 and type = 'task.updated' and published_at is not null";
        until_equal("the event is on its way", SOON, 1, async || user.count(waiting).await).await;

        let erased = user.send(Method::DELETE, "/v1/me", None).await;
        assert_eq!(erased.status, 204, "{erased:?}");
        assert_eq!(user.send(Method::GET, "/v1/tasks", None).await.status, 401);
        product.function("task-updated").process.resume();
        nothing_is_left(product, &[&canary, &user.email]).await;

        let kafka = product.kafka().await;
        let of_other = other.create(json!({"title": "another's"})).await;
        let of_other =
            TaskRef { task_id: id(&of_other["id"]), user_id: other.id, title: "another's".to_owned(), version: 1 };
        let (mut replayed, mut behind) = (0, Vec::new());
        for topic in TOPICS {
            for partition in topics::partitions(&kafka, topic.name).await {
                let mut records = lab::kafka::topics::read(&partition).await.expect("Kafka answers");
                records.retain(|old| old.value.as_ref().is_some_and(|value| contains(value, &canary)));
                replayed += records.len();
                // One that daprd cannot read: it goes to the dead-letter topics.
                records.push(record(Some("garbled"), format!("{{ {canary} {}", user.id).into_bytes()));
                for event in markers(product, topic.name, &of_other).await {
                    records.push(event.record());
                    behind.push(event.id);
                }
                topics::append(&partition, records).await;
            }
        }
        assert!(replayed >= 5, "{replayed} messages");
        product.claimed(&behind).await;
        nothing_is_left(product, &[&canary, &user.email]).await;
        let counts = "select (select count(*) from tasks where user_id = $1) + (select count(*) from audit_logs where user_id = $1)
                      + (select count(*) from feed where user_id = $1) + (select count(*) from notification_deliveries where user_id = $1)";
        assert_eq!(user.count(counts).await, 0);
        assert_eq!(product.mails(&user).len(), 2, "both had left before");

        // A token says in whole seconds when it was issued.
        let again = user.api.user_with(user.id, &user.email, false);
        let tasks = again.command(Method::GET, "/v1/tasks?status=all", None).await.expect("a new account");
        assert_eq!(tasks.body["items"], json!([]));
    });
}

/// Events of another user for the end of a partition: when they are handled, their functions have seen everything before them.
async fn markers(product: &RunningProduct, topic: &str, task: &TaskRef) -> Vec<Outboxed> {
    let (task, reminder_id, remind_at) = (task.clone(), Uuid::now_v7(), Utc::now());
    match topic {
        "reminders" => {
            let due = ReminderDue { task: task.clone(), reminder_id, remind_at, reminder_version: 1 };
            let (channel, target, delivery_id) = (Channel::Email.into(), None, Uuid::now_v7());
            let sent = ReminderSent { task, reminder_id, remind_at, reminder_version: 1, channel, target, delivery_id };
            vec![product.outboxed(&due).await, product.outboxed(&sent).await]
        }
        "task-events" => {
            let created = TaskCreated { task: task.clone() };
            vec![product.outboxed(&created).await, product.outboxed(&TaskUpdated { task }).await]
        }
        _ => vec![product.outboxed(&TaskChanged { task, cause: TaskCreated::TYPE.into() }).await],
    }
}

fn contains(value: &[u8], word: &str) -> bool {
    value.windows(word.len()).any(|part| part == word.as_bytes())
}

/// Waits until neither database has any of these words in any row.
async fn nothing_is_left(product: &RunningProduct, words: &[&str]) {
    let state = PgPool::connect(&product.topology.postgres.url("dapr_state")).await.expect("the database answers");
    wait::until("nothing is left", SOON, async || {
        let mut found = Vec::new();
        for word in words {
            for db in [&product.db, &state] {
                found.extend(tables_with(db, word).await);
            }
        }
        if found.is_empty() { Ok(()) } else { Err(format!("{found:?}")) }
    })
    .await;
    state.close().await;
}
