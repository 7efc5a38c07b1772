//! A job's callback becomes `reminder.due`, once per version of a reminder.
//!
//! The row decides, not the job: a version that was moved, cancelled, completed or fired meanwhile is not fired, and the clock
//! that says whether it is time is the database's.
//!
//! Callbacks that come while others are being written are written together (`fire/together.rs`): at nine in the morning it is
//! transactions that the last reminder waits for. A callback that comes alone waits for nobody.

mod together;

use std::time::Duration;

use chrono::{DateTime, Utc};
use serde_json::json;
use shared::{
    App,
    audit::{self, ReminderRef},
    inbox::Failure,
    reminder::{CancelReason, ReminderJob, ReminderState},
};
use uuid::Uuid;

use self::together::{Look, Together};

/// A callback that comes early by less than this waits; an earlier one has its job armed again.
const WAIT: chrono::Duration = chrono::Duration::seconds(5);
/// How often a row that changes, or a clock that is not there yet, is looked at before the job is called again; longer apart each
/// time, so that whoever holds the row (for at most the lock timeout) is done with it.
const LOOKS: u32 = 20;
const LOOK_AGAIN: Duration = Duration::from_millis(50);

/// A reminder as the callback of a job finds it, and the time by the clock of the database.
#[derive(Clone, Debug)]
pub struct Row {
    /// Its task.
    pub task_id: Uuid,
    /// Whose it is.
    pub user_id: Uuid,
    /// Raised whenever its instant or its liveness changed.
    pub version: i32,
    /// `Scheduled` while it is live.
    pub state: ReminderState,
    /// Why it is cancelled, if it is.
    pub cancel_reason: Option<CancelReason>,
    /// The version that was fired last.
    pub fired_version: Option<i32>,
    /// When it is due.
    pub remind_at: DateTime<Utc>,
    /// Whether the task is completed, if there is the task.
    pub completed: Option<bool>,
    /// The time by the clock of the database.
    pub now: DateTime<Utc>,
}

/// What the callback of a version does that has not fired it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    /// It is time: somebody else has the row, or it changed meanwhile. Look again.
    Again,
    /// A little early: look again after that long.
    Wait(chrono::Duration),
    /// Early: have the job come again when it is due.
    Arm,
    /// This version has fired.
    Fired,
    /// This version is not to be fired, and why.
    Skip(&'static str),
}

/// Decides what the callback of `version` does that found `row` and has not fired it.
#[must_use]
pub fn decide(row: &Row, version: i32) -> Decision {
    let early = row.remind_at - row.now;
    match row.obstacle(version) {
        Some("fired") => Decision::Fired,
        Some(reason) => Decision::Skip(reason),
        None if early > WAIT => Decision::Arm,
        None if early > chrono::Duration::zero() => Decision::Wait(early),
        None => Decision::Again,
    }
}

impl Row {
    const fn of(&self, id: Uuid, version: i32) -> ReminderRef {
        ReminderRef { id, version, task_id: self.task_id, user_id: self.user_id }
    }

    /// Why this version is not to be fired, if it is not.
    fn obstacle(&self, version: i32) -> Option<&'static str> {
        match self {
            _ if self.fired_version == Some(version) => Some("fired"),
            Self { cancel_reason: Some(reason), .. } => Some(reason.as_str()),
            _ if self.version != version => Some("moved"),
            _ if self.state != ReminderState::Scheduled => Some(self.state.as_str()),
            Self { completed: None, .. } => Some("deleted"),
            Self { completed: Some(true), .. } => Some("completed"),
            _ => None,
        }
    }
}

/// Fires reminders; cheap to clone.
#[derive(Clone)]
pub struct Firing {
    app: App,
    together: Together,
}

impl Firing {
    /// Connects to nothing.
    #[must_use]
    pub fn new(app: App) -> Self {
        Self { together: Together::new(app.clone()), app }
    }

    /// Fires a version of a reminder, where it is still to be fired.
    ///
    /// # Errors
    /// When the database or the scheduler is away; the job is called again.
    pub async fn fire(&self, id: Uuid, version: i32) -> Result<(), Failure> {
        for looks in 0..LOOKS {
            let row = match self.together.look(id, version).await? {
                Look::Fired { late_ms } => {
                    tracing::info!(reminder.id = %id, late_ms, "reminder-due: reminder {id} fired {late_ms} ms after its time");
                    return Ok(());
                }
                Look::Missing => {
                    tracing::info!(reminder.id = %id, "reminder-due: reminder {id} is not known, its job is forgotten");
                    return Ok(());
                }
                Look::NotFired(row) => row,
            };
            match decide(&row, version) {
                Decision::Again => tokio::time::sleep(LOOK_AGAIN * looks).await,
                Decision::Wait(early) => {
                    tokio::time::sleep(early.to_std().unwrap_or_default() + Duration::from_millis(1)).await;
                }
                Decision::Arm => {
                    let job = ReminderJob { reminder_id: id, version, due_at: row.remind_at };
                    return Ok(job.arm(&self.app.sidecar).await?);
                }
                // A job that is called again after it has fired is no part of the story.
                Decision::Fired => {
                    tracing::info!(reminder.id = %id, "reminder-due: reminder {id} version {version} has fired");
                    return Ok(());
                }
                Decision::Skip(reason) => return self.skip(row.of(id, version), reason).await,
            }
        }
        Err(Failure::Outage(anyhow::anyhow!("the reminder changed, or was held, each time it was to be fired")))
    }

    async fn skip(&self, of: ReminderRef, reason: &str) -> Result<(), Failure> {
        tracing::info!(
            reminder.id = %of.id, reason,
            "reminder-due: reminder {} version {} is not fired: {reason}", of.id, of.version
        );
        let mut conn = self.app.db.acquire().await?;
        Ok(audit::reminder(&mut conn, of, "reminder.skipped", json!({"reason": reason})).await?)
    }
}
