//! `migrate`: applies the migrations to `DATABASE_URL` and exits.
//!
//! Exits 0 if a newer database declares that it serves this code, because a rollback must run. Exits 1 if it does not.

use anyhow::Context as _;
use migrations::{Applied, DEADLINE};
use tokio::time::timeout;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let url =
        std::env::var("DATABASE_URL").context("DATABASE_URL is not set: postgres://user:password@host/database")?;
    let options = url.parse().context("DATABASE_URL is not of the form postgres://user:password@host/database")?;
    let applied = timeout(DEADLINE, async { migrations::apply(&migrations::connect(options).await?).await });
    let applied = applied.await.with_context(|| {
        format!(
            "not done within {DEADLINE:?}: the database does not answer, or an index is still being built; run it again"
        )
    })?;
    match applied? {
        Applied::Migrated(version) => println!("the schema is at migration {version}"),
        Applied::NewerButCompatible { database, code } => {
            println!(
                "the schema is at migration {database}, newer than this code ({code}), and serves it: nothing to do"
            );
        }
    }
    Ok(())
}
