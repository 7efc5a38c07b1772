//! What took effect, as PostgreSQL knows it: every event of a task has one claim and one effect, or the test fails.

use std::time::{Duration, Instant};

use anyhow::{bail, ensure};
use sqlx::PgPool;
use uuid::Uuid;

/// An event and what came of it.
#[derive(Clone, Debug, sqlx::FromRow)]
pub(crate) struct Event {
    pub(crate) kind: String,
    pub(crate) task_id: Uuid,
    pub(crate) claims: i64,
    pub(crate) effects: i64,
    /// From the beginning of the transaction that emitted it to its effect.
    pub(crate) ms: Option<f64>,
}

/// What was seen of some tasks.
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

/// Waits until every event of these tasks has taken effect, and sees that it did so once: one claim and one effect each, `kinds`
/// once for each task, no dead letter. Repair has no part in it: here it publishes nothing again ([`crate::deployment`]).
pub(crate) async fn once(db: &PgPool, tasks: &[Uuid], kinds: &[&str], limit: Duration) -> anyhow::Result<Seen> {
    let began = Instant::now();
    let events = loop {
        let found = events(db, tasks).await?;
        let open = found.iter().filter(|event| event.claims == 0 || event.effects == 0).count();
        let of = |kind: &str| found.iter().filter(|event| event.kind == kind).count();
        if open == 0 && kinds.iter().all(|kind| of(kind) >= tasks.len()) {
            // Whatever comes twice has a moment to do so.
            tokio::time::sleep(Duration::from_secs(2)).await;
            break self::events(db, tasks).await?;
        }
        if began.elapsed() > limit {
            let some: Vec<_> = found.iter().filter(|event| event.claims == 0 || event.effects == 0).take(5).collect();
            bail!("lost after {} s: {open} of {} events without effect, as {some:?}", limit.as_secs(), found.len());
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    };
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
    ensure!(letters.is_empty(), "set aside: {letters:?}");
    let slowest = events.iter().filter_map(|event| event.ms).fold(0.0, f64::max);
    Ok(Seen { events, slowest })
}

/// How many tasks have a title.
pub(crate) async fn titled(db: &PgPool, title: &str) -> sqlx::Result<i64> {
    sqlx::query_scalar("select count(*) from tasks where title = $1").bind(title).fetch_one(db).await
}
