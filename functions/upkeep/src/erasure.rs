//! Erasure: finishes what a command could not finish, and repeats the erasures of the last weeks.
//!
//! Nothing is known to bring an erased user's rows back, but copies of them exist: messages on the topics, processes of the previous release during a
//! rollout, another writer of the database. So erasures are repeated until no topic has a message from before.

use std::time::Duration;

use shared::{db::Db, erasure::Eraser};

use crate::retention::DAYS;

/// When a run ends. The next run continues.
const LIMIT: Duration = Duration::from_secs(30);

/// Continues the erasures that are not done. Returns how many it has finished.
///
/// # Errors
/// The first failure, after all others were tried.
pub(crate) async fn finish(db: &Db) -> sqlx::Result<u64> {
    Eraser::new(db, LIMIT).finish().await
}

/// Repeats the erasures of users whose messages may still be on a topic. The order is random, because the limit may skip some users.
///
/// # Errors
/// The first failure, after all others were tried.
pub(crate) async fn repeat(db: &Db) -> sqlx::Result<()> {
    let users = sqlx::query_scalar!(
        "select user_id from erased_users where done and erased_at > now() - make_interval(days => $1) order by random()",
        DAYS
    );
    Eraser::new(db, LIMIT).repeat(users.fetch_all(db).await?).await
}
