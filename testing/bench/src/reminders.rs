//! How late reminders are, next to bare jobs due between them.

use std::time::Duration;

use anyhow::{Context as _, ensure};
use chrono::{DateTime, Utc};
use lab::mail;
use tokio::time::sleep;

use crate::{
    Setting, pace,
    planned::{interleaved, spread, until_first, until_last},
    product::{Product, pattern},
    sample::Sample,
};

/// Interval at which tasks are created and bare jobs are scheduled, well before the first one is due.
pub(super) const PREPARE: Duration = Duration::from_millis(20);
const LIMIT: Duration = Duration::from_secs(60);
const TITLE: &str = "bench reminder";

/// Milliseconds after the planned time.
pub(super) struct Reminders {
    pub(super) ours: Ours,
    /// Bare jobs, due halfway between two reminders.
    pub(super) bare: Sample,
}

/// What the product measured.
pub(super) struct Ours {
    /// The job's callback wrote `reminder.due` (`task_reminders.fired_at`).
    pub(super) fired: Sample,
    /// The mail server accepted the message (`notification_deliveries.sent_at`).
    pub(super) sent: Sample,
    /// The attempt alone: from `started_at` to `sent_at`.
    pub(super) attempt: Sample,
    /// Messages that the mail server received before their time, by its own clock.
    pub(super) mailed_early: usize,
    /// Reminders with more than one message.
    pub(super) duplicates: usize,
}

impl Ours {
    /// Counts everything that happened before its planned time.
    pub(super) fn early(&self) -> usize {
        self.fired.early() + self.sent.early() + self.mailed_early
    }
}

/// Measures `count` reminders that become due over `duration`.
pub(super) async fn measure(setting: &Setting, count: usize, duration: Duration) -> anyhow::Result<Reminders> {
    let every = duration / u32::try_from(count)?;
    // Seven seconds longer than creating them takes, so that the last one is armed in time.
    let (ours, theirs) = interleaved(count, preparation(count)? + Duration::from_secs(7), every)?;
    let product = async {
        arm(&setting.product, TITLE, &ours, PREPARE).await?;
        wait_until_sent(&setting.product, TITLE, &ours, LIMIT).await
    };
    let ((), bare) = tokio::try_join!(product, setting.bare.jobs("beside", &theirs, PREPARE))?;
    let ours = collect(setting, TITLE, &ours).await?;
    ensure!(ours.duplicates == 0, "{} of {count} reminders were sent more than once", ours.duplicates);
    Ok(Reminders { ours, bare })
}

/// Measures as many bare jobs while the product is idle.
pub(super) async fn bare_alone(setting: &Setting, count: usize, duration: Duration) -> anyhow::Result<Sample> {
    let planned = spread(count, preparation(count)?, duration / u32::try_from(count)?)?;
    setting.bare.jobs("alone", &planned, PREPARE).await
}

fn preparation(count: usize) -> anyhow::Result<Duration> {
    Ok(PREPARE * u32::try_from(count)? + Duration::from_secs(3))
}

/// Creates a task with a reminder for each instant, one per `every`, and waits until all are armed.
pub(super) async fn arm(
    product: &Product,
    title: &str,
    planned: &[DateTime<Utc>],
    every: Duration,
) -> anyhow::Result<()> {
    pace::steadily(planned.len(), every, |index| product.create(title, index, Some(planned[index]))).await?;
    wait_until_armed(product, title, planned).await
}

/// Waits until all reminders are armed, which must be before the first one is due.
pub(super) async fn wait_until_armed(product: &Product, title: &str, planned: &[DateTime<Utc>]) -> anyhow::Result<()> {
    let armed = "select count(*) from task_reminders reminder join tasks task on task.id = task_id
                 where title like $1 and job_id is not null";
    product.wait_for("armed reminders", armed, title, planned.len(), until_first(planned)?).await?;
    ensure!(
        !until_first(planned)?.is_zero(),
        "arming the reminders took until they were due: this machine is too busy"
    );
    Ok(())
}

/// Waits until all messages are accepted, at most `limit` after the last reminder is due.
pub(super) async fn wait_until_sent(
    product: &Product,
    title: &str,
    planned: &[DateTime<Utc>],
    limit: Duration,
) -> anyhow::Result<()> {
    // Polling earlier would take processor time from the product, and the bare side has no such polls.
    sleep(until_last(planned)?).await;
    let sent = "select count(*) from notification_deliveries delivery join tasks task on task.id = task_id
                where title like $1 and delivery.state = 'sent'";
    product.wait_for("sent reminders", sent, title, planned.len(), limit).await
}

/// Reads how late each reminder was, and checks that each has a message.
pub(super) async fn collect(setting: &Setting, title: &str, planned: &[DateTime<Utc>]) -> anyhow::Result<Ours> {
    let rows: Vec<(f64, f64, f64)> = sqlx::query_as(
        "select extract(epoch from fired_at - reminder.remind_at)::float8 * 1000,
                extract(epoch from sent_at - reminder.remind_at)::float8 * 1000,
                extract(epoch from sent_at - started_at)::float8 * 1000
         from task_reminders reminder
         join notification_deliveries delivery on delivery.reminder_id = reminder.id
         join tasks task on task.id = reminder.task_id where title like $1",
    )
    .bind(pattern(title))
    .fetch_all(&setting.product.db)
    .await?;
    ensure!(rows.len() == planned.len(), "{} deliveries for {} reminders", rows.len(), planned.len());
    let mut messages = vec![0; planned.len()];
    let mut mailed_early = 0;
    let subject = format!("Reminder: {title} ");
    for message in mail::messages(&setting.topology.mail_dir) {
        let index = message.header("subject").and_then(|found| found.strip_prefix(&subject)?.parse::<usize>().ok());
        let Some(index) = index else { continue };
        *messages.get_mut(index).context("a message without a reminder")? += 1;
        mailed_early += usize::from(DateTime::<Utc>::from(message.accepted_at()) < planned[index]);
    }
    let missing = messages.iter().filter(|count| **count == 0).count();
    ensure!(missing == 0, "{missing} of {} reminders have no message", planned.len());
    Ok(Ours {
        fired: rows.iter().map(|row| row.0).collect(),
        sent: rows.iter().map(|row| row.1).collect(),
        attempt: rows.iter().map(|row| row.2).collect(),
        mailed_early,
        duplicates: messages.iter().filter(|count| **count > 1).count(),
    })
}
