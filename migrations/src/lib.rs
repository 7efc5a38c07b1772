//! The database schema, as numbered SQL migrations that only ever add. Migration 1 is the schema of a Phase II application. That
//! application's statements keep working on the newest schema.
//!
//! Running the migrations twice changes nothing. They run before a rollout, so the schema is always at least as new as the code. After a
//! rollback it is newer, see [`apply`].

mod connect;

use std::time::{Duration, Instant};

use anyhow::bail;
use sqlx::{
    Connection as _, PgConnection, PgPool,
    migrate::{MigrateError, Migrator},
};

pub use connect::connect;

/// All migrations, embedded in the program.
pub static MIGRATOR: Migrator = sqlx::migrate!("./../migrations");

/// How long a migration waits for a lock on a table. Every statement that needs the table waits behind it.
const LOCK_TIMEOUT: &str = "2s";
/// How long [`apply`] tries to get the locks. Shorter than [`DEADLINE`], so that the error says who holds them.
const PATIENCE: Duration = Duration::from_secs(480);
/// How long the program `migrate` may take: shorter than the deadline of the job that runs it. Init containers have no other deadline.
pub const DEADLINE: Duration = Duration::from_secs(570);
/// The pause before the second try. It doubles, so that those who wait for a table get more and more of the time.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);
/// The pause between two looks at the lock of another migration.
const POLL: Duration = Duration::from_millis(100);

/// The result of [`apply`].
#[derive(Debug, PartialEq, Eq)]
pub enum Applied {
    /// The schema is now at this version.
    Migrated(i64),
    /// The schema is newer than this code and declares that it still serves it. Nothing was changed.
    NewerButCompatible {
        /// The newest migration applied to the database.
        database: i64,
        /// The newest migration this code knows.
        code: i64,
    },
}

/// Brings the schema up to date.
///
/// A migration waits at most 2 s for a lock, because a backup may hold one for hours and everybody else would wait behind the
/// migration. It is rolled back then, and tried again for minutes.
///
/// # Errors
/// - The database is newer than this code and does not declare itself compatible (`schema_compatibility.since`).
/// - An applied migration differs from the embedded one.
/// - Another migration runs for minutes.
/// - A statement fails, or gets no lock for minutes. Nothing of that migration stays.
pub async fn apply(db: &PgPool) -> anyhow::Result<Applied> {
    apply_within(db, PATIENCE).await
}

/// [`apply`], with another limit for getting the locks.
///
/// # Errors
/// As [`apply`].
pub async fn apply_within(db: &PgPool, patience: Duration) -> anyhow::Result<Applied> {
    let code = newest();
    let database = applied(db).await?;
    if database > code {
        let since: i64 = sqlx::query_scalar("select since from schema_compatibility").fetch_one(db).await?;
        anyhow::ensure!(
            since <= code,
            "the database is at migration {database} and serves code from migration {since} on; this code stops at {code}"
        );
        return Ok(Applied::NewerButCompatible { database, code });
    }
    // A separate connection, because the lock lasts as long as its session.
    let mut conn = db.acquire().await?.detach();
    let (began, mut pause) = (Instant::now(), FIRST_PAUSE);
    lock(&mut conn, patience).await?;
    while let Err(error) = run_pending(&mut conn, database).await {
        if !lost_to_others(&error) || began.elapsed() + pause > patience {
            return Err(error.into());
        }
        println!("{error}; trying again in {pause:?}");
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
    conn.close().await?;
    Ok(Applied::Migrated(code))
}

/// Applies the migrations after `database`.
async fn run_pending(conn: &mut PgConnection, database: i64) -> Result<(), MigrateError> {
    set(conn, "statement_timeout", "0").await?;
    set(conn, "lock_timeout", "0").await?;
    drop_interrupted_indexes(conn).await?;
    for migration in MIGRATOR.iter().filter(|migration| migration.version > database) {
        // Outside a transaction there are only indexes that are built concurrently. They wait for every older transaction, and nobody waits
        // for them.
        set(conn, "lock_timeout", if migration.no_tx { "0" } else { LOCK_TIMEOUT }).await?;
        MIGRATOR.run_direct(Some(migration.version), conn, false).await?;
    }
    // Compares all of the history with the embedded migrations.
    MIGRATOR.run_direct(None, conn, false).await
}

async fn set(conn: &mut PgConnection, name: &str, value: &str) -> sqlx::Result<()> {
    sqlx::query("select set_config($1, $2, false)").bind(name).bind(value).execute(conn).await.map(drop)
}

/// Whether a migration got no lock in time, or was the victim of a deadlock.
fn lost_to_others(error: &MigrateError) -> bool {
    let (MigrateError::Execute(error) | MigrateError::ExecuteMigration(error, _)) = error else { return false };
    let code = error.as_database_error().and_then(sqlx::error::DatabaseError::code);
    matches!(code.as_deref(), Some("55P03" | "40P01"))
}

/// Waits until no other migration of this code runs, by polling the lock, but at most `patience`.
///
/// sqlx's own lock waits inside one statement. `create index concurrently` waits for every older statement, so the two would wait for each
/// other.
async fn lock(conn: &mut PgConnection, patience: Duration) -> anyhow::Result<()> {
    let began = Instant::now();
    while !sqlx::query_scalar("select pg_try_advisory_lock(hashtext('migrations'))").fetch_one(&mut *conn).await? {
        if began.elapsed() > patience {
            let holder = holder(conn).await?.unwrap_or_else(|| "none anymore".to_owned());
            bail!("another migration has held the lock for {patience:?}; its session: {holder}");
        }
        tokio::time::sleep(POLL).await;
    }
    Ok(())
}

/// The session that holds the lock, and how to end it.
async fn holder(conn: &mut PgConnection) -> sqlx::Result<Option<String>> {
    sqlx::query_scalar(
        "select format('from %s since %s, %s; end it with select pg_terminate_backend(%s)',
                       coalesce(host(client_addr), 'the server''s host'), backend_start, coalesce(state, 'not ours'), pid)
         from pg_locks join pg_stat_activity using (pid)
         where locktype = 'advisory' and granted and objsubid = 1 and datname = current_database()
           and (classid::bigint << 32) | objid::bigint = hashtext('migrations')",
    )
    .fetch_optional(conn)
    .await
}

/// Drops the indexes whose `create index concurrently` was interrupted. PostgreSQL keeps them unused, and their names stay taken.
async fn drop_interrupted_indexes(conn: &mut PgConnection) -> sqlx::Result<()> {
    let interrupted: Vec<String> = sqlx::query_scalar(
        "select format('%I.%I', relnamespace::regnamespace, relname) from pg_index join pg_class on oid = indexrelid
         where not indisvalid and relkind = 'i' and relnamespace = 'public'::regnamespace",
    )
    .fetch_all(&mut *conn)
    .await?;
    for index in interrupted {
        sqlx::raw_sql(sqlx::AssertSqlSafe(format!("drop index concurrently {index}"))).execute(&mut *conn).await?;
    }
    Ok(())
}

fn newest() -> i64 {
    MIGRATOR.iter().map(|migration| migration.version).max().unwrap_or(0)
}

/// The newest applied migration, or 0 for a database without any.
async fn applied(db: &PgPool) -> sqlx::Result<i64> {
    let known: bool = sqlx::query_scalar("select to_regclass('_sqlx_migrations') is not null").fetch_one(db).await?;
    if !known {
        return Ok(0);
    }
    sqlx::query_scalar("select coalesce(max(version), 0) from _sqlx_migrations where success").fetch_one(db).await
}
