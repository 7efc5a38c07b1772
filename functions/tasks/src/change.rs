//! `PUT` and `PATCH /v1/tasks/{id}`.

use axum::{extract::State, http::StatusCode};
use chrono::{DateTime, Utc};
use shared::{
    App,
    auth::User,
    problem::{OnConstraint as _, Problem, Result},
    recurrence::Zone,
    search_text,
};
use sqlx::types::Json;
use uuid::Uuid;

use crate::{
    answer::Answer,
    bodies,
    command::{Command, Id},
    docs::WriteProblems,
    draft::{self, Edit, NewReminder, Wanted},
    liveness::{self, Due, ReminderChange, Row},
    locked_task::{LockedTask, Target},
    me::{Preferences, users_zone},
    params,
    series::SeriesValues,
    tags::{self, tag_ids},
    task::{Repeats, Task},
    user_tx::UserTx,
};

/// The answer to a change of later occurrences when the next one, which they will be made from, exists.
const NEXT_EXISTS: Problem =
    Problem::Conflict("the next occurrence exists already: make a change that is for later occurrences there");
/// The answer to a change of a task that this release does not know how to write back, during an upgrade or after a rollback.
pub(crate) const NEWER: Problem =
    Problem::Conflict("the task has a value of a newer release, which this one would lose; retry later");

/// Replace a task
///
/// A field that the body leaves out gets its default. A reminder of the body that the task already has stays as it is; the task's
/// other reminders are cancelled. A body equal to the task changes nothing.
///
/// Of a recurring task it changes this occurrence alone, as PATCH with the scope `this`, except for two fields. A changed `recurrence` applies
/// from this occurrence on. The list of reminders is also that of the occurrences that are created later: they do not get a reminder that
/// the body leaves out, and they get one that it adds, at the same distance to the due time. So a body with another `remind_at` moves the
/// reminder in them too; snoozing moves it in this occurrence alone. A next occurrence that exists already keeps its reminders.
#[utoipa::path(
    put, path = "/v1/tasks/{id}", operation_id = "replace_task", tag = "tasks", request_body = bodies::WholeTask,
    params(("id" = Uuid, Path), params::IdempotencyKey, params::Conditions),
    responses((status = 200, description = "The changed task", body = Task), WriteProblems),
    security(("bearer" = [])),
)]
pub(crate) async fn replace_task(State(app): State<App>, user: User, Id(id): Id, command: Command) -> Result<Answer> {
    let (wanted, reminders) = command.object()?.read(draft::whole_task)?;
    let edit = Edit { wanted, series: None, names_recurrence: true, place: None };
    command.on_task(&app, &user, Target::Task(id), |locked| change(locked, edit, Some(reminders))).await
}

/// Change a task
///
/// A JSON merge patch (RFC 7396): null removes a field, a field that the body leaves out stays. A relative reminder follows the
/// due time. A patch equal to the task changes nothing.
///
/// Of a recurring task it changes this occurrence alone: the later ones keep the rule with its `COUNT` and its end of the month, the
/// other fields, and the distances of their reminders. With the scope `following` they get the fields of the patch too. A `due_at` or
/// `time_zone` that changes for them begins a new series at this occurrence, in which `COUNT` counts from 1. So does a changed
/// `recurrence`, which always applies from this occurrence on. If the next occurrence exists already, both answer 409: change that one.
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
        let edit = patch.read(|fields| draft::patched_task(fields, &locked.task))?;
        change(locked, edit, None).await
    };
    command.on_task(&app, &user, Target::Task(id), apply_patch).await
}

/// Applies an edit to a task. Without `reminders`, the task keeps its reminders.
async fn change(mut locked: LockedTask<'_>, edit: Edit, mut reminders: Option<Vec<NewReminder>>) -> Result<Answer> {
    let task = &locked.task;
    if let Some(reminders) = reminders.as_mut().filter(|wanted| wanted.iter().any(|wanted| wanted.channels.is_empty()))
    {
        let users = Preferences::of(&mut locked.tx, task.inner.user_id).await?;
        draft::fill_channels(reminders, &users.channels);
    }
    let (changes, added) = reminders.map_or_else(Default::default, |reminders| liveness::replace(task, reminders));
    if write(&mut locked, edit, changes, &added).await? {
        locked.updated(StatusCode::OK).await
    } else {
        locked.unchanged().await
    }
}

/// Writes an edit of a task, with changes of its reminders and new ones. Returns false if there is nothing to change.
pub(crate) async fn write(
    locked: &mut LockedTask<'_>,
    edit: Edit,
    mut changes: Vec<ReminderChange>,
    added: &[NewReminder],
) -> Result<bool> {
    let task = &locked.task;
    if task.inner.has_newer_words {
        return Err(NEWER);
    }
    let zone = match &edit.wanted.time_zone {
        Some(zone) => zone.clone(),
        None => users_zone(&mut locked.tx, task.inner.user_id).await?,
    };
    let old_zone = task.zone();
    let (from, to) = (Due { at: task.due_at, zone: &old_zone }, Due { at: edit.wanted.due_at, zone: &zone });
    for reminder in &task.reminders {
        if !changes.iter().any(|change| change.is_of(reminder)) {
            changes.extend(reminder.on_move(from, to, task.completed, task.inner.now));
        }
    }
    let change = Change::new(task, edit, &zone);
    if changes.is_empty() && added.is_empty() && change.is_noop() && !locked.revived {
        return Ok(false);
    }
    if let Some(place) = change.place.filter(|_| change.is_for_later_ones())
        && place.next(&mut locked.tx).await?.is_some()
    {
        return Err(NEXT_EXISTS);
    }
    let rows = Row::all(added, to);
    locked.command.quotas.check(&mut locked.tx, task, &changes, &rows, &change.wanted.tags).await?;
    liveness::apply(&mut locked.tx, task.inner.user_id, &changes).await?;
    change.keep_distances(&mut locked.tx).await?;
    liveness::add(&mut locked.tx, task, &rows).await?;
    if change.wanted.tags != task.tags {
        change.write_tags(&mut locked.tx).await?;
    }
    change.write(&mut locked.tx).await?;
    Ok(true)
}

/// A task and its series as they are, and as they shall be.
struct Change<'a> {
    task: &'a Task,
    wanted: Wanted,
    changes_recurrence: bool,
    old_series: Wanted,
    /// The task as it shall be without the changes of this occurrence alone.
    series: Wanted,
    place: Option<Place>,
    /// The place that the task had, if a version of it is restored.
    restored: Option<Place>,
}

/// The place of a task in its series.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Place {
    pub(crate) series_id: Uuid,
    pub(crate) occurrence: i32,
    start: DateTime<Utc>,
}

impl Place {
    pub(crate) fn of(task: &Task) -> Option<Self> {
        let inner = &task.inner;
        Some(Self { series_id: inner.series_id?, occurrence: inner.occurrence?, start: inner.recurrence_start? })
    }

    /// The next occurrence, if it exists. One that the user deleted does not count: nobody can change it.
    pub(crate) async fn next(self, tx: &mut UserTx) -> Result<Option<Uuid>> {
        // Row-level security hides the occurrence of a deleted task.
        let next = sqlx::query_scalar!(
            "select task_id from task_occurrences where series_id = $1 and occurrence = $2",
            self.series_id,
            self.occurrence + 1
        );
        Ok(next.fetch_optional(&mut **tx).await?)
    }
}

impl<'a> Change<'a> {
    /// `zone` is the zone that the task shall have.
    fn new(task: &'a Task, edit: Edit, zone: &Zone) -> Self {
        let Edit { mut wanted, series, names_recurrence, place: restored } = edit;
        wanted.time_zone = Some(zone.clone());
        let changes_recurrence = names_recurrence
            && match (&task.recurrence, &wanted.recurrence) {
                (None, None) => false,
                // A stored recurrence that this version cannot parse differs from every other.
                (Some(old), Some(new)) => old.parse().as_ref() != Ok(new),
                _ => true,
            };
        let (row, old_series) = (task.written(), task.in_series());
        let place = Place::of(task);
        let series = if place.or(restored).is_none() || (changes_recurrence && wanted.recurrence.is_none()) {
            wanted.clone()
        } else {
            let mut series = series.unwrap_or_else(|| old_series.clone());
            series.time_zone.get_or_insert_with(|| zone.clone());
            series.recurrence.clone_from(&wanted.recurrence);
            if changes_recurrence && restored.is_none() {
                // A due time or zone that comes with the recurrence is the recurrence's.
                if wanted.due_at != row.due_at {
                    series.due_at = wanted.due_at;
                }
                if wanted.time_zone != row.time_zone {
                    series.time_zone.clone_from(&wanted.time_zone);
                }
            }
            series
        };
        Self { task, wanted, changes_recurrence, old_series, series, place, restored }
    }

    fn is_noop(&self) -> bool {
        self.wanted == self.task.written() && !self.is_for_later_ones()
    }

    fn is_for_later_ones(&self) -> bool {
        self.changes_recurrence || self.series != self.old_series
    }

    fn moves_series(&self) -> bool {
        self.place.is_none() || self.series.due_at != self.old_series.due_at
    }

    fn begins_series(&self) -> bool {
        self.moves_series() || self.changes_recurrence || self.series.time_zone != self.old_series.time_zone
    }

    /// Keeps the distances of absolute reminders in later occurrences if the due time moves for this occurrence alone. If it moves for
    /// them too, the distances are those to the new due time.
    async fn keep_distances(&self, tx: &mut UserTx) -> Result<()> {
        let Self { task, wanted, old_series, .. } = self;
        let (id, user_id) = (task.id, task.inner.user_id);
        if self.moves_series() {
            sqlx::query!(
                "update task_reminders
                 set series_remind_at = case when series_due_at = $3 then series_remind_at end, series_due_at = null
                 where task_id = $1 and user_id = $2 and series_due_at is not null and cancel_reason is distinct from 'user'",
                id,
                user_id,
                old_series.due_at
            )
            .execute(&mut **tx)
            .await?;
        } else if wanted.due_at != task.due_at {
            sqlx::query!(
                "update task_reminders set series_due_at = $3
                 where task_id = $1 and user_id = $2 and series_due_at is null and before_due is null
                       and cancel_reason is distinct from 'user'",
                id,
                user_id,
                task.due_at
            )
            .execute(&mut **tx)
            .await?;
        }
        Ok(())
    }

    async fn write(&self, tx: &mut UserTx) -> Result<()> {
        let Self { task, wanted, .. } = self;
        let repeats = if self.changes_recurrence {
            wanted.recurrence.as_ref().map(Repeats::from)
        } else {
            task.recurrence.clone()
        };
        let place = repeats.as_ref().and_then(|_| self.new_place());
        if let Some(place) = place.filter(|_| self.begins_series() && self.restored.is_none()) {
            sqlx::query!(
                "insert into task_occurrences (series_id, occurrence, task_id) values ($1, $2, $3)",
                place.series_id,
                place.occurrence,
                task.id
            )
            .execute(&mut **tx)
            .await?;
        }
        sqlx::query!(
            "update tasks
             set title = $3, description = $4, priority = $5, due_at = $6, time_zone = $7,
                 recurrence_type = $8, recurrence_interval = $9, recurrence_rule = $10, recurrence_anchor = $11,
                 recurrence_start = $12, next_occurrence_at = $13, series_id = $14, occurrence = $15, series_values = $16,
                 search_text = case when (title, description) is not distinct from ($3, $4) then search_text
                                    -- A new text whose search text is the same: the line break tells the trigger that it was set.
                                    else $17 || case when search_text = $17 then e'\n' else '' end end,
                 remind_at = earliest_live_reminder(id), version = coalesce(version, 1) + 1, updated_at = now()
             where id = $1 and user_id = $2",
            task.id,
            task.inner.user_id,
            wanted.title,
            wanted.description,
            wanted.priority.as_str(),
            wanted.due_at,
            wanted.time_zone.as_ref().map(Zone::as_str),
            repeats.as_ref().map(|repeats| repeats.kind.as_str()),
            repeats.as_ref().and_then(|repeats| i32::try_from(repeats.interval).ok()),
            repeats.as_ref().and_then(|repeats| repeats.rule.as_deref()),
            repeats.as_ref().map(|repeats| repeats.anchor.as_str()),
            place.map(|place| place.start),
            place.and_then(|place| self.next_occurrence(place)),
            place.map(|place| place.series_id),
            place.map(|place| place.occurrence),
            SeriesValues::where_different(&self.series, wanted).map(Json) as _,
            search_text::of_task(&wanted.title, wanted.description.as_deref()),
        )
        .execute(&mut **tx)
        .await?;
        Ok(())
    }

    /// The place of the task in its series. A new series begins with this occurrence; completing it then makes a successor even if it had
    /// one in the old series. A version that is restored returns to its series.
    fn new_place(&self) -> Option<Place> {
        if self.begins_series() && self.restored.is_some() {
            self.restored
        } else if self.begins_series() {
            Some(Place { series_id: Uuid::now_v7(), occurrence: 1, start: self.series.due_at? })
        } else {
            self.place
        }
    }

    fn next_occurrence(&self, place: Place) -> Option<DateTime<Utc>> {
        let on_time = self.wanted.due_at?.max(self.task.inner.now);
        self.series.next_occurrence(place.start, self.task.completed_at.unwrap_or(on_time))
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

#[cfg(test)]
mod tests;
