//! The database schema, as numbered SQL migrations that only ever add. Migration 1 is the schema of a Phase II application. That
//! application's statements keep working on the newest schema.
//!
//! Running the migrations twice changes nothing. They run before a rollout, so the schema is always at least as new as the code. After a
//! rollback it is newer, see [`apply`].

mod connect;

use std::time::Duration;

use sqlx::{Connection as _, PgConnection, PgPool, migrate::Migrator};

pub use connect::connect;

/// All migrations, embedded in the program.
pub static MIGRATOR: Migrator = sqlx::migrate!("./../migrations");

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
/// # Errors
/// - The database is newer than this code and does not declare itself compatible (`schema_compatibility.since`).
/// - An applied migration differs from the embedded one.
/// - A statement fails. Nothing of that migration stays.
pub async fn apply(db: &PgPool) -> anyhow::Result<Applied> {
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
    lock(&mut conn).await?;
    drop_interrupted_indexes(&mut conn).await?;
    MIGRATOR.run_direct(None, &mut conn, false).await?;
    conn.close().await?;
    Ok(Applied::Migrated(code))
}

/// Waits until no other migration of this code runs, by polling the lock.
///
/// sqlx's own lock waits inside one statement. `create index concurrently` waits for every older statement, so the two would wait for each
/// other.
async fn lock(conn: &mut PgConnection) -> sqlx::Result<()> {
    while !sqlx::query_scalar("select pg_try_advisory_lock(hashtext('migrations'))").fetch_one(&mut *conn).await? {
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    Ok(())
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
