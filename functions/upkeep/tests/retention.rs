//! Retention through its route: it creates partitions ahead and never drops one that is still needed.

use std::time::{Duration, Instant};

use axum::{Router, http::StatusCode};
use shared::{
    schema::TaskCreated,
    serve::complete,
    tag,
    testing::{app, count, emitted, erase, execute, order_erasure, post, reminder, tables_with, task, user},
};
use sqlx::PgPool;
use uuid::Uuid;

fn routes(db: &PgPool) -> Router {
    complete(upkeep::router(app(db)), app(db))
}

async fn retain(db: &PgPool) {
    assert_eq!(post(&routes(db), "/job/retention", "{}").await, StatusCode::OK);
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

const NFD: &str = "cafe\u{301}";
const EXCLUSIONS: &str =
    "select count(*) from pg_constraint where conrelid = 'processed_events_default'::regclass and contype = 'c'";

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

/// Drops the latest weekly partitions of the inbox, at most so many.
async fn drop_weeks(db: &PgPool, most: u32) {
    let drop = format!(
        "do $$ declare week record; begin
             for week in select inhrelid::regclass as name from pg_inherits
                         where inhparent = 'processed_events'::regclass and inhrelid::regclass::text like '%w%'
                         order by inhrelid::regclass::text desc limit {most}
             loop execute format('drop table %s', week.name); end loop;
         end $$"
    );
    execute(db, &drop).await;
}

#[sqlx::test(migrator = "migrations::MIGRATOR")]
async fn there_are_partitions_for_six_weeks_and_a_second_run_changes_nothing(db: PgPool) {
    drop_weeks(&db, 100).await;
    assert_eq!(partitions(&db).await, 1);
    retain(&db).await;
    let made = partitions(&db).await;
    assert!((7..=8).contains(&ahead(&db).await) && made == ahead(&db).await + 1, "{made}");
    retain(&db).await;
    assert_eq!(partitions(&db).await, made);
}

#[sqlx::test(migrator = "migrations::MIGRATOR")]
async fn partitions_are_created_for_every_week_without_claims_in_the_default_partition(db: PgPool) {
    drop_weeks(&db, 100).await;
    execute(
        &db,
        "insert into processed_events values ('task-created', uuid_v7_floor(now()), '2026-01-02 03:04Z'),
             ('task-updated', uuid_v7_floor(now()), now()), ('task-created', uuid_v7_floor(now() + interval '40 days'), now()),
             ('task-created', 'ffffffff-ffff-7fff-bfff-ffffffffffff', now())",
    )
    .await;
    assert_eq!(count(&db, "select count(*) from processed_events_default").await, 4);
    retain(&db).await;
    // The current week and the one in forty days have claims already.
    let made = ahead(&db).await;
    assert!((5..=6).contains(&made), "{made}");
    assert_eq!(count(&db, "select count(*) from processed_events").await, 4);
    assert_eq!(count(&db, "select count(*) from processed_events_default").await, 4);
    let again =
        "insert into processed_events select consumer, event_id, now() from processed_events on conflict do nothing";
    assert_eq!(sqlx::query(again).execute(&db).await.unwrap().rows_affected(), 0);
    retain(&db).await;
    assert_eq!(ahead(&db).await, made);
}

/// PostgreSQL reads the whole default partition under a lock that stops the inbox, unless a constraint excludes the week.
#[sqlx::test(migrator = "migrations::MIGRATOR")]
async fn making_a_partition_reads_no_row_of_the_default_partition_under_the_lock(db: PgPool) {
    drop_weeks(&db, 100).await;
    execute(
        &db,
        "insert into processed_events (consumer, event_id)
             select 'task-created', uuid_v7_floor(now() - interval '1 second' * n) from generate_series(0, 99) n;
         create table reads (rows bigint);
         create function note_reads() returns event_trigger language plpgsql as $$ begin
             insert into reads select seq_tup_read * case tg_event when 'ddl_command_start' then -1 else 1 end
                 from pg_stat_xact_user_tables where relname = 'processed_events_default';
         end $$;
         create event trigger before on ddl_command_start when tag in ('CREATE TABLE') execute function note_reads();
         create event trigger after on ddl_command_end when tag in ('CREATE TABLE') execute function note_reads()",
    )
    .await;
    retain(&db).await;
    // The current week has claims already. PostgreSQL reads the default partition for one that begins in two days or less.
    let made = ahead(&db).await;
    assert!((5..=7).contains(&made), "{made}");
    assert_eq!(count(&db, "select count(*) from reads").await, 2 * made);
    let under_the_lock = count(&db, "select coalesce(sum(rows), 0)::bigint from reads").await;
    assert!(under_the_lock <= 100, "{under_the_lock} rows");
    assert_eq!(count(&db, EXCLUSIONS).await, 0);
}

/// A process ended between the constraint and the partition, and upkeep was away until the week began.
#[sqlx::test(migrator = "migrations::MIGRATOR")]
async fn a_week_that_was_left_excluded_takes_claims_when_it_begins(db: PgPool) {
    let claim = "insert into processed_events (consumer, event_id) select 'task-created', uuid_v7_floor(now()) on conflict do nothing";
    let settings = upkeep::repair::Settings { repair_interval_seconds: 300, repair_after_seconds: 0 };
    for retention in [true, false] {
        execute(
            &db,
            "do $$ begin
                 execute format('drop table if exists processed_events_%s', to_char(now() at time zone 'UTC', 'IYYY\"w\"IW'));
             end $$;
             delete from processed_events_default;
             select exclude_inbox_week(week), exclude_inbox_week(week + interval '28 days')
             from (select date_trunc('week', now() at time zone 'UTC') at time zone 'UTC' as week) week",
        )
        .await;
        assert!(sqlx::query(claim).execute(&db).await.is_err());
        if retention {
            retain(&db).await;
        } else {
            // Arming fails, because there is no daprd.
            let _ = upkeep::repair::run(&app(&db), &settings).await;
        }
        sqlx::query(claim).execute(&db).await.unwrap();
        // The other one may be in use.
        assert_eq!(count(&db, EXCLUSIONS).await, 1);
    }
}

#[sqlx::test(migrator = "migrations::MIGRATOR")]
async fn claims_and_events_before_the_floor_are_deleted_and_later_ones_are_kept(db: PgPool) {
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
async fn keys_feed_rows_versions_and_failures_are_deleted_after_their_retention(db: PgPool) {
    execute(
        &db,
        "insert into idempotency_keys (user_id, key, fingerprint, created_at)
         select gen_random_uuid(), 'key', '', now() - interval '1 hour' * age from unnest('{23,25}'::int[]) age;
         insert into feed (user_id, seq, event_id, task_id, data, created_at)
         select gen_random_uuid(), 1, gen_random_uuid(), gen_random_uuid(), '{}', now() - interval '1 day' * age
         from unnest('{29,31}'::int[]) age;
         insert into task_versions (user_id, task_id, version, snapshot, replaced_at)
         select gen_random_uuid(), gen_random_uuid(), 1, '{}', now() - interval '1 day' * age from unnest('{29,31}'::int[]) age;
         insert into event_failures (consumer, event_id, failures, reason, failed_at)
         select 'task-created', gen_random_uuid(), 1, '', now() - interval '1 day' * age from unnest('{44,46}'::int[]) age",
    )
    .await;
    retain(&db).await;
    for table in ["idempotency_keys", "feed", "task_versions", "event_failures"] {
        let query = sqlx::AssertSqlSafe(format!("select count(*) from {table}"));
        let left: i64 = sqlx::query_scalar(query).fetch_one(&db).await.unwrap();
        assert_eq!(left, 1, "{table}");
    }
}

#[sqlx::test(migrator = "migrations::MIGRATOR")]
async fn replayed_letters_are_deleted_after_45_days_and_all_others_are_truncated(db: PgPool) {
    execute(
        &db,
        "insert into dead_letters (id, consumer, dedupe, origin, reason, payload, state, created_at, replayed_at)
         select gen_random_uuid(), state, age, 'daprd', '', repeat('é', 20000), state, now() - interval '1 day' * age,
                case state when 'replayed' then now() - interval '1 day' * age end
         from unnest('{open,replayed}'::text[]) state, unnest('{44,46}'::int[]) age",
    )
    .await;
    retain(&db).await;
    let left: Vec<(String, String)> =
        sqlx::query_as("select state, dedupe from dead_letters order by 1, 2").fetch_all(&db).await.unwrap();
    let expected = [("open", "44"), ("open", "46"), ("replayed", "44")];
    assert_eq!(left, expected.map(|(state, age)| (state.to_owned(), age.to_owned())));
    let cut = "select count(*) from dead_letters where payload = repeat('é', 16384) and payload_bytes = 40000";
    assert_eq!(count(&db, cut).await, 3);
}

#[sqlx::test(migrator = "migrations::MIGRATOR")]
async fn a_long_reader_delays_no_claim_and_only_postpones_partitions(db: PgPool) {
    execute(
        &db,
        "update marks set event_id = uuid_v7_floor(now() - interval '80 days') where name = 'inbox-floor';
         update marks set event_id = uuid_v7_floor(now() - interval '10 minutes') where name = 'handled';
         select make_inbox_partitions(now() - interval '80 days', now());
         insert into idempotency_keys (user_id, key, fingerprint, created_at)
         values (gen_random_uuid(), 'key', '', now() - interval '25 hours')",
    )
    .await;
    let before = partitions(&db).await;
    let mut reader = db.begin().await.unwrap();
    sqlx::query("lock table processed_events in access share mode").execute(&mut *reader).await.unwrap();

    let retaining = tokio::spawn({
        let db = db.clone();
        async move { retain(&db).await }
    });
    let began = Instant::now();
    while !retaining.is_finished() && began.elapsed() < Duration::from_secs(5) {
        // What every function does with an event: was it claimed, and the claim.
        let claim = "insert into processed_events (consumer, event_id)
                     select 'task-created', gen_random_uuid()
                     where not exists (select from processed_events where event_id = gen_random_uuid())";
        let claimed = tokio::time::timeout(Duration::from_secs(1), sqlx::query(claim).execute(&db)).await;
        claimed.expect("a claim waits for the reader").unwrap();
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert!(retaining.is_finished(), "retention waits for the reader");
    retaining.await.unwrap();
    assert_eq!((partitions(&db).await, count(&db, "select count(*) from idempotency_keys").await), (before, 0));

    // The next day.
    reader.rollback().await.unwrap();
    retain(&db).await;
    assert!(partitions(&db).await < before);
}

/// For example by a psql that somebody has forgotten.
#[sqlx::test(migrator = "migrations::MIGRATOR")]
async fn a_locked_row_stops_no_other_step(db: PgPool) {
    let options = db.connect_options().as_ref().clone().options([("lock_timeout", "300ms")]);
    let impatient = sqlx::postgres::PgPoolOptions::new().connect_lazy_with(options);
    let mut users = [user(&db).await, user(&db).await, user(&db).await];
    users.sort();
    for owner in users {
        sqlx::query("insert into task_tags (id, user_id, name) values ($1, $2, $3)")
            .bind(tag::id(owner, NFD))
            .bind(owner)
            .bind(NFD)
            .execute(&db)
            .await
            .unwrap();
    }
    let old_rows = "insert into idempotency_keys (user_id, key, fingerprint, created_at)
             values (gen_random_uuid(), 'key', '', now() - interval '25 hours');
         insert into dead_letters (id, consumer, dedupe, origin, reason, payload, state, replayed_at)
             values (gen_random_uuid(), '', '', 'daprd', '', '', 'replayed', now() - interval '46 days')";
    execute(&db, old_rows).await;
    let weeks = partitions(&db).await;
    drop_weeks(&db, 2).await;
    let mut forgotten = db.begin().await.unwrap();
    sqlx::query("select from marks for update").execute(&mut *forgotten).await.unwrap();
    sqlx::query("select lock_user_usage($1)").bind(users[0]).execute(&mut *forgotten).await.unwrap();
    let answer = post(&routes(&impatient), "/job/retention", "{}").await;
    assert_eq!(answer, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(partitions(&db).await, weeks);
    assert_eq!(count(&db, "select count(*) from idempotency_keys").await, 0);
    assert_eq!(count(&db, "select count(*) from dead_letters").await, 0);
    let unmerged = "select user_id from task_tags where name is not nfc normalized";
    assert_eq!(sqlx::query_scalar::<_, Uuid>(unmerged).fetch_all(&db).await.unwrap(), users[..1]);

    forgotten.rollback().await.unwrap();
    assert_eq!(post(&routes(&impatient), "/job/retention", "{}").await, StatusCode::OK);
    assert!(sqlx::query_scalar::<_, Uuid>(unmerged).fetch_all(&db).await.unwrap().is_empty());
}

#[sqlx::test(migrator = "migrations::MIGRATOR")]
async fn without_the_database_the_retention_job_is_retried(db: PgPool) {
    let closed = sqlx::postgres::PgPoolOptions::new().connect_lazy_with(db.connect_options().as_ref().clone());
    closed.close().await;
    assert_eq!(post(&routes(&closed), "/job/retention", "{}").await, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(post(&routes(&db), "/job/other", "{}").await, StatusCode::INTERNAL_SERVER_ERROR);
}

#[sqlx::test(migrator = "migrations::MIGRATOR")]
async fn an_erasure_is_repeated_until_no_topic_has_an_older_message_unless_the_user_returned(db: PgPool) {
    let back = async |user: Uuid, came_back: bool| {
        let (task_id, letter) = (Uuid::now_v7(), format!("dentist {user}"));
        if came_back {
            sqlx::query("insert into users (id, email) values ($1, 'dentist')").bind(user).execute(&db).await.unwrap();
        }
        sqlx::query("insert into audit_logs (user_id, task_id, action, detail) values ($1, $2, 'a', '\"dentist\"')")
            .bind(user)
            .bind(task_id)
            .execute(&db)
            .await
            .unwrap();
        sqlx::query(
            "insert into dead_letters (id, consumer, dedupe, origin, reason, payload)
             values (gen_random_uuid(), 'task-created', $1, 'daprd', '', $1)",
        )
        .bind(letter)
        .execute(&db)
        .await
        .unwrap();
    };
    let erased = async || {
        let owner = user(&db).await;
        erase(&db, owner).await;
        owner
    };
    for (days, came_back, left) in [
        (0, false, &[][..]),
        (44, false, &[]),
        (0, true, &["audit_logs", "users"]),
        (46, false, &["audit_logs", "dead_letters"]),
    ] {
        let owner = erased().await;
        back(owner, came_back).await;
        sqlx::query("update erased_users set erased_at = now() - make_interval(days => $1)")
            .bind(days)
            .execute(&db)
            .await
            .unwrap();
        retain(&db).await;
        assert_eq!(tables_with(&db, "dentist").await, left, "{days} {came_back}");
        execute(&db, "truncate erased_users, audit_logs, dead_letters, users cascade").await;
    }
}

#[sqlx::test(migrator = "migrations::MIGRATOR")]
async fn repair_finishes_an_erasure_without_publishing_or_arming_anything_of_its_user(db: PgPool) {
    let owner = user(&db).await;
    let task = task(&db, owner).await;
    reminder(&db, &task, chrono::Utc::now()).await;
    emitted(&db, &TaskCreated { task }).await;
    order_erasure(&db, owner).await;
    let settings = upkeep::repair::Settings { repair_interval_seconds: 300, repair_after_seconds: 0 };
    for _ in 0..2 {
        // Arming fails, because there is no daprd.
        let _ = upkeep::repair::run(&app(&db), &settings).await;
        assert!(tables_with(&db, "dentist").await.is_empty());
    }
    assert_eq!(count(&db, "select count(*) from erased_users where done").await, 1);
    assert_eq!(count(&db, "select count(*) from task_events where published_at is null").await, 0);
    assert_eq!(upkeep::arming::due(&db, chrono::Utc::now(), &settings, None).await.unwrap(), []);
}

/// Release 0.1.0 stored text as given. Tags are found by their name in NFC.
#[sqlx::test(migrator = "migrations::MIGRATOR")]
async fn tags_that_differ_in_their_unicode_form_are_merged(db: PgPool) {
    const NFC: &str = "caf\u{e9}";
    // A character that has no form of its own in NFC. There the name is longer than allowed.
    let too_long = "\u{958}".repeat(50);
    let (ada, bob) = (user(&db).await, user(&db).await);
    let with = async |user: Uuid, names: &[&str]| -> Uuid {
        let task = task(&db, user).await.task_id;
        for name in names {
            sqlx::query(
                "with tag as (insert into task_tags (id, user_id, name) values ($1, $2, $3) on conflict do nothing)
                 insert into task_tag_associations values ($4, $1)",
            )
            .bind(tag::id(user, name))
            .bind(user)
            .bind(*name)
            .bind(task)
            .execute(&db)
            .await
            .unwrap();
        }
        task
    };
    let (old, both, new) = (with(ada, &[NFD, "x"]).await, with(ada, &[NFD, NFC]).await, with(ada, &[NFC]).await);
    let (of_bob, long) = (with(bob, &[NFD]).await, with(bob, &[&too_long]).await);
    let tags = async |task: Uuid| -> Vec<(Uuid, String)> {
        sqlx::query_as(
            "select id, name from task_tags join task_tag_associations on tag_id = id where task_id = $1 order by name",
        )
        .bind(task)
        .fetch_all(&db)
        .await
        .unwrap()
    };
    for _ in 0..2 {
        retain(&db).await;
        let tag = |user, name: &str| (tag::id(user, name), name.to_owned());
        assert_eq!(tags(old).await, [tag(ada, NFC), tag(ada, "x")]);
        assert_eq!((tags(both).await, tags(new).await), (vec![tag(ada, NFC)], vec![tag(ada, NFC)]));
        assert_eq!((tags(of_bob).await, tags(long).await), (vec![tag(bob, NFC)], vec![tag(bob, &too_long)]));
        assert_eq!(count(&db, "select count(*) from task_tags").await, 4);
    }
}
