//! Quotas of a user, counted in the database for all processes together.
//!
//! A command that would exceed a quota is refused (422) and has no effect. Its check locks the user's row of `user_usage`, so commands of one
//! user that add something run one after the other. The next occurrence of a recurring task is exempt, because it was promised when
//! the series was created. Lowering a quota deletes nothing.

use chrono::{DateTime, DurationRound as _, TimeDelta, Utc};
use clap::Args;
use shared::{
    problem::{Problem, Result},
    reminder::ReminderState,
};
use sqlx::{PgConnection, postgres::PgDatabaseError};
use uuid::Uuid;

use crate::{
    liveness::{ReminderChange, Row},
    tags::tag_ids,
    task::{Reminder, Task},
};

/// Quotas of a user.
#[derive(Args, Clone, Copy, Debug)]
pub struct Quotas {
    /// Maximum tasks of a user, completed ones included. A search takes about 0.3 ms per 1,000 of them
    #[arg(long, env, default_value_t = 120_000)]
    pub user_tasks: u32,
    /// Maximum tags of a user. Tags that no task has anymore do not count
    #[arg(long, env, default_value_t = 1_000)]
    pub user_tags: u32,
    /// Maximum reminders of a user that are still to be sent
    #[arg(long, env, default_value_t = 20_000)]
    pub user_reminders: u32,
    /// Maximum reminders of a user within one clock hour, fired ones included. One whose time has passed counts in the current hour
    #[arg(long, env, default_value_t = 1_000)]
    pub user_reminders_per_hour: u32,
    /// Maximum reminders that a user may send at once (`send-now`), per clock hour
    #[arg(long, env, default_value_t = 100)]
    pub user_sends_now_per_hour: u32,
    /// Maximum push subscriptions of a user: each gets a message for every reminder with the channel `push`
    #[arg(long, env, default_value_t = 20)]
    pub user_push_subscriptions: u32,
    /// Maximum requests with an `Idempotency-Key` of a user per day (UTC). Their answers are kept for a day or two, with up to 4 KB each
    #[arg(long, env, default_value_t = 120_000)]
    pub user_keys_per_day: u32,
}

/// How much a command on a task adds.
#[derive(Debug, Default)]
struct Added {
    /// All tags of the task.
    tags: Vec<Uuid>,
    /// How many more reminders are live.
    reminders: i32,
    /// The reminders that it changes.
    changed: Vec<Uuid>,
    /// The instants of the changed and the new ones that are live afterwards.
    live: Vec<DateTime<Utc>>,
    /// The instants among these whose reminders were not live in the same hour before.
    arriving: Vec<DateTime<Utc>>,
}

impl Added {
    fn to_task(task: &Task, changes: &[ReminderChange], rows: &[Row], tags: &[String]) -> Self {
        let mut added = Self::default();
        if tags != task.tags {
            added.tags = tag_ids(task.inner.user_id, tags);
        }
        for reminder in &task.reminders {
            for change in changes.iter().filter(|change| change.is_of(reminder)) {
                added.change(reminder, change, task.inner.now);
            }
        }
        // A completed task gets its reminders cancelled.
        if !task.completed {
            for row in rows {
                added.reminders += 1;
                added.live.push(row.remind_at);
                added.arriving.push(row.remind_at);
            }
        }
        added
    }

    fn change(&mut self, from: &Reminder, to: &ReminderChange, now: DateTime<Utc>) {
        self.changed.push(from.id);
        let was_live = from.state == ReminderState::Scheduled && !from.fired;
        let is_live = to.state == ReminderState::Scheduled && (was_live || !to.is_noop_for(from));
        self.reminders += i32::from(is_live) - i32::from(was_live);
        if is_live {
            self.live.push(to.remind_at);
            if !was_live || hour(from.remind_at, now) != hour(to.remind_at, now) {
                self.arriving.push(to.remind_at);
            }
        }
    }

    fn is_nothing(&self) -> bool {
        self.tags.is_empty() && self.arriving.is_empty()
    }
}

/// The clock hour in which a reminder fires. One whose time has passed fires at once.
fn hour(at: DateTime<Utc>, now: DateTime<Utc>) -> DateTime<Utc> {
    let fires_at = at.max(now);
    fires_at.duration_trunc(TimeDelta::hours(1)).unwrap_or(fires_at)
}

impl Quotas {
    /// Refuses a command on a task that would exceed a quota. `changes` are of the task's reminders, `rows` are new ones, and `tags` are all
    /// that the task then has.
    pub(crate) async fn check(
        &self,
        conn: &mut PgConnection,
        task: &Task,
        changes: &[ReminderChange],
        rows: &[Row],
        tags: &[String],
    ) -> Result<()> {
        let added = Added::to_task(task, changes, rows, tags);
        if added.is_nothing() { Ok(()) } else { self.check_added(conn, task.inner.user_id, 0, &added).await }
    }

    /// Refuses a task more than the quota. What the task has besides is checked by [`Quotas::check`].
    pub(crate) async fn check_new_task(&self, conn: &mut PgConnection, user_id: Uuid) -> Result<()> {
        self.check_added(conn, user_id, 1, &Added::default()).await
    }

    async fn check_added(&self, conn: &mut PgConnection, user_id: Uuid, tasks: i32, added: &Added) -> Result<()> {
        sqlx::query!(
            "select check_quotas($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)::text as checked",
            user_id,
            tasks,
            &added.tags,
            added.reminders,
            &added.changed,
            &added.live,
            &added.arriving,
            i64::from(self.user_tasks),
            i64::from(self.user_tags),
            i64::from(self.user_reminders),
            i64::from(self.user_reminders_per_hour),
        )
        .fetch_one(conn)
        .await
        .map_err(|error| self.refusal(error))?;
        Ok(())
    }

    /// Counts a reminder that its user sends at once. The command has locked the row.
    pub(crate) async fn count_send_now(&self, conn: &mut PgConnection, user_id: Uuid) -> Result<()> {
        let counted = sqlx::query!(
            "update user_usage
             set sent_now = 1 + case when sent_now_hour = date_trunc('hour', now(), 'UTC') then sent_now else 0 end,
                 sent_now_hour = date_trunc('hour', now(), 'UTC')
             where user_id = $1 and (sent_now < $2 or sent_now_hour <> date_trunc('hour', now(), 'UTC'))",
            user_id,
            i32::try_from(self.user_sends_now_per_hour).unwrap_or(i32::MAX),
        )
        .execute(conn)
        .await?;
        if counted.rows_affected() == 1 {
            return Ok(());
        }
        Err(Problem::QuotaExceeded(format!(
            "you had {} reminders sent at once within this clock hour, the maximum: wait for the next hour, or snooze the reminder",
            self.user_sends_now_per_hour
        )))
    }

    /// Refuses a push subscription beside so many others. The command has locked the user's usage.
    pub(crate) fn check_push_subscriptions(&self, others: i64) -> Result<()> {
        if others < i64::from(self.user_push_subscriptions) {
            return Ok(());
        }
        Err(Problem::QuotaExceeded(format!(
            "you have {} push subscriptions or more, the maximum: delete one first",
            self.user_push_subscriptions
        )))
    }

    /// The answer to a new `Idempotency-Key` above the quota.
    pub(crate) fn no_key_left(&self) -> Problem {
        Problem::QuotaExceeded(format!(
            "you used {} idempotency keys today (UTC), the maximum: use no new key before tomorrow",
            self.user_keys_per_day
        ))
    }

    /// The answer to an error of `check_quotas`.
    pub(crate) fn refusal(&self, error: sqlx::Error) -> Problem {
        let (quota, hour) = match error.as_database_error() {
            Some(error) => {
                (error.constraint(), error.try_downcast_ref::<PgDatabaseError>().and_then(PgDatabaseError::detail))
            }
            None => (None, None),
        };
        let refusal = match quota {
            Some("quota_tasks") => {
                format!("you have {} tasks or more, the maximum: delete some first", self.user_tasks)
            }
            Some("quota_tags") => {
                format!(
                    "you would have more than {} tags, the maximum: use others, or take a tag off its tasks",
                    self.user_tags
                )
            }
            Some("quota_reminders") => format!(
                "you would have more than {} reminders that are still to be sent, the maximum: cancel some first",
                self.user_reminders
            ),
            Some("quota_reminders_an_hour") => format!(
                "you would have more than {} reminders in the hour from {}, the maximum: choose another hour",
                self.user_reminders_per_hour,
                hour.unwrap_or_default()
            ),
            _ => return error.into(),
        };
        Problem::QuotaExceeded(refusal)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(minutes: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(minutes * 60, 0).unwrap()
    }

    fn reminder(state: ReminderState, fired: bool) -> Reminder {
        Reminder {
            id: Uuid::from_u128(1),
            remind_at: at(10),
            before_due: None,
            channels: Vec::new(),
            state,
            cancel_reason: None,
            overdue: false,
            version: 1,
            fired,
        }
    }

    #[test]
    fn only_a_reminder_that_becomes_live_or_changes_its_hour_counts_as_arriving() {
        use ReminderState::{Cancelled, Scheduled, Sent};
        for (now, state, fired, to, counts) in [
            // (more live reminders, live ones afterwards, arriving ones)
            (0, Scheduled, false, Some(20), (0, 1, 0)),
            (0, Scheduled, false, Some(70), (0, 1, 1)),
            (0, Scheduled, true, Some(20), (1, 1, 1)),
            (0, Scheduled, true, Some(10), (0, 0, 0)),
            (0, Sent, true, Some(20), (1, 1, 1)),
            (0, Cancelled, false, Some(10), (1, 1, 1)),
            (0, Scheduled, false, None, (-1, 0, 0)),
            (0, Sent, true, None, (0, 0, 0)),
            // Its hour has passed, so it fires in the current one.
            (125, Scheduled, false, Some(70), (0, 1, 0)),
            (125, Scheduled, false, Some(150), (0, 1, 0)),
            (125, Scheduled, false, Some(190), (0, 1, 1)),
            (125, Scheduled, true, Some(20), (1, 1, 1)),
        ] {
            let from = reminder(state, fired);
            let to = match to {
                Some(minutes) => from.scheduled(at(minutes)),
                None => from.cancelled(shared::reminder::CancelReason::User),
            };
            let mut added = Added::default();
            added.change(&from, &to, at(now));
            assert_eq!(
                (added.reminders, added.live.len(), added.arriving.len()),
                counts,
                "{now} {state:?} {fired} {to:?}"
            );
        }
    }
}
