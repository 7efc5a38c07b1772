//! `PUT` and `PATCH /v1/tasks/{id}`.

use axum::{extract::State, http::StatusCode};
use chrono::{DateTime, Utc};
use shared::{
    App,
    auth::User,
    problem::{OnConstraint as _, Result},
    recurrence::Zone,
    search_text,
};
use uuid::Uuid;

use crate::{
    answer::Answer,
    bodies,
    command::{Command, Id},
    docs::WriteProblems,
    draft::{self, NewReminder, Wanted},
    liveness::{self, Due, Row},
    locked_task::{LockedTask, Target},
    me::users_zone,
    params,
    quotas::Added,
    tags::{self, tag_ids},
    task::{Repeats, Task, next_occurrence},
    user_tx::UserTx,
};

/// Replace a task
///
/// A field that the body leaves out gets its default. A reminder of the body that the task already has stays as it is; the task's
/// other reminders are cancelled. A body equal to the task changes nothing.
#[utoipa::path(
    put, path = "/v1/tasks/{id}", operation_id = "replace_task", tag = "tasks", request_body = bodies::WholeTask,
    params(("id" = Uuid, Path), params::IdempotencyKey, params::Conditions),
    responses((status = 200, description = "The changed task", body = Task), WriteProblems),
    security(("bearer" = [])),
)]
pub(crate) async fn replace_task(State(app): State<App>, user: User, Id(id): Id, command: Command) -> Result<Answer> {
    let (wanted, reminders) = command.object()?.read(draft::whole_task)?;
    command.on_task(&app, &user, Target::Task(id), |locked| change(locked, wanted, Some(reminders))).await
}

/// Change a task
///
/// A JSON merge patch (RFC 7396): null removes a field, a field that the body leaves out stays. A relative reminder follows the
/// due time. A patch equal to the task changes nothing.
#[utoipa::path(
    patch, path = "/v1/tasks/{id}", operation_id = "change_task", tag = "tasks",
    request_body(content(
        (bodies::TaskPatch = "application/merge-patch+json"), (bodies::TaskPatch = "application/json"))),
    params(("id" = Uuid, Path), params::IdempotencyKey, params::Conditions),
    responses((status = 200, description = "The changed task", body = Task), WriteProblems),
    security(("bearer" = [])),
)]
pub(crate) async fn change_task(State(app): State<App>, user: User, Id(id): Id, command: Command) -> Result<Answer> {
    let patch = command.object()?;
    let apply_patch = async |locked: LockedTask<'_>| {
        let wanted = patch.read(|fields| draft::patched_task(fields, &locked.task))?;
        change(locked, wanted, None).await
    };
    command.on_task(&app, &user, Target::Task(id), apply_patch).await
}

/// Makes a task what is wanted of it. Without `reminders` it keeps those it has.
async fn change(mut locked: LockedTask<'_>, wanted: Wanted, reminders: Option<Vec<NewReminder>>) -> Result<Answer> {
    let task = &locked.task;
    let zone = match &wanted.time_zone {
        Some(zone) => zone.clone(),
        None => users_zone(&mut locked.tx, task.inner.user_id).await?,
    };

    let (mut changes, added) = reminders.map_or_else(Default::default, |reminders| liveness::replace(task, reminders));
    let old_zone = task.zone();
    let (from, to) = (Due { at: task.due_at, zone: &old_zone }, Due { at: wanted.due_at, zone: &zone });
    for reminder in &task.reminders {
        if !changes.iter().any(|change| change.is_of(reminder)) {
            changes.extend(reminder.on_move(from, to, task.completed, task.inner.now));
        }
    }
    let change = Change { task, wanted: &wanted, zone: &zone };
    if changes.is_empty() && added.is_empty() && change.is_noop() {
        return locked.unchanged().await;
    }
    let rows = Row::all(&added, to);
    let added = Added::to_task(task, &changes, &rows, &wanted.tags);
    locked.command.quotas.check(&mut locked.tx, task.inner.user_id, &added).await?;
    liveness::apply(&mut locked.tx, task.inner.user_id, &changes).await?;
    liveness::add(&mut locked.tx, task, &rows).await?;
    if wanted.tags != task.tags {
        change.write_tags(&mut locked.tx).await?;
    }
    change.write(&mut locked.tx).await?;
    locked.updated(StatusCode::OK).await
}

/// A task as it is, and as it shall be.
struct Change<'a> {
    task: &'a Task,
    wanted: &'a Wanted,
    zone: &'a Zone,
}

impl Change<'_> {
    fn changes_recurrence(&self) -> bool {
        // A stored recurrence that this version cannot parse differs from every other.
        self.wanted.recurrence != self.task.recurrence.as_ref().and_then(|repeats| repeats.parse().ok())
    }

    fn is_noop(&self) -> bool {
        let Self { task, wanted, zone } = self;
        wanted.title == task.title
            && wanted.description == task.description
            && wanted.priority == task.priority
            && wanted.due_at == task.due_at
            && **zone == task.zone()
            && wanted.tags == task.tags
            && !self.changes_recurrence()
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
                 search_text = case when (title, description) is not distinct from ($3, $4) then search_text
                                    -- A new text whose search text is the same: the line break tells the trigger that it was set.
                                    else $16 || case when search_text = $16 then e'\n' else '' end end,
                 remind_at = earliest_live_reminder(id), version = coalesce(version, 1) + 1, updated_at = now()
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
            search_text::of_task(&wanted.title, wanted.description.as_deref()),
        )
        .execute(&mut **tx)
        .await?;
        Ok(())
    }

    /// The columns of the series, if the task is to recur.
    ///
    /// Another rule or due time begins a new series. Completing the task then makes its successor even if the old series had one.
    fn series(&self) -> Option<SeriesColumns> {
        let Self { task, wanted, zone } = self;
        let (recurrence, due) = (wanted.recurrence.as_ref()?, wanted.due_at?);
        let continued = match (task.inner.series_id, task.inner.recurrence_start, task.inner.occurrence) {
            (Some(id), Some(start), Some(occurrence)) if task.due_at == Some(due) && !self.changes_recurrence() => {
                Some((id, start, occurrence))
            }
            _ => None,
        };
        let (id, start, occurrence) = continued.unwrap_or_else(|| (Uuid::now_v7(), due, 1));
        let next = next_occurrence(recurrence, start, due, zone, task.completed_at, task.inner.now);
        Some(SeriesColumns { id, start, occurrence, next, is_new: continued.is_none() })
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
        .await
        .on_constraint("task_tag_associations_tag_id_fkey", tags::DELETED)?;
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
