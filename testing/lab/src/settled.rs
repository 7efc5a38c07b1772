//! Whether the product has finished its work. The only definition of it in `testing/`.

use std::time::Duration;

use sqlx::PgPool;
use uuid::Uuid;

use crate::wait;

/// Everything the product still has to do, for one user or (`$1` null) for all: events that are unpublished or unclaimed,
/// deliveries that are not over, and reminders that are overdue. A single statement, so no work can hide between two reads.
macro_rules! left {
    () => {
        "select concat_ws(' ', type, event.id, 'of task', task_id, 'occurred', occurred_at, 'published', published_at)
        from task_events event
        where ($1::uuid is null or user_id = $1) and (published_at is null or not exists (
            select from processed_events where consumer = replace(type, '.', '-') and event_id = event.id))
        union all
        select concat_ws(' ', 'delivery', id, state, 'next', next_attempt_at) from notification_deliveries
        where ($1::uuid is null or user_id = $1) and state in ('pending', 'sending', 'retrying')
        union all
        select concat_ws(' ', 'reminder', id, 'due', remind_at) from task_reminders
        where ($1::uuid is null or user_id = $1) and state = 'scheduled'
          and (fired_version is null or fired_version < version) and remind_at < now()"
    };
}

/// What is left to do for a user, or for all: up to 20 descriptions.
///
/// # Errors
/// When the database does not answer.
pub async fn left(db: &PgPool, user: Option<Uuid>) -> sqlx::Result<Vec<String>> {
    sqlx::query_scalar(concat!(left!(), " limit 20")).bind(user).fetch_all(db).await
}

/// How much is left to do for all.
///
/// # Errors
/// When the database does not answer.
pub async fn amount(db: &PgPool) -> sqlx::Result<i64> {
    sqlx::query_scalar(concat!("select count(*) from (", left!(), ") as it")).bind(None::<Uuid>).fetch_one(db).await
}

/// Waits until nothing is left to do for a user, or for all. Reminders of the future are not waited for.
///
/// # Errors
/// After `limit`; the message says what is left.
pub async fn settled(db: &PgPool, user: Option<Uuid>, limit: Duration) -> anyhow::Result<()> {
    wait::poll("nothing is left to do", limit, async || match left(db, user).await {
        Ok(left) if left.is_empty() => Ok(()),
        left => Err(format!("{left:?}")),
    })
    .await
}
