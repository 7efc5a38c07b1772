//! `DELETE /v1/tasks/{id}`.

use axum::extract::State;
use shared::{
    App,
    auth::User,
    outbox,
    problem::Result,
    schema::{TaskDeleted, TaskRef},
};

use crate::{
    bodies,
    command::{Answer, Command, Id},
    docs::WriteProblems,
    liveness, task,
    user_tx::UserTx,
};

/// Delete a task
///
/// For good, with its reminders; its history and their timelines remain.
#[utoipa::path(
    delete, path = "/v1/tasks/{id}", operation_id = "delete_task", tag = "tasks",
    params(("id" = Uuid, Path), bodies::IdempotencyKey, bodies::IfMatch),
    responses((status = 204, description = "It is gone"), WriteProblems),
    security(("bearer" = [])),
)]
pub(crate) async fn delete_task(State(app): State<App>, user: User, Id(id): Id, command: Command) -> Result<Answer> {
    command.nothing()?;
    let mut tx = UserTx::begin(&app.db, user.id).await?;
    if let Some(answer) = command.answered(&mut tx, user.id).await? {
        return Ok(answer);
    }
    let task = task::lock(&mut tx, user.id, id).await?;
    command.expects(task.version)?;
    let becomes: Vec<_> = task.reminders.iter().filter_map(task::Reminder::on_delete).collect();
    liveness::apply(&mut tx, user.id, &becomes).await?;
    sqlx::query!("delete from tasks where id = $1 and user_id = $2", id, user.id).execute(&mut *tx).await?;
    let last = TaskRef { version: task.version + 1, ..task.reference() };
    outbox::emit(&mut tx, &TaskDeleted { task: last }, &command.trace).await?;
    command.done(&app, tx, user.id, Answer::empty()).await
}
