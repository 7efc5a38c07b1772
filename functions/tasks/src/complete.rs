//! `POST /v1/tasks/{id}/complete` and `/reopen`.

use axum::{extract::State, http::StatusCode};
use shared::{App, auth::User, outbox, problem::Result, schema::TaskCompleted};

use crate::{
    bodies,
    command::{Answer, Command, Id},
    docs::WriteProblems,
    liveness,
    task::{self, Task, next_occurrence},
    user_tx::UserTx,
};

/// Complete a task
///
/// Cancels its live reminders. A recurring task gets its next occurrence, once. Completing a completed task changes nothing.
#[utoipa::path(
    post, path = "/v1/tasks/{id}/complete", operation_id = "complete_task", tag = "tasks",
    params(("id" = Uuid, Path), bodies::IdempotencyKey, bodies::IfMatch),
    responses((status = 200, description = "The task as it now is", body = Task), WriteProblems),
    security(("bearer" = [])),
)]
pub(crate) async fn complete_task(State(app): State<App>, user: User, Id(id): Id, command: Command) -> Result<Answer> {
    command.nothing()?;
    let mut tx = UserTx::begin(&app.db, user.id).await?;
    if let Some(answer) = command.answered(&mut tx, user.id).await? {
        return Ok(answer);
    }
    let task = task::lock(&mut tx, user.id, id).await?;
    command.expects(task.version)?;
    if task.completed {
        let answer = Answer::task(StatusCode::OK, &task);
        return command.unchanged(tx, user.id, answer).await;
    }
    let becomes: Vec<_> = task.reminders.iter().filter_map(task::Reminder::on_complete).collect();
    liveness::apply(&mut tx, user.id, &becomes).await?;
    let completed_at = task.inner.now;
    set_completed(&mut tx, &Task { completed_at: Some(completed_at), ..task }).await?;

    let task = task::load(&mut tx, user.id, id).await?;
    outbox::emit(&mut tx, &TaskCompleted { task: task.reference(), completed_at }, &command.trace).await?;
    command.done(&app, tx, user.id, Answer::task(StatusCode::OK, &task)).await
}

/// Reopen a task
///
/// Brings back the reminders that its completion cancelled and whose time has not passed. A next occurrence that was made
/// stays. Reopening an open task changes nothing.
#[utoipa::path(
    post, path = "/v1/tasks/{id}/reopen", operation_id = "reopen_task", tag = "tasks",
    params(("id" = Uuid, Path), bodies::IdempotencyKey, bodies::IfMatch),
    responses((status = 200, description = "The task as it now is", body = Task), WriteProblems),
    security(("bearer" = [])),
)]
pub(crate) async fn reopen_task(State(app): State<App>, user: User, Id(id): Id, command: Command) -> Result<Answer> {
    command.nothing()?;
    let mut tx = UserTx::begin(&app.db, user.id).await?;
    if let Some(answer) = command.answered(&mut tx, user.id).await? {
        return Ok(answer);
    }
    let task = task::lock(&mut tx, user.id, id).await?;
    command.expects(task.version)?;
    if !task.completed {
        let answer = Answer::task(StatusCode::OK, &task);
        return command.unchanged(tx, user.id, answer).await;
    }
    let now = task.inner.now;
    let becomes: Vec<_> = task.reminders.iter().filter_map(|reminder| reminder.on_reopen(now)).collect();
    liveness::apply(&mut tx, user.id, &becomes).await?;
    set_completed(&mut tx, &Task { completed_at: None, ..task }).await?;
    command.updated(&app, tx, user.id, id, StatusCode::OK).await
}

/// Writes `completed_at` and what follows from it.
async fn set_completed(tx: &mut UserTx, task: &Task) -> Result<()> {
    let recurrence = task.recurrence.as_ref().and_then(|repeats| repeats.parse().ok());
    let next = match (&recurrence, task.inner.recurrence_start, task.due_at) {
        (Some(recurrence), Some(start), Some(due)) => {
            next_occurrence(recurrence, start, due, &task.zone(), task.completed_at, task.inner.now)
        }
        _ => None,
    };
    sqlx::query!(
        "update tasks
         set completed = $3::timestamptz is not null, completed_at = $3, next_occurrence_at = $4,
             remind_at = (select min(reminder.remind_at) from task_reminders reminder
                          where task_id = tasks.id and state = 'scheduled'
                            and fired_version is distinct from reminder.version),
             version = coalesce(version, 1) + 1, updated_at = now()
         where id = $1 and user_id = $2",
        task.id,
        task.inner.user_id,
        task.completed_at,
        next
    )
    .execute(&mut **tx)
    .await?;
    Ok(())
}
