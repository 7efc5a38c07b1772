//! Fires the callbacks that are waiting, up to [`GROUP`] at a time, in one statement.
//!
//! A callback that arrives while a group is being fired joins the next group. No callback is answered before its group has committed, so the
//! scheduler calls all of a group again if the process dies. A group never waits for a row lock: it skips the row, and the callback reads it
//! again.

use std::{
    collections::HashMap,
    io,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use shared::{
    App,
    cloud_event::Trace,
    db::{Conn, is_outage},
    faults::crash,
    inbox::HandlerError,
    reminder::{CancelReason, ReminderState},
    schema::{Payload as _, ReminderDue},
};
use sqlx::PgConnection;
use tokio::{sync::oneshot, time::timeout};
use uuid::Uuid;

use super::Row;

/// Maximum callbacks in a group.
const GROUP: usize = 200;
/// A group of this many callbacks is part of a burst. In a burst, publishing waits until callbacks pause for [`QUIET`], at most for [`HOLD`].
/// So sending does not compete with firing for the database and the CPU, and events are published in larger batches.
const BURST: usize = 20;
const QUIET: Duration = Duration::from_millis(20);
const HOLD: Duration = Duration::from_secs(5);
/// How long a statement on the kept connection may take. The pool would have pinged the connection first; this replaces the ping.
const SILENCE: Duration = Duration::from_secs(5);

/// The result of a callback.
#[derive(Clone, Debug)]
pub(super) enum Look {
    /// It emitted `reminder.due`.
    Fired {
        /// Milliseconds after the instant.
        late_ms: i64,
    },
    /// It did not fire: it must not, it is early, or its row is locked.
    NotFired(Row),
    /// The reminder does not exist.
    Missing,
}

/// Collects callbacks into groups; cheap to clone.
#[derive(Clone)]
pub(super) struct Together {
    app: App,
    waiting: Arc<Mutex<Vec<Waiting>>>,
    /// Held while a group fires; the next group gathers meanwhile.
    turn: Arc<tokio::sync::Mutex<Turn>>,
}

/// State that one group passes on to the next.
#[derive(Default)]
struct Turn {
    /// The connection of the group before. Kept because acquiring one pings the database, and a fresh connection must plan the statement
    /// again, which takes longer than running it.
    kept: Option<Conn>,
    /// When the first event was emitted that is not published yet.
    unpublished_since: Option<Instant>,
}

impl Turn {
    /// An event was emitted and must be published.
    fn fired(&mut self) {
        self.unpublished_since.get_or_insert_with(Instant::now);
    }
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

    /// Reads a reminder, and fires this version if it is live and due.
    pub(super) async fn look(&self, id: Uuid, version: i32) -> Result<Look, HandlerError> {
        let (tell, told) = oneshot::channel();
        self.waiting().push(Waiting { id, version, tell });
        // In its own task, so that a cancelled request does not cancel the group that it started.
        tokio::spawn(self.clone().next_group());
        match told.await {
            Ok(look) => look.map_err(|error| {
                if is_outage(&error) { HandlerError::Outage(error.into()) } else { HandlerError::Failed(error.into()) }
            }),
            Err(_) => Err(HandlerError::Outage(anyhow::anyhow!("the group of this callback was not fired"))),
        }
    }

    fn waiting(&self) -> MutexGuard<'_, Vec<Waiting>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn next_group(self) {
        let mut turn = self.turn.lock().await;
        let group: Vec<Waiting> = {
            let mut waiting = self.waiting();
            let size = waiting.len().min(GROUP);
            waiting.drain(..size).collect()
        };
        if group.is_empty() {
            return;
        }
        let burst = group.len() >= BURST;
        match self.fire(&group, &mut turn).await {
            // One failing callback must not fail the others.
            Err(error) if group.len() > 1 && !is_outage(&error) => {
                for one in group {
                    let alone = self.fire(std::slice::from_ref(&one), &mut turn).await;
                    one.answer(alone.map_err(Arc::new).as_ref());
                }
            }
            fired => {
                let fired = fired.map_err(Arc::new);
                group.into_iter().for_each(|one| one.answer(fired.as_ref()));
            }
        }
        if let Some(since) = turn.unpublished_since {
            if burst && self.waiting().is_empty() {
                tokio::time::sleep(QUIET).await;
            }
            if self.waiting().is_empty() || since.elapsed() >= HOLD {
                turn.unpublished_since = None;
                self.app.outbox.wake();
            }
        }
    }

    /// Fires a group. Returns the result of every callback whose reminder exists.
    async fn fire(&self, group: &[Waiting], turn: &mut Turn) -> sqlx::Result<HashMap<(Uuid, i32), Look>> {
        crash("reminder-before-commit");
        let on_kept = match turn.kept.take() {
            Some(kept) => Some(fire_on(kept, SILENCE, group).await),
            None => None,
        };
        let fired = match on_kept {
            Some(fired) if !fired.as_ref().is_err_and(is_outage) => fired,
            lost => {
                if lost.is_some() {
                    self.lost(turn);
                }
                fire_on(self.app.db.acquire().await?, self.app.deadlines().answer, group).await
            }
        };
        let (conn, looks) = fired.inspect_err(|_| self.lost(turn))?;
        turn.kept = Some(conn);
        if looks.values().any(|look| matches!(look, Look::Fired { .. })) {
            turn.fired();
            crash("reminder-fired");
        }
        Ok(looks)
    }

    /// No answer came, but the group may have committed: its events must be published all the same.
    fn lost(&self, turn: &mut Turn) {
        turn.fired();
        self.app.outbox.wake_late();
    }
}

impl Waiting {
    /// If the request is gone, nobody receives the result, and the scheduler calls again.
    fn answer(self, fired: Result<&HashMap<(Uuid, i32), Look>, &Arc<sqlx::Error>>) {
        let look = fired.map(|looks| looks.get(&(self.id, self.version)).cloned().unwrap_or(Look::Missing));
        let _ = self.tell.send(look.map_err(Arc::clone));
    }
}

/// Fires a group on a connection, and returns it. A connection that does not answer within `limit` is closed.
async fn fire_on(
    mut conn: Conn,
    limit: Duration,
    group: &[Waiting],
) -> sqlx::Result<(Conn, HashMap<(Uuid, i32), Look>)> {
    match timeout(limit, fire(&mut conn, group)).await {
        Ok(fired) => fired.map(|looks| (conn, looks)),
        Err(_) => {
            conn.close();
            Err(sqlx::Error::Io(io::ErrorKind::TimedOut.into()))
        }
    }
}

/// Fires the reminders of a group that are live, due and not locked: rows, events and audit log in one statement, that is one transaction.
///
/// It decides by the row as it is once locked. Of a reminder that did not fire it returns the row.
///
/// Through a pooler it lacks the settings of [`shared::db`], which would cost two more round trips. It needs none: it waits for no row, its
/// locks end with it although this process dies, and [`fire_on`] closes a connection on which it takes too long.
async fn fire(conn: &mut PgConnection, group: &[Waiting]) -> sqlx::Result<HashMap<(Uuid, i32), Look>> {
    let reminders: Vec<Uuid> = group.iter().map(|one| one.id).collect();
    let versions: Vec<i32> = group.iter().map(|one| one.version).collect();
    let traces: Vec<String> = group.iter().map(|_| Trace::from_header(None).as_str().to_owned()).collect();
    let looks = sqlx::query!(
        r#"with found as (
               select wanted.*, reminder.*, title, task.version as sequence, completed, clock_timestamp() as now,
                      to_char(reminder.remind_at at time zone 'utc', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"') as planned_at
               from unnest($1::uuid[], $2::integer[], $3::text[]) as wanted (reminder, as_of, new_trace)
               join task_reminders reminder on reminder.id = wanted.reminder
               left join tasks task on task.id = reminder.task_id
           ), free as (
               select found.*
               from found join task_reminders reminder on reminder.id = found.id and reminder.remind_at = found.remind_at
               where reminder.remind_at <= clock_timestamp()
                 and reminder.version = as_of and not completed
                 and reminder_is_live(reminder.state, reminder.version, reminder.fired_version)
               for update of reminder skip locked
           ), fired as (
               update task_reminders reminder set fired_version = reminder.version, fired_at = clock_timestamp()
               from free where reminder.id = free.id
               returning reminder.*, as_of, sequence, title, planned_at, new_trace,
                         (extract(epoch from reminder.fired_at - reminder.remind_at) * 1000)::bigint as late_ms
           ), emitted as (
               insert into task_events (type, occurred_at, task_id, user_id, sequence, data, traceparent)
               select $4, fired_at, task_id, user_id, sequence,
                      jsonb_build_object(
                          'task_id', task_id, 'user_id', user_id, 'title', title, 'version', sequence, -- `schema::ReminderDue`
                          'reminder_id', id, 'remind_at', planned_at, 'reminder_version', version),
                      -- The trace of the task's last event: usually the request that set the reminder.
                      coalesce((select traceparent from task_events last where last.task_id = fired.task_id
                                order by last.id desc limit 1), new_trace)
               from fired
           ), story as (
               insert into audit_logs (user_id, task_id, reminder_id, reminder_version, action, detail)
               select user_id, task_id, id, version, 'reminder.fired',
                      jsonb_build_object('planned_at', planned_at, 'late_ms', late_ms)
               from fired on conflict do nothing
           )
           select found.id as "id!", found.as_of as "as_of!",
                  found.version as "version!", found.state as "state!: ReminderState",
                  found.cancel_reason as "cancel_reason: CancelReason", found.fired_version, found.remind_at as "remind_at!", completed as "completed?", now as "now!", late_ms as "late_ms?"
           from found left join fired on fired.id = found.id and fired.as_of = found.as_of"#,
        &reminders,
        &versions,
        &traces,
        ReminderDue::TYPE.as_str(),
    )
    .fetch_all(conn)
    .await?;
    let looks = looks.into_iter().map(|row| {
        let look = match row.late_ms {
            Some(late_ms) => Look::Fired { late_ms },
            None => Look::NotFired(Row {
                version: row.version,
                state: row.state,
                cancel_reason: row.cancel_reason,
                fired_version: row.fired_version,
                remind_at: row.remind_at,
                completed: row.completed,
                now: row.now,
            }),
        };
        ((row.id, row.as_of), look)
    });
    Ok(looks.collect())
}
