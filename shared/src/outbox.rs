//! The outbox: an event is a row of `task_events`, written in the transaction of its change, and published after the commit by a relay that
//! runs in every process.
//!
//! The relay looks for unpublished rows, never for rows after the last one it saw: `seq > last` loses a row that commits late. The process
//! that wrote wakes it in memory; it also looks once at start. It never polls. A row is marked after the broker's acknowledgement. At worst
//! the same event (same id) is published twice, which the inbox absorbs.
//!
//! **A pass** reads the heads: the next events of every user, at most a few of each, so that a user with a backlog delays nobody (`outbox/heads.rs`).
//! Then it makes one call per topic, due reminders first, and reads again. A failed call never ends the pass, and delays only the events
//! that the broker refuses (`outbox/calls.rs`). A pass that takes long or fails often ends before it has visited every user. The next one
//! begins with the users that are left.
//!
//! **A call** is a transaction: lock the shards of its events, read the events that are still unpublished, publish, mark, commit. The lock is an
//! advisory lock of the transaction. So at most one relay publishes a shard at a time, it needs no session (a transaction pooler may
//! stand in between) and no second connection, it ends with its process, and a call that fails costs no marks of another. Between two
//! calls another relay may take the shard; it then reads what we marked.
//!
//! A call carries at most one event of a task; the next event follows after the acknowledgement. Dapr's Kafka producer keeps up to five
//! requests in flight, so two events of one key in flight could change places. Order on a topic is best effort; nothing correct rests on it.
//!
//! A published event is not yet handled: `upkeep --repair` unpublishes events that their function never claimed.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::Context as _;
use catalogue::EventType;
use chrono::{DateTime, Utc};
use cloudevents::{EventBuilder as _, EventBuilderV10};
use sqlx::PgConnection;
use tokio::sync::{Mutex, Notify};
use uuid::Uuid;

use crate::{
    cloud_event::{SOURCE, Trace},
    db::Db,
    faults::crash,
    schema::Payload,
    sidecar::{Publication, Sidecar},
};

mod calls;
mod heads;

use calls::{Calls, Head};
use heads::Cursors;

/// The class of the relay's advisory locks; the other half of the key is the shard.
const RELAY_LOCK: i32 = 0x6f75_7462; // "outb"
/// A pass that published this many events is part of a burst. The next one waits for [`GATHER`], because fewer and larger calls leave more
/// CPU to the other work.
const BURST: usize = 20;
const GATHER: Duration = Duration::from_millis(50);
/// A pass that takes longer ends after its current round.
const LONGEST_PASS: Duration = Duration::from_secs(10);
/// PostgreSQL continues a commit whose connection is lost. The relay looks for its events after this time.
const LOST: Duration = Duration::from_secs(3);

/// Writes an event into the outbox, in the transaction of its change, and returns the event's id. Pass the result of the commit to
/// [`Outbox::wake_after`].
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
    pub(crate) kind: EventType,
    pub(crate) task_id: Uuid,
    pub(crate) sequence: i64,
    pub(crate) data: serde_json::Value,
    pub(crate) traceparent: Option<String>,
    pub(crate) occurred_at: DateTime<Utc>,
}

impl Unpublished {
    fn publication(&self) -> anyhow::Result<Publication> {
        Ok(Publication { id: self.id, key: self.task_id.to_string(), event: self.cloud_event()? })
    }

    const fn head(&self) -> Head {
        Head { topic: self.kind.on(), task: self.task_id, event: self.id }
    }

    /// The event as a CloudEvent in JSON.
    pub(crate) fn cloud_event(&self) -> anyhow::Result<Vec<u8>> {
        let mut builder = EventBuilderV10::new()
            .id(self.id.to_string())
            .source(SOURCE)
            .ty(self.kind.as_str())
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
}

/// The relay of this process.
#[derive(Clone)]
pub struct Outbox {
    db: Db,
    sidecar: Sidecar,
    pub(crate) woken: Arc<Notify>,
    /// Locked by the pass that runs.
    state: Arc<Mutex<State>>,
    longest_pass: Duration,
}

/// State that the relay keeps from one pass to the next.
#[derive(Debug, Default)]
struct State {
    calls: Calls,
    cursors: Cursors,
}

/// The result of a pass.
#[derive(Debug, Default)]
struct Pass {
    published: usize,
    /// It ended at its limit.
    more: bool,
    /// Another relay holds the shard of some events. It may have read its heads before these were committed.
    busy: bool,
    /// Why the first failed call failed.
    failed: Option<anyhow::Error>,
    /// When the next event that was refused is tried again.
    retry_at: Option<Instant>,
}

impl Outbox {
    pub(crate) fn new(db: Db, sidecar: Sidecar) -> Self {
        Self { db, sidecar, woken: Arc::default(), state: Arc::default(), longest_pass: LONGEST_PASS }
    }

    /// Wakes the relay. Several calls while it works count as one.
    pub fn wake(&self) {
        self.woken.notify_one();
    }

    /// Wakes the relay after a commit. If the commit got no answer, it may still succeed, so the relay is woken once more later.
    ///
    /// # Errors
    /// The error it was given.
    pub fn wake_after<T, E>(&self, committed: Result<T, E>) -> Result<T, E> {
        self.wake();
        committed.inspect_err(|_| self.wake_late())
    }

    /// Wakes the relay when a commit whose answer was lost is done, if PostgreSQL did it.
    pub fn wake_late(&self) {
        let outbox = self.clone();
        tokio::spawn(async move {
            tokio::time::sleep(LOST).await;
            outbox.wake();
        });
    }

    /// Publishes committed events at start and after every wake-up. Never returns. Refused events are tried again for as long as the process
    /// lives, and by the next process at its start.
    pub async fn relay(self) {
        let mut pause = Duration::ZERO;
        loop {
            pause = match self.pass(Instant::now()).await {
                Ok(Pass { more: true, .. }) => Duration::ZERO,
                Ok(Pass { busy: true, .. }) => (pause * 2).clamp(Duration::from_millis(25), Duration::from_millis(200)),
                Ok(pass) => {
                    self.woken_or(pass.retry_at).await;
                    if pass.published < BURST { Duration::ZERO } else { GATHER }
                }
                Err(error) => {
                    tracing::warn!(error = format!("{error:#}"), "outbox: the database failed, will try again");
                    (pause * 2).clamp(Duration::from_millis(200), Duration::from_secs(1))
                }
            };
            tokio::time::sleep(pause).await;
        }
    }

    async fn woken_or(&self, retry_at: Option<Instant>) {
        let woken = self.woken.notified();
        match retry_at {
            Some(at) => drop(tokio::time::timeout_at(at.into(), woken).await),
            None => woken.await,
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
                self.state.lock().await.calls.make_due(Instant::now());
                let pass = self
                    .pass(Instant::now())
                    .await
                    .unwrap_or_else(|error| Pass { failed: Some(error), ..Pass::default() });
                match pass {
                    // A connection to daprd that was lost while this process was frozen fails one call; the next makes another.
                    Pass { failed: Some(error), .. } if !std::mem::take(&mut again) => return Err(error),
                    Pass { failed: None, busy: false, more: false, retry_at: None, .. } => return Ok(()),
                    Pass { failed: None, busy: false, .. } => {}
                    Pass { .. } => tokio::time::sleep(Duration::from_millis(25)).await,
                }
            }
        })
        .await?
    }

    /// Publishes what can be published at `now`.
    async fn pass(&self, now: Instant) -> anyhow::Result<Pass> {
        let State { calls, cursors } = &mut *self.state.lock().await;
        let mut pass = Pass::default();
        let began = Instant::now();
        calls.begin(now);
        let done = self.rounds(calls, cursors, &mut pass).await;
        calls.end(now + began.elapsed());
        pass.retry_at = calls.next_due();
        if let Some(error) = &pass.failed {
            let (error, held) = (format!("{error:#}"), calls.held());
            tracing::warn!(error, held, "outbox: publishing failed, will try again");
        }
        done.map(|()| pass)
    }

    /// Makes the calls of a pass, until nothing is left to publish or enough of them have failed.
    async fn rounds(&self, calls: &mut Calls, cursors: &mut Cursors, pass: &mut Pass) -> anyhow::Result<()> {
        let began = Instant::now();
        cursors.begin(pass.published);
        loop {
            let heads = self.in_time(self.heads(cursors, calls)).await?;
            for group in calls.next(heads) {
                if calls.have_failed_enough() {
                    return Ok(());
                }
                self.in_time(self.call(calls, pass, group)).await?;
            }
            if calls.take_unread() {
                cursors.begin(pass.published);
            } else if !calls.have_suspects() && cursors.is_finished(pass.published) {
                return Ok(());
            }
            if began.elapsed() > self.longest_pass {
                pass.more = true;
                return Ok(());
            }
        }
    }

    async fn heads(&self, cursors: &mut Cursors, calls: &Calls) -> sqlx::Result<Vec<Head>> {
        let mut tx = self.db.begin_single().await?;
        let heads = heads::read(&mut tx, cursors, calls).await?;
        tx.commit().await?;
        Ok(heads)
    }

    /// Publishes those events of a topic that are still unpublished and in no shard of another relay.
    async fn call(&self, calls: &mut Calls, pass: &mut Pass, group: Vec<Head>) -> anyhow::Result<()> {
        let mut tx = self.db.begin().await?;
        let (events, busy) = lock(&mut tx, &group).await?;
        pass.busy |= busy;
        if !busy {
            calls.forget_all_but(&events, &group);
        }
        let Some(topic) = events.first().map(|event| event.kind.topic()) else { return Ok(tx.commit().await?) };
        let batch = events.iter().map(Unpublished::publication).collect::<anyhow::Result<Vec<Publication>>>()?;
        crash("outbox-before-publish");
        let answer = self.sidecar.publish(topic, batch).await;
        let heads = events.iter().map(Unpublished::head);
        if let Err(error) = answer {
            calls.failed(heads.collect());
            pass.failed.get_or_insert(error.into());
            // Not dropped: the locks must be free before the next call.
            return Ok(tx.commit().await?);
        }
        crash("outbox-published");
        let ids: Vec<Uuid> = events.iter().map(|event| event.id).collect();
        sqlx::query!("update task_events set published_at = now() where id = any($1)", &ids).execute(&mut *tx).await?;
        tx.commit().await?;
        crash("outbox-marked");
        pass.published += ids.len();
        calls.published(heads);
        Ok(())
    }

    async fn in_time<T, E: Into<anyhow::Error>>(&self, step: impl Future<Output = Result<T, E>>) -> anyhow::Result<T> {
        let limit = self.db.deadlines.relay;
        let answer = tokio::time::timeout(limit, step).await;
        answer.with_context(|| format!("no answer in {limit:?}"))?.map_err(Into::into)
    }
}

/// Locks the shards of some events, and reads those that are still unpublished. Also returns whether another relay holds one of the shards.
async fn lock(conn: &mut PgConnection, group: &[Head]) -> sqlx::Result<(Vec<Unpublished>, bool)> {
    let ids: Vec<Uuid> = group.iter().map(|head| head.event).collect();
    let shards = sqlx::query!(
        r#"select shard as "shard!", pg_try_advisory_xact_lock($1, shard) as "ours!"
           from (select distinct shard from task_events where id = any($2) and published_at is null) as waiting"#,
        RELAY_LOCK,
        &ids,
    )
    .fetch_all(&mut *conn)
    .await?;
    let ours: Vec<i16> = shards.iter().filter(|shard| shard.ours).map(|shard| shard.shard).collect();
    // Another statement, because its snapshot must be taken under the lock: it then has the marks of the relay before.
    let rows = sqlx::query!(
        r#"select id, type as kind, task_id, sequence, data, traceparent, occurred_at from task_events
           where id = any($1) and shard = any($2) and published_at is null order by id"#,
        &ids,
        &ours,
    )
    .fetch_all(conn)
    .await?;
    let events = rows.into_iter().filter_map(|row| {
        Some(Unpublished {
            id: row.id,
            kind: EventType::parse(&row.kind)?,
            task_id: row.task_id,
            sequence: row.sequence,
            data: row.data,
            traceparent: row.traceparent,
            occurred_at: row.occurred_at,
        })
    });
    Ok((events.collect(), ours.len() < shards.len()))
}

#[cfg(test)]
mod tests;
