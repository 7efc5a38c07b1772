//! Reminders that are due while all functions are at zero, while Dapr's scheduler is killed, and while the mail server hangs. In the plain
//! rendering no function is ever at zero.

use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use chrono::{DateTime, Utc};
use lab::api::{Method, id, text};
use serde_json::json;
use uuid::Uuid;

use crate::run::ClusterTest;

/// Repair arms reminders due within two of its intervals. After this limit nothing more can arrive.
const HEALED: Duration = Duration::from_secs(330);

/// A reminder of this test.
pub(super) struct Reminder {
    pub(super) task: Uuid,
    pub(super) title: String,
    pub(super) due: DateTime<Utc>,
}

/// Its lateness in milliseconds.
pub(super) struct Sent {
    pub(super) fired: f64,
    pub(super) sent: f64,
}

/// Creates a task with a reminder after some time.
pub(super) async fn remind(test: &ClusterTest<'_>, what: &str, after: Duration) -> anyhow::Result<Reminder> {
    let title = format!("{what} {}", &Uuid::now_v7().simple().to_string()[20..]);
    let due = Utc::now() + after;
    let body = json!({ "title": title, "remind_at": text(due) });
    let task = id(&test.command(Method::POST, "/v1/tasks", Some(body)).await?["id"]);
    Ok(Reminder { task, title, due })
}

/// Waits until it is sent, and checks that there is one delivery and one message at the mail server.
pub(super) async fn sent(test: &ClusterTest<'_>, reminder: &Reminder, limit: Duration) -> anyhow::Result<Sent> {
    let mut told = all_sent(test, std::slice::from_ref(reminder), limit).await?;
    told.pop().context("there is one reminder")
}

/// [`sent`] for several reminders, each by `limit` after it is due.
pub(super) async fn all_sent(
    test: &ClusterTest<'_>,
    reminders: &[Reminder],
    limit: Duration,
) -> anyhow::Result<Vec<Sent>> {
    let mut told = Vec::new();
    for reminder in reminders {
        let rest = (reminder.due - Utc::now()).to_std().unwrap_or_default();
        tokio::time::sleep(rest).await;
        told.push(times(test, reminder, limit).await?);
    }
    tokio::time::sleep(Duration::from_secs(3)).await; // time for a duplicate to arrive
    for reminder in reminders {
        let deliveries: i64 = sqlx::query_scalar("select count(*) from notification_deliveries where task_id = $1")
            .bind(reminder.task)
            .fetch_one(&test.db)
            .await?;
        ensure!(deliveries == 1, "{:?}: {deliveries} deliveries", reminder.title);
    }
    if let Some(messages) = test.parts.accepted(&test.user.email) {
        for reminder in reminders {
            let of = |subject: Option<String>| subject.is_some_and(|subject| subject.contains(&reminder.title));
            let accepted = messages.iter().filter(|message| of(message.header("subject"))).count();
            ensure!(accepted == 1, "{:?}: {accepted} messages were accepted", reminder.title);
        }
    }
    Ok(told)
}

/// Waits until a reminder that is due is sent.
async fn times(test: &ClusterTest<'_>, reminder: &Reminder, limit: Duration) -> anyhow::Result<Sent> {
    let found = "select reminder.fired_at, delivery.sent_at from task_reminders reminder
         join notification_deliveries delivery on delivery.reminder_id = reminder.id
         where reminder.task_id = $1 and delivery.state = 'sent' and reminder.state = 'sent'";
    let (fired, sent) = loop {
        let row: Option<(DateTime<Utc>, DateTime<Utc>)> =
            sqlx::query_as(found).bind(reminder.task).fetch_optional(&test.db).await?;
        if let Some(row) = row {
            break row;
        }
        ensure!(
            (Utc::now() - reminder.due).to_std().unwrap_or_default() < limit,
            "{:?} was not sent within {} s",
            reminder.title,
            limit.as_secs()
        );
        tokio::time::sleep(Duration::from_millis(200)).await;
    };
    let late = |at: DateTime<Utc>| (at - reminder.due).num_microseconds().map(|us| us as f64 / 1000.0);
    let fired = late(fired).context("a lateness that overflows")?;
    ensure!(fired >= 0.0, "{:?} fired {fired} ms late: before its time", reminder.title);
    Ok(Sent { fired, sent: late(sent).context("a lateness that overflows")? })
}

/// Creates a reminder that is due after all functions have scaled to zero.
async fn while_asleep(test: &ClusterTest<'_>, what: &str) -> anyhow::Result<Reminder> {
    let zero = test.zero().await?;
    // Twice the time that scaling to zero took.
    let after = Duration::from_secs(45).max(zero * 2);
    let reminder = remind(test, what, after).await?;
    tokio::time::sleep(Duration::from_secs(5)).await;
    test.zero().await?;
    ensure!(Utc::now() < reminder.due, "the functions reached zero only after the reminder was due");
    Ok(reminder)
}

/// A reminder due while all functions are at zero is late by at most one cold start.
pub(super) async fn asleep(test: &ClusterTest<'_>) -> anyhow::Result<()> {
    let reminder = while_asleep(test, "at zero").await?;
    while Utc::now() + Duration::from_millis(500) < reminder.due {
        let awake = test.kube.awake().await?;
        ensure!(awake.is_empty(), "awake before the reminder is due: {awake:?}");
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    let told = sent(test, &reminder, Duration::from_secs(60)).await?;
    ensure!(told.fired <= test.arguments.late_ms as f64, "fired {:.0} ms after its time", told.fired);
    let due = if test.arguments.plain { "" } else { "due while all functions were at zero, " };
    test.say(format!(
        "reminder: {due}fired {:.0} ms after its time and accepted by the mail server {:.0} ms after it, once",
        told.fired, told.sent
    ));
    Ok(())
}

/// Kills the scheduler while a reminder is pending.
pub(super) async fn scheduler(test: &ClusterTest<'_>) -> anyhow::Result<()> {
    let dapr = test.arguments.dapr_namespace.as_str();
    let reminder = while_asleep(test, "while the scheduler dies").await?;
    let pods = test.kube.pods(dapr, "app=dapr-scheduler-server").await?;
    ensure!(!pods.is_empty(), "there is no scheduler in {dapr}");
    let began = Instant::now();
    test.kube.kill(dapr, &pods).await?;
    let ready = ["rollout", "status", "statefulset/dapr-scheduler-server", "--timeout=120s", "--namespace", dapr];
    test.kube.kubectl(&ready).await?;
    let back = began.elapsed();
    ensure!(Utc::now() < reminder.due, "the scheduler was back only after the reminder was due");
    let told = sent(test, &reminder, HEALED).await?;
    test.say(format!(
        "scheduler: {} pods killed, all back after {} s; the reminder that was pending fired {:.0} ms after its time and was \
         accepted {:.0} ms after it, once",
        pods.len(),
        back.as_secs(),
        told.fired,
        told.sent
    ));
    Ok(())
}

/// Kills the pods while the mail server holds their connection without answering. Their successors send the message once.
pub(super) async fn killed_while_sending(test: &ClusterTest<'_>) -> anyhow::Result<()> {
    let Some(smtp) = &test.parts.smtp else { return Ok(()) };
    let reminder = remind(test, "killed while sending", Duration::from_secs(5)).await?;
    smtp.process.pause();
    let began = Instant::now();
    let sending = "select count(*) from notification_deliveries where task_id = $1 and state = 'sending'";
    while sqlx::query_scalar::<_, i64>(sending).bind(reminder.task).fetch_one(&test.db).await? == 0 {
        ensure!(began.elapsed() < Duration::from_secs(30), "no attempt began");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let pods = test.kube.pods_of("reminder-due").await?;
    ensure!(!pods.is_empty(), "reminder-due has no pods");
    test.kube.kill(&test.kube.namespace, &pods).await?;
    smtp.process.resume();
    let told = sent(test, &reminder, HEALED).await?;
    test.say(format!(
        "deaths: {} pods of reminder-due killed while the mail server held their connection: accepted {:.0} ms after its time, once",
        pods.len(),
        told.sent
    ));
    Ok(())
}
