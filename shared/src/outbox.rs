//! The outbox: an event is a row of `task_events`, written in the transaction of the change it tells of, and published
//! after the commit by a relay that runs in every process.
//!
//! The relay looks for rows that are not published, never for rows after the last one it saw: `seq > last` loses a row
//! that commits late. It is woken in memory by the process that wrote, once at start, and not otherwise: no polling. It runs
//! twice without harm: a row is marked after the broker's acknowledgement, so the worst is the same event (same id) again,
//! which the inbox absorbs.
//!
//! Each shard of tasks has a lock that one relay holds while it publishes; a relay takes those that are free and have something
//! to publish. A call to daprd carries at most one event of a task, the next after its acknowledgement: Dapr's Kafka producer
//! keeps up to five requests in flight, so two events of one key in flight could change places. Order on the topic is best
//! effort; nothing correct rests on it.
//!
//! A published event is not yet a handled one: `upkeep --repair` unpublishes what its function never claimed.

use std::{sync::Arc, time::Duration};

use catalogue::{EventType, TOPICS};
use chrono::{DateTime, Utc};
use cloudevents::{EventBuilder as _, EventBuilderV10};
use sqlx::{PgConnection, PgPool};
use tokio::sync::Notify;
use uuid::Uuid;

use crate::{
    cloud_event::{SOURCE, Trace},
    faults::crash,
    schema::Payload,
    sidecar::{Publication, Published, Sidecar},
};

/// The class of the relay's advisory locks; the other half of the key is the shard.
const RELAY_LOCK: i32 = 0x6f75_7462; // "outb"
/// The oldest events that are looked at for one call; of each task the first goes out.
const BATCH: i64 = 200;
/// A pass that published this many is in the middle of a burst: the next waits for [`GATHER`], because fewer and larger calls
/// are what lets everybody else get on.
const BURST: usize = 20;
const GATHER: Duration = Duration::from_millis(50);

/// PostgreSQL goes on with a commit whose connection is lost: after so long there is another look for what it made.
const LOST: Duration = Duration::from_secs(3);

/// Writes an event into the outbox, in the transaction of the change it tells of. Call [`Outbox::wake_after`] with what became
/// of its commit.
///
/// # Errors
/// When the database refuses.
pub async fn emit<T: Payload>(conn: &mut PgConnection, payload: &T, trace: &Trace) -> sqlx::Result<Uuid> {
    let row = Row::new(payload, trace);
    sqlx::query_scalar!(
        "insert into task_events (type, task_id, user_id, sequence, data, traceparent)
         values ($1, $2, $3, $4, $5, $6) returning id",
        row.kind,
        row.task_id,
        row.user_id,
        row.sequence,
        row.data,
        row.traceparent,
    )
    .fetch_one(conn)
    .await
}

/// The columns of an event, for a command that writes its event in the same statement as its change. The database makes the id.
#[derive(Debug)]
pub struct Row {
    /// Its CloudEvents type.
    pub kind: &'static str,
    /// The task.
    pub task_id: Uuid,
    /// Its owner.
    pub user_id: Uuid,
    /// The task's version.
    pub sequence: i64,
    /// The payload.
    pub data: serde_json::Value,
    /// The trace.
    pub traceparent: String,
}

impl Row {
    /// The row of an event that happens now.
    ///
    /// # Panics
    /// Never: a payload is plain data.
    #[must_use]
    pub fn new<T: Payload>(payload: &T, trace: &Trace) -> Self {
        let task = payload.task();
        Self {
            kind: T::TYPE.as_str(),
            task_id: task.task_id,
            user_id: task.user_id,
            sequence: task.version,
            data: serde_json::to_value(payload).expect("a payload is plain data"),
            traceparent: trace.as_str().to_owned(),
        }
    }
}

/// A committed event that is not on its topic yet.
#[derive(Debug)]
pub(crate) struct Unpublished {
    pub(crate) id: Uuid,
    pub(crate) kind: String,
    pub(crate) task_id: Uuid,
    pub(crate) sequence: i64,
    pub(crate) data: serde_json::Value,
    pub(crate) traceparent: Option<String>,
    pub(crate) occurred_at: DateTime<Utc>,
}

/// The relay of this process.
#[derive(Clone)]
pub struct Outbox {
    db: PgPool,
    sidecar: Sidecar,
    pub(crate) woken: Arc<Notify>,
}

/// What a pass over the outbox did, and left behind.
#[derive(Debug, Default, PartialEq, Eq)]
struct Pass {
    published: usize,
    /// There was more than goes out in one call.
    more: bool,
    /// Rows of a shard that another relay is publishing; it may have looked before ours were committed.
    left: bool,
}

impl Outbox {
    pub(crate) fn new(db: PgPool, sidecar: Sidecar) -> Self {
        Self { db, sidecar, woken: Arc::default() }
    }

    /// Has the relay look, soon. Calls that come while it works are one.
    pub fn wake(&self) {
        self.woken.notify_one();
    }

    /// Has the relay look after a commit, and again in a while after one without an answer: it may be made, now or yet.
    ///
    /// # Errors
    /// What it was given.
    pub fn wake_after<T, E>(&self, committed: Result<T, E>) -> Result<T, E> {
        self.wake();
        committed.inspect_err(|_| self.wake_late())
    }

    /// Has the relay look when a commit whose answer was lost is made, if it is.
    pub fn wake_late(&self) {
        let outbox = self.clone();
        tokio::spawn(async move {
            tokio::time::sleep(LOST).await;
            outbox.wake();
        });
    }

    /// Publishes what is committed, now and whenever woken; ends never. A failure is tried again for as long as the process
    /// lives, and by the next process at its start.
    pub async fn relay(self) {
        let mut pause = Duration::ZERO;
        loop {
            pause = match self.pass().await {
                Ok(Pass { more: true, .. }) => Duration::ZERO,
                Ok(Pass { left: true, .. }) => (pause * 2).clamp(Duration::from_millis(25), Duration::from_millis(200)),
                Ok(Pass { published, .. }) => {
                    self.woken.notified().await;
                    if published < BURST { Duration::ZERO } else { GATHER }
                }
                Err(error) => {
                    tracing::warn!(error = format!("{error:#}"), "outbox: publishing failed, will try again");
                    (pause * 2).clamp(Duration::from_millis(200), Duration::from_secs(1))
                }
            };
            tokio::time::sleep(pause).await;
        }
    }

    /// Publishes everything committed, for at most `limit`: for a process that is about to stop or to be frozen.
    ///
    /// # Errors
    /// When something stayed unpublished; the row is still there, and the next process at its start publishes it.
    pub async fn flush(&self, limit: Duration) -> anyhow::Result<()> {
        tokio::time::timeout(limit, async {
            let mut again = true;
            loop {
                match self.pass().await {
                    Ok(Pass { more: true, .. }) => continue,
                    Ok(Pass { left: false, .. }) => return Ok(()),
                    Ok(_) => {}
                    // A connection to daprd that was lost while this process was frozen fails one call; the next makes another.
                    Err(_) if again => again = false,
                    Err(error) => return Err(error),
                }
                tokio::time::sleep(Duration::from_millis(25)).await;
            }
        })
        .await?
    }

    async fn pass(&self) -> anyhow::Result<Pass> {
        let mut tx = self.db.begin().await?;
        let shards = sqlx::query!(
            r#"select shard as "shard!", pg_try_advisory_xact_lock($1, shard) as "ours!"
               from (select distinct shard from task_events where published_at is null and type = any($2)) as waiting"#,
            RELAY_LOCK,
            &known() as _
        )
        .fetch_all(&mut *tx)
        .await?;
        let (ours, others): (Vec<_>, Vec<_>) = shards.into_iter().partition(|shard| shard.ours);
        let ours: Vec<i16> = ours.into_iter().map(|shard| shard.shard).collect();
        let mut pass = Pass { left: !others.is_empty(), ..Pass::default() };
        let done = if ours.is_empty() { Ok(()) } else { self.publish(&mut tx, &ours, &mut pass).await };
        // After each call, so that a process which dies repeats no more than one; also after a failure, so that what the broker
        // acknowledged before it stays marked.
        tx.commit().await?;
        done.map(|()| pass)
    }

    /// Publishes the oldest that waits in shards whose locks this transaction has: a round.
    async fn publish(&self, conn: &mut PgConnection, shards: &[i16], pass: &mut Pass) -> anyhow::Result<()> {
        let heads = heads(conn, shards).await?;
        pass.more = heads.more;
        let mut round = Round::of(heads.events);
        while let Some((topic, events)) = round.next_call() {
            let batch = events.iter().map(Unpublished::publication).collect::<anyhow::Result<Vec<Publication>>>()?;
            crash("outbox-before-publish");
            let published = round.answered(self.sidecar.publish(topic, batch).await?);
            crash("outbox-published");
            sqlx::query!("update task_events set published_at = now() where id = any($1)", &published)
                .execute(&mut *conn)
                .await?;
            crash("outbox-marked");
            pass.published += published.len();
        }
        round.end()
    }
}

/// What a round goes by.
struct Heads {
    /// Of each task the first.
    events: Vec<Unpublished>,
    /// Whether more waits behind them.
    more: bool,
}

/// The next event of each task of these shards that is among the oldest which wait.
async fn heads(conn: &mut PgConnection, shards: &[i16]) -> anyhow::Result<Heads> {
    let rows = sqlx::query!(
        r#"select distinct on (task_id) id as "id!", type as "kind!", task_id as "task_id!", sequence as "sequence!",
                  data as "data!", traceparent, occurred_at as "occurred_at!", count(*) over () as "looked_at!"
           from (
               select * from task_events
               where published_at is null and shard = any($1) and type = any($2) order by id limit $3
           ) as oldest
           order by task_id, id"#,
        shards,
        &known() as _,
        BATCH
    )
    .fetch_all(conn)
    .await?;
    let looked_at = rows.first().map_or(0, |row| row.looked_at);
    let more = looked_at == BATCH || usize::try_from(looked_at)? > rows.len();
    let events = rows.into_iter().map(|row| Unpublished {
        id: row.id,
        kind: row.kind,
        task_id: row.task_id,
        sequence: row.sequence,
        data: row.data,
        traceparent: row.traceparent,
        occurred_at: row.occurred_at,
    });
    Ok(Heads { events: events.collect(), more })
}

impl Unpublished {
    fn publication(&self) -> anyhow::Result<Publication> {
        Ok(Publication { id: self.id, key: self.task_id.to_string(), event: self.cloud_event()? })
    }

    /// The event as a CloudEvent in JSON.
    pub(crate) fn cloud_event(&self) -> anyhow::Result<Vec<u8>> {
        let mut builder = EventBuilderV10::new()
            .id(self.id.to_string())
            .source(SOURCE)
            .ty(self.kind.clone())
            .subject(self.task_id.to_string())
            .time(self.occurred_at)
            .data("application/json", self.data.clone())
            .extension("partitionkey", self.task_id.to_string())
            .extension("sequence", format!("{:010}", self.sequence));
        if let Some(traceparent) = &self.traceparent {
            // Both, because daprd replaces the `traceparent` of an event without `traceid` (components-contrib pubsub/envelope.go).
            builder = builder.extension("traceparent", traceparent.clone()).extension("traceid", traceparent.clone());
        }
        Ok(serde_json::to_vec(&builder.build()?)?)
    }

    fn topic(&self) -> Option<&'static str> {
        EventType::parse(&self.kind).map(EventType::topic)
    }
}

/// A round of the relay: at most one event of each task goes out, in one call to each topic.
#[derive(Debug)]
struct Round {
    to_come: Vec<Unpublished>,
    refused: Option<String>,
}

impl Round {
    const fn of(heads: Vec<Unpublished>) -> Self {
        Self { to_come: heads, refused: None }
    }

    /// What goes out next, and where.
    fn next_call(&mut self) -> Option<(&'static str, Vec<Unpublished>)> {
        let goes = |topic| move |event: &Unpublished| event.topic() == Some(topic);
        let topic = TOPICS.map(|topic| topic.name).into_iter().find(|topic| self.to_come.iter().any(goes(topic)))?;
        Some((topic, self.to_come.extract_if(.., |event| event.topic() == Some(topic)).collect()))
    }

    /// The events that count as published by what came back of a call. Of a call that failed none is known to be.
    fn answered(&mut self, published: Published) -> Vec<Uuid> {
        self.refused = self.refused.take().or(published.refused);
        published.ids
    }

    /// After the last call: the next round begins where the broker took everything.
    fn end(self) -> anyhow::Result<()> {
        match self.refused {
            Some(reason) => anyhow::bail!("the broker refused a part: {reason}"),
            None => Ok(()),
        }
    }
}

/// The types this process can publish. After a rollback, or while a newer version is rolled out, there may be rows of others: they
/// wait for a process that knows them.
fn known() -> [&'static str; EventType::ALL.len()] {
    EventType::ALL.map(EventType::as_str)
}

#[cfg(test)]
mod tests;
