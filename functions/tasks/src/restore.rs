//! `POST /v1/tasks/{id}/restore`.

use axum::{extract::State, http::StatusCode};
use shared::{
    App,
    auth::User,
    problem::{InvalidField, Problem, ProblemBody, Result},
    schema::TaskCompleted,
    search_text,
};
use sqlx::{PgConnection, types::Json};
use uuid::Uuid;

use crate::{
    Quotas,
    answer::Answer,
    bodies::{self, VERSION},
    change::{self, Place},
    command::{Command, Id},
    docs::WriteProblems,
    draft::Edit,
    liveness,
    locked_task::{LockedTask, Target},
    params,
    series::SeriesValues,
    task::Task,
    versions::{self, Kept},
};

/// Restore a version of a task
///
/// Gives the task the content that it had at a version: everything but whether it is completed, which `complete` and `reopen` change. A deleted
/// task comes back with its id, its tags and its reminders, completed if it was. The task gets a new version; the version before it can be
/// restored as well. A version that is equal to the task changes nothing.
///
/// A reminder that the version has is scheduled again, unless its time has passed. Within a minute after the last command on the task it is
/// scheduled even if its time passed meanwhile: it fires at once, and its timeline says why. One that was sent stays sent. Reminders that the
/// version does not have are cancelled.
///
/// Of a recurring task it also restores what later occurrences get. If that differs and the next occurrence exists already, it answers 409, as a
/// change of later occurrences does.
#[utoipa::path(
    post, path = "/v1/tasks/{id}/restore", operation_id = "restore_task", tag = "tasks", request_body = bodies::Restore,
    params(("id" = Uuid, Path), params::IdempotencyKey, params::Conditions),
    responses(
        WriteProblems,
        (status = 200, description = "The restored task", body = Task),
        (status = 410, description = "The version was replaced more than 30 days ago, or more than 1,000 versions ago", body = ProblemBody,
         content_type = "application/problem+json"),
    ),
    security(("bearer" = [])),
)]
pub(crate) async fn restore_task(State(app): State<App>, user: User, Id(id): Id, command: Command) -> Result<Answer> {
    let version = command.object()?.read(|fields| fields.require(&VERSION))?;
    command.on_task(&app, &user, Target::Restorable(id), |locked| restore(locked, version.into())).await
}

async fn restore(mut locked: LockedTask<'_>, version: i64) -> Result<Answer> {
    let task = &locked.task;
    let last = task.version - i64::from(locked.revived);
    if version > last {
        let wrong = format!("must be at most {last}, the last version of the task");
        return Err(InvalidField::in_body(format_args!("/{}", VERSION.name), wrong).into());
    }
    if version == task.version {
        return locked.unchanged().await;
    }
    let kept = versions::read(&mut locked.tx, task.inner.user_id, task.id, Some(version)).await?;
    let Some(Kept { task: was, last_command_at }) = kept else { return Err(Problem::Gone) };
    let (changes, added) = liveness::restore(task, &was, last_command_at);
    let place = Place::of(&was);
    let edit = Edit { wanted: was.written(), series: Some(was.in_series()), names_recurrence: true, place };
    if !change::write(&mut locked, edit, changes, &added).await? {
        return locked.unchanged().await;
    }
    let task = locked.reload().await?;
    if let (true, Some(completed_at), Some(place)) = (locked.revived, task.completed_at, Place::of(&task))
        && place.next(&mut locked.tx).await?.is_none()
    {
        // Its completion may have been handled while it was deleted. Now it makes the next occurrence.
        let event = TaskCompleted { task: task.reference(), completed_at };
        return locked.commit(&event, Answer::task(StatusCode::OK, &task)).await;
    }
    locked.undone().await
}

/// Brings the row of a deleted task back at the version of its deletion, without its tags and with its reminders as they are. The command then
/// restores them. Returns the tags that it had, or `None` if the task exists.
pub(crate) async fn revive(
    conn: &mut PgConnection,
    quotas: &Quotas,
    user_id: Uuid,
    id: Uuid,
) -> Result<Option<Vec<String>>> {
    let known = sqlx::query!(
        r#"select exists (select from tasks where id = $1 and user_id = $2) as "exists!",
                  exists (select from audit_logs where task_id = $1 and user_id = $2) as "existed!""#,
        id,
        user_id
    )
    .fetch_one(&mut *conn)
    .await?;
    if known.exists {
        return Ok(None);
    }
    let task = match versions::read(conn, user_id, id, None).await? {
        Some(kept) => kept.task,
        None if known.existed => return Err(Problem::Gone),
        None => return Err(Problem::NotFound),
    };
    quotas.check_new_task(conn, user_id).await?;
    let repeats = task.recurrence.as_ref();
    sqlx::query!(
        "insert into tasks (id, user_id, title, description, completed, completed_at, created_at, priority, due_at, time_zone, version,
                            recurrence_type, recurrence_interval, recurrence_rule, recurrence_anchor, recurrence_start,
                            series_id, occurrence, series_values, search_text)
         values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20)",
        id,
        user_id,
        task.title,
        task.description,
        task.completed,
        task.completed_at,
        task.created_at,
        task.priority.as_str(),
        task.due_at,
        task.time_zone,
        task.version + 1,
        repeats.map(|repeats| repeats.kind.as_str()),
        repeats.and_then(|repeats| i32::try_from(repeats.interval).ok()),
        repeats.and_then(|repeats| repeats.rule.as_deref()),
        repeats.map(|repeats| repeats.anchor.as_str()),
        task.inner.recurrence_start,
        task.inner.series_id,
        task.inner.occurrence,
        (task.inner.series_values != SeriesValues::default()).then(|| Json(&task.inner.series_values)) as _,
        search_text::of_task(&task.title, task.description.as_deref()),
    )
    .execute(conn)
    .await?;
    Ok(Some(task.tags))
}
