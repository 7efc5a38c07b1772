//! How commands change the reminders of a task: pure decisions, and the statement that writes them.
//!
//! Only that statement raises a reminder's version, exactly when the instant or the liveness changes. From the commit on, every
//! job, event and delivery of an earlier version is stale.
//!
//! The decisions are public because the crate `simulation` runs them beside those of the other functions.
//!
//! # When the due time or the zone changes
//!
//! [`Reminder::on_move`] moves a relative reminder whose instant changes by it. An absolute one stays, and so does one that was
//! snoozed, if the change does not move the instant that its duration gives.
//!
//! | reminder | new instant is ahead | new instant has passed | the due time is removed |
//! |---|---|---|---|
//! | scheduled, not fired | moves | moves, and fires at once as a new one would | cancelled: `due_removed` |
//! | scheduled, fired | moves | stays | cancelled: `due_removed` |
//! | sent or failed | moves | stays | stays |
//! | cancelled: `completed`, of a completed task | moves | moves | cancelled: `due_removed` |
//! | cancelled: `completed` or `deleted`, of an open task | moves | stays | cancelled: `due_removed` |
//! | cancelled: `due_removed` | moves | stays | stays |
//! | cancelled: `user`, or a reason of a newer release | stays | stays | stays |
//! | in a state of a newer release | stays | stays | stays |
//!
//! A reminder that moves is scheduled afterwards. If the task is completed, it is cancelled instead (`completed`), until the task is
//! reopened. An open task has a reminder cancelled as `completed` if its time had passed when the task was reopened or restored, or when the
//! occurrence was made. It has one cancelled as `deleted` if its time passed while the task was deleted.

use chrono::{DateTime, TimeDelta, Utc};
use serde::Serialize;
use shared::{
    recurrence::{BeforeDue, Zone},
    reminder::{CancelReason, ReminderState},
};
use sqlx::{PgConnection, types::Json};
use uuid::Uuid;

pub use crate::task::Reminder;
use crate::{
    draft::{NewReminder, When},
    task::Task,
};

/// How many reminders a task keeps, cancelled ones included. At most 20 of them are listed.
const KEPT: i64 = 200;
/// How soon after a command its undoing also brings back a reminder whose time has passed meanwhile.
const UNDO: TimeDelta = TimeDelta::seconds(60);

/// A change of a reminder: the values that it is to have.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub struct ReminderChange {
    /// The reminder.
    pub id: Uuid,
    /// Its new instant.
    pub remind_at: DateTime<Utc>,
    /// Its new state.
    pub state: ReminderState,
    /// Why it is cancelled, if it is.
    pub cancel_reason: Option<CancelReason>,
}

/// The due time of a task, and its zone.
#[derive(Clone, Copy, Debug)]
pub struct Due<'a> {
    /// The due time, if the task has one.
    pub at: Option<DateTime<Utc>>,
    /// The zone.
    pub zone: &'a Zone,
}

impl Due<'_> {
    fn minus(self, before: &BeforeDue) -> Option<DateTime<Utc>> {
        before.resolve(self.at?, self.zone)
    }
}

impl ReminderChange {
    pub(crate) fn is_of(&self, reminder: &Reminder) -> bool {
        self.id == reminder.id
    }

    /// Whether applying it would change nothing.
    #[must_use]
    pub fn is_noop_for(&self, reminder: &Reminder) -> bool {
        self.remind_at == reminder.remind_at
            && self.state == reminder.state
            && self.cancel_reason == reminder.cancel_reason
    }
}

impl Reminder {
    fn is_scheduled(&self) -> bool {
        self.state == ReminderState::Scheduled
    }

    /// Schedules it for an instant, from any state.
    #[must_use]
    pub fn scheduled(&self, at: DateTime<Utc>) -> ReminderChange {
        ReminderChange { id: self.id, remind_at: at, state: ReminderState::Scheduled, cancel_reason: None }
    }

    /// Cancels it, from any state.
    #[must_use]
    pub fn cancelled(&self, reason: CancelReason) -> ReminderChange {
        ReminderChange {
            cancel_reason: Some(reason),
            state: ReminderState::Cancelled,
            ..self.scheduled(self.remind_at)
        }
    }

    /// The task is completed: cancels a live reminder.
    #[must_use]
    pub fn on_complete(&self) -> Option<ReminderChange> {
        self.is_scheduled().then(|| self.cancelled(CancelReason::Completed))
    }

    /// The task is open again: schedules a reminder that the completion cancelled, unless its time has passed.
    #[must_use]
    pub fn on_reopen(&self, completed_at: DateTime<Utc>, now: DateTime<Utc>) -> Option<ReminderChange> {
        let returns = self.cancel_reason == Some(CancelReason::Completed) && self.returns(completed_at, now);
        returns.then(|| self.scheduled(self.remind_at))
    }

    /// Whether undoing a command schedules it again: its time is ahead, or passed after the command, which is at most a minute old. A time before
    /// the command does not count, because the reminder may have fired.
    fn returns(&self, command_at: DateTime<Utc>, now: DateTime<Utc>) -> bool {
        self.remind_at > now || (self.remind_at > command_at && now - command_at <= UNDO)
    }

    /// Whether it is to fire as soon as its task is open.
    fn waits(&self) -> bool {
        self.is_scheduled() || self.cancel_reason == Some(CancelReason::Completed)
    }

    /// A version of the task is restored in which it, or one that it was made for, was as `was`: gives it the state and the instant of then. If it
    /// was still to fire and its time has passed, it fires only within a minute after the last command.
    #[must_use]
    pub fn on_restore(
        &self,
        was: &Self,
        completed: bool,
        last_command_at: DateTime<Utc>,
        now: DateTime<Utc>,
    ) -> Option<ReminderChange> {
        let returns = was.returns(last_command_at, now);
        let scheduled = self.scheduled(was.remind_at);
        let change = if !was.waits() {
            ReminderChange { state: was.state, cancel_reason: was.cancel_reason, ..scheduled }
        } else if returns && !completed {
            scheduled
        } else if returns || self.is_scheduled() {
            ReminderChange { remind_at: was.remind_at, ..self.cancelled(CancelReason::Completed) }
        } else {
            return None;
        };
        // It is on its way, or has fired since.
        let is_underway = was.waits() && self.state != ReminderState::Cancelled && self.remind_at == was.remind_at;
        let is_known = was.state != ReminderState::Other && self.state != ReminderState::Other;
        (is_known && !is_underway && !change.is_noop_for(self)).then_some(change)
    }

    /// The task is deleted: cancels a live reminder.
    #[must_use]
    pub fn on_delete(&self) -> Option<ReminderChange> {
        self.is_scheduled().then(|| self.cancelled(CancelReason::Deleted))
    }

    /// The due time or the zone changed: moves a relative reminder by the table in the module's documentation.
    #[must_use]
    pub fn on_move(&self, from: Due<'_>, to: Due<'_>, completed: bool, now: DateTime<Utc>) -> Option<ReminderChange> {
        let before = BeforeDue::parse(self.before_due.as_deref()?).ok()?;
        let (old, new) = (from.minus(&before), to.minus(&before));
        if old == new {
            return None;
        }
        let Some(at) = new else {
            let waits = self.waits() || self.cancel_reason == Some(CancelReason::Deleted);
            return waits.then(|| self.cancelled(CancelReason::DueRemoved));
        };
        let ahead = at > now;
        let moves = match (self.state, self.cancel_reason) {
            (ReminderState::Scheduled, _) => ahead || !self.fired,
            (ReminderState::Sent | ReminderState::Failed, _) => ahead,
            (ReminderState::Cancelled, Some(CancelReason::DueRemoved)) => ahead,
            (ReminderState::Cancelled, Some(CancelReason::Completed | CancelReason::Deleted)) => ahead || completed,
            (ReminderState::Cancelled | ReminderState::Other, _) => false,
        };
        let moved = ReminderChange { remind_at: at, ..self.cancelled(CancelReason::Completed) };
        moves.then(|| if completed { moved } else { self.scheduled(at) })
    }

    /// A new reminder for the same instant. It is relative to the due time if that gives the instant.
    fn again(&self, due: Due<'_>) -> NewReminder {
        let before = self.before_due.as_deref().and_then(|text| BeforeDue::parse(text).ok());
        let before = before.filter(|before| due.minus(before) == Some(self.remind_at));
        NewReminder {
            when: before.map_or(When::At(self.remind_at), When::Before),
            channels: self.channels.iter().filter_map(|channel| channel.parse().ok()).collect(),
        }
    }

    /// Whether it is made as the other one is, and fires at the same time.
    fn is_like(&self, other: &Self) -> bool {
        (self.remind_at, &self.before_due, &self.channels) == (other.remind_at, &other.before_due, &other.channels)
    }

    /// Whether it is the reminder that a body lists.
    fn matches(&self, wanted: &NewReminder) -> bool {
        let channels = wanted.channels.iter().map(|channel| channel.as_str());
        channels.eq(self.channels.iter().map(String::as_str))
            && match wanted.before_due() {
                Some(before) => self.before_due.as_deref() == Some(before),
                None => self.before_due.is_none() && Ok(self.remind_at) == wanted.instant(None, &Zone::utc()),
            }
    }
}

/// Replaces the list of reminders. Returns how the task's reminders that are not in the new list change, and the reminders to add.
pub(crate) fn replace(task: &Task, wanted: Vec<NewReminder>) -> (Vec<ReminderChange>, Vec<NewReminder>) {
    let mut had: Vec<&Reminder> = task.reminders.iter().collect();
    let mut added = wanted;
    added.retain(|wanted| match had.iter().position(|reminder| reminder.matches(wanted)) {
        Some(same) => {
            had.remove(same);
            false
        }
        None => true,
    });
    (had.into_iter().map(|reminder| reminder.cancelled(CancelReason::User)).collect(), added)
}

/// Restores the reminders that a task had at a version. Returns how its reminders change, and the reminders to add because their user has
/// cancelled them since.
pub(crate) fn restore(
    task: &Task,
    was: &Task,
    last_command_at: DateTime<Utc>,
) -> (Vec<ReminderChange>, Vec<NewReminder>) {
    let now = task.inner.now;
    let is_there = |old: &Reminder| task.reminders.iter().any(|reminder| reminder.id == old.id);
    let (there, mut gone): (Vec<_>, Vec<_>) = was.reminders.iter().partition(|old| is_there(old));
    let mut changes = Vec::new();
    for reminder in &task.reminders {
        let same = there.iter().copied().find(|old| old.id == reminder.id);
        // Restoring the version before has made it again, with an id of its own.
        let again = || gone.iter().position(|old| reminder.is_like(old)).map(|at| gone.remove(at));
        match same.or_else(again) {
            Some(old) => changes.extend(reminder.on_restore(old, task.completed, last_command_at, now)),
            None => changes.push(reminder.cancelled(CancelReason::User)),
        }
    }
    let zone = was.zone();
    let added = gone.into_iter().filter(|old| old.waits() && old.returns(last_command_at, now));
    let added = added.map(|old| old.again(Due { at: was.due_at, zone: &zone })).collect();
    (changes, added)
}

/// Writes changes of reminders. The instant of an absolute one is moved for this occurrence alone: later ones keep the first.
pub(crate) async fn apply(conn: &mut PgConnection, user_id: Uuid, changes: &[ReminderChange]) -> sqlx::Result<()> {
    if changes.is_empty() {
        return Ok(());
    }
    sqlx::query!(
        "update task_reminders reminder
         set remind_at = change.remind_at, state = change.state, cancel_reason = change.cancel_reason,
             series_remind_at = case when before_due is null and reminder.remind_at <> change.remind_at
                                     then coalesce(series_remind_at, reminder.remind_at) else series_remind_at end,
             version = version + (reminder.remind_at <> change.remind_at
                                  or (reminder.state = 'scheduled') <> (change.state = 'scheduled'))::int,
             updated_at = now()
         from jsonb_to_recordset($1) as change (id uuid, remind_at timestamptz, state text, cancel_reason text)
         where reminder.id = change.id and user_id = $2",
        Json(changes) as _,
        user_id
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// A new row of `task_reminders`, as JSON for `jsonb_to_recordset`.
#[derive(Debug, Serialize)]
pub(crate) struct Row {
    pub(crate) id: Uuid,
    pub(crate) remind_at: DateTime<Utc>,
    before_due: Option<String>,
    channels: Vec<&'static str>,
}

impl Row {
    /// The rows of new reminders. A relative reminder of a task without a due time has none.
    pub(crate) fn all(reminders: &[NewReminder], due: Due<'_>) -> Vec<Self> {
        let rows = reminders.iter().filter_map(|reminder| {
            Some(Self {
                id: Uuid::now_v7(),
                remind_at: reminder.instant(due.at, due.zone).ok()?,
                before_due: reminder.before_due().map(str::to_owned),
                channels: reminder.channels.iter().map(|channel| channel.as_str()).collect(),
            })
        });
        rows.collect()
    }

    /// The new reminder as the API shows it.
    pub(crate) fn to_reminder(&self, now: DateTime<Utc>) -> Reminder {
        Reminder {
            id: self.id,
            remind_at: self.remind_at,
            before_due: self.before_due.clone(),
            channels: self.channels.iter().map(ToString::to_string).collect(),
            state: ReminderState::Scheduled,
            cancel_reason: None,
            overdue: self.remind_at <= now,
            version: 1,
            fired: false,
        }
    }
}

/// Adds reminders to a task. In a completed task they are cancelled at once, as if it had been completed with them.
///
/// If the task would have more than [`KEPT`], deletes the oldest that its user cancelled, unless the scheduler may still have their job. Nobody
/// but their timelines needs them. Those that never fired go first, and those with a delivery that is not over stay.
pub(crate) async fn add(conn: &mut PgConnection, task: &Task, rows: &[Row]) -> sqlx::Result<()> {
    if rows.is_empty() {
        return Ok(());
    }
    let oldest = sqlx::query_scalar!(
        "with oldest as materialized (
             select id from task_reminders
             where task_id = $1 and user_id = $2 and cancel_reason = 'user'
               and (job_id is null or fired_version = version)
               and not exists (select from notification_deliveries
                               where reminder_id = task_reminders.id and state in ('pending', 'sending', 'retrying'))
             order by fired_version is not null, updated_at, id
             limit greatest(0, $6::bigint - $5::bigint + (select count(*) from task_reminders where task_id = $1))
             -- A handler that records such a row now holds it, and may wait for the rows that this command holds.
             for update skip locked
         ), added as (
             insert into task_reminders (id, task_id, user_id, remind_at, before_due, channels, state, cancel_reason)
             select id, $1, $2, remind_at, before_due, channels,
                    case when $3 then 'cancelled' else 'scheduled' end, case when $3 then 'completed' end
             from jsonb_to_recordset($4) as reminder (id uuid, remind_at timestamptz, before_due text, channels text[])
         )
         select id from oldest",
        task.id,
        task.inner.user_id,
        task.completed,
        Json(rows) as _,
        KEPT,
        i64::try_from(rows.len()).unwrap_or(i64::MAX),
    )
    .fetch_all(&mut *conn)
    .await?;
    if oldest.is_empty() {
        return Ok(());
    }
    // A statement of its own: it sees the deliveries that were created until the reminders were locked.
    sqlx::query!(
        "delete from task_reminders
         where id = any($1) and user_id = $2
           and not exists (select from notification_deliveries
                           where reminder_id = task_reminders.id and state in ('pending', 'sending', 'retrying'))",
        &oldest,
        task.inner.user_id,
    )
    .execute(conn)
    .await?;
    Ok(())
}

#[cfg(test)]
mod tests;
