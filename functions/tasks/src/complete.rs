//! `POST /v1/tasks/{id}/complete` and `/reopen`.

use axum::{extract::State, http::StatusCode};
use shared::{App, auth::User, problem::Result, schema::TaskCompleted};

use crate::{
    answer::Answer,
    command::{Command, Id},
    docs::WriteProblems,
    liveness,
    locked_task::{LockedTask, Target},
    params,
    task::{Reminder, Task},
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
/// Brings back the reminders that its completion cancelled and whose time has not passed. A next occurrence that exists stays.
/// Reopening an open task changes nothing.
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
    let changes: Vec<_> = task.reminders.iter().filter_map(|reminder| reminder.on_reopen(now)).collect();
    locked.command.quotas.check(&mut locked.tx, task, &changes, &[], &task.tags).await?;
    liveness::apply(&mut locked.tx, task.inner.user_id, &changes).await?;
    set_completed(&mut locked.tx, &Task { completed_at: None, ..task.clone() }).await?;
    locked.updated(StatusCode::OK).await
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
