//! The database is restored to an earlier backup by the steps of `docs/operations.md`: what is in the backup happens, what was done since
//! is gone, and what happened since may happen again.

use chrono::TimeDelta;
use reqwest::StatusCode;
use serde_json::{Value, json};
use tokio::task::JoinHandle;

use crate::{
    documented::{Repaired, block},
    repair::{hold, let_go, not_claimed_once, unhandled},
    user::{User, id, instant},
    wait,
    world::{SOON, World, alone},
};

/// What the API answers while the database is shut and swapped; ends when told.
fn visitor(world: &World, user: &User) -> (JoinHandle<Vec<(StatusCode, bool)>>, tokio::sync::oneshot::Sender<()>) {
    let (end, mut ended) = tokio::sync::oneshot::channel();
    let (http, token) = (world.http.clone(), user.token.clone());
    let url = format!("{}/v1/tasks", world.topology.url);
    let visits = tokio::spawn(async move {
        let mut answers = Vec::new();
        while ended.try_recv().is_err() {
            let answer = http.get(&url).bearer_auth(&token).send().await.expect("an answer");
            answers.push((answer.status(), answer.headers().contains_key("retry-after")));
            tokio::time::sleep(std::time::Duration::from_millis(100)).await;
        }
        answers
    });
    (visits, end)
}

/// Restores as the page says, with `between` done to the restored database before it takes the place of the lost one.
async fn restore(world: &World, user: &User, between: &str) -> Repaired {
    let (visits, end) = visitor(world, user);
    let steps = [block("create database punctual_restored"), block("rename to punctual_lost")];
    let done = async {
        world.by_hand(&steps[0], &[]).await?;
        // The backup was made while claims were held.
        let held = "drop function if exists broken_for_a_while() cascade";
        world.topology.postgres.sql("punctual_restored", &format!("{held}; {between}"))?;
        world.by_hand(&steps[1], &[]).await
    };
    done.await.unwrap_or_else(|error| panic!("the database is not restored: {error:#}"));
    let _ = end.send(());
    let answers = visits.await.expect("it ends");
    let away = answers.iter().filter(|answer| **answer == (StatusCode::SERVICE_UNAVAILABLE, true)).count();
    let well = answers.iter().filter(|answer| answer.0 == StatusCode::OK).count();
    assert!(away > 0 && away + well == answers.len(), "while it was restored: {answers:?}");
    world.topology.postgres.sql("postgres", "drop database punctual_lost").unwrap_or_else(|error| panic!("{error:#}"));
    world.repaired("kubectl logs --follow job/repair-now").await
}

/// As the page says.
async fn back_up(world: &World) {
    let owner = "do $$ begin create role punctual; exception when duplicate_object then null; end $$";
    world.topology.postgres.sql("postgres", owner).unwrap_or_else(|error| panic!("{error:#}"));
    world.by_hand(&block("pg_dump --format=custom"), &[]).await.unwrap_or_else(|error| panic!("{error:#}"));
}

/// The mails about each of these titles.
fn mails(world: &World, user: &User, titles: &[&str]) -> Vec<usize> {
    titles.iter().map(|title| world.mails_about(user, title).len()).collect()
}

/// Waits until these types of a user's events, and no others, are on their topics and not handled.
async fn on_topics(world: &World, user: &User, types: &[&str]) {
    wait::until_equal("they are on their topics", SOON, types.to_vec(), async || {
        let found = unhandled(world, user).await;
        types
            .iter()
            .copied()
            .filter(|kind| found.len() == types.len() && found.iter().any(|found| found == kind))
            .collect()
    })
    .await;
}

async fn state(user: &User, task: &Value) -> Value {
    user.task(task).await["reminders"][0]["state"].clone()
}

#[test]
fn a_database_that_is_restored_beside_a_newer_scheduler_and_kafka_loses_nothing_that_is_in_it() {
    alone(async |world| {
        let user = world.user();
        world.without_repair();
        let sent = user.remind("sent before", user.in_ms(300).await).await;
        world.mail_about(&user, "sent before").await;
        let hour = user.in_ms(3_600_000).await;
        let moved = user.remind("moved since", hour).await;
        let completed = user.remind("completed since", hour).await;
        let deleted = user.remind("deleted since", hour).await;
        let repeated = user.remind("fires since", user.in_ms(20_000).await).await;
        user.settled().await;
        // Published and not handled when the backup is made, handled since.
        hold(world, "task-created");
        let handled = user.remind("handled since", hour).await;
        on_topics(world, &user, &["task.created"]).await;
        back_up(world).await;
        let_go(world);
        user.settled().await;
        assert_eq!(world.mails(&user).len(), 1, "the backup came too late: {:?}", world.subjects(&user));

        let soon = user.in_ms(40_000).await;
        user.snooze(&moved["reminders"][0], soon).await;
        user.complete(&completed).await;
        user.delete(&deleted).await;
        let lost = user.remind("made since", soon).await;
        world.mail_about(&user, "fires since").await;
        user.settled().await;
        // On the topics and not handled when the database is lost.
        hold(world, "%");
        let unknown = user.create(json!({"title": "made last"})).await;
        user.patch(&format!("/v1/tasks/{}", id(&sent["id"])), json!({"title": "changed last"})).await;
        on_topics(world, &user, &["task.created", "task.updated"]).await;

        // Three hours later: what was to fire is long overdue, but for the one whose job is there.
        let later = format!(
            "update task_reminders set remind_at = remind_at - interval '3 hours'
             where state = 'scheduled' and user_id = '{}' and task_id <> '{}'",
            user.id,
            id(&handled["id"])
        );
        let repaired = restore(world, &user, &later).await;
        assert_eq!(repaired.reminders, 4, "{repaired:?}");
        assert!(world.now().await < soon, "this took too long to tell anything");
        world.topology.repair.as_ref().expect("repair").start().unwrap_or_else(|error| panic!("{error:#}"));

        // Everything in it happens; what had happened since, once more; late ones say so.
        let titles = ["moved since", "completed since", "deleted since"];
        for title in titles {
            let late = world.mail_about(&user, title).await;
            assert!(late.message.text().unwrap_or_default().contains("comes 2 hours late"), "{late:?}");
        }
        wait::until_equal("it comes again", SOON, vec![2], async || mails(world, &user, &["fires since"])).await;
        user.settled().await;
        world.clock_reaches(soon + TimeDelta::seconds(2)).await; // the jobs of what is gone have come by then
        user.settled().await;
        assert_eq!(mails(world, &user, &titles), [1; 3]);
        assert_eq!(mails(world, &user, &["sent before", "fires since", "handled since", "made since"]), [1, 2, 0, 0]);
        assert_eq!(not_claimed_once(world, &user).await, []);
        for task in [&sent, &moved, &completed, &deleted, &repeated] {
            assert_eq!(state(&user, task).await, "sent", "{}", task["title"]);
        }
        assert_eq!(user.history(&handled).await, ["task.created", "reminder.armed"]);
        assert_eq!(user.task(&completed).await["completed"], false);
        let titles: Vec<Value> = user.tasks().await.into_iter().map(|task| task["title"].clone()).collect();
        assert!(titles.len() == 6 && titles.contains(&json!("sent before")), "{titles:?}");
        // What tells of tasks that are gone makes none of them, and no dead letter.
        for gone in [&lost, &unknown] {
            assert_eq!(world.count("select count(*) from tasks where id = $1", id(&gone["id"])).await, 0);
        }
        let letters = "select count(*) from dead_letters where payload like concat('%', $1::uuid, '%')";
        assert_eq!(world.count(letters, user.id).await, 0);
    });
}

#[test]
fn a_database_that_is_restored_where_scheduler_and_kafka_are_lost_too_loses_nothing_that_is_in_it() {
    alone(async |world| {
        let user = world.user();
        world.without_repair();
        let ahead = user.remind("ahead", user.in_ms(3_600_000).await).await;
        let missed = user.remind("due meanwhile", user.in_ms(3_600_000).await).await;
        user.settled().await;
        // On their way when the backup is made: not handled, and not published.
        hold(world, "task-changed");
        let told = user.create(json!({"title": "told to nobody"})).await;
        on_topics(world, &user, &["task.changed"]).await;
        world.topology.daprd("tasks").process.kill9();
        let unpublished = user.remind("not published", user.in_ms(3_600_000).await).await;
        back_up(world).await;
        let_go(world);
        world.topology.daprd("tasks").process.start().unwrap_or_else(|error| panic!("{error:#}"));
        user.settled().await;
        user.delete(&unpublished).await;
        user.settled().await;

        world.topology.scheduler.wipe().unwrap_or_else(|error| panic!("{error:#}"));
        world.topology.kafka.as_ref().expect("Kafka").wipe().unwrap_or_else(|error| panic!("{error:#}"));
        // Rather missed than repeated, as the page says, at a time when one of the reminders is long past and one comes soon.
        let at = |task: &Value, when: &str| {
            format!("update task_reminders set remind_at = {when} where task_id = '{}';", id(&task["id"]))
        };
        let later = at(&missed, "now() - interval '3 hours'") + &at(&ahead, "now() + interval '15 seconds'");
        restore(world, &user, &(later + &block("'reason', 'restored'"))).await;
        world.topology.repair.as_ref().expect("repair").start().unwrap_or_else(|error| panic!("{error:#}"));
        user.settled().await;
        let mail = world.mail_about(&user, "ahead").await;
        let due = instant(&user.task(&ahead).await["reminders"][0]["remind_at"]);
        assert!(mail.accepted_at >= due, "{mail:?}");
        user.settled().await;
        assert_eq!(mails(world, &user, &["ahead", "due meanwhile", "not published"]), [1, 0, 0]);
        assert_eq!(not_claimed_once(world, &user).await, []);
        assert_eq!(user.history(&told).await, ["task.created"]);
        assert_eq!(user.history(&unpublished).await, ["task.created", "reminder.armed"]);
        assert_eq!(state(&user, &ahead).await, "sent");
        assert_eq!(state(&user, &missed).await, "failed");
        let (what, why) = user.timeline(&missed["reminders"][0]).await.pop().expect("a step");
        assert_eq!((&*what, &why["reason"]), ("skipped", &json!("restored")));
    });
}
