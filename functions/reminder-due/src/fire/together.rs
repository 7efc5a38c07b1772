//! What callbacks do to the database, many at a time: read what each is about, and fire what is to be fired, in one statement.
//!
//! Whoever comes while a group is being written joins the next one. No callback is answered before the commit of its group, so a
//! group that dies is called again, all of it. A group never waits for a row: one that somebody else holds is passed over, and
//! its callback looks again.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use chrono::{DateTime, Utc};
use serde_json::{Value, json};
use shared::{
    App,
    event::Trace,
    faults::{broken, crash},
    inbox::Failure,
    outbox,
    problem::is_outage,
    schema::{Payload as _, ReminderDue, TaskRef},
};
use sqlx::PgConnection;
use tokio::sync::oneshot;
use uuid::Uuid;

use super::{Decision, Row, decide};

/// How many are written together at most.
const GROUP: usize = 200;
/// A group of this many is part of a burst: those that are fired wait to be published until no callback has come for [`QUIET`],
/// and at most for [`HOLD`]. All have fired sooner, because what sends them does not compete with it, and is found together.
const BURST: usize = 20;
const QUIET: Duration = Duration::from_millis(20);
const HOLD: Duration = Duration::from_secs(5);

/// What became of a callback.
#[derive(Clone, Debug)]
pub(super) enum Look {
    /// It is `reminder.due` now.
    Fired {
        /// How long after its time.
        late_ms: i64,
    },
    /// It was not to be fired, or could not be at this moment.
    NotFired(Row),
    /// There is no such reminder.
    Missing,
}

/// The callbacks that wait for the next group; cheap to clone.
#[derive(Clone)]
pub(super) struct Together {
    app: App,
    waiting: Arc<Mutex<Vec<Waiting>>>,
    /// One group at a time, the others gather meanwhile; and since when something fired waits to be published.
    turn: Arc<tokio::sync::Mutex<Option<Instant>>>,
}

struct Waiting {
    id: Uuid,
    version: i32,
    tell: oneshot::Sender<Result<Look, Arc<sqlx::Error>>>,
}

impl Together {
    pub(super) fn new(app: App) -> Self {
        Self { app, waiting: Arc::default(), turn: Arc::default() }
    }

    /// Looks at a reminder, and fires this version of it where it is time.
    pub(super) async fn look(&self, id: Uuid, version: i32) -> Result<Look, Failure> {
        let (tell, told) = oneshot::channel();
        self.waiting().push(Waiting { id, version, tell });
        // In a task of its own: a group does not end with the request that happened to begin it.
        tokio::spawn(self.clone().next_group());
        match told.await {
            Ok(look) => look.map_err(|error| {
                if is_outage(&error) { Failure::Outage(error.into()) } else { Failure::Fault(error.into()) }
            }),
            Err(_) => Err(Failure::Outage(anyhow::anyhow!("those fired together were not fired"))),
        }
    }

    fn waiting(&self) -> MutexGuard<'_, Vec<Waiting>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn next_group(self) {
        let mut unpublished_since = self.turn.lock().await;
        let group: Vec<Waiting> = {
            let mut waiting = self.waiting();
            let size = waiting.len().min(GROUP);
            waiting.drain(..size).collect()
        };
        if group.is_empty() {
            return;
        }
        let burst = group.len() >= BURST;
        match self.fire(&group, &mut unpublished_since).await {
            // What one of them broke is not the fault of the others.
            Err(error) if group.len() > 1 && !is_outage(&error) => {
                for one in group {
                    let alone = self.fire(std::slice::from_ref(&one), &mut unpublished_since).await;
                    one.answer(alone.map_err(Arc::new).as_ref());
                }
            }
            fired => {
                let fired = fired.map_err(Arc::new);
                group.into_iter().for_each(|one| one.answer(fired.as_ref()));
            }
        }
        if let Some(since) = *unpublished_since {
            if burst && self.waiting().is_empty() {
                tokio::time::sleep(QUIET).await;
            }
            if self.waiting().is_empty() || since.elapsed() >= HOLD {
                *unpublished_since = None;
                self.app.outbox.wake();
            }
        }
    }

    /// Fires those of a group that are to be fired, and says what became of each that is known.
    async fn fire(
        &self,
        group: &[Waiting],
        unpublished_since: &mut Option<Instant>,
    ) -> sqlx::Result<HashMap<(Uuid, i32), Look>> {
        let mut conn = self.app.db.acquire().await?;
        let rows = read(&mut conn, group.iter().map(|one| one.id).collect()).await?;
        let mut looks = HashMap::new();
        let (mut due, mut asked) = (Due::default(), Vec::new());
        for one in group {
            let Some(row) = rows.get(&one.id) else { continue };
            let version = if broken("no-second-look") { row.version } else { one.version };
            let first = looks.insert((one.id, one.version), Look::NotFired(row.clone())).is_none();
            if first && decide(row, version) == Decision::Fire {
                due.push(one.id, version, row);
                asked.push((one.id, one.version));
            }
        }
        if due.reminders.is_empty() {
            return Ok(looks);
        }
        crash("reminder-before-commit");
        let fired = due.emit(&mut conn).await?;
        for (id, version) in asked {
            if let Some(&late_ms) = fired.get(&id) {
                looks.insert((id, version), Look::Fired { late_ms });
                unpublished_since.get_or_insert_with(Instant::now);
            }
        }
        crash("reminder-fired");
        Ok(looks)
    }
}

impl Waiting {
    /// Where its request is gone, nobody hears it, and the job is called again.
    fn answer(self, fired: Result<&HashMap<(Uuid, i32), Look>, &Arc<sqlx::Error>>) {
        let look = fired.map(|looks| looks.get(&(self.id, self.version)).cloned().unwrap_or(Look::Missing));
        let _ = self.tell.send(look.map_err(Arc::clone));
    }
}

async fn read(conn: &mut PgConnection, ids: Vec<Uuid>) -> sqlx::Result<HashMap<Uuid, Row>> {
    let rows = sqlx::query!(
        r#"select reminder.id as "id!", reminder.task_id as "task_id!", reminder.user_id as "user_id!",
                  reminder.version as "version!", reminder.state as "state!", cancel_reason, fired_version,
                  reminder.remind_at as "remind_at!", title as "title?", task.version as "task_version?",
                  completed as "completed?",
                  (select traceparent from task_events event where event.task_id = reminder.task_id
                   order by id desc limit 1) as traceparent,
                  clock_timestamp() as "now!"
           from task_reminders reminder left join tasks task on task.id = reminder.task_id
           where reminder.id = any($1)"#,
        &ids
    )
    .fetch_all(conn)
    .await?;
    let rows = rows.into_iter().map(|row| {
        let read = Row {
            task_id: row.task_id,
            user_id: row.user_id,
            version: row.version,
            state: row.state,
            cancel_reason: row.cancel_reason,
            fired_version: row.fired_version,
            remind_at: row.remind_at,
            title: row.title,
            task_version: row.task_version,
            completed: row.completed,
            traceparent: row.traceparent,
            now: row.now,
        };
        (row.id, read)
    });
    Ok(rows.collect())
}

/// What is to be fired, a column each.
#[derive(Default)]
struct Due {
    reminders: Vec<Uuid>,
    versions: Vec<i32>,
    planned: Vec<DateTime<Utc>>,
    details: Vec<Value>,
    events: Vec<Uuid>,
    sequences: Vec<i64>,
    data: Vec<Value>,
    traces: Vec<String>,
}

impl Due {
    fn push(&mut self, id: Uuid, version: i32, row: &Row) {
        let task = TaskRef {
            task_id: row.task_id,
            user_id: row.user_id,
            title: row.title.clone().unwrap_or_default(),
            version: row.task_version.unwrap_or_default(),
        };
        let due = ReminderDue { task, reminder_id: id, remind_at: row.remind_at, reminder_version: version };
        // In the trace of what last happened to the task: the request that set the reminder, as a rule.
        let event = outbox::Row::new(&due, &Trace::from_header(row.traceparent.as_deref()));
        self.reminders.push(id);
        self.versions.push(version);
        self.planned.push(row.remind_at);
        self.details.push(json!({"planned_at": row.remind_at}));
        self.events.push(event.id);
        self.sequences.push(event.sequence);
        self.data.push(event.data);
        self.traces.push(event.traceparent);
    }

    /// Fires those that are still as they were read and that nobody holds, and says how late each is: row, event and story in
    /// one statement, which is a transaction.
    async fn emit(self, conn: &mut PgConnection) -> sqlx::Result<HashMap<Uuid, i64>> {
        let fired = sqlx::query!(
            r#"with free as (
                   select wanted.*
                   from unnest($1::uuid[], $2::integer[], $3::timestamptz[], $4::jsonb[],
                               $5::uuid[], $6::bigint[], $7::jsonb[], $8::text[])
                       as wanted (reminder, as_of, planned_at, detail, event, sequence, data, traceparent)
                   join task_reminders reminder on reminder.id = wanted.reminder and version = as_of
                   where $10 or (state = 'scheduled' and (fired_version is null or fired_version < version)
                                 and remind_at = planned_at and remind_at <= clock_timestamp())
                   for update of reminder skip locked
               ), fired as (
                   update task_reminders reminder set fired_version = version, fired_at = clock_timestamp()
                   from free where reminder.id = free.reminder
                   returning reminder.id, version, task_id, user_id,
                             (extract(epoch from fired_at - remind_at) * 1000)::bigint as late_ms,
                             detail, event, sequence, data, free.traceparent
               ), emitted as (
                   insert into task_events (id, type, task_id, user_id, sequence, data, traceparent)
                   select event, $9, task_id, user_id, sequence, data, traceparent from fired
               ), story as (
                   insert into audit_logs (user_id, task_id, reminder_id, reminder_version, action, detail)
                   select user_id, task_id, id, version, 'reminder.fired', detail || jsonb_build_object('late_ms', late_ms)
                   from fired on conflict do nothing
               )
               select id as "id!", late_ms as "late_ms!" from fired"#,
            &self.reminders,
            &self.versions,
            &self.planned,
            &self.details,
            &self.events,
            &self.sequences,
            &self.data,
            &self.traces,
            ReminderDue::TYPE.as_str(),
            broken("no-second-look"),
        )
        .fetch_all(conn)
        .await?;
        Ok(fired.into_iter().map(|row| (row.id, row.late_ms)).collect())
    }
}
