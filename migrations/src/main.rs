//! `migrate`: applies the migrations to `DATABASE_URL` and exits. Exits 0 on a newer database that says it serves this
//! code (a rollback must run), 1 on one that does not.

use anyhow::Context as _;
use migrations::Applied;
use sqlx::PgPool;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let url =
        std::env::var("DATABASE_URL").context("DATABASE_URL is not set: postgres://user:password@host/database")?;
    let db = PgPool::connect(&url).await.context("the database cannot be reached")?;
    match migrations::apply(&db).await? {
        Applied::Migrated(version) => println!("the schema is at migration {version}"),
        Applied::NewerButCompatible { database, code } => {
            println!(
                "the schema is at migration {database}, newer than this code ({code}), and serves it: nothing to do"
            );
        }
    }
    Ok(())
}
