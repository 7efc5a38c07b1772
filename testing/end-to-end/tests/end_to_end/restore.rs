//! Restores the database from a backup by the steps of `docs/operations.md`. Work in the backup is done, later changes are gone, and
//! effects since the backup may be repeated.

use chrono::TimeDelta;
use lab::{api::Method, wait};
use serde_json::{Value, json};
use tokio::task::JoinHandle;

use crate::{
    documented::{Repaired, block},
    product::{RunningProduct, SOON, alone},
    repair::{hold, let_go, not_claimed_once, unhandled},
    user::{User, id, instant},
};

/// Polls the API while the database is closed and swapped, until told to stop. Returns each status and whether it had `Retry-After`.
fn visitor(user: &User) -> (JoinHandle<Vec<(u16, bool)>>, tokio::sync::oneshot::Sender<()>) {
    let (end, mut ended) = tokio::sync::oneshot::channel();
    let user = user.clone();
    let visits = tokio::spawn(async move {
        let mut answers = Vec::new();
        while ended.try_recv().is_err() {
            let answer = user.send(Method::GET, "/v1/tasks", None).await;
            answers.push((answer.status, answer.headers.contains_key("retry-after")));
            tokio::time::sleep(std::time::Duration::from_millis(100)).await;
        }
        answers
    });
    (visits, end)
}

/// Restores as the page says. `between` runs on the restored database before it replaces the lost one.
async fn restore(product: &RunningProduct, user: &User, between: &str) -> Repaired {
    let (visits, end) = visitor(user);
    let steps = [block("create database punctual_restored"), block("rename to punctual_lost")];
    let done = async {
        product.by_hand(&steps[0], &[]).await?;
        // The backup contains the trigger of `hold`.
        let held = "drop function if exists broken_for_a_while() cascade";
        product.topology.postgres.sql("punctual_restored", &format!("{held}; {between}"))?;
        product.by_hand(&steps[1], &[]).await
    };
    done.await.unwrap_or_else(|error| panic!("the restore failed: {error:#}"));
    let _ = end.send(());
    let answers = visits.await.expect("the visitor ends");
    let away = answers.iter().filter(|answer| **answer == (503, true)).count();
    let well = answers.iter().filter(|answer| answer.0 == 200).count();
    assert!(away > 0 && away + well == answers.len(), "while it was restored: {answers:?}");
    product
        .topology
        .postgres
        .sql("postgres", "drop database punctual_lost")
        .unwrap_or_else(|error| panic!("{error:#}"));
    product.repaired("kubectl logs job/repair-now").await
}

/// Makes a backup as the page says.
async fn back_up(product: &RunningProduct) {
    let owner = "do $$ begin create role punctual; exception when duplicate_object then null; end $$";
    product.topology.postgres.sql("postgres", owner).unwrap_or_else(|error| panic!("{error:#}"));
    product.by_hand(&block("pg_dump --format=custom"), &[]).await.unwrap_or_else(|error| panic!("{error:#}"));
}

/// The number of mails about each of these titles.
fn mails(product: &RunningProduct, user: &User, titles: &[&str]) -> Vec<usize> {
    titles.iter().map(|title| product.mails_about(user, title).len()).collect()
}

/// Waits until exactly these types of a user's events are published and unclaimed.
async fn on_topics(product: &RunningProduct, user: &User, types: &[&str]) {
    wait::until_equal("they are published", SOON, types.to_vec(), async || {
        let found = unhandled(product, user).await;
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

/// Repair may arm a reminder before its function handles `task.created`.
fn in_any_order(mut history: Vec<String>) -> Vec<String> {
    history.sort();
    history
}

#[test]
fn a_database_restored_beside_a_newer_scheduler_and_kafka_loses_nothing_in_the_backup() {
    alone(async |product| {
        let user = product.user();
        product.without_repair();
        let sent = user.remind("sent before", user.in_ms(300).await).await;
        product.mail_about(&user, "sent before").await;
        let hour = user.in_ms(3_600_000).await;
        let moved = user.remind("moved since", hour).await;
        let completed = user.remind("completed since", hour).await;
        let deleted = user.remind("deleted since", hour).await;
        let repeated = user.remind("fires since", user.in_ms(20_000).await).await;
        user.settled().await;
        // Published but unhandled at the backup, handled afterwards.
        hold(product, "task-created");
        let handled = user.remind("handled since", hour).await;
        on_topics(product, &user, &["task.created"]).await;
        back_up(product).await;
        let_go(product);
        user.settled().await;
        assert_eq!(product.mails(&user).len(), 1, "the backup was made too late: {:?}", product.subjects(&user));

        let soon = user.in_ms(40_000).await;
        user.snooze(&moved["reminders"][0], soon).await;
        user.complete(&completed).await;
        user.delete(&deleted).await;
        let lost = user.remind("made since", soon).await;
        product.mail_about(&user, "fires since").await;
        user.settled().await;
        // Published but unhandled when the database is lost.
        hold(product, "%");
        let unknown = user.create(json!({"title": "made last"})).await;
        user.patch(&format!("/v1/tasks/{}", id(&sent["id"])), json!({"title": "changed last"})).await;
        on_topics(product, &user, &["task.created", "task.updated"]).await;

        // As if three hours had passed: every reminder is overdue, except "handled since". Its job still exists, but the backup does not
        // say so, and repair arms it again.
        let later = format!(
            "update task_reminders set remind_at = remind_at - interval '3 hours'
             where state = 'scheduled' and user_id = '{}' and task_id <> '{}'",
            user.id,
            id(&handled["id"])
        );
        let repaired = restore(product, &user, &later).await;
        assert_eq!(repaired.reminders, 5, "{repaired:?}");
        assert!(product.now().await < soon, "the restore took too long for this test");
        product.topology.repair.as_ref().expect("repair").start().unwrap_or_else(|error| panic!("{error:#}"));

        // Everything in the backup is sent, late mails say so, and a mail sent since the backup is sent again.
        let titles = ["moved since", "completed since", "deleted since"];
        for title in titles {
            let late = product.mail_about(&user, title).await;
            assert!(late.message.text().unwrap_or_default().contains("comes 2 hours late"), "{late:?}");
        }
        wait::until_equal("it is sent again", SOON, vec![2], async || mails(product, &user, &["fires since"])).await;
        user.settled().await;
        product.clock_reaches(soon + TimeDelta::seconds(2)).await; // by then the jobs of lost reminders have fired
        user.settled().await;
        assert_eq!(mails(product, &user, &titles), [1; 3]);
        assert_eq!(mails(product, &user, &["sent before", "fires since", "handled since", "made since"]), [1, 2, 0, 0]);
        assert_eq!(not_claimed_once(product, &user).await, []);
        for task in [&sent, &moved, &completed, &deleted, &repeated] {
            assert_eq!(state(&user, task).await, "sent", "{}", task["title"]);
        }
        assert_eq!(in_any_order(user.history(&handled).await), ["reminder.armed", "task.created"]);
        assert_eq!(user.task(&completed).await["completed"], false);
        let titles: Vec<Value> = user.tasks().await.into_iter().map(|task| task["title"].clone()).collect();
        assert!(titles.len() == 6 && titles.contains(&json!("sent before")), "{titles:?}");
        // Events of lost tasks create no task.
        for gone in [&lost, &unknown] {
            assert_eq!(product.count("select count(*) from tasks where id = $1", id(&gone["id"])).await, 0);
        }
        // Of the lost history, exactly the events that were still to be handled are dead letters.
        let letters: Vec<(String, String)> = sqlx::query_as(
            "select consumer, reason from dead_letters where strpos(payload, $1::uuid::text) > 0 order by consumer",
        )
        .bind(user.id)
        .fetch_all(&product.db)
        .await
        .expect("the database answers");
        let unknown = |function: &str| (function.to_owned(), "the outbox does not have it".to_owned());
        assert_eq!(letters, [unknown("task-created"), unknown("task-updated")]);
    });
}

#[test]
fn a_database_restored_without_scheduler_and_kafka_data_loses_nothing_in_the_backup() {
    alone(async |product| {
        let user = product.user();
        product.without_repair();
        let ahead = user.remind("ahead", user.in_ms(3_600_000).await).await;
        let missed = user.remind("due meanwhile", user.in_ms(3_600_000).await).await;
        user.settled().await;
        // In flight at the backup: one event unhandled, one unpublished.
        hold(product, "task-changed");
        let told = user.create(json!({"title": "not in the feed"})).await;
        on_topics(product, &user, &["task.changed"]).await;
        product.topology.daprd("tasks").process.kill9();
        let unpublished = user.remind("not published", user.in_ms(3_600_000).await).await;
        back_up(product).await;
        let_go(product);
        product.topology.daprd("tasks").process.start().unwrap_or_else(|error| panic!("{error:#}"));
        user.settled().await;
        user.delete(&unpublished).await;
        user.settled().await;

        product.topology.scheduler.wipe().unwrap_or_else(|error| panic!("{error:#}"));
        product.topology.kafka.as_ref().expect("Kafka").wipe().unwrap_or_else(|error| panic!("{error:#}"));
        // The page's variant "rather missed than repeated", with one reminder long overdue and one due soon.
        let at = |task: &Value, when: &str| {
            format!("update task_reminders set remind_at = {when} where task_id = '{}';", id(&task["id"]))
        };
        let later = at(&missed, "now() - interval '3 hours'") + &at(&ahead, "now() + interval '15 seconds'");
        restore(product, &user, &(later + &block("'reason', 'restored'"))).await;
        product.topology.repair.as_ref().expect("repair").start().unwrap_or_else(|error| panic!("{error:#}"));
        user.settled().await;
        let mail = product.mail_about(&user, "ahead").await;
        let due = instant(&user.task(&ahead).await["reminders"][0]["remind_at"]);
        assert!(mail.accepted_at >= due, "{mail:?}");
        user.settled().await;
        assert_eq!(mails(product, &user, &["ahead", "due meanwhile", "not published"]), [1, 0, 0]);
        assert_eq!(not_claimed_once(product, &user).await, []);
        assert_eq!(user.history(&told).await, ["task.created"]);
        assert_eq!(in_any_order(user.history(&unpublished).await), ["reminder.armed", "task.created"]);
        assert_eq!(state(&user, &ahead).await, "sent");
        assert_eq!(state(&user, &missed).await, "failed");
        let (what, why) = user.timeline(&missed["reminders"][0]).await.pop().expect("a step");
        assert_eq!((&*what, &why["reason"]), ("skipped", &json!("restored")));
    });
}
