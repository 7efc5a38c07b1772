//! Commands that race with their reminders.

use std::time::Duration;

use chrono::{TimeDelta, Utc};
use lab::wait;
use serde_json::{Value, json};
use shared::reminder::ReminderJob;

use crate::{
    core::witness,
    product::{RunningProduct, SOON, beside_others, together},
    user::{User, id, instant},
};

#[test]
fn a_reminder_moved_while_its_job_is_being_armed_fires_only_at_its_last_time() {
    beside_others(async |product| {
        let user = product.user();
        let (before, after) = (user.in_ms(8_000).await, user.in_ms(11_000).await);
        let moves = (0..40_i64).map(|number| {
            let user = user.clone();
            async move {
                let title = format!("moved {number:02}");
                // Half move to a later time, half to an earlier one. Every third first moves far ahead and back.
                let (from, to) = if number % 2 == 0 { (before, after) } else { (after + TimeDelta::hours(1), after) };
                let task = user.remind(&title, from).await;
                if number % 3 == 0 {
                    user.snooze(&task["reminders"][0], before + TimeDelta::hours(2)).await;
                }
                let moved = user.snooze(&task["reminders"][0], to).await;
                assert!(moved.received_at < before, "the machine is too slow for this test: the first time has passed");
                (title, to)
            }
        });
        let moved = together(moves).await;
        for (title, _) in &moved {
            product.mail_about(&user, title).await;
        }
        witness(product, &user, 500).await;
        user.settled().await;
        for (title, at) in &moved {
            let mails = product.mails_about(&user, title);
            assert_eq!(mails.len(), 1, "{title}: {mails:?}");
            assert!(mails[0].accepted_at >= *at, "{title}: due {at}, accepted {}", mails[0].accepted_at);
        }
        assert_eq!(user.deliveries().await.len(), 41);
    });
}

#[test]
fn a_task_completed_while_its_reminder_is_due_starts_no_attempt_after_the_answer() {
    beside_others(async |product| {
        let user = product.user();
        let due = user.in_ms(8_000).await;
        let creations = (0..40).map(|number| {
            let user = user.clone();
            async move { user.remind(&format!("at its time {number:02}"), due).await }
        });
        let tasks = together(creations).await;
        assert!(user.in_ms(0).await < due - TimeDelta::seconds(1), "the machine is too slow for this test");

        let completions = tasks.iter().cloned().zip(0_i32..).map(|(task, number)| {
            let user = user.clone();
            async move {
                // From just before the due time until even a busy machine has sent most of them.
                let at = due + TimeDelta::milliseconds(i64::from(number) * 60 - 300);
                tokio::time::sleep((at - Utc::now()).to_std().unwrap_or_default()).await;
                let answer = user.complete(&task).await;
                (task, answer.received_at)
            }
        });
        let completed = together(completions).await;
        witness(product, &user, 500).await;
        user.settled().await;

        let deliveries = user.deliveries().await;
        let mut sent = 0;
        for (task, answered_at) in &completed {
            let title = task["title"].as_str().unwrap_or_default();
            let mails = product.mails_about(&user, title);
            assert!(mails.len() <= 1, "{title}: {mails:?}");
            let reminder = id(&task["reminders"][0]["id"]);
            let delivery = deliveries.iter().find(|found| found.reminder_id == reminder);
            for mail in &mails {
                sent += 1;
                let begun = delivery.and_then(|delivery| delivery.started_at);
                assert!(
                    begun.is_some_and(|begun| begun < *answered_at),
                    "{title}: answered {answered_at}, accepted {}, {delivery:?}",
                    mail.accepted_at
                );
            }
            let state = &user.task(task).await["reminders"][0]["state"];
            let wanted = if mails.is_empty() { "cancelled" } else { "sent" };
            // A task completed between sending and recording is cancelled, although its delivery was sent.
            assert!(state == wanted || state == "cancelled", "{title}: {state} with {} mails", mails.len());
        }
        assert!((1..40).contains(&sent), "{sent} of 40 were sent: nothing raced");
    });
}

#[test]
fn a_task_restored_before_its_deletion_is_handled_keeps_its_reminders() {
    beside_others(async |product| {
        let user = product.user();
        let due = user.in_ms(8_000).await;
        let restored = (0..40).map(|number| {
            let user = user.clone();
            async move {
                let title = format!("restored {number:02}");
                let task = user.remind(&title, due).await;
                // The deletion of every second one may be handled before the restore, that of the others is still on its way.
                if number % 2 == 0 {
                    tokio::time::sleep(Duration::from_millis(500)).await;
                }
                user.delete(&task).await;
                if number % 2 == 0 {
                    tokio::time::sleep(Duration::from_millis(200)).await;
                }
                let back = user.restore(&task, 1).await.body;
                assert_eq!((&back["id"], &back["version"]), (&task["id"], &json!(3)));
                title
            }
        });
        let titles = together(restored).await;
        let again = user.remind("deleted again", due).await;
        user.delete(&again).await;
        user.restore(&again, 1).await;
        user.delete(&again).await;
        let late = user.in_ms(1_500).await;
        let missed = user.remind("missed", late).await;
        user.delete(&missed).await;
        user.settled().await;
        assert!(user.in_ms(0).await < due, "the machine is too slow for this test: the time has passed");
        product.clock_reaches(late).await;
        user.restore(&missed, 1).await;
        product.mail_about(&user, "missed").await;
        let told = user.timeline(&missed["reminders"][0]).await;
        let reason = told.iter().find(|(what, _)| what == "restored").map(|(_, entry)| entry["reason"].clone());
        assert_eq!(reason, Some(json!("its time passed before the command was undone: it fires at once")), "{told:?}");

        for title in &titles {
            product.mail_about(&user, title).await;
        }
        witness(product, &user, 500).await;
        user.settled().await;
        for title in titles.iter().map(String::as_str).chain(["missed"]) {
            let mails = product.mails_about(&user, title);
            assert_eq!(mails.len(), 1, "{title}: {mails:?}");
        }
        assert_eq!(product.mails_about(&user, "deleted again").len(), 0);
        let history = user.history(&missed).await;
        let commands: Vec<_> = history.iter().filter(|action| action.starts_with("task.")).collect();
        assert_eq!(commands.len(), 3, "created, deleted and updated: {history:?}");
    });
}

/// Fires the job of some version of a reminder and waits for the log line that says why it was skipped.
async fn fire(product: &RunningProduct, reminder: &Value, version: i32, reason: &str) {
    let job = ReminderJob { reminder_id: id(&reminder["id"]), version, due_at: Utc::now() };
    job.arm(&product.sidecar("alarm")).await.expect("Dapr accepts the job");
    let said = format!("reminder {} version {version} does not fire: {reason}", job.reminder_id);
    wait::until(&said, SOON, async || {
        let log = std::fs::read_to_string(product.function("alarm").process.log()).unwrap_or_default();
        if log.contains(&said) { Ok(()) } else { Err("not logged".to_owned()) }
    })
    .await;
}

async fn nothing_was_sent(user: &User) {
    assert_eq!(user.events("reminder.due").await, 0);
    assert_eq!(user.deliveries().await.len(), 0);
}

#[test]
fn a_stale_job_sends_nothing_and_logs_why() {
    beside_others(async |product| {
        let user = product.user();
        let far = user.in_ms(3_600_000).await;
        let moved = user.remind("stale", far).await;
        let moved = user.snooze(&moved["reminders"][0], far + TimeDelta::minutes(1)).await.body;
        let completed = user.remind("stale and completed", far).await;
        user.complete(&completed).await;
        let deleted = user.remind("stale and deleted", far).await;
        user.delete(&deleted).await;
        user.settled().await;

        fire(product, &moved["reminders"][0], 1, "moved").await;
        fire(product, &moved["reminders"][0], 3, "moved").await;
        fire(product, &completed["reminders"][0], 1, "completed").await;
        fire(product, &completed["reminders"][0], 2, "completed").await;
        fire(product, &deleted["reminders"][0], 2, "deleted").await;
        nothing_was_sent(&user).await;
        let told = user.timeline(&moved["reminders"][0]).await;
        let skipped = told.iter().find(|(what, _)| what == "skipped").unwrap_or_else(|| panic!("{told:?}"));
        assert_eq!((&skipped.1["version"], &skipped.1["reason"]), (&json!(1), &json!("moved")));

        // The current version, but an hour early: it is armed again for its time.
        let reminder = &moved["reminders"][0];
        let job = ReminderJob { reminder_id: id(&reminder["id"]), version: 2, due_at: Utc::now() };
        let sidecar = product.sidecar("alarm");
        job.arm(&sidecar).await.expect("Dapr accepts the job");
        tokio::time::sleep(Duration::from_secs(1)).await; // the callback comes within milliseconds
        nothing_was_sent(&user).await;
        let due_at = instant(&reminder["remind_at"]);
        let missing = ReminderJob { due_at, ..job }.arm_if_missing(&sidecar).await.expect("Dapr answers");
        assert!(!missing, "the job is gone");
    });
}
