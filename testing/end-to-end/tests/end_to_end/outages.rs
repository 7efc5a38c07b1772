//! What the functions rest on may be away for a while: that delays, and neither loses nor gives up anything.

use std::{thread, time::Duration};

use serde_json::json;
use tokio::time::Instant;

use crate::{
    user::{User, id},
    world::{HEALED, World, alone},
};

/// Waits for one mail about each of these tasks, and that there is no second.
async fn each_once(world: &World, user: &User, tasks: &[serde_json::Value]) {
    crate::wait::until("every reminder is sent", HEALED, async || {
        let subjects = world.subjects(user);
        if subjects.len() >= tasks.len() { Ok(()) } else { Err(format!("{subjects:?}")) }
    })
    .await;
    user.settled().await;
    for task in tasks {
        let title = task["title"].as_str().unwrap_or_default();
        let mails = world.mails_about(user, title);
        assert_eq!(mails.len(), 1, "{title}: {mails:?}");
        let due = crate::user::instant(&task["reminders"][0]["remind_at"]);
        assert!(mails[0].accepted_at >= due, "{title}: due {due}, accepted {}", mails[0].accepted_at);
        assert_eq!(user.task(task).await["reminders"][0]["state"], "sent");
    }
}

async fn dead_letters(world: &World) -> i64 {
    world.count("select count(*) from dead_letters where $1::uuid is not null", uuid::Uuid::nil()).await
}

#[test]
fn dapr_down_during_a_create_delays_it_and_loses_nothing() {
    alone(async |world| {
        let user = world.user();
        world.without_repair();
        let letters = dead_letters(world).await;
        for function in &world.topology.functions {
            function.daprd.process.kill9();
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
        for function in &world.topology.functions {
            function.daprd.process.start().unwrap_or_else(|error| panic!("{error:#}"));
        }
        each_once(world, &user, &tasks).await;
        assert_eq!(dead_letters(world).await, letters);
    });
}

#[test]
fn kafka_away_for_a_while_delays_and_loses_nothing() {
    alone(async |world| {
        let user = world.user();
        world.without_repair();
        let letters = dead_letters(world).await;
        let kafka = &world.topology.kafka.as_ref().expect("Kafka").process;
        let mut tasks = vec![user.remind("before it died", user.in_ms(2_000).await).await];
        kafka.kill9();
        for number in 0..5 {
            let began = Instant::now();
            tasks.push(user.remind(&format!("while it was away {number}"), user.in_ms(500).await).await);
            assert!(began.elapsed() < Duration::from_secs(1), "the answer took {:?}", began.elapsed());
        }
        world.clock_reaches(user.in_ms(3_000).await).await;
        kafka.start().unwrap_or_else(|error| panic!("{error:#}"));
        each_once(world, &user, &tasks).await;
        assert_eq!(dead_letters(world).await, letters);
    });
}

#[test]
fn postgresql_away_for_a_minute_dead_letters_nothing_and_everything_arrives() {
    alone(async |world| {
        const AWAY: Duration = Duration::from_secs(60);
        let user = world.user();
        world.without_repair();
        let letters = dead_letters(world).await;
        let mut tasks = Vec::new();
        // Some fire while it is away, some after; the last ones' events are still on their way when it goes.
        for number in 0..16 {
            let at = user.in_ms(5_000 + 4_500 * number).await;
            tasks.push(user.remind(&format!("minute {number:02}"), at).await);
        }
        let reopened = user.create(json!({"title": "completed just before"})).await;
        user.complete(&reopened).await;

        world.topology.postgres.process.kill9();
        let gone = Instant::now();
        let refused = user.send(reqwest::Method::POST, "/v1/tasks", Some(&json!({"title": "refused"}))).await;
        assert_eq!(refused.status, 503, "{refused:?}");
        assert!(gone.elapsed() < Duration::from_secs(10), "the refusal took {:?}", gone.elapsed());
        thread::sleep(AWAY.saturating_sub(gone.elapsed()));
        world.topology.postgres.start().unwrap_or_else(|error| panic!("{error:#}"));

        each_once(world, &user, &tasks).await;
        assert_eq!(dead_letters(world).await, letters);
        let failures = "select count(*) from event_failures where $1::uuid is not null";
        assert_eq!(world.count(failures, user.id).await, 0, "an outage counts as no failure");
        assert!(user.history(&reopened).await.contains(&"task.completed".to_owned()));
        assert_eq!(user.tasks().await.len(), 17, "what was refused has no effect");
        assert!(user.task(&reopened).await["completed"] == true, "{}", id(&reopened["id"]));
    });
}
