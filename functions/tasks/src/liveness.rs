//! What a command makes of a task's reminders: pure decisions, and the one statement that writes them.
//!
//! A reminder's version is raised there and nowhere else, exactly when its instant or its liveness changes: whatever was
//! armed, fired or is being sent for the version before is stale from the commit on.
//!
//! The decisions are public because the crate `simulation` runs them beside those of the other functions.

use chrono::{DateTime, Utc};
use serde::Serialize;
use shared::{
    recurrence::{BeforeDue, Zone},
    reminder::{CancelReason, ReminderState},
};
use sqlx::{PgConnection, types::Json};
use uuid::Uuid;

pub use crate::task::Reminder;
use crate::{draft::NewReminder, task::Task};

/// A change to a reminder: the values it is to have.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub struct Becomes {
    /// The reminder.
    pub id: Uuid,
    /// Its new instant.
    pub remind_at: DateTime<Utc>,
    /// Its new state.
    pub state: ReminderState,
    /// Why it is cancelled, if it is.
    pub cancel_reason: Option<CancelReason>,
}

/// The due time of a task and the zone it is meant in.
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

impl Becomes {
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
    fn live(&self) -> bool {
        self.state == ReminderState::Scheduled
    }

    /// Live at `at`, whatever it was before.
    #[must_use]
    pub fn scheduled(&self, at: DateTime<Utc>) -> Becomes {
        Becomes { id: self.id, remind_at: at, state: ReminderState::Scheduled, cancel_reason: None }
    }

    /// Cancelled for `reason`.
    #[must_use]
    pub fn cancelled(&self, reason: CancelReason) -> Becomes {
        Becomes { cancel_reason: Some(reason), state: ReminderState::Cancelled, ..self.scheduled(self.remind_at) }
    }

    /// The task is completed: what is live has nothing to remind of.
    #[must_use]
    pub fn on_complete(&self) -> Option<Becomes> {
        self.live().then(|| self.cancelled(CancelReason::Completed))
    }

    /// The task is open again: what the completion cancelled comes back, unless its time has passed meanwhile.
    #[must_use]
    pub fn on_reopen(&self, now: DateTime<Utc>) -> Option<Becomes> {
        let due = self.cancel_reason == Some(CancelReason::Completed) && self.remind_at > now;
        due.then(|| self.scheduled(self.remind_at))
    }

    /// The task is gone.
    #[must_use]
    pub fn on_delete(&self) -> Option<Becomes> {
        self.live().then(|| self.cancelled(CancelReason::Deleted))
    }

    /// The due time moved, came or went, or the zone changed. Only a relative reminder follows, and only when the change
    /// moves its instant, so a snoozed one is not taken back for nothing.
    ///
    /// What was sent or has fired is over, unless its new instant is still to come. A live one that has not fired follows
    /// also into the past: it fires at once, as a new one would.
    #[must_use]
    pub fn on_move(&self, from: Due<'_>, to: Due<'_>, completed: bool, now: DateTime<Utc>) -> Option<Becomes> {
        let before = BeforeDue::parse(self.before_due.as_deref()?).ok()?;
        let (old, new) = (from.minus(&before), to.minus(&before));
        if old == new {
            return None;
        }
        let dormant = self.cancel_reason == Some(CancelReason::Completed);
        let Some(at) = new else {
            return (self.live() || dormant).then(|| self.cancelled(CancelReason::DueRemoved));
        };
        let ahead = at > now;
        let follows = match (self.state, self.cancel_reason) {
            (ReminderState::Scheduled, _) => ahead || !self.fired,
            (ReminderState::Sent | ReminderState::Failed, _) => ahead,
            (ReminderState::Cancelled, Some(CancelReason::DueRemoved)) => ahead,
            // Of an open task: one whose time had passed when the task was reopened, or the occurrence made.
            (ReminderState::Cancelled, Some(CancelReason::Completed)) => ahead || completed,
            (ReminderState::Cancelled, _) => false,
        };
        let moved = Becomes { remind_at: at, ..self.cancelled(CancelReason::Completed) };
        follows.then(|| if completed { moved } else { self.scheduled(at) })
    }

    fn is(&self, wanted: &NewReminder) -> bool {
        let channels = wanted.channels.iter().map(|channel| channel.as_str());
        channels.eq(self.channels.iter().map(String::as_str))
            && match wanted.before_due() {
                Some(before) => self.before_due.as_deref() == Some(before),
                None => self.before_due.is_none() && Some(self.remind_at) == wanted.instant(None, &Zone::utc()),
            }
    }
}

/// A whole new list of reminders: those the task has already stay as they are; the others of the task, and then the others
/// of the list.
pub(crate) fn replace(task: &Task, wanted: Vec<NewReminder>) -> (Vec<Becomes>, Vec<NewReminder>) {
    let mut had: Vec<&Reminder> = task.reminders.iter().collect();
    let mut added = wanted;
    added.retain(|wanted| match had.iter().position(|reminder| reminder.is(wanted)) {
        Some(same) => {
            had.remove(same);
            false
        }
        None => true,
    });
    (had.into_iter().map(|reminder| reminder.cancelled(CancelReason::User)).collect(), added)
}

/// Writes what becomes of reminders.
pub(crate) async fn apply(conn: &mut PgConnection, user_id: Uuid, changes: &[Becomes]) -> sqlx::Result<()> {
    if changes.is_empty() {
        return Ok(());
    }
    sqlx::query!(
        "update task_reminders reminder
         set remind_at = becomes.remind_at, state = becomes.state, cancel_reason = becomes.cancel_reason,
             version = version + (reminder.remind_at <> becomes.remind_at
                                  or (reminder.state = 'scheduled') <> (becomes.state = 'scheduled'))::int,
             updated_at = now()
         from jsonb_to_recordset($1) as becomes (id uuid, remind_at timestamptz, state text, cancel_reason text)
         where reminder.id = becomes.id and user_id = $2",
        Json(changes) as _,
        user_id
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// A row of `task_reminders` to be, as JSON: for `jsonb_to_recordset`.
#[derive(Debug, Serialize)]
pub(crate) struct Row {
    pub(crate) id: Uuid,
    pub(crate) remind_at: DateTime<Utc>,
    before_due: Option<String>,
    channels: Vec<&'static str>,
}

impl Row {
    /// Rows of reminders whose instants were seen to exist.
    pub(crate) fn all(reminders: &[NewReminder], due: Due<'_>) -> Vec<Self> {
        let rows = reminders.iter().filter_map(|reminder| {
            Some(Self {
                id: Uuid::now_v7(),
                remind_at: reminder.instant(due.at, due.zone)?,
                before_due: reminder.before_due().map(str::to_owned),
                channels: reminder.channels.iter().map(|channel| channel.as_str()).collect(),
            })
        });
        rows.collect()
    }

    /// As the API shows it, new.
    pub(crate) fn shown(&self, now: DateTime<Utc>) -> Reminder {
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

/// Adds reminders to a task; to a completed one as if it had been completed with them.
pub(crate) async fn add(conn: &mut PgConnection, task: &Task, rows: &[Row]) -> sqlx::Result<()> {
    if rows.is_empty() {
        return Ok(());
    }
    sqlx::query!(
        "insert into task_reminders (id, task_id, user_id, remind_at, before_due, channels, state, cancel_reason)
         select id, $1, $2, remind_at, before_due, channels,
                case when $3 then 'cancelled' else 'scheduled' end, case when $3 then 'completed' end
         from jsonb_to_recordset($4) as reminder (id uuid, remind_at timestamptz, before_due text, channels text[])",
        task.id,
        task.inner.user_id,
        task.completed,
        Json(rows) as _
    )
    .execute(conn)
    .await?;
    Ok(())
}

#[cfg(test)]
mod tests;
