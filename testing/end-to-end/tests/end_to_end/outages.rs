//! Outages of dependencies delay work; nothing is lost or given up.

use std::{thread, time::Duration};

use lab::{api::Method, wait};
use serde_json::json;
use tokio::time::Instant;

use crate::{
    product::{HEALED, RunningProduct, alone},
    user::{User, id, instant},
};

/// Waits until each of these tasks has its mail, and checks that none has two.
async fn each_once(product: &RunningProduct, user: &User, tasks: &[serde_json::Value]) {
    wait::until("every reminder is sent", HEALED, async || {
        let subjects = product.subjects(user);
        if subjects.len() >= tasks.len() { Ok(()) } else { Err(format!("{subjects:?}")) }
    })
    .await;
    user.settled().await;
    for task in tasks {
        let title = task["title"].as_str().unwrap_or_default();
        let mails = product.mails_about(user, title);
        assert_eq!(mails.len(), 1, "{title}: {mails:?}");
        let due = instant(&task["reminders"][0]["remind_at"]);
        assert!(mails[0].accepted_at >= due, "{title}: due {due}, accepted {}", mails[0].accepted_at);
        assert_eq!(user.task(task).await["reminders"][0]["state"], "sent");
    }
}

async fn dead_letters(product: &RunningProduct) -> i64 {
    product.count("select count(*) from dead_letters where $1::uuid is not null", uuid::Uuid::nil()).await
}

#[test]
fn an_outage_of_dapr_during_a_create_delays_and_loses_nothing() {
    alone(async |product| {
        let user = product.user();
        product.without_repair();
        let letters = dead_letters(product).await;
        for daprd in product.topology.daprds() {
            daprd.process.kill9();
        }
        let mut tasks = Vec::new();
        for number in 0..10 {
            let at = user.in_ms(500).await;
            let began = Instant::now();
            tasks.push(user.remind(&format!("delayed {number}"), at).await);
            assert!(began.elapsed() < Duration::from_secs(1), "the answer took {:?}", began.elapsed());
        }
        let waiting = "select count(*) from task_events where user_id = $1 and published_at is null";
        assert_eq!(user.count(waiting).await, 10);
        for daprd in product.topology.daprds() {
            daprd.process.start().unwrap_or_else(|error| panic!("{error:#}"));
        }
        each_once(product, &user, &tasks).await;
        assert_eq!(dead_letters(product).await, letters);
    });
}

#[test]
fn an_outage_of_kafka_delays_and_loses_nothing() {
    alone(async |product| {
        let user = product.user();
        product.without_repair();
        let letters = dead_letters(product).await;
        let kafka = &product.topology.kafka.as_ref().expect("Kafka").process;
        let mut tasks = vec![user.remind("before it died", user.in_ms(2_000).await).await];
        kafka.kill9();
        for number in 0..5 {
            let began = Instant::now();
            tasks.push(user.remind(&format!("while it was away {number}"), user.in_ms(500).await).await);
            assert!(began.elapsed() < Duration::from_secs(1), "the answer took {:?}", began.elapsed());
        }
        product.clock_reaches(user.in_ms(3_000).await).await;
        kafka.start().unwrap_or_else(|error| panic!("{error:#}"));
        each_once(product, &user, &tasks).await;
        assert_eq!(dead_letters(product).await, letters);
    });
}

#[test]
fn a_minute_without_postgresql_dead_letters_nothing_and_loses_nothing() {
    alone(async |product| {
        const AWAY: Duration = Duration::from_secs(60);
        let user = product.user();
        product.without_repair();
        let letters = dead_letters(product).await;
        let mut tasks = Vec::new();
        // Some fire during the outage and some after it. The last events are in flight when it begins.
        for number in 0..16 {
            let at = user.in_ms(5_000 + 4_500 * number).await;
            tasks.push(user.remind(&format!("minute {number:02}"), at).await);
        }
        let reopened = user.create(json!({"title": "completed just before"})).await;
        user.complete(&reopened).await;

        product.topology.postgres.process.kill9();
        let gone = Instant::now();
        let refused = user.send(Method::POST, "/v1/tasks", Some(&json!({"title": "refused"}))).await;
        assert_eq!(refused.status, 503, "{refused:?}");
        assert!(gone.elapsed() < Duration::from_secs(10), "the refusal took {:?}", gone.elapsed());
        thread::sleep(AWAY.saturating_sub(gone.elapsed()));
        product.topology.postgres.start().unwrap_or_else(|error| panic!("{error:#}"));

        each_once(product, &user, &tasks).await;
        assert_eq!(dead_letters(product).await, letters);
        let failures = "select count(*) from event_failures where $1::uuid is not null";
        assert_eq!(product.count(failures, user.id).await, 0, "an outage does not count as a failure");
        assert!(user.history(&reopened).await.contains(&"task.completed".to_owned()));
        assert_eq!(user.tasks().await.len(), 17, "a refused request has no effect");
        assert!(user.task(&reopened).await["completed"] == true, "{}", id(&reopened["id"]));
    });
}
