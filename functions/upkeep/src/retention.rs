//! Retention: deletes rows that are no longer needed, and creates the inbox partitions of the next weeks.
//!
//! An inbox partition is dropped only after the floor was raised past it, and only while every event below is claimed. So no event can be
//! handled again after the inbox has forgotten it. Deletes run in batches and skip locked rows.

use shared::App;

/// How long claims and events are kept: longer than Kafka's 30 days plus a week for a replay.
const DAYS: i32 = 45;
/// Maximum rows of one delete.
const BATCH: i64 = 10_000;

/// Runs retention once. After an error, all earlier batches stay deleted.
pub async fn run(app: &App) -> sqlx::Result<()> {
    let made = make_partitions(app).await?;
    let floor = sqlx::query_scalar!(
        r#"update marks set event_id = greatest(marks.event_id, least(
               uuid_v7_floor(date_trunc('week', now() - make_interval(days => $1))),
               (select event_id from marks where name = 'handled')))
           where name = 'inbox-floor' returning event_id"#,
        DAYS
    )
    .fetch_one(&app.db)
    .await?;
    let dropped =
        sqlx::query_scalar!(r#"select drop_inbox_partitions($1) as "dropped!""#, floor).fetch_one(&app.db).await?;
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
               ), keys as (
                   delete from idempotency_keys where (user_id, key) in (
                       select user_id, key from idempotency_keys where created_at < now() - interval '24 hours'
                       limit $2 for update skip locked) returning 1
               ), fed as (
                   delete from feed where (user_id, seq) in (
                       select user_id, seq from feed where created_at < now() - interval '30 days'
                       limit $2 for update skip locked) returning 1
               ), failures as (
                   delete from event_failures where failed_at < now() - make_interval(days => $3) returning 1
               )
               select (select count(*) from events) + (select count(*) from claims) + (select count(*) from keys)
                    + (select count(*) from fed) + (select count(*) from failures) as "deleted!""#,
            floor,
            BATCH,
            DAYS,
        )
        .fetch_one(&app.db)
        .await?;
        deleted += some;
        if some == 0 {
            break;
        }
    }
    tracing::info!(
        made,
        dropped,
        deleted,
        "upkeep: retention made {made} partitions, dropped {dropped}, deleted {deleted} rows"
    );
    Ok(())
}

/// Creates the partitions of the next weeks.
///
/// If nothing ran for weeks, the default partition already holds events of those weeks, and PostgreSQL refuses to create their partitions.
/// So these rows are taken out and inserted again afterwards.
async fn make_partitions(app: &App) -> sqlx::Result<i32> {
    let mut tx = app.db.begin().await?;
    let late = sqlx::query_scalar!(
        r#"select exists (select from processed_events_default
                          where event_id >= uuid_v7_floor(date_trunc('week', now() at time zone 'UTC') at time zone 'UTC')
                            and event_id < uuid_v7_floor(now() + interval '7 weeks')) as "late!""#
    )
    .fetch_one(&mut *tx)
    .await?;
    if late {
        // A concurrent claim waits for this lock and then finds its partition.
        sqlx::query!("lock table processed_events_default in access exclusive mode").execute(&mut *tx).await?;
    }
    let aside = sqlx::query!(
        "delete from processed_events_default
         where $1 and event_id >= uuid_v7_floor(date_trunc('week', now() at time zone 'UTC') at time zone 'UTC')
           and event_id < uuid_v7_floor(now() + interval '7 weeks')
         returning consumer, event_id, processed_at",
        late
    )
    .fetch_all(&mut *tx)
    .await?;
    let made = sqlx::query_scalar!(r#"select make_inbox_partitions(now(), now() + interval '6 weeks') as "made!""#)
        .fetch_one(&mut *tx)
        .await?;
    let (mut consumers, mut ids, mut times) = (Vec::new(), Vec::new(), Vec::new());
    for row in aside {
        consumers.push(row.consumer);
        ids.push(row.event_id);
        times.push(row.processed_at);
    }
    sqlx::query!(
        "insert into processed_events (consumer, event_id, processed_at)
         select * from unnest($1::text[], $2::uuid[], $3::timestamptz[])",
        &consumers,
        &ids,
        &times
    )
    .execute(&mut *tx)
    .await?;
    tx.commit().await?;
    Ok(made)
}
