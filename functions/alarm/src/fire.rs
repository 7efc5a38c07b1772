//! A job's callback becomes `reminder.due`, once per version of a reminder.
//!
//! The row decides, not the job: a version that was moved, cancelled, completed or fired meanwhile does not fire. The database's clock decides
//! whether it is time.
//!
//! Callbacks that arrive while a transaction runs are fired together in the next one (`fire/together.rs`), because a burst waits for
//! transactions. A callback that arrives alone waits for nobody.

mod together;

use std::time::Duration;

use chrono::{DateTime, Utc};
use shared::{
    App,
    inbox::HandlerError,
    reminder::{CancelReason, ReminderJob, ReminderJobName, ReminderState, SkipReason},
};
use uuid::Uuid;

use self::together::{Look, Together};

/// A callback that is early by at most this waits.
const WAIT: chrono::Duration = chrono::Duration::seconds(5);
/// How often a callback reads a row that is locked, changes, or is not due yet, before the scheduler must call again. The pauses grow, and add
/// up to about the lock timeout, so that the transaction that holds the row has ended.
const LOOKS: u32 = 20;
const LOOK_AGAIN: Duration = Duration::from_millis(50);

/// A reminder as the callback of a job reads it.
#[derive(Clone, Debug)]
pub struct Row {
    /// Raised whenever its instant or liveness changes.
    pub version: i32,
    /// `Scheduled` while it is live.
    pub state: ReminderState,
    /// Why it is cancelled, if it is.
    pub cancel_reason: Option<CancelReason>,
    /// The version that fired last.
    pub fired_version: Option<i32>,
    /// When it is due.
    pub remind_at: DateTime<Utc>,
    /// Whether the task is completed; none if the task is gone.
    pub completed: Option<bool>,
    /// The time by the database's clock.
    pub now: DateTime<Utc>,
}

/// The next step of a callback that did not fire its version.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    /// It is due, but another transaction has the row or changed it: read it again.
    Again,
    /// A little early: read it again after this long.
    Wait(chrono::Duration),
    /// Early by this: have the job call again. The scheduler's clock is ahead, because a version's instant never changes.
    Early(chrono::Duration),
    /// This version has fired.
    Fired,
    /// This version must not fire, for this reason.
    Skip(SkipReason),
}

/// Decides the next step of the callback of `version` that read `row` and did not fire it.
#[must_use]
pub fn decide(row: &Row, version: i32) -> Decision {
    let early = row.remind_at - row.now;
    match row.obstacle(version) {
        _ if row.fired_version == Some(version) => Decision::Fired,
        Some(reason) => Decision::Skip(reason),
        None if early > WAIT => Decision::Early(early),
        None if early > chrono::Duration::zero() => Decision::Wait(early),
        None => Decision::Again,
    }
}

impl Row {
    /// The job of its version.
    const fn job(&self, id: Uuid) -> ReminderJob {
        ReminderJob { reminder_id: id, version: self.version, due_at: self.remind_at }
    }

    /// Why this version must not fire, unless it has fired.
    fn obstacle(&self, version: i32) -> Option<SkipReason> {
        match *self {
            Self { cancel_reason: Some(reason), .. } => Some(SkipReason::Cancelled(reason)),
            _ if self.version != version => Some(SkipReason::Moved),
            _ if self.state != ReminderState::Scheduled => Some(SkipReason::Ended(self.state)),
            Self { completed: None, .. } => Some(SkipReason::Cancelled(CancelReason::Deleted)),
            Self { completed: Some(true), .. } => Some(SkipReason::Cancelled(CancelReason::Completed)),
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

    /// Fires a version of a reminder if it is live and due. If it is early, its job calls again.
    ///
    /// # Errors
    /// The database or the scheduler is unavailable, or the row stayed locked. The caller must call again.
    pub async fn fire(&self, job: ReminderJobName) -> Result<(), HandlerError> {
        let ReminderJobName { reminder_id: id, version } = job;
        for looks in 0..LOOKS {
            let row = match self.together.look(id, version).await? {
                Look::Fired { late_ms } => {
                    tracing::info!(reminder.id = %id, late_ms, "alarm: reminder {id} fired {late_ms} ms after its time");
                    return Ok(());
                }
                Look::Missing => {
                    tracing::info!(reminder.id = %id, "alarm: reminder {id} does not exist, its job is dropped");
                    return Ok(());
                }
                Look::NotFired(row) => row,
            };
            match decide(&row, version) {
                Decision::Again => tokio::time::sleep(LOOK_AGAIN * looks).await,
                Decision::Wait(early) => {
                    tokio::time::sleep(early.to_std().unwrap_or_default() + Duration::from_millis(1)).await;
                }
                Decision::Early(by) => {
                    let early_ms = by.num_milliseconds();
                    tracing::info!(reminder.id = %id, early_ms, "alarm: the job of reminder {id} is {early_ms} ms early and calls again");
                    return Ok(row.job(id).call_again(&self.app.sidecar, by).await?);
                }
                // A repeated callback adds nothing to the audit log.
                Decision::Fired => {
                    tracing::info!(reminder.id = %id, "alarm: reminder {id} version {version} has fired before");
                    return Ok(());
                }
                Decision::Skip(reason) => {
                    self.skip(job, reason).await?;
                    return Ok(());
                }
            }
        }
        Err(HandlerError::Outage(anyhow::anyhow!(
            "the reminder was locked or changed at each of {LOOKS} attempts to fire it"
        )))
    }

    /// Logs why a version does not fire, once. Ends it if its task was completed or deleted by a writer that knows of no reminders: a live
    /// reminder that never fires would be armed by every repair.
    async fn skip(&self, job: ReminderJobName, reason: SkipReason) -> Result<(), HandlerError> {
        let ReminderJobName { reminder_id: id, version } = job;
        tracing::info!(reminder.id = %id, %reason, "alarm: reminder {id} version {version} does not fire: {reason}");
        let mut tx = self.app.db.begin_single().await?;
        if let SkipReason::Cancelled(reason @ (CancelReason::Completed | CancelReason::Deleted)) = reason {
            // Need not be one transaction with the log: a callback that dies in between comes again and finds the same reason.
            sqlx::query!(
                "update task_reminders reminder set state = 'cancelled', cancel_reason = $3, updated_at = now()
                 where id = $1 and version = $2 and reminder_is_live(state, version, fired_version)
                   and not exists (select from tasks where tasks.id = reminder.task_id and not completed)",
                id,
                version,
                reason.as_str()
            )
            .execute(&mut *tx)
            .await?;
        }
        sqlx::query!(
            // The lock makes it wait for an erasure that is deleting the reminder, and then it writes nothing.
            "with held as materialized (select user_id, task_id from task_reminders where id = $1 for key share)
             insert into audit_logs (user_id, task_id, reminder_id, reminder_version, action, detail)
             select user_id, task_id, $1, $2, 'reminder.skipped', jsonb_build_object('reason', $3::text) from held
             on conflict do nothing",
            id,
            version,
            reason.as_str()
        )
        .execute(&mut *tx)
        .await?;
        Ok(tx.commit().await?)
    }
}
