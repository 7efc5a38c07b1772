//! The migrations on a real PostgreSQL: from an empty database, from a Phase II database, twice, concurrently, and with older code.

mod rules;

use std::{
    process::{Command, Output},
    time::{Duration, Instant},
};

use migrations::{Applied, MIGRATOR, apply, apply_within, connect};
use sqlx::{ConnectOptions as _, PgPool, Row as _};
use uuid::Uuid;

/// The complete schema, and its initial rows.
async fn schema(db: &PgPool) -> Vec<String> {
    sqlx::query_scalar(
        "select format('%s.%s %s %s', table_name, column_name, data_type, column_default) from information_schema.columns
         where table_schema = 'public'
         union all select conname || ' ' || pg_get_constraintdef(oid) from pg_constraint
         where connamespace = 'public'::regnamespace
         union all select indexdef from pg_indexes where schemaname = 'public'
         union all select policyname || qual from pg_policies
         union all select prosrc from pg_proc where pronamespace = 'public'::regnamespace
         union all select format('%s %s', name, event_id) from marks
         union all select format('%s', since) from schema_compatibility
         union all select format('%s %s', version, installed_on) from _sqlx_migrations
         order by 1",
    )
    .fetch_all(db)
    .await
    .unwrap()
}

/// The tables that a Phase II application creates, with example rows.
const PHASE_TWO: &str = "
    create table users (
        id uuid primary key default gen_random_uuid(), email text not null, created_at timestamptz not null default now());
    create table tasks (
        id uuid primary key default gen_random_uuid(), user_id uuid not null references users (id) on delete cascade,
        title text not null, description text, completed boolean not null default false,
        created_at timestamptz not null default now(), updated_at timestamptz not null default now());
    insert into users (id, email) values ('00000000-0000-4000-8000-000000000001', 'ada@example.com');
    insert into tasks (id, user_id, title, description, completed, created_at) values
        ('00000000-0000-4000-8000-00000000000a', '00000000-0000-4000-8000-000000000001', 'open', 'words', false, '2025-01-02Z'),
        ('00000000-0000-4000-8000-00000000000b', '00000000-0000-4000-8000-000000000001', 'done', null, true, '2025-01-03Z')";

/// Runs the statements of the Phase II application, exactly as it sends them.
async fn phase_two_works(db: &PgPool, user: Uuid) {
    let id: Uuid = sqlx::query_scalar(
        "insert into tasks (user_id, title, description) values ($1, 'call', 'the dentist') returning id",
    )
    .bind(user)
    .fetch_one(db)
    .await
    .unwrap();
    let read = async || {
        let row = sqlx::query("select * from tasks where id = $1 and user_id = $2").bind(id).bind(user);
        let row = row.fetch_one(db).await.unwrap();
        let (title, completed): (String, bool) = (row.get("title"), row.get("completed"));
        let (version, completed_at_is_set): (Option<i64>, bool) =
            sqlx::query_as("select version, completed_at is not null from tasks where id = $1")
                .bind(id)
                .fetch_one(db)
                .await
                .unwrap();
        (title, completed, version, completed_at_is_set)
    };
    assert_eq!(read().await, ("call".to_owned(), false, Some(1), false));
    for (statement, expected) in [
        ("update tasks set title = 'write', updated_at = now() where id = $1", ("write", false, Some(2), false)),
        ("update tasks set completed = true, updated_at = now() where id = $1", ("write", true, Some(3), true)),
        (
            "update tasks set completed = not completed, updated_at = now() where id = $1",
            ("write", false, Some(4), false),
        ),
        (
            "update tasks set title = 'a', description = null, completed = true where id = $1",
            ("a", true, Some(5), true),
        ),
    ] {
        sqlx::query(statement).bind(id).execute(db).await.unwrap();
        assert_eq!(read().await, (expected.0.to_owned(), expected.1, expected.2, expected.3), "{statement}");
    }
    let listed: Vec<Uuid> = sqlx::query_scalar("select id from tasks where user_id = $1 order by created_at desc")
        .bind(user)
        .fetch_all(db)
        .await
        .unwrap();
    assert_eq!(listed[0], id);
    let deleted = sqlx::query("delete from tasks where id = $1 and user_id = $2").bind(id).bind(user).execute(db).await;
    assert_eq!(deleted.unwrap().rows_affected(), 1);
}

#[sqlx::test(migrations = false)]
async fn migrating_twice_changes_nothing(db: PgPool) {
    let first = apply(&db).await.unwrap();
    let before = schema(&db).await;
    assert!(before.len() > 100);
    assert_eq!(apply(&db).await.unwrap(), first);
    assert_eq!(schema(&db).await, before);
}

#[sqlx::test(migrations = false)]
async fn concurrent_migrations_apply_once(db: PgPool) {
    let all = tokio::join!(apply(&db), apply(&db), apply(&db));
    for applied in [all.0, all.1, all.2] {
        assert!(matches!(applied.unwrap(), Applied::Migrated(_)));
    }
}

/// The session of a migrator whose host is gone, for example, until the server notices.
#[sqlx::test(migrations = false)]
async fn a_migration_that_waits_too_long_for_another_says_which_session_to_end(db: PgPool) {
    let mut other = db.acquire().await.unwrap();
    let lock = "select pg_backend_pid() from pg_advisory_lock(hashtext('migrations'))";
    let session: i32 = sqlx::query_scalar(lock).fetch_one(&mut *other).await.unwrap();

    let error = apply_within(&db, Duration::from_millis(200)).await.unwrap_err().to_string();

    assert!(error.contains("another migration has held the lock for 200ms"), "{error}");
    assert!(error.ends_with(&format!("end it with select pg_terminate_backend({session})")), "{error}");
    drop(other.detach());
    assert!(matches!(apply(&db).await.unwrap(), Applied::Migrated(_)));
}

#[sqlx::test(migrations = false)]
async fn the_server_notices_within_a_minute_that_a_migrator_has_vanished(db: PgPool) {
    let db = connect(db.connect_options().as_ref().clone().host("127.0.0.1")).await.unwrap();
    let set =
        "select concat_ws(' ', current_setting('tcp_keepalives_idle'), current_setting('tcp_keepalives_interval'),
                                current_setting('tcp_keepalives_count'), current_setting('tcp_user_timeout'))";
    assert_eq!(sqlx::query_scalar::<_, String>(set).fetch_one(&db).await.unwrap(), "30 10 3 30000");
}

#[sqlx::test(migrations = false)]
async fn a_migration_behind_a_long_reader_blocks_others_only_briefly_and_is_retried(db: PgPool) {
    MIGRATOR.run_to(10, &db).await.unwrap();
    let mut reader = db.begin().await.unwrap();
    // Migration 16 alters this table.
    sqlx::query("lock table task_reminders in access share mode").execute(&mut *reader).await.unwrap();
    let migrating = tokio::spawn({
        let db = db.clone();
        async move { apply(&db).await.unwrap() }
    });
    let began = Instant::now();
    while began.elapsed() < Duration::from_secs(3) {
        let select = sqlx::query("select from task_reminders").execute(&db);
        let selected = tokio::time::timeout(Duration::from_millis(2_500), select).await;
        selected.expect("a select waits behind the migration").unwrap();
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert!(!migrating.is_finished());
    reader.rollback().await.unwrap();
    assert!(matches!(migrating.await.unwrap(), Applied::Migrated(_)));
}

#[sqlx::test(migrations = false)]
async fn the_statements_of_phase_two_work_on_the_new_schema(db: PgPool) {
    apply(&db).await.unwrap();
    let user = sqlx::query_scalar("insert into users (email) values ('ben@example.com') returning id");
    phase_two_works(&db, user.fetch_one(&db).await.unwrap()).await;
}

#[sqlx::test(migrations = false)]
async fn a_phase_two_database_keeps_its_rows_and_its_application(db: PgPool) {
    sqlx::raw_sql(PHASE_TWO).execute(&db).await.unwrap();
    let old = "select to_jsonb(old) from (select id, user_id, title, description, completed, created_at, updated_at from tasks) old
               union all select to_jsonb(old) from (select id, email, created_at from users) old order by 1";
    let before: Vec<sqlx::types::JsonValue> = sqlx::query_scalar(old).fetch_all(&db).await.unwrap();
    apply(&db).await.unwrap();
    let after: Vec<sqlx::types::JsonValue> = sqlx::query_scalar(old).fetch_all(&db).await.unwrap();
    assert_eq!((before.len(), &after), (3, &before));
    let new: Vec<(Option<i64>, Option<String>)> =
        sqlx::query_as("select version, priority from tasks").fetch_all(&db).await.unwrap();
    assert_eq!(new, vec![(Some(1), Some("medium".to_owned())); 2]);
    phase_two_works(&db, "00000000-0000-4000-8000-000000000001".parse().unwrap()).await;
    // From now on the schema is that of a database that began empty.
    assert!(matches!(apply(&db).await.unwrap(), Applied::Migrated(_)));
}

#[sqlx::test(migrations = false)]
async fn a_version_set_by_the_writer_is_kept(db: PgPool) {
    apply(&db).await.unwrap();
    let version: i64 = sqlx::query_scalar(
        "with owner as (insert into users (email) values ('ada@example.com') returning id)
         insert into tasks (user_id, title, version) select id, 'call', 7 from owner returning version",
    )
    .fetch_one(&db)
    .await
    .unwrap();
    assert_eq!(version, 7);
    let version: i64 = sqlx::query_scalar("update tasks set title = 'write', version = version + 1 returning version")
        .fetch_one(&db)
        .await
        .unwrap();
    assert_eq!(version, 8);
    let kept: bool = sqlx::query_scalar(
        "update tasks set completed = true, completed_at = '2025-01-02Z' returning completed_at = '2025-01-02Z'",
    )
    .fetch_one(&db)
    .await
    .unwrap();
    assert!(kept);
}

/// Makes the database look as if newer code had migrated it.
async fn newer(db: &PgPool, since: i64) {
    apply(db).await.unwrap();
    sqlx::query(
        "insert into _sqlx_migrations (version, description, success, checksum, execution_time) values (9000, '', true, '', 0)",
    )
    .execute(db)
    .await
    .unwrap();
    sqlx::query("update schema_compatibility set since = $1").bind(since).execute(db).await.unwrap();
}

/// Runs the program that runs before a rollout.
fn migrate(db: &PgPool) -> Output {
    let url = db.connect_options().to_url_lossy();
    Command::new(env!("CARGO_BIN_EXE_migrate")).env("DATABASE_URL", url.as_str()).output().unwrap()
}

#[sqlx::test(migrations = false)]
async fn a_newer_compatible_database_is_left_unchanged_with_a_notice(db: PgPool) {
    newer(&db, 1).await;
    let before = schema(&db).await;
    assert!(matches!(apply(&db).await.unwrap(), Applied::NewerButCompatible { database: 9000, .. }));
    let output = migrate(&db);
    assert!(output.status.success(), "{output:?}");
    assert!(String::from_utf8_lossy(&output.stdout).contains("newer than this code"), "{output:?}");
    assert_eq!(schema(&db).await, before);
}

#[sqlx::test(migrations = false)]
async fn a_newer_incompatible_database_is_refused(db: PgPool) {
    newer(&db, 9000).await;
    let before = schema(&db).await;
    assert!(apply(&db).await.unwrap_err().to_string().contains("serves code from migration 9000 on"));
    let output = migrate(&db);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert_eq!(schema(&db).await, before);
}

#[sqlx::test(migrations = false)]
async fn the_program_migrates_and_a_history_that_differs_is_refused(db: PgPool) {
    let output = migrate(&db);
    assert!(output.status.success(), "{output:?}");
    assert!(String::from_utf8_lossy(&output.stdout).contains("the schema is at migration"), "{output:?}");
    sqlx::query("update _sqlx_migrations set checksum = 'other' where version = 2").execute(&db).await.unwrap();
    assert_eq!(migrate(&db).status.code(), Some(1));
}

#[sqlx::test(migrations = false)]
async fn every_table_that_the_api_role_can_access_has_row_level_security(db: PgPool) {
    apply(&db).await.unwrap();
    let reachable: Vec<(String, bool, i64)> = sqlx::query_as(
        "select relname::text, relrowsecurity, (select count(*) from pg_policy where polrelid = pg_class.oid)
         from pg_class
         where relnamespace = 'public'::regnamespace and relkind in ('r', 'p', 'v', 'm')
           and has_table_privilege('punctual_api', oid, 'select, insert, update, delete, truncate')
         order by relname",
    )
    .fetch_all(&db)
    .await
    .unwrap();
    assert_eq!(reachable.len(), 15, "{reachable:?}");
    for (table, secured, policies) in reachable {
        assert!(secured && policies == 1, "{table}: row-level security {secured}, {policies} policies");
    }
}
