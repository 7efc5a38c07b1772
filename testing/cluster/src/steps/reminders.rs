//! Reminders that become due while everything sleeps, while Dapr's scheduler is killed, and while the mail server hangs.

use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use chrono::{DateTime, SecondsFormat, Utc};
use reqwest::Method;
use serde_json::json;
use uuid::Uuid;

use crate::{user::id, world::World};

/// A repair arms what is due within two of its intervals: after this nothing comes by itself any more.
const HEALED: Duration = Duration::from_secs(330);

/// A reminder and what is known of it.
pub(super) struct Reminder {
    pub(super) task: Uuid,
    pub(super) title: String,
    pub(super) due: DateTime<Utc>,
}

/// What became of it, in milliseconds after its time.
pub(super) struct Sent {
    pub(super) fired: f64,
    pub(super) sent: f64,
}

/// Makes a task that is reminded of after some time.
pub(super) async fn remind(world: &World, what: &str, after: Duration) -> anyhow::Result<Reminder> {
    let title = format!("{what} {}", &Uuid::now_v7().simple().to_string()[20..]);
    let due = Utc::now() + after;
    let body = json!({ "title": title, "remind_at": due.to_rfc3339_opts(SecondsFormat::Micros, true) });
    let task = id(&world.user.command(Method::POST, "/v1/tasks", Some(body)).await?)?;
    Ok(Reminder { task, title, due })
}

/// Waits until it was sent, and sees that this happened once: one delivery, and one message at the mail server.
pub(super) async fn sent(world: &World, reminder: &Reminder, limit: Duration) -> anyhow::Result<Sent> {
    let rest = (reminder.due - Utc::now()).to_std().unwrap_or_default();
    tokio::time::sleep(rest).await;
    let began = Instant::now();
    let found = "select reminder.fired_at, delivery.sent_at from task_reminders reminder
         join notification_deliveries delivery on delivery.reminder_id = reminder.id
         where reminder.task_id = $1 and delivery.state = 'sent' and reminder.state = 'sent'";
    let (fired, sent) = loop {
        let row: Option<(DateTime<Utc>, DateTime<Utc>)> =
            sqlx::query_as(found).bind(reminder.task).fetch_optional(&world.db).await?;
        if let Some(row) = row {
            break row;
        }
        ensure!(began.elapsed() < limit, "{:?} was not sent within {} s", reminder.title, limit.as_secs());
        tokio::time::sleep(Duration::from_millis(200)).await;
    };
    tokio::time::sleep(Duration::from_secs(3)).await; // whatever comes twice
    let deliveries: i64 = sqlx::query_scalar("select count(*) from notification_deliveries where task_id = $1")
        .bind(reminder.task)
        .fetch_one(&world.db)
        .await?;
    ensure!(deliveries == 1, "{:?}: {deliveries} deliveries", reminder.title);
    if let Some(messages) = world.parts.accepted(&world.user.address) {
        let of = |subject: Option<String>| subject.is_some_and(|subject| subject.contains(&reminder.title));
        let accepted = messages.iter().filter(|message| of(message.header("subject"))).count();
        ensure!(accepted == 1, "{:?}: {accepted} messages were accepted", reminder.title);
    }
    let late = |at: DateTime<Utc>| (at - reminder.due).num_microseconds().map(|us| us as f64 / 1000.0);
    let fired = late(fired).context("fired in another age")?;
    ensure!(fired >= 0.0, "fired {fired} ms late: before its time");
    Ok(Sent { fired, sent: late(sent).context("sent in another age")? })
}

/// Makes one that everything has fallen asleep before.
async fn while_asleep(world: &World, what: &str) -> anyhow::Result<Reminder> {
    let zero = world.zero().await?;
    // By what it takes to fall asleep, once it has been seen.
    let after = Duration::from_secs(45).max(zero * 2);
    let reminder = remind(world, what, after).await?;
    tokio::time::sleep(Duration::from_secs(5)).await;
    world.zero().await?;
    ensure!(Utc::now() < reminder.due, "at zero only after the reminder was due");
    Ok(reminder)
}

/// Due while everything sleeps: on time plus one cold start.
pub(super) async fn asleep(world: &World) -> anyhow::Result<()> {
    let reminder = while_asleep(world, "while all sleep").await?;
    while Utc::now() + Duration::from_millis(500) < reminder.due {
        let awake = world.kube.awake().await?;
        ensure!(awake.is_empty(), "awake before the reminder is due: {awake:?}");
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    let told = sent(world, &reminder, Duration::from_secs(60)).await?;
    ensure!(told.fired <= world.arguments.late_ms as f64, "fired {:.0} ms after its time", told.fired);
    world.say(format!(
        "reminder: due while everything slept, fired {:.0} ms after its time and accepted by the mail server {:.0} ms after it, once",
        told.fired, told.sent
    ));
    Ok(())
}

/// The scheduler is killed while one is pending.
pub(super) async fn scheduler(world: &World) -> anyhow::Result<()> {
    let dapr = world.arguments.dapr_namespace.as_str();
    let reminder = while_asleep(world, "while the scheduler dies").await?;
    let pods = world.kube.pods(dapr, "app=dapr-scheduler-server").await?;
    ensure!(!pods.is_empty(), "there is no scheduler in {dapr}");
    let began = Instant::now();
    world.kube.kill(dapr, &pods).await?;
    let ready = ["rollout", "status", "statefulset/dapr-scheduler-server", "--timeout=120s", "--namespace", dapr];
    world.kube.kubectl(&ready).await?;
    let back = began.elapsed();
    ensure!(Utc::now() < reminder.due, "the scheduler was back only after the reminder was due");
    let told = sent(world, &reminder, HEALED).await?;
    world.say(format!(
        "scheduler: {} pods killed, all back after {} s; the reminder that was pending fired {:.0} ms after its time and was \
         accepted {:.0} ms after it, once",
        pods.len(),
        back.as_secs(),
        told.fired,
        told.sent
    ));
    Ok(())
}

/// The mail server has taken the connection and says nothing when the pods die: the message goes out once, by their successors.
pub(super) async fn killed_while_sending(world: &World) -> anyhow::Result<()> {
    let Some(smtp) = &world.parts.smtp else { return Ok(()) };
    let reminder = remind(world, "killed while sending", Duration::from_secs(5)).await?;
    smtp.process.pause();
    let began = Instant::now();
    let sending = "select count(*) from notification_deliveries where task_id = $1 and state = 'sending'";
    while sqlx::query_scalar::<_, i64>(sending).bind(reminder.task).fetch_one(&world.db).await? == 0 {
        ensure!(began.elapsed() < Duration::from_secs(30), "no attempt began");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let pods = world.kube.pods_of("reminder-due").await?;
    ensure!(!pods.is_empty(), "reminder-due has no pods");
    world.kube.kill(&world.kube.namespace, &pods).await?;
    smtp.process.resume();
    let told = sent(world, &reminder, HEALED).await?;
    world.say(format!(
        "deaths: {} pods of reminder-due killed while the mail server held their connection: accepted {:.0} ms after its time, once",
        pods.len(),
        told.sent
    ));
    Ok(())
}
