//! Retention through its route: it creates partitions ahead and never drops one that is still needed.

use axum::{Router, http::StatusCode};
use shared::{
    schema::TaskCreated,
    serve::complete,
    testing::{app, count, emitted, post, task, user},
};
use sqlx::PgPool;
use uuid::Uuid;

fn routes(db: &PgPool) -> Router {
    complete(upkeep::router(app(db)), app(db))
}

async fn retain(db: &PgPool) {
    assert_eq!(post(&routes(db), "/job/retention", "{}").await, StatusCode::OK);
}

async fn execute(db: &PgPool, statement: &'static str) {
    sqlx::raw_sql(statement).execute(db).await.unwrap();
}

/// The number of weekly partitions that end in the future.
async fn ahead(db: &PgPool) -> i64 {
    count(
        db,
        "select count(*) from pg_inherits join pg_class on oid = inhrelid
         where inhparent = 'processed_events'::regclass
           and substring(pg_get_expr(relpartbound, oid) from 'TO \\(''([^'']+)''\\)')::uuid > uuid_v7_floor(now())",
    )
    .await
}

async fn partitions(db: &PgPool) -> i64 {
    count(db, "select count(*) from pg_inherits where inhparent = 'processed_events'::regclass").await
}

async fn floor(db: &PgPool, name: &str) -> Uuid {
    sqlx::query_scalar("select event_id from marks where name = $1").bind(name).fetch_one(db).await.unwrap()
}

/// Inserts an event from `days` ago that its function has claimed.
async fn claimed(db: &PgPool, days: i32) -> Uuid {
    let user = user(db).await;
    let task = task(db, user).await;
    let event = emitted(db, &TaskCreated { task }).await;
    sqlx::query_scalar(
        "with event as (
             update task_events
             set id = overlay(id::text placing left(uuid_v7_floor(now() - make_interval(days => $2))::text, 13) from 1)::uuid,
                 published_at = now()
             where id = $1 returning id
         )
         insert into processed_events (consumer, event_id) select 'task-created', id from event returning event_id",
    )
    .bind(event["id"].as_str().unwrap().parse::<Uuid>().unwrap())
    .bind(days)
    .fetch_one(db)
    .await
    .unwrap()
}

async fn exists(db: &PgPool, id: Uuid) -> (bool, bool) {
    sqlx::query_as(
        "select exists (select from task_events where id = $1), exists (select from processed_events where event_id = $1)",
    )
    .bind(id)
    .fetch_one(db)
    .await
    .unwrap()
}

#[sqlx::test(migrator = "migrations::MIGRATOR")]
async fn there_are_partitions_for_six_weeks_and_a_second_run_changes_nothing(db: PgPool) {
    execute(
        &db,
        "do $$ declare week record; begin
             for week in select inhrelid::regclass as name from pg_inherits
                         where inhparent = 'processed_events'::regclass and inhrelid::regclass::text like '%w%'
             loop execute format('drop table %s', week.name); end loop;
         end $$",
    )
    .await;
    assert_eq!(partitions(&db).await, 1);
    retain(&db).await;
    let made = partitions(&db).await;
    assert!((7..=8).contains(&ahead(&db).await) && made == ahead(&db).await + 1, "{made}");
    retain(&db).await;
    assert_eq!(partitions(&db).await, made);
}

#[sqlx::test(migrator = "migrations::MIGRATOR")]
async fn partitions_that_come_late_take_over_what_the_default_one_holds(db: PgPool) {
    execute(
        &db,
        "do $$ declare week record; begin
             for week in select inhrelid::regclass as name from pg_inherits
                         where inhparent = 'processed_events'::regclass and inhrelid::regclass::text like '%w%'
             loop execute format('drop table %s', week.name); end loop;
         end $$;
         insert into processed_events values ('task-created', uuid_v7_floor(now()), '2026-01-02 03:04Z'),
             ('task-updated', uuid_v7_floor(now()), now()), ('task-created', uuid_v7_floor(now() + interval '40 days'), now()),
             ('task-created', 'ffffffff-ffff-7fff-bfff-ffffffffffff', now())",
    )
    .await;
    assert_eq!(count(&db, "select count(*) from processed_events_default").await, 4);
    retain(&db).await;
    assert!(ahead(&db).await >= 6);
    assert_eq!(count(&db, "select count(*) from processed_events").await, 4);
    assert_eq!(count(&db, "select count(*) from processed_events where processed_at = '2026-01-02 03:04Z'").await, 1);
    // Only the claim beyond the next weeks stays in the default partition.
    assert_eq!(count(&db, "select count(*) from processed_events_default").await, 1);
}

#[sqlx::test(migrator = "migrations::MIGRATOR")]
async fn what_is_behind_the_floor_goes_and_the_rest_stays(db: PgPool) {
    execute(
        &db,
        "update marks set event_id = uuid_v7_floor(now() - interval '80 days') where name = 'inbox-floor';
         select make_inbox_partitions(now() - interval '80 days', now())",
    )
    .await;
    let (old, kept) = (claimed(&db, 70).await, claimed(&db, 30).await);
    execute(&db, "update marks set event_id = uuid_v7_floor(now() - interval '10 minutes') where name = 'handled'")
        .await;
    let before = partitions(&db).await;
    retain(&db).await;
    assert_eq!((exists(&db, old).await, exists(&db, kept).await), ((false, false), (true, true)));
    assert!(partitions(&db).await < before);
    let floor = floor(&db, "inbox-floor").await;
    assert!(old < floor && floor < kept);
    // The floor is at least 45 days behind. A partition that ends after it stays.
    let within: bool = sqlx::query_scalar("select $1 <= uuid_v7_floor(now() - interval '45 days')")
        .bind(floor)
        .fetch_one(&db)
        .await
        .unwrap();
    assert!(within);
}

#[sqlx::test(migrator = "migrations::MIGRATOR")]
async fn the_floor_never_passes_an_event_that_is_not_claimed(db: PgPool) {
    execute(
        &db,
        "update marks set event_id = uuid_v7_floor(now() - interval '80 days') where name = 'inbox-floor';
         select make_inbox_partitions(now() - interval '80 days', now())",
    )
    .await;
    let (first, unclaimed, later) = (claimed(&db, 75).await, claimed(&db, 70).await, claimed(&db, 60).await);
    sqlx::query("delete from processed_events where event_id = $1").bind(unclaimed).execute(&db).await.unwrap();
    sqlx::query("update marks set event_id = $1 where name = 'handled'").bind(unclaimed).execute(&db).await.unwrap();
    retain(&db).await;
    assert_eq!(floor(&db, "inbox-floor").await, unclaimed);
    assert_eq!((exists(&db, unclaimed).await, exists(&db, later).await), ((true, false), (true, true)));
    assert!(!exists(&db, first).await.0);
}

#[sqlx::test(migrator = "migrations::MIGRATOR")]
async fn the_floor_never_goes_back(db: PgPool) {
    let before = floor(&db, "inbox-floor").await;
    retain(&db).await;
    assert_eq!(floor(&db, "inbox-floor").await, before);
}

#[sqlx::test(migrator = "migrations::MIGRATOR")]
async fn an_event_that_was_never_published_stays_whatever_its_age(db: PgPool) {
    execute(&db, "update marks set event_id = uuid_v7_floor(now() - interval '10 minutes') where name = 'handled'")
        .await;
    let old = claimed(&db, 70).await;
    execute(&db, "update task_events set published_at = null").await;
    retain(&db).await;
    assert!(exists(&db, old).await.0);
}

#[sqlx::test(migrator = "migrations::MIGRATOR")]
async fn keys_feed_and_failures_go_when_their_time_is_over(db: PgPool) {
    execute(
        &db,
        "insert into idempotency_keys (user_id, key, fingerprint, created_at)
         select gen_random_uuid(), 'key', '', now() - interval '1 hour' * age from unnest('{23,25}'::int[]) age;
         insert into feed (user_id, seq, event_id, task_id, data, created_at)
         select gen_random_uuid(), 1, gen_random_uuid(), gen_random_uuid(), '{}', now() - interval '1 day' * age
         from unnest('{29,31}'::int[]) age;
         insert into event_failures (consumer, event_id, failures, reason, failed_at)
         select 'task-created', gen_random_uuid(), 1, '', now() - interval '1 day' * age from unnest('{44,46}'::int[]) age",
    )
    .await;
    retain(&db).await;
    for table in ["idempotency_keys", "feed", "event_failures"] {
        let query = sqlx::AssertSqlSafe(format!("select count(*) from {table}"));
        let left: i64 = sqlx::query_scalar(query).fetch_one(&db).await.unwrap();
        assert_eq!(left, 1, "{table}");
    }
}

#[sqlx::test(migrator = "migrations::MIGRATOR")]
async fn without_the_database_it_runs_again(db: PgPool) {
    let closed = sqlx::postgres::PgPoolOptions::new().connect_lazy_with(db.connect_options().as_ref().clone());
    closed.close().await;
    assert_eq!(post(&routes(&closed), "/job/retention", "{}").await, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(post(&routes(&db), "/job/other", "{}").await, StatusCode::INTERNAL_SERVER_ERROR);
}
