//! Repair: finds accepted work in the database that has not happened, and restarts it.
//!
//! Jobs trigger due work. Repair looks only for work whose trigger was lost: an event that was published but never claimed, a reminder
//! without its job, a delivery whose next attempt never came.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use clap::Parser;
use shared::{App, catalogue::EventType, db::Db, delivery::DeliveryJob, faults::crash, schema::Channel};
use sqlx::PgExecutor;
use uuid::Uuid;

use crate::{arming, erasure, retention, search_text};

/// Timeout for publishing the committed events.
const PUBLISH: Duration = Duration::from_secs(30);
/// Maximum rows of one query. The next run continues; by then the events and deliveries of this run are on their way.
const LIMIT: i64 = 10_000;
/// A job this long overdue is called at once, also by a scheduler whose clock is behind the database's.
const SKEW: TimeDelta = TimeDelta::hours(1);
/// Maximum events of a slow or stopped function that are republished, for each second between two repairs.
const COPIES_A_SECOND: i64 = 10;

/// The settings of repair, from the environment.
#[derive(Parser, Clone, Debug)]
pub struct Settings {
    /// Seconds between two repairs. Repair checks the job of every reminder that is overdue or due within two of these intervals.
    #[arg(long, env, default_value_t = 300)]
    pub repair_interval_seconds: u32,
    /// Seconds until an event that was published but not claimed is published again. The delay doubles each time, up to eight times
    /// this. Per function and run: at most ten events for each second between two repairs, or twice what it claimed since the last.
    #[arg(long, env, default_value_t = 120)]
    pub repair_after_seconds: u32,
}

/// Repairs once. A failed step never stops the other steps.
///
/// # Errors
/// The first failure. The next run tries again.
pub async fn run(app: &App, settings: &Settings) -> anyhow::Result<()> {
    let now = sqlx::query_scalar!(r#"select now() as "now!""#).fetch_one(&app.db).await?;
    // Reminders and deliveries come first, because they have a due time. After a large loss there are many events, which take long.
    let reminders = arm_reminders(app, now, settings).await;
    let deliveries = send_overdue(app, now).await;
    crash("repair-midway");
    let unpublished = unpublish_unclaimed(&app.db, now, settings).await;
    let published = app.outbox.flush(PUBLISH).await;
    let jobs = repeat_jobs(app).await;
    let erased = erasure::finish(&app.db).await;
    let texts = search_text::fill(&app.db).await;
    let admitted = retention::admit_near_weeks(&app.db).await;
    tracing::info!(
        events = unpublished.as_ref().ok(),
        reminders = reminders.as_ref().ok(),
        deliveries = deliveries.as_ref().ok(),
        erased = erased.as_ref().ok(),
        texts = texts.as_ref().ok(),
        "upkeep: repaired"
    );
    reminders?;
    deliveries?;
    unpublished?;
    published?;
    erased?;
    texts?;
    admitted?;
    jobs
}

async fn arm_reminders(app: &App, now: DateTime<Utc>, settings: &Settings) -> anyhow::Result<u64> {
    let near = arming::near(app, now, settings).await;
    let entering = arming::entering(app, now).await?;
    let armed = near? + entering;
    arming::take_over(app, now).await?;
    Ok(armed)
}

/// Schedules the recurring jobs of `upkeep`.
async fn repeat_jobs(app: &App) -> anyhow::Result<()> {
    app.sidecar.own_jobs.repeat("retention", "0 30 3 * * *").await?;
    Ok(app.sidecar.own_jobs.repeat("arming", "0 15 */6 * * *").await?)
}

/// Marks unclaimed events for publication under the same id, and advances the `handled` mark. Returns the number of events.
///
/// Every event before the mark is claimed. The mark stays ten minutes behind, because an id is older than its row's commit.
///
/// An unclaimed event may just be queued. So that copies do not bury a slow function, republish with doubling delay, up to eight times the
/// first one. Per function and run, republish only the oldest events. The limit is the larger of two numbers: ten for each second between
/// two repairs, and twice as many as the function claimed of the events since the last repair. A function that is behind has claimed none
/// of those.
pub async fn unpublish_unclaimed(db: &Db, now: DateTime<Utc>, settings: &Settings) -> sqlx::Result<u64> {
    let kinds = EventType::ALL.map(|kind| kind.as_str().to_owned());
    let lost = sqlx::query!(
        // Materialized: counts once per function, not once per waiting event.
        "with room as materialized (
             select kind, greatest($4::bigint, 2 * (
                 select count(*) from processed_events
                 where consumer = replace(kind, '.', '-')
                   and event_id >= uuid_v7_floor($1::timestamptz - make_interval(secs => $5)))) as places
             from unnest($6::text[]) kind
         ), unclaimed as (
             select id, type, row_number() over (partition by type order by id) as place from task_events event
             where id >= (select event_id from marks where name = 'handled')
               and published_at < $1::timestamptz - least(
                   greatest(make_interval(secs => $2), published_at - occurred_at), make_interval(secs => $2 * 8))
               and not exists (
                   select from processed_events
                   where consumer = replace(event.type, '.', '-') and event_id = event.id)
         )
         update task_events set published_at = null where id in (
             select id from unclaimed join room on kind = type and place <= places order by id limit $3)",
        now,
        f64::from(settings.repair_after_seconds),
        LIMIT,
        i64::from(settings.repair_interval_seconds) * COPIES_A_SECOND,
        f64::from(settings.repair_interval_seconds),
        &kinds[..],
    )
    .execute(db)
    .await?
    .rows_affected();
    // When idle, the mark cannot advance. Its row is then neither locked nor written.
    let behind = sqlx::query_scalar!(
        r#"select exists (
               select from task_events
               where id >= (select event_id from marks where name = 'handled')
                 and id < uuid_v7_floor($1::timestamptz - interval '10 minutes')) as "behind!""#,
        now
    )
    .fetch_one(db)
    .await?;
    if !behind {
        return Ok(lost);
    }
    let mut tx = db.begin().await?;
    // A replay lowers the mark. Lock it first, so that the next query sees the result of the last replay.
    sqlx::query!("select from marks where name = 'handled' for update").execute(&mut *tx).await?;
    sqlx::query!(
        "update marks set event_id = next.event_id from (
             select least(uuid_v7_floor($1::timestamptz - interval '10 minutes'), (
                 select id from task_events event
                 where id >= (select event_id from marks where name = 'handled')
                   and not exists (
                       select from processed_events
                       where consumer = replace(event.type, '.', '-') and event_id = event.id)
                 order by id limit 1)) as event_id
         ) next
         where name = 'handled' and marks.event_id < next.event_id",
        now
    )
    .execute(&mut *tx)
    .await?;
    tx.commit().await?;
    Ok(lost)
}

/// Retries deliveries whose next attempt is overdue: their job was lost, or the process died during the attempt.
async fn send_overdue(app: &App, now: DateTime<Utc>) -> anyhow::Result<u64> {
    let (mut missing, mut first_error) = (0, None);
    for some in overdue(&app.db, now).await?.chunks(arming::AT_ONCE) {
        let calls = some.iter().map(|&(delivery_id, attempts)| {
            let sidecar = app.sidecar.clone();
            async move { Ok(DeliveryJob { delivery_id, attempts }.arm_if_missing(&sidecar, now - SKEW).await?) }
        });
        let (were_missing, error) = arming::at_once(calls).await?;
        missing += were_missing.into_iter().map(u64::from).sum::<u64>();
        first_error = first_error.or(error);
    }
    first_error.map_or(Ok(missing), Err)
}

/// The deliveries whose next attempt is overdue at `now` by more than ten seconds, and how many attempts were made. An attempt whose
/// lease has not ended is not overdue. One on a channel of a newer release is left to that release's repair.
pub async fn overdue(db: impl PgExecutor<'_>, now: DateTime<Utc>) -> sqlx::Result<Vec<(Uuid, i32)>> {
    let channels = Channel::ALL.map(|channel| channel.as_str().to_owned());
    let rows = sqlx::query!(
        "select id, attempts from notification_deliveries
         where state in ('pending', 'sending', 'retrying') and channel = any($3)
           and next_attempt_at < $1::timestamptz - interval '10 seconds'
           and (state <> 'sending' or lease_until is null or lease_until < $1::timestamptz - interval '10 seconds')
         order by next_attempt_at limit $2",
        now,
        LIMIT,
        &channels[..],
    )
    .fetch_all(db)
    .await?;
    Ok(rows.into_iter().map(|row| (row.id, row.attempts)).collect())
}
