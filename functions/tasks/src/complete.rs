//! `POST /v1/tasks/{id}/complete` and `/reopen`.

use axum::{extract::State, http::StatusCode};
use shared::{App, auth::User, outbox, problem::Result, schema::TaskCompleted};

use crate::{
    answer::Answer,
    change::Place,
    command::{Command, Id},
    delete,
    docs::WriteProblems,
    liveness,
    locked_task::{LockedTask, Target},
    params,
    task::{self, Reminder, Task},
    user_tx::UserTx,
};

/// Complete a task
///
/// Cancels its live reminders. A recurring task gets its next occurrence, once: completed again after it was
/// reopened, it gets no second one. Completing a completed task changes nothing.
#[utoipa::path(
    post, path = "/v1/tasks/{id}/complete", operation_id = "complete_task", tag = "tasks",
    params(("id" = Uuid, Path), params::IdempotencyKey, params::Conditions),
    responses((status = 200, description = "The completed task", body = Task), WriteProblems),
    security(("bearer" = [])),
)]
pub(crate) async fn complete_task(State(app): State<App>, user: User, Id(id): Id, command: Command) -> Result<Answer> {
    command.no_fields()?;
    command.on_task(&app, &user, Target::Task(id), complete).await
}

/// Completes a task, unless it is completed.
pub(crate) async fn complete(mut locked: LockedTask<'_>) -> Result<Answer> {
    let task = &locked.task;
    if task.completed {
        return locked.unchanged().await;
    }
    let changes: Vec<_> = task.reminders.iter().filter_map(Reminder::on_complete).collect();
    liveness::apply(&mut locked.tx, task.inner.user_id, &changes).await?;
    let completed_at = task.inner.now;
    set_completed(&mut locked.tx, &Task { completed_at: Some(completed_at), ..task.clone() }).await?;

    let task = locked.reload().await?;
    let event = TaskCompleted { task: task.reference(), completed_at };
    locked.commit(&event, Answer::task(StatusCode::OK, &task)).await
}

/// Reopen a task
///
/// Brings back the reminders that its completion cancelled and whose time has not passed. Within a minute after the completion it also brings
/// back those whose time passed meanwhile: they fire at once, and their timelines say why.
///
/// Removes the next occurrence of a recurring task if nobody has changed it; completing the task again makes it again. One that was changed
/// stays, and one that was deleted stays deleted. Reopening an open task changes nothing.
#[utoipa::path(
    post, path = "/v1/tasks/{id}/reopen", operation_id = "reopen_task", tag = "tasks",
    params(("id" = Uuid, Path), params::IdempotencyKey, params::Conditions),
    responses((status = 200, description = "The open task", body = Task), WriteProblems),
    security(("bearer" = [])),
)]
pub(crate) async fn reopen_task(State(app): State<App>, user: User, Id(id): Id, command: Command) -> Result<Answer> {
    command.no_fields()?;
    command.on_task(&app, &user, Target::Task(id), reopen).await
}

async fn reopen(mut locked: LockedTask<'_>) -> Result<Answer> {
    let task = &locked.task;
    if !task.completed {
        return locked.unchanged().await;
    }
    let now = task.inner.now;
    let completed_at = task.completed_at.unwrap_or(now);
    let changes: Vec<_> = task.reminders.iter().filter_map(|reminder| reminder.on_reopen(completed_at, now)).collect();
    locked.command.quotas.check(&mut locked.tx, task, &changes, &[], &task.tags).await?;
    liveness::apply(&mut locked.tx, task.inner.user_id, &changes).await?;
    remove_next(&mut locked).await?;
    set_completed(&mut locked.tx, &Task { completed_at: None, ..locked.task.clone() }).await?;
    locked.undone().await
}

/// Removes the next occurrence if no command has changed it. Its content is not kept: it is that of its series, and completing the task again
/// makes another one.
async fn remove_next(locked: &mut LockedTask<'_>) -> Result<()> {
    let Some(place) = Place::of(&locked.task) else { return Ok(()) };
    let Some(next) = place.next(&mut locked.tx).await? else { return Ok(()) };
    let next = task::lock(&mut locked.tx, locked.task.inner.user_id, next).await?;
    if next.version > 1 {
        return Ok(());
    }
    // While its task exists: row-level security hides the occurrence of a deleted one.
    sqlx::query!(
        "delete from task_occurrences where series_id = $1 and occurrence = $2",
        place.series_id,
        place.occurrence + 1
    )
    .execute(&mut *locked.tx)
    .await?;
    let removed = delete::remove(&mut locked.tx, &next).await?;
    outbox::emit(&mut locked.tx, &removed, &locked.command.trace).await?;
    Ok(())
}

/// Writes `completed_at` and the columns that depend on it.
async fn set_completed(tx: &mut UserTx, task: &Task) -> Result<()> {
    sqlx::query!(
        "update tasks
         set completed = $3::timestamptz is not null, completed_at = $3, next_occurrence_at = $4,
             remind_at = earliest_live_reminder(id), version = coalesce(version, 1) + 1, updated_at = now()
         where id = $1 and user_id = $2",
        task.id,
        task.inner.user_id,
        task.completed_at,
        task.next_occurrence()
    )
    .execute(&mut **tx)
    .await?;
    Ok(())
}
