//! `PUT` and `PATCH /v1/tasks/{id}`.

use axum::{extract::State, http::StatusCode};
use chrono::{DateTime, Utc};
use shared::{App, auth::User, problem::Result, recurrence::Zone};
use uuid::Uuid;

use crate::{
    bodies,
    command::{Answer, Command, Id},
    create::{tag_ids, users_zone},
    docs::WriteProblems,
    draft::{self, NewReminder, Wanted},
    liveness::{self, Due, Row},
    task::{self, Repeats, Task, next_occurrence},
    user_tx::UserTx,
};

/// Replace a task
///
/// What the body leaves out gets its default. Reminders of the body that the task has already stay as they are, the task's
/// others are cancelled. A body equal to the task changes nothing.
#[utoipa::path(
    put, path = "/v1/tasks/{id}", operation_id = "replace_task", tag = "tasks", request_body = bodies::WholeTask,
    params(("id" = Uuid, Path), bodies::IdempotencyKey, bodies::IfMatch),
    responses((status = 200, description = "The task as it now is", body = Task), WriteProblems),
    security(("bearer" = [])),
)]
pub(crate) async fn replace_task(State(app): State<App>, user: User, Id(id): Id, command: Command) -> Result<Answer> {
    let (wanted, reminders) = draft::whole_task(command.object()?)?;
    change(&app, &user, id, &command, move |_| Ok((wanted, Some(reminders)))).await
}

/// Change a task
///
/// A JSON merge patch (RFC 7396): null takes a field away, what the body leaves out stays. A relative reminder follows
/// the due time. A patch that says what the task says changes nothing.
#[utoipa::path(
    patch, path = "/v1/tasks/{id}", operation_id = "change_task", tag = "tasks",
    request_body(content(
        (bodies::TaskPatch = "application/merge-patch+json"), (bodies::TaskPatch = "application/json"))),
    params(("id" = Uuid, Path), bodies::IdempotencyKey, bodies::IfMatch),
    responses((status = 200, description = "The task as it now is", body = Task), WriteProblems),
    security(("bearer" = [])),
)]
pub(crate) async fn change_task(State(app): State<App>, user: User, Id(id): Id, command: Command) -> Result<Answer> {
    let patch = command.object()?;
    change(&app, &user, id, &command, move |task| Ok((draft::patched_task(patch, task)?, None))).await
}

async fn change(
    app: &App,
    user: &User,
    id: Uuid,
    command: &Command,
    wanted: impl FnOnce(&Task) -> Result<(Wanted, Option<Vec<NewReminder>>)> + Send,
) -> Result<Answer> {
    let mut tx = UserTx::begin(&app.db, user.id).await?;
    if let Some(answer) = command.answered(&mut tx, user.id).await? {
        return Ok(answer);
    }
    let task = task::lock(&mut tx, user.id, id).await?;
    command.expects(task.version)?;
    let (wanted, list) = wanted(&task)?;
    let zone = match &wanted.time_zone {
        Some(zone) => zone.clone(),
        None => users_zone(&mut tx, user.id).await?,
    };

    let (mut becomes, added) = list.map_or_else(Default::default, |list| liveness::replace(&task, list));
    let was = task.zone();
    let (from, to) = (Due { at: task.due_at, zone: &was }, Due { at: wanted.due_at, zone: &zone });
    for reminder in &task.reminders {
        if !becomes.iter().any(|decided| decided.is_of(reminder)) {
            becomes.extend(reminder.on_move(from, to, task.completed, task.inner.now));
        }
    }
    let change = Change { task: &task, wanted: &wanted, zone: &zone };
    if becomes.is_empty() && added.is_empty() && !change.any() {
        let answer = Answer::task(StatusCode::OK, &task);
        return command.unchanged(tx, user.id, answer).await;
    }
    liveness::apply(&mut tx, user.id, &becomes).await?;
    liveness::add(&mut tx, &task, &Row::all(&added, to)).await?;
    if wanted.tags != task.tags {
        change.write_tags(&mut tx).await?;
    }
    change.write(&mut tx).await?;
    command.updated(app, tx, user.id, id, StatusCode::OK).await
}

/// From a task as it is to one as it is wanted.
struct Change<'a> {
    task: &'a Task,
    wanted: &'a Wanted,
    zone: &'a Zone,
}

impl Change<'_> {
    fn repeats_otherwise(&self) -> bool {
        // One that was stored and can no longer be read is not the one that is wanted.
        self.wanted.recurrence != self.task.recurrence.as_ref().and_then(|repeats| repeats.parse().ok())
    }

    fn any(&self) -> bool {
        let Self { task, wanted, zone } = self;
        wanted.title != task.title
            || wanted.description != task.description
            || wanted.priority != task.priority
            || wanted.due_at != task.due_at
            || **zone != task.zone()
            || wanted.tags != task.tags
            || self.repeats_otherwise()
    }

    async fn write(&self, tx: &mut UserTx) -> Result<()> {
        let Self { task, wanted, zone } = self;
        let series = self.series();
        if let Some(series) = series.as_ref().filter(|series| series.is_new) {
            sqlx::query!(
                "insert into task_occurrences (series_id, occurrence, task_id) values ($1, $2, $3)",
                series.id,
                series.occurrence,
                task.id
            )
            .execute(&mut **tx)
            .await?;
        }
        let repeats = wanted.recurrence.as_ref().map(Repeats::from);
        sqlx::query!(
            "update tasks
             set title = $3, description = $4, priority = $5, due_at = $6, time_zone = $7,
                 recurrence_type = $8, recurrence_interval = $9, recurrence_rule = $10, recurrence_anchor = $11,
                 recurrence_start = $12, next_occurrence_at = $13, series_id = $14, occurrence = $15,
                 remind_at = (select min(reminder.remind_at) from task_reminders reminder
                              where task_id = tasks.id and state = 'scheduled'
                                and fired_version is distinct from reminder.version),
                 version = coalesce(version, 1) + 1, updated_at = now()
             where id = $1 and user_id = $2",
            task.id,
            task.inner.user_id,
            wanted.title,
            wanted.description,
            wanted.priority.as_str(),
            wanted.due_at,
            zone.as_str(),
            repeats.as_ref().map(|repeats| repeats.kind.as_str()),
            repeats.as_ref().and_then(|repeats| i32::try_from(repeats.interval).ok()),
            repeats.as_ref().and_then(|repeats| repeats.rule.as_deref()),
            repeats.as_ref().map(|repeats| repeats.anchor.as_str()),
            series.as_ref().map(|series| series.start),
            series.as_ref().and_then(|series| series.next),
            series.as_ref().map(|series| series.id),
            series.as_ref().map(|series| series.occurrence),
        )
        .execute(&mut **tx)
        .await?;
        Ok(())
    }

    /// Another rule or another due time begins a series of its own, so that completing this task makes its successor
    /// whatever the series before had made.
    fn series(&self) -> Option<SeriesColumns> {
        let Self { task, wanted, zone } = self;
        let (recurrence, due) = (wanted.recurrence.as_ref()?, wanted.due_at?);
        let goes_on = match (task.inner.series_id, task.inner.recurrence_start, task.inner.occurrence) {
            (Some(id), Some(start), Some(occurrence)) if task.due_at == Some(due) && !self.repeats_otherwise() => {
                Some((id, start, occurrence))
            }
            _ => None,
        };
        let (id, start, occurrence) = goes_on.unwrap_or_else(|| (Uuid::now_v7(), due, 1));
        let next = next_occurrence(recurrence, start, due, zone, task.completed_at, task.inner.now);
        Some(SeriesColumns { id, start, occurrence, next, is_new: goes_on.is_none() })
    }

    async fn write_tags(&self, tx: &mut UserTx) -> Result<()> {
        let user_id = self.task.inner.user_id;
        sqlx::query!(
            "with tag as (
                 insert into task_tags (id, user_id, name)
                 select id, $2, name from unnest($3::uuid[], $4::text[]) as tag (id, name) on conflict do nothing
             ), gone as (
                 delete from task_tag_associations where task_id = $1 and tag_id <> all($3)
             )
             insert into task_tag_associations (task_id, tag_id) select $1, unnest($3) on conflict do nothing",
            self.task.id,
            user_id,
            &tag_ids(user_id, &self.wanted.tags),
            &self.wanted.tags
        )
        .execute(&mut **tx)
        .await?;
        Ok(())
    }
}

struct SeriesColumns {
    id: Uuid,
    start: DateTime<Utc>,
    occurrence: i32,
    next: Option<DateTime<Utc>>,
    is_new: bool,
}
