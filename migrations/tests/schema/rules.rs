//! What a migration may do to a table that exists: nothing that lasts longer on a larger table while others wait.
//!
//! Every migration after the tenth runs here in a transaction that stays open, and PostgreSQL tells what it did. Building an index, checking
//! rows against a constraint or `not null`, rewriting a table and updating all rows have one thing in common: the transaction scans a whole
//! table and holds a lock on it that stops writers, or writes its rows.

use std::collections::BTreeMap;

use migrations::MIGRATOR;
use sqlx::{AssertSqlSafe, PgConnection, PgPool, migrate::Migration};

/// The last migration from before these rules.
const BEFORE: i64 = 10;
/// Tables of a few rows.
const SMALL: [&str; 2] = ["marks", "schema_compatibility"];

/// The tables that exist, and how often this session has scanned each.
async fn scans(conn: &mut PgConnection) -> BTreeMap<String, i64> {
    let scans = "select relname::text, seq_scan from pg_stat_xact_user_tables where schemaname = 'public'";
    sqlx::query_as(scans).fetch_all(conn).await.unwrap().into_iter().collect()
}

/// Runs statements in the open transaction. Returns the tables that exist, were scanned in whole, and could not be written meanwhile or were.
async fn run(tx: &mut PgConnection, statements: &str) -> Vec<String> {
    let before = scans(tx).await;
    sqlx::raw_sql(AssertSqlSafe(statements)).execute(&mut *tx).await.unwrap();
    let locked: Vec<String> = sqlx::query_scalar(
        "select distinct relation::regclass::text from pg_locks where pid = pg_backend_pid() and locktype = 'relation' and mode in
             ('RowExclusiveLock', 'ShareLock', 'ShareRowExclusiveLock', 'ExclusiveLock', 'AccessExclusiveLock')
         order by 1",
    )
    .fetch_all(&mut *tx)
    .await
    .unwrap();
    let after = scans(tx).await;
    let scanned = |table: &String| before.get(table).is_some_and(|scans| after.get(table) != Some(scans));
    locked.into_iter().filter(|table| scanned(table) && !SMALL.contains(&table.as_str())).collect()
}

/// Outside a transaction there is one statement, which builds or drops an index concurrently and may run twice.
fn is_one_concurrent_index(migration: &Migration) -> bool {
    let lines = migration.sql.as_str().lines().filter(|line| !line.trim_start().starts_with("--"));
    let statement = lines.collect::<Vec<_>>().join("\n");
    let statement = statement.trim();
    let forms = ["create index concurrently if not exists ", "create unique index concurrently if not exists "];
    let drops = "drop index concurrently if exists ";
    statement.find(';') == Some(statement.len() - 1)
        && forms.iter().chain([&drops]).any(|form| statement.starts_with(form))
}

#[sqlx::test(migrations = false)]
async fn no_migration_scans_or_rewrites_a_table_under_a_lock(db: PgPool) {
    MIGRATOR.run_to(BEFORE, &db).await.unwrap();
    let mut checked = 0;
    for migration in MIGRATOR.iter().filter(|migration| migration.version > BEFORE) {
        let name = format!("{:04} {}", migration.version, migration.description);
        if migration.no_tx {
            assert!(is_one_concurrent_index(migration), "{name}: not one `create index concurrently if not exists`");
            sqlx::raw_sql(migration.sql.clone()).execute(&db).await.unwrap();
        } else {
            let mut tx = db.begin().await.unwrap();
            let tables = run(&mut tx, migration.sql.as_str()).await;
            assert!(tables.is_empty(), "{name}: scans {tables:?} under a lock, see CONTRIBUTING.md");
            tx.commit().await.unwrap();
        }
        checked += 1;
    }
    assert!(checked > 0);
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn the_rule_finds_only_statements_that_scan_or_rewrite_a_table_under_a_lock(db: PgPool) {
    for (statement, tables) in [
        ("create index on tasks (title)", &["tasks"][..]),
        ("create unique index on task_events (id, type)", &["task_events"]),
        ("alter table tasks add constraint extra check (title <> '')", &["tasks"]),
        ("alter table tasks add column extra text check (extra <> '')", &["tasks"]),
        ("alter table tasks alter column title set not null, alter column priority set not null", &["tasks"]),
        ("alter table tasks alter column occurrence type bigint", &["tasks"]),
        ("alter table tasks add column extra uuid default gen_random_uuid()", &["tasks"]),
        ("alter table tasks add column extra bigint generated always as (version + 1) stored", &["tasks"]),
        ("alter table feed add constraint extra foreign key (user_id) references users", &["feed"]),
        ("update tasks set priority = 'low' where priority is null", &["tasks"]),
        ("delete from feed", &["feed"]),
        ("do $$ begin update tasks set priority = 'low'; end $$", &["tasks"]),
        (
            "alter table tasks add constraint extra check (title <> '') not valid; alter table tasks validate constraint extra",
            &["tasks"],
        ),
        ("alter table tasks add column extra text, add column other integer not null default 7", &[]),
        ("alter table tasks add constraint extra check (title <> '') not valid", &[]),
        ("alter table feed add constraint extra foreign key (user_id) references users not valid", &[]),
        ("alter table tasks alter column id set default gen_random_uuid()", &[]),
        ("update schema_compatibility set since = since", &[]),
        (
            "create table extra (id bigint primary key, word text); create index on extra (word); update extra set word = ''",
            &[],
        ),
    ] {
        let mut tx = db.begin().await.unwrap();
        assert_eq!(run(&mut tx, statement).await, tables, "{statement}");
        tx.rollback().await.unwrap();
    }
    let mut tx = db.begin().await.unwrap();
    run(&mut tx, "alter table tasks add constraint extra check (title <> '') not valid").await;
    tx.commit().await.unwrap();
    let mut tx = db.begin().await.unwrap();
    assert!(
        run(&mut tx, "alter table tasks validate constraint extra").await.is_empty(),
        "validating alone stops nobody"
    );
}
