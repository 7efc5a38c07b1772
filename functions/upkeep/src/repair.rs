//! Repair: finds in the database what was accepted and has not happened, and has it happen.
//!
//! It does not look for due work, that is what jobs are for; it looks for work whose carrier forgot it: an event that was
//! published and never claimed, a reminder without its job, a delivery whose next attempt never came.

use std::time::Duration;

use chrono::{DateTime, Utc};
use clap::Parser;
use serde_json::json;
use shared::{App, faults::crash, reminder::ReminderJob};
use tokio::task::JoinSet;
use uuid::Uuid;

/// How long what is committed may take to be published.
const PUBLISH: Duration = Duration::from_secs(30);
/// Jobs armed at a time.
const AT_ONCE: usize = 32;
/// Rows a run takes on at most; the next run goes on.
const LIMIT: i64 = 10_000;

/// What repair reads from the environment.
#[derive(Parser, Clone, Debug)]
pub struct Settings {
    /// Seconds from one repair to the next. Reminders due within two of these are armed.
    #[arg(long, env, default_value_t = 300)]
    pub repair_interval_seconds: u32,
    /// Seconds after which an event that was published and not claimed is published again.
    #[arg(long, env, default_value_t = 120)]
    pub repair_after_seconds: u32,
}

/// Runs once. Each part is done whatever happens to the others.
///
/// # Errors
/// The first thing that could not be repaired; the next run tries again.
pub async fn run(app: &App, settings: &Settings) -> anyhow::Result<()> {
    let unpublished = unpublish_unclaimed(app, settings).await;
    crash("repair-midway");
    let published = app.outbox.flush(PUBLISH).await;
    let reminders = arm_reminders(app, settings).await;
    let deliveries = send_overdue(app).await;
    let retention = app.sidecar.repeat("retention", "0 30 3 * * *").await;
    tracing::info!(
        events = unpublished.as_ref().ok(),
        reminders = reminders.as_ref().ok(),
        deliveries = deliveries.as_ref().ok(),
        "upkeep: repaired"
    );
    unpublished?;
    published?;
    reminders?;
    deliveries?;
    Ok(retention?)
}

/// Has every event published again, with the same id, that its function has not claimed, and moves up the mark before which all are
/// claimed. The mark stays ten minutes behind: an id is older than its row's commit.
async fn unpublish_unclaimed(app: &App, settings: &Settings) -> sqlx::Result<u64> {
    let lost = sqlx::query!(
        "update task_events set published_at = null where id in (
             select id from task_events event
             where id >= (select event_id from marks where name = 'handled')
               and published_at < now() - make_interval(secs => $1)
               and not exists (
                   select from processed_events
                   where consumer = replace(event.type, '.', '-') and event_id = event.id)
             order by id limit $2)",
        f64::from(settings.repair_after_seconds),
        LIMIT,
    )
    .execute(&app.db)
    .await?
    .rows_affected();
    let mut tx = app.db.begin().await?;
    // A replay lowers the mark: locked first, so that what is read next is as the last replay left it.
    sqlx::query!("select from marks where name = 'handled' for update").execute(&mut *tx).await?;
    sqlx::query!(
        "update marks set event_id = next.event_id from (
             select least(uuid_v7_floor(now() - interval '10 minutes'), (
                 select id from task_events event
                 where id >= (select event_id from marks where name = 'handled')
                   and not exists (
                       select from processed_events
                       where consumer = replace(event.type, '.', '-') and event_id = event.id)
                 order by id limit 1)) as event_id
         ) next
         where name = 'handled' and marks.event_id < next.event_id"
    )
    .execute(&mut *tx)
    .await?;
    tx.commit().await?;
    Ok(lost)
}

/// Arms the reminders due within two intervals, or overdue and unfired, that have no job; a job that is there stays as it is.
async fn arm_reminders(app: &App, settings: &Settings) -> anyhow::Result<u64> {
    let rows = sqlx::query!(
        "select id, version, remind_at from task_reminders
         where state = 'scheduled' and (fired_version is null or fired_version < version)
           and remind_at < now() + make_interval(secs => $1)
         order by remind_at limit $2",
        2.0 * f64::from(settings.repair_interval_seconds),
        LIMIT,
    )
    .fetch_all(&app.db)
    .await?;
    let mut missing = 0;
    for some in rows.chunks(AT_ONCE) {
        let mut calls = JoinSet::new();
        for row in some {
            let job = ReminderJob { reminder_id: row.id, version: row.version, due_at: row.remind_at };
            let sidecar = app.sidecar.clone();
            calls.spawn(async move { job.arm_if_missing(&sidecar).await });
        }
        while let Some(called) = calls.join_next().await {
            missing += u64::from(called??);
        }
    }
    Ok(missing)
}

/// Has deliveries attempted whose next attempt is overdue: their job was lost, or the process died in the middle.
async fn send_overdue(app: &App) -> anyhow::Result<u64> {
    let rows = sqlx::query!(
        r#"select id, attempts, now() as "now!" from notification_deliveries
           where state in ('pending', 'sending', 'retrying') and next_attempt_at < now() - interval '10 seconds'
           order by next_attempt_at limit $1"#,
        LIMIT,
    )
    .fetch_all(&app.db)
    .await?;
    let mut missing = 0;
    for row in rows {
        missing += u64::from(arm_delivery(app, row.id, row.attempts, row.now).await?);
    }
    Ok(missing)
}

async fn arm_delivery(app: &App, id: Uuid, attempts: i32, at: DateTime<Utc>) -> anyhow::Result<bool> {
    let name = format!("delivery-{id}-{attempts}");
    Ok(app.sidecar.arm_if_missing(&name, at, &json!({"delivery_id": id})).await?)
}
