//! Retention: deletes rows that are no longer needed, cuts large dead letters, repeats erasures, merges tags, and creates the inbox partitions of
//! the next weeks.
//!
//! An inbox partition is dropped only after the floor was raised past it, and only while every event below is claimed. So no event can be
//! handled again after the inbox has forgotten it. Deletes run in batches and skip locked rows.
//!
//! Making or dropping a partition locks the inbox against every function. While a backup reads the inbox, the lock cannot be acquired,
//! and waiting for it would block all functions. So each partition is a transaction that waits 200 ms, tried a few times. If none succeeds, the
//! next day tries again: partitions are made six weeks ahead.

use std::time::Duration;

use chrono::{DateTime, Utc};
use shared::{App, db::Db};
use uuid::Uuid;

use crate::{erasure, tags};

/// How long claims, events and replayed letters are kept: longer than Kafka's 30 days plus a week for a replay.
pub(crate) const DAYS: i32 = 45;
/// Maximum rows of one delete.
const BATCH: i64 = 10_000;
/// Maximum letters of one update that may have 32 MB each.
const LARGE: i64 = 50;
/// How often a partition is tried, and the pause in between, in which the functions that waited go on.
const TRIES: u32 = 3;
const PAUSE: Duration = Duration::from_millis(500);

/// Runs retention once. A failed step never stops the other steps, and its earlier batches stay deleted.
///
/// # Errors
/// The first failure. The next run tries again.
pub async fn run(app: &App) -> sqlx::Result<()> {
    let db = &app.db;
    let (mut made, mut dropped) = (0, 0);
    let floor = raise_floor(db).await;
    let admitted = admit_near_weeks(db).await;
    let making = make_partitions(db, &mut made).await;
    let (dropping, claimed) = match floor {
        Ok(floor) => (drop_partitions(db, floor, &mut dropped).await, delete_claimed(db, floor).await),
        Err(error) => (Ok(()), Err(error)),
    };
    if let Err(error) = making.and(dropping) {
        tracing::warn!(%error, "upkeep: not all partitions of the inbox could be made or dropped; tomorrow again");
    }
    let expired = delete_expired(db).await;
    let letters = delete_letters(db).await;
    let cut = cut_letters(db).await;
    let erased = erasure::repeat(db).await;
    let merged = tags::merge(db).await;
    let deleted: i64 = [&claimed, &expired, &letters].into_iter().flatten().sum();
    tracing::info!(
        made,
        dropped,
        deleted,
        merged = merged.as_ref().ok(),
        "upkeep: retention made {made} partitions, dropped {dropped}, deleted {deleted} rows"
    );
    admitted?;
    claimed?;
    expired?;
    letters?;
    cut?;
    erased?;
    merged.map(drop)
}

/// Raises the id below which everything that was handled may be forgotten, and returns it.
async fn raise_floor(db: &Db) -> sqlx::Result<Uuid> {
    sqlx::query_scalar!(
        r#"update marks set event_id = greatest(marks.event_id, least(
               uuid_v7_floor(date_trunc('week', now() - make_interval(days => $1))),
               (select event_id from marks where name = 'handled')))
           where name = 'inbox-floor' returning event_id"#,
        DAYS
    )
    .fetch_one(db)
    .await
}

/// Deletes the published events behind the floor, and the claims that are in no weekly partition. Returns how many rows.
async fn delete_claimed(db: &Db, floor: Uuid) -> sqlx::Result<i64> {
    let mut deleted = 0;
    loop {
        // A batch that deletes nothing is the last one.
        let some = sqlx::query_scalar!(
            r#"with events as (
                   delete from task_events where id in (
                       select id from task_events where id < $1 and published_at is not null
                       order by id limit $2 for update skip locked) returning 1
               ), claims as (
                   delete from processed_events_default where (consumer, event_id) in (
                       select consumer, event_id from processed_events_default where event_id < $1
                       limit $2 for update skip locked) returning 1
               )
               select (select count(*) from events) + (select count(*) from claims) as "deleted!""#,
            floor,
            BATCH,
        )
        .fetch_one(db)
        .await?;
        deleted += some;
        if some == 0 {
            return Ok(deleted);
        }
    }
}

/// Deletes idempotency keys, rows of the feed, replaced versions of tasks and counts of failures by their age. Returns how many.
async fn delete_expired(db: &Db) -> sqlx::Result<i64> {
    let mut deleted = 0;
    loop {
        let some = sqlx::query_scalar!(
            r#"with keys as (
                   delete from idempotency_keys where (user_id, key) in (
                       select user_id, key from idempotency_keys where created_at < now() - interval '24 hours'
                       limit $1 for update skip locked) returning 1
               ), fed as (
                   delete from feed where (user_id, seq) in (
                       select user_id, seq from feed where created_at < now() - interval '30 days'
                       limit $1 for update skip locked) returning 1
               ), versions as (
                   delete from task_versions where (user_id, task_id, version) in (
                       select user_id, task_id, version from task_versions where replaced_at < now() - interval '30 days'
                       limit $1 for update skip locked) returning 1
               ), failures as (
                   delete from event_failures where (consumer, event_id) in (
                       select consumer, event_id from event_failures where failed_at < now() - make_interval(days => $2)
                       limit $1 for update skip locked) returning 1
               )
               select (select count(*) from keys) + (select count(*) from fed) + (select count(*) from versions)
                   + (select count(*) from failures) as "deleted!""#,
            BATCH,
            DAYS,
        )
        .fetch_one(db)
        .await?;
        deleted += some;
        if some == 0 {
            return Ok(deleted);
        }
    }
}

/// Deletes the letters that were replayed long ago. Returns how many.
async fn delete_letters(db: &Db) -> sqlx::Result<i64> {
    let mut deleted = 0;
    loop {
        let some = sqlx::query!(
            "delete from dead_letters where id in (
                 select id from dead_letters where state = 'replayed' and replayed_at < now() - make_interval(days => $2)
                 limit $1 for update skip locked)",
            BATCH,
            DAYS,
        )
        .execute(db)
        .await?
        .rows_affected();
        deleted += some.cast_signed();
        if some == 0 {
            return Ok(deleted);
        }
    }
}

/// Cuts the letters that older code has stored whole.
async fn cut_letters(db: &Db) -> sqlx::Result<()> {
    loop {
        let cut = sqlx::query!(
            "update dead_letters set payload = left(payload, 16384), payload_bytes = octet_length(payload)
             where id in (select id from dead_letters where payload_bytes is null limit $1 for update skip locked)",
            LARGE
        );
        if cut.execute(db).await?.rows_affected() == 0 {
            return Ok(());
        }
    }
}

/// Makes the partitions of the next weeks, and counts them. Fails with the first error, after every week was tried.
///
/// If nothing ran for weeks, the default partition already holds claims of the current week. They stay there: the inbox dedupes by them all the
/// same, and retention deletes them. PostgreSQL refuses a partition for such a week, so it is not tried.
///
/// PostgreSQL reads the default partition under a lock that stops the inbox, unless a constraint excludes the week (migration 46). With
/// millions of claims that takes longer than a partition may take. Only a week that begins in more than two days is excluded, because
/// until its partition exists, claims of an excluded week are refused. A nearer week then stays in the default partition.
async fn make_partitions(db: &Db, made: &mut i32) -> sqlx::Result<()> {
    let missing = sqlx::query!(
        r#"select week at time zone 'UTC' as "week!", week at time zone 'UTC' > now() + interval '2 days' as "far!"
           from generate_series(date_trunc('week', now() at time zone 'UTC'), (now() + interval '6 weeks') at time zone 'UTC',
                                interval '7 days') week
           where to_regclass('processed_events_' || to_char(week, 'IYYY"w"IW')) is null
             and not exists (
                 select from processed_events_default
                 where event_id >= uuid_v7_floor(week at time zone 'UTC')
                   and event_id < uuid_v7_floor((week + interval '7 days') at time zone 'UTC'))
           order by week"#
    )
    .fetch_all(db)
    .await?;
    let mut result = Ok(());
    for week in missing {
        let making = make_partition(db, week.week, week.far).await;
        result = result.and(making.map(|some| *made += some));
    }
    result
}

async fn make_partition(db: &Db, week: DateTime<Utc>, far: bool) -> sqlx::Result<i32> {
    if far {
        PartitionChange::Exclude(week).apply(db).await?;
        sqlx::query!("select from validate_inbox_week($1)", week).execute(db).await?;
    }
    PartitionChange::Make(week).apply(db).await
}

/// Drops the constraints of weeks that begin soon, which a process that ended between its steps has left behind: a claim must always
/// find a place.
pub(crate) async fn admit_near_weeks(db: &Db) -> sqlx::Result<()> {
    sqlx::query!("select from admit_inbox_weeks(now() + interval '1 day')").execute(db).await.map(drop)
}

/// Drops the partitions behind the floor, and counts them.
async fn drop_partitions(db: &Db, floor: Uuid, dropped: &mut i32) -> sqlx::Result<()> {
    let behind = sqlx::query_scalar!(
        r#"select upper as "upper!" from (
               select substring(pg_get_expr(relpartbound, oid) from 'TO \(''([^'']+)''\)')::uuid as upper
               from pg_inherits join pg_class on oid = inhrelid where inhparent = 'processed_events'::regclass) bound
           where upper <= $1 order by upper"#,
        floor
    )
    .fetch_all(db)
    .await?;
    for upper in behind {
        *dropped += PartitionChange::Drop { upper }.apply(db).await?;
    }
    Ok(())
}

/// A change of one partition of the inbox.
#[derive(Clone, Copy)]
enum PartitionChange {
    /// Excludes the week that begins then from the default partition.
    Exclude(DateTime<Utc>),
    /// Makes the partition of the week that begins then.
    Make(DateTime<Utc>),
    /// Drops the oldest partition.
    Drop {
        /// The event id at which it ends.
        upper: Uuid,
    },
}

impl PartitionChange {
    /// Tries the change a few times. Returns the number of partitions that were made, or of those that were dropped.
    async fn apply(self, db: &Db) -> sqlx::Result<i32> {
        for _ in 1..TRIES {
            match self.try_once(db).await {
                Ok(changed) => return Ok(changed),
                Err(error) => tracing::info!(%error, "upkeep: a partition of the inbox cannot be changed now"),
            }
            tokio::time::sleep(PAUSE).await;
        }
        self.try_once(db).await
    }

    async fn try_once(self, db: &Db) -> sqlx::Result<i32> {
        let mut tx = db.begin().await?;
        let timeouts = "set local lock_timeout = '200ms'; set local statement_timeout = '1s'";
        sqlx::raw_sql(timeouts).execute(&mut *tx).await?;
        let changed = match self {
            Self::Exclude(week) => {
                sqlx::query!("select from exclude_inbox_week($1)", week).execute(&mut *tx).await?;
                0
            }
            Self::Make(week) => {
                let made = sqlx::query_scalar!(
                    r#"select make_inbox_partitions($1, $1::timestamptz + interval '1 day') as "changed!""#,
                    week
                )
                .fetch_one(&mut *tx)
                .await?;
                sqlx::query!("select from admit_inbox_weeks($1::timestamptz + interval '1 day')", week)
                    .execute(&mut *tx)
                    .await?;
                made
            }
            Self::Drop { upper } => {
                sqlx::query_scalar!(r#"select drop_inbox_partitions($1) as "changed!""#, upper)
                    .fetch_one(&mut *tx)
                    .await?
            }
        };
        tx.commit().await?;
        Ok(changed)
    }
}
