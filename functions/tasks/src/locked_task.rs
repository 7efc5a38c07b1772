//! Every command on a task that exists runs the same way: [`Command::on_task`] begins, a method of [`LockedTask`] ends.

use axum::http::StatusCode;
use serde_json::json;
use shared::{
    App,
    audit::{self, ReminderRef},
    outbox,
    problem::{OnConstraint as _, Problem, Result},
    schema::{Payload, TaskUpdated},
};
use sqlx::PgConnection;
use uuid::Uuid;

use crate::{
    answer::Answer,
    command::Command,
    restore,
    task::{self, Reminder, Task},
    user_tx::{Caller, UserTx},
    versions,
};

/// Why a reminder fires late that an undone command had cancelled or moved.
const PASSED_MEANWHILE: &str = "its time passed before the command was undone: it fires at once";

/// The object that the id in the path identifies.
#[derive(Clone, Copy)]
pub(crate) enum Target {
    Task(Uuid),
    /// A reminder, for a command on its task.
    Reminder(Uuid),
    /// A task that is brought back first if it was deleted.
    Restorable(Uuid),
}

impl Target {
    async fn task_id(self, conn: &mut PgConnection, user_id: Uuid) -> Result<Uuid> {
        let id = match self {
            Self::Task(id) | Self::Restorable(id) => return Ok(id),
            Self::Reminder(id) => id,
        };
        let task_id =
            sqlx::query_scalar!("select task_id from task_reminders where id = $1 and user_id = $2", id, user_id);
        Ok(task_id.fetch_one(conn).await?)
    }
}

impl Command {
    /// Runs a command on a task, in one transaction as its user.
    ///
    /// Answers a repeated `Idempotency-Key`, locks the task and checks the preconditions. Then `handle` gets the locked task.
    pub(crate) async fn on_task<'a, Handled>(
        &'a self,
        app: &'a App,
        caller: impl Into<Caller>,
        target: Target,
        handle: impl FnOnce(LockedTask<'a>) -> Handled,
    ) -> Result<Answer>
    where
        Handled: Future<Output = Result<Answer>>,
    {
        let user = caller.into();
        let mut tx = UserTx::begin(&app.db, user).await?;
        if let Some(answer) = self.answered(&mut tx, user.id).await? {
            return Ok(answer);
        }
        // Before the task: every transaction that locks both uses this order.
        sqlx::query!("select lock_user_usage($1)", user.id)
            .fetch_one(&mut *tx)
            .await
            .on_constraint("user_usage_user_id_fkey", Problem::NotFound)?;
        let id = target.task_id(&mut tx, user.id).await?;
        let revived = match target {
            Target::Restorable(_) => restore::revive(&mut tx, &self.quotas, user.id, id).await?,
            Target::Task(_) | Target::Reminder(_) => None,
        };
        let mut task = task::lock(&mut tx, user.id, id).await?;
        if let Some(tags) = &revived {
            task.inner.series_values.keep_tags(tags);
        }
        self.preconditions.check(task.version)?;
        handle(LockedTask { command: self, app, tx, task, revived: revived.is_some() }).await
    }
}

/// A task that no other command can change until this one ends.
pub(crate) struct LockedTask<'a> {
    pub(crate) command: &'a Command,
    app: &'a App,
    pub(crate) tx: UserTx,
    /// The task as it was when it was locked.
    pub(crate) task: Task,
    /// Whether the task was deleted, and this command has brought its row back.
    pub(crate) revived: bool,
}

impl LockedTask<'_> {
    /// Raises the task's version, because its reminders have changed.
    pub(crate) async fn raise_version(&mut self) -> Result<()> {
        sqlx::query!(
            "update tasks
             set remind_at = earliest_live_reminder(id), version = coalesce(version, 1) + 1, updated_at = now()
             where id = $1 and user_id = $2",
            self.task.id,
            self.task.inner.user_id
        )
        .execute(&mut *self.tx)
        .await?;
        Ok(())
    }

    /// Reads the task as it is after the change.
    pub(crate) async fn reload(&mut self) -> Result<Task> {
        task::load(&mut self.tx, self.task.inner.user_id, self.task.id).await
    }

    /// Ends a command that found nothing to change.
    pub(crate) async fn unchanged(self) -> Result<Answer> {
        let answer = Answer::task(StatusCode::OK, &self.task);
        self.command.commit(self.tx, self.task.inner.user_id, answer).await
    }

    /// Ends a command that changed the task or its reminders and raised the task's version: emits `task.updated`.
    pub(crate) async fn updated(mut self, status: StatusCode) -> Result<Answer> {
        let task = self.reload().await?;
        self.commit(&TaskUpdated { task: task.reference() }, Answer::task(status, &task)).await
    }

    /// Ends a command that undid another one, as [`LockedTask::updated`]. A reminder that it brought back after its time fires at once, and its
    /// timeline says why.
    pub(crate) async fn undone(mut self) -> Result<Answer> {
        let task = self.reload().await?;
        let is_same = |a: &Reminder, b: &Reminder| (a.id, a.version) == (b.id, b.version);
        for late in task.reminders.iter().filter(|reminder| reminder.overdue) {
            if self.task.reminders.iter().any(|before| is_same(before, late)) {
                continue;
            }
            let of = ReminderRef { id: late.id, version: late.version, task_id: task.id, user_id: task.inner.user_id };
            let detail = json!({"planned_at": late.remind_at, "reason": PASSED_MEANWHILE});
            audit::reminder(&mut self.tx, of, "reminder.restored", detail).await?;
        }
        self.commit(&TaskUpdated { task: task.reference() }, Answer::task(StatusCode::OK, &task)).await
    }

    /// Commits the change with its event, and keeps the content that it replaces.
    pub(crate) async fn commit(mut self, event: &impl Payload, answer: Answer) -> Result<Answer> {
        // A deleted task has no content.
        if !self.revived {
            versions::keep(&mut self.tx, &self.task).await?;
        }
        outbox::emit(&mut self.tx, event, &self.command.trace).await?;
        let committed = self.command.commit(self.tx, self.task.inner.user_id, answer).await;
        self.app.outbox.wake_after(committed)
    }
}
