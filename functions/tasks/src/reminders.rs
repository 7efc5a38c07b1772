//! `/v1/tasks/{id}/reminders` and `/v1/reminders/{id}`. Every write is a command on the task and answers with the task.

use axum::{Json, extract::State, http::StatusCode};
use chrono::{DateTime, TimeDelta, Utc};
use serde::Serialize;
use shared::{
    App,
    auth::User,
    problem::{InvalidField, Problem, Result},
    reminder::CancelReason,
};
use utoipa::ToSchema;
use uuid::Uuid;

use crate::{
    answer::Answer,
    bodies::{self, BEFORE_DUE, MINUTES, REMINDERS_LIMIT, UNTIL},
    command::{Command, Id},
    docs::{ReadProblems, WriteProblems},
    draft::{self, NewReminder},
    input::Fields,
    liveness::{self, Due, Row},
    locked_task::{LockedTask, Target},
    me::Preferences,
    params,
    task::{self, Reminder, Task},
    user_tx::UserTx,
};

/// The reminders of a task.
#[derive(Serialize, ToSchema)]
pub(crate) struct ReminderList {
    items: Vec<Reminder>,
}

/// List a task's reminders
#[utoipa::path(
    get, path = "/v1/tasks/{id}/reminders", operation_id = "list_reminders", tag = "reminders",
    params(("id" = Uuid, Path)),
    responses((status = 200, description = "The reminders that the user has not cancelled", body = ReminderList), ReadProblems),
    security(("bearer" = [])),
)]
pub(crate) async fn list_reminders(State(app): State<App>, user: User, Id(id): Id) -> Result<Json<ReminderList>> {
    let mut tx = UserTx::read(&app.db, &user).await?;
    let task = task::load(&mut tx, user.id, id).await?;
    Ok(Json(ReminderList { items: task.reminders }))
}

/// Add a reminder to a task
///
/// At an instant, or a duration before the due time. A reminder whose time has passed is accepted and fires at once.
///
/// The occurrences of a recurring task that are created later get it too, at the same distance to the due time. A next occurrence that exists
/// already does not.
#[utoipa::path(
    post, path = "/v1/tasks/{id}/reminders", operation_id = "add_reminder", tag = "reminders",
    request_body = bodies::NewReminder,
    params(("id" = Uuid, Path), params::IdempotencyKey, params::Conditions),
    responses((status = 201, description = "The changed task", body = Task), WriteProblems),
    security(("bearer" = [])),
)]
pub(crate) async fn add_reminder(State(app): State<App>, user: User, Id(id): Id, command: Command) -> Result<Answer> {
    let reminder = command.object()?.read(draft::reminder)?;
    command.on_task(&app, &user, Target::Task(id), |locked| add(locked, reminder)).await
}

async fn add(mut locked: LockedTask<'_>, mut reminder: NewReminder) -> Result<Answer> {
    if reminder.channels.is_empty() {
        reminder.channels = Preferences::of(&mut locked.tx, locked.task.inner.user_id).await?.channels;
    }
    let task = &locked.task;
    check_open(task)?;
    if task.reminders.len() >= REMINDERS_LIMIT {
        let wrong = format_args!("the task has {REMINDERS_LIMIT} reminders, the maximum; cancel one first");
        return Err(InvalidField::in_body("", wrong).into());
    }
    let zone = task.zone();
    let in_before_due = |wrong| InvalidField::in_body(format_args!("/{}", BEFORE_DUE.name), wrong);
    reminder.instant(task.due_at, &zone).map_err(in_before_due)?;
    let rows = Row::all(&[reminder], Due { at: task.due_at, zone: &zone });
    locked.command.quotas.check(&mut locked.tx, task, &[], &rows, &task.tags).await?;
    liveness::add(&mut locked.tx, task, &rows).await?;
    locked.raise_version().await?;
    locked.updated(StatusCode::CREATED).await
}

/// Cancel a reminder
///
/// It disappears from the task's list; its timeline remains. Cancelling it again changes nothing.
///
/// The occurrences of a recurring task that are created later do not get it. A next occurrence that exists already keeps its own.
#[utoipa::path(
    delete, path = "/v1/reminders/{id}", operation_id = "cancel_reminder", tag = "reminders",
    params(("id" = Uuid, Path), params::IdempotencyKey, params::Conditions),
    responses((status = 200, description = "The changed task", body = Task), WriteProblems),
    security(("bearer" = [])),
)]
pub(crate) async fn cancel_reminder(
    State(app): State<App>,
    user: User,
    Id(id): Id,
    command: Command,
) -> Result<Answer> {
    command.no_fields()?;
    command.on_task(&app, &user, Target::Reminder(id), |locked| cancel(locked, id)).await
}

async fn cancel(mut locked: LockedTask<'_>, id: Uuid) -> Result<Answer> {
    let task = &locked.task;
    // The list leaves out reminders that the user has cancelled.
    let Some(reminder) = task.reminders.iter().find(|reminder| reminder.id == id) else {
        return locked.unchanged().await;
    };
    liveness::apply(&mut locked.tx, task.inner.user_id, &[reminder.cancelled(CancelReason::User)]).await?;
    locked.raise_version().await?;
    locked.updated(StatusCode::OK).await
}

/// Snooze a reminder
///
/// Until an instant, or for some minutes from now. A sent reminder can be snoozed too. It keeps its id and its timeline. In later
/// occurrences of a recurring task it keeps the distance to the due time that it had before.
#[utoipa::path(
    post, path = "/v1/reminders/{id}/snooze", operation_id = "snooze_reminder", tag = "reminders",
    request_body = bodies::Snooze,
    params(("id" = Uuid, Path), params::IdempotencyKey, params::Conditions),
    responses((status = 200, description = "The changed task", body = Task), WriteProblems),
    security(("bearer" = [])),
)]
pub(crate) async fn snooze_reminder(
    State(app): State<App>,
    user: User,
    Id(id): Id,
    command: Command,
) -> Result<Answer> {
    let until = command.object()?.read(Until::read)?;
    let snooze = async |locked: LockedTask<'_>| {
        let at = until.instant(locked.task.inner.now)?;
        reschedule(locked, id, at).await.map(|(answer, _)| answer)
    };
    command.on_task(&app, &user, Target::Reminder(id), snooze).await
}

/// Send a reminder now
///
/// Moves it to now, so that it fires at once. A sent reminder is sent again. In later occurrences of a recurring task it keeps the
/// distance to the due time that it had before.
#[utoipa::path(
    post, path = "/v1/reminders/{id}/send-now", operation_id = "send_reminder_now", tag = "reminders",
    params(("id" = Uuid, Path), params::IdempotencyKey, params::Conditions),
    responses((status = 200, description = "The changed task", body = Task), WriteProblems),
    security(("bearer" = [])),
)]
pub(crate) async fn send_reminder_now(
    State(app): State<App>,
    user: User,
    Id(id): Id,
    command: Command,
) -> Result<Answer> {
    command.no_fields()?;
    let mut new_version = None;
    let send = async |mut locked: LockedTask<'_>| {
        locked.command.quotas.count_send_now(&mut locked.tx, locked.task.inner.user_id).await?;
        let now = locked.task.inner.now;
        let (answer, version) = reschedule(locked, id, now).await?;
        new_version = version;
        Ok(answer)
    };
    let answer = command.on_task(&app, &user, Target::Reminder(id), send).await?;
    if let Some(version) = new_version {
        // A shortcut past the broker. Nothing depends on it: the event arms the job for the same instant.
        tokio::spawn(async move {
            if let Err(error) = app.sidecar.fire(id, version).await {
                tracing::info!(reminder.id = %id, %error, "reminder {id} version {version} waits for its event");
            }
        });
    }
    Ok(answer)
}

/// Makes a reminder live at an instant. Also returns its new version, unless it is live at that instant already.
pub(crate) async fn reschedule(
    mut locked: LockedTask<'_>,
    id: Uuid,
    at: DateTime<Utc>,
) -> Result<(Answer, Option<i32>)> {
    let task = &locked.task;
    check_open(task)?;
    let reminder = task.reminders.iter().find(|reminder| reminder.id == id);
    let reminder = reminder.ok_or(Problem::Conflict("the reminder is cancelled; add a new one"))?;
    let change = reminder.scheduled(at);
    if change.is_noop_for(reminder) {
        return Ok((locked.unchanged().await?, None));
    }
    let version = reminder.version + 1;
    let changes = [change];
    locked.command.quotas.check(&mut locked.tx, task, &changes, &[], &task.tags).await?;
    liveness::apply(&mut locked.tx, task.inner.user_id, &changes).await?;
    locked.raise_version().await?;
    Ok((locked.updated(StatusCode::OK).await?, Some(version)))
}

/// How long to snooze.
pub(crate) enum Until {
    At(DateTime<Utc>),
    Minutes(u32),
}

impl Until {
    pub(crate) fn read(fields: &mut Fields) -> Option<Self> {
        fields.require_one_of(&UNTIL, &MINUTES);
        let until = fields.take(&UNTIL).value().map(Self::At);
        let minutes = fields.take(&MINUTES).value().map(Self::Minutes);
        until.or(minutes)
    }

    fn instant(self, now: DateTime<Utc>) -> Result<DateTime<Utc>> {
        match self {
            Self::At(at) if at <= now => {
                Err(InvalidField::in_body(format_args!("/{}", UNTIL.name), "must be in the future").into())
            }
            Self::At(at) => Ok(at),
            Self::Minutes(minutes) => Ok(now + TimeDelta::minutes(minutes.into())),
        }
    }
}

fn check_open(task: &Task) -> Result<()> {
    if task.completed { Err(Problem::Conflict("the task is completed; reopen it first")) } else { Ok(()) }
}
