//! The effects in PostgreSQL: every event of a task must have exactly one claim and one effect.

use std::time::Duration;

use anyhow::ensure;
use lab::settled::settled;
use sqlx::PgPool;
use uuid::Uuid;

/// An event, its claims and effects.
#[derive(Clone, Debug, sqlx::FromRow)]
pub(crate) struct Event {
    pub(crate) kind: String,
    pub(crate) task_id: Uuid,
    pub(crate) claims: i64,
    pub(crate) effects: i64,
    /// Milliseconds from the start of the emitting transaction to the effect.
    pub(crate) ms: Option<f64>,
}

/// The events of some tasks.
#[derive(Debug)]
pub(crate) struct Seen {
    pub(crate) events: Vec<Event>,
    /// The slowest event, in milliseconds.
    pub(crate) slowest: f64,
}

/// Every event of some tasks.
pub(crate) async fn events(db: &PgPool, tasks: &[Uuid]) -> sqlx::Result<Vec<Event>> {
    sqlx::query_as(
        "select kind, task_id, claims, effects, extract(epoch from at - occurred_at)::float8 * 1000 as ms from (
             select type as kind, task_id, occurred_at, id,
                    (select count(*) from processed_events where event_id = event.id) as claims,
                    case type when 'task.changed' then (select count(*) from feed where event_id = event.id)
                              else (select count(*) from audit_logs where event_id = event.id) end as effects,
                    case type when 'task.changed' then (select min(created_at) from feed where event_id = event.id)
                              else (select min(created_at) from audit_logs where event_id = event.id) end as at
             from task_events event where task_id = any($1)
         ) event order by id",
    )
    .bind(tasks)
    .fetch_all(db)
    .await
}

/// Waits until the product has settled, then checks that each event of these tasks has one claim and one effect, that each task has
/// each of `kinds` once, and that there is no dead letter. Repair cannot help: in this test it republishes nothing
/// ([`crate::deployment`]).
pub(crate) async fn once(db: &PgPool, tasks: &[Uuid], kinds: &[&str], limit: Duration) -> anyhow::Result<Seen> {
    settled(db, None, limit).await?;
    tokio::time::sleep(Duration::from_secs(2)).await; // time for a duplicate to arrive
    let events = events(db, tasks).await?;
    for event in &events {
        ensure!(event.claims == 1 && event.effects == 1, "not once: {event:?}");
    }
    for kind in kinds {
        for task in tasks {
            let times = events.iter().filter(|event| event.task_id == *task && event.kind == *kind).count();
            ensure!(times == 1, "{kind} of {task}: {times} times");
        }
    }
    let letters: Vec<(String, String)> = sqlx::query_as(
        "select consumer, reason from dead_letters letter
         where exists (select from task_events event where event.id = letter.event_id and task_id = any($1))",
    )
    .bind(tasks)
    .fetch_all(db)
    .await?;
    ensure!(letters.is_empty(), "dead letters: {letters:?}");
    let slowest = events.iter().filter_map(|event| event.ms).fold(0.0, f64::max);
    Ok(Seen { events, slowest })
}

/// The number of tasks with a title.
pub(crate) async fn titled(db: &PgPool, title: &str) -> sqlx::Result<i64> {
    sqlx::query_scalar("select count(*) from tasks where title = $1").bind(title).fetch_one(db).await
}
