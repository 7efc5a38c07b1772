//! `DELETE /v1/tasks/{id}`.

use axum::extract::State;
use shared::{
    App,
    auth::User,
    problem::Result,
    schema::{TaskDeleted, TaskRef},
};
use sqlx::PgConnection;

use crate::{
    answer::Answer,
    command::{Command, Id},
    docs::WriteProblems,
    liveness,
    locked_task::{LockedTask, Target},
    params,
    task::{Reminder, Task},
};

/// Delete a task
///
/// With its reminders. Its history and the timelines of its reminders remain. For 30 days it can be restored.
///
/// Deleting an occurrence of a recurring task ends the series: no later one is created. To go on with the next one, complete it instead. A next
/// occurrence that exists already stays, and the series goes on from there.
#[utoipa::path(
    delete, path = "/v1/tasks/{id}", operation_id = "delete_task", tag = "tasks",
    params(("id" = Uuid, Path), params::IdempotencyKey, params::Conditions),
    responses((status = 204, description = "Deleted"), WriteProblems),
    security(("bearer" = [])),
)]
pub(crate) async fn delete_task(State(app): State<App>, user: User, Id(id): Id, command: Command) -> Result<Answer> {
    command.no_fields()?;
    command.on_task(&app, &user, Target::Task(id), delete).await
}

async fn delete(mut locked: LockedTask<'_>) -> Result<Answer> {
    let event = remove(&mut locked.tx, &locked.task).await?;
    locked.commit(&event, Answer::empty()).await
}

/// Deletes a task, and cancels its live reminders. Returns the event of it.
pub(crate) async fn remove(conn: &mut PgConnection, task: &Task) -> Result<TaskDeleted> {
    let changes: Vec<_> = task.reminders.iter().filter_map(Reminder::on_delete).collect();
    liveness::apply(conn, task.inner.user_id, &changes).await?;
    sqlx::query!("delete from tasks where id = $1 and user_id = $2", task.id, task.inner.user_id).execute(conn).await?;
    Ok(TaskDeleted { task: TaskRef { version: task.version + 1, ..task.reference() } })
}
