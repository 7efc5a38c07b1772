//! `/v1/tasks/{id}/reminders` and `/v1/reminders/{id}`: each a command on the task, which answers with the task.

use axum::{Json, extract::State, http::StatusCode};
use chrono::{DateTime, TimeDelta, Utc};
use serde::Serialize;
use shared::{
    App,
    auth::User,
    problem::{Fault, Problem, Result},
    reminder::{CancelReason, ReminderJobName},
};
use utoipa::ToSchema;
use uuid::Uuid;

use crate::{
    bodies,
    command::{Answer, Command, Id},
    docs::{ReadProblems, WriteProblems},
    draft::{self, REMINDERS},
    input::{Fields, instant, whole},
    liveness::{self, Becomes, Due, Row},
    task::{self, Reminder, Task},
    user_tx::UserTx,
};

const A_YEAR_IN_MINUTES: u32 = 366 * 24 * 60;

/// Reminders of a task.
#[derive(Serialize, ToSchema)]
pub(crate) struct ReminderList {
    items: Vec<Reminder>,
}

/// List a task's reminders
#[utoipa::path(
    get, path = "/v1/tasks/{id}/reminders", operation_id = "list_reminders", tag = "reminders",
    params(("id" = Uuid, Path)),
    responses((status = 200, description = "Those that the user has not cancelled", body = ReminderList), ReadProblems),
    security(("bearer" = [])),
)]
pub(crate) async fn list_reminders(State(app): State<App>, user: User, Id(id): Id) -> Result<Json<ReminderList>> {
    let mut tx = UserTx::begin(&app.db, user.id).await?;
    let task = task::load(&mut tx, user.id, id).await?;
    Ok(Json(ReminderList { items: task.reminders }))
}

/// Add a reminder to a task
///
/// At an instant, or a duration before the due time. One whose time has passed is accepted and fires at once.
#[utoipa::path(
    post, path = "/v1/tasks/{id}/reminders", operation_id = "add_reminder", tag = "reminders",
    request_body = bodies::NewReminder,
    params(("id" = Uuid, Path), bodies::IdempotencyKey, bodies::IfMatch),
    responses((status = 201, description = "The task as it now is", body = Task), WriteProblems),
    security(("bearer" = [])),
)]
pub(crate) async fn add_reminder(State(app): State<App>, user: User, Id(id): Id, command: Command) -> Result<Answer> {
    let mut fields = command.object()?;
    let reminder = draft::reminder(&mut fields);
    fields.finish()?;
    // Without a fault there is one.
    let reminder = reminder.ok_or(Problem::NotFound)?;
    let mut tx = UserTx::begin(&app.db, user.id).await?;
    if let Some(answer) = command.answered(&mut tx, user.id).await? {
        return Ok(answer);
    }
    let task = task::lock(&mut tx, user.id, id).await?;
    command.expects(task.version)?;
    open(&task)?;
    if task.reminders.len() >= REMINDERS {
        return Err(Fault::at("", format_args!("the task has {REMINDERS} reminders, as many as it may have")).into());
    }
    let zone = task.zone();
    let rows = Row::all(&[reminder], Due { at: task.due_at, zone: &zone });
    if rows.is_empty() {
        return Err(Fault::at("/before_due", "needs a due_at of the task that it can be before").into());
    }
    liveness::add(&mut tx, &task, &rows).await?;
    raise(&mut tx, &task).await?;
    command.updated(&app, tx, user.id, id, StatusCode::CREATED).await
}

/// Cancel a reminder
///
/// It leaves the task's list; its timeline remains. Cancelling it again changes nothing.
#[utoipa::path(
    delete, path = "/v1/reminders/{id}", operation_id = "cancel_reminder", tag = "reminders",
    params(("id" = Uuid, Path), bodies::IdempotencyKey, bodies::IfMatch),
    responses((status = 200, description = "The task as it now is", body = Task), WriteProblems),
    security(("bearer" = [])),
)]
pub(crate) async fn cancel_reminder(
    State(app): State<App>,
    user: User,
    Id(id): Id,
    command: Command,
) -> Result<Answer> {
    command.nothing()?;
    let mut tx = UserTx::begin(&app.db, user.id).await?;
    if let Some(answer) = command.answered(&mut tx, user.id).await? {
        return Ok(answer);
    }
    let task = lock_task_of(&mut tx, user.id, id).await?;
    command.expects(task.version)?;
    let Some(reminder) = task.reminders.iter().find(|reminder| reminder.id == id) else {
        let answer = Answer::task(StatusCode::OK, &task);
        return command.unchanged(tx, user.id, answer).await;
    };
    liveness::apply(&mut tx, user.id, &[reminder.cancelled(CancelReason::User)]).await?;
    raise(&mut tx, &task).await?;
    command.updated(&app, tx, user.id, task.id, StatusCode::OK).await
}

/// Snooze a reminder
///
/// Until an instant, or for some minutes from now; also one that was sent. It keeps its identity and its timeline.
#[utoipa::path(
    post, path = "/v1/reminders/{id}/snooze", operation_id = "snooze_reminder", tag = "reminders",
    request_body = bodies::Snooze,
    params(("id" = Uuid, Path), bodies::IdempotencyKey, bodies::IfMatch),
    responses((status = 200, description = "The task as it now is", body = Task), WriteProblems),
    security(("bearer" = [])),
)]
pub(crate) async fn snooze_reminder(
    State(app): State<App>,
    user: User,
    Id(id): Id,
    command: Command,
) -> Result<Answer> {
    let until = Until::read(command.object()?)?;
    reschedule(&app, &user, id, &command, |now| until.instant(now)).await.map(|(answer, _)| answer)
}

/// Send a reminder now
///
/// Moves it to now, which fires it at once; also one that was sent.
#[utoipa::path(
    post, path = "/v1/reminders/{id}/send-now", operation_id = "send_reminder_now", tag = "reminders",
    params(("id" = Uuid, Path), bodies::IdempotencyKey, bodies::IfMatch),
    responses((status = 200, description = "The task as it now is", body = Task), WriteProblems),
    security(("bearer" = [])),
)]
pub(crate) async fn send_reminder_now(
    State(app): State<App>,
    user: User,
    Id(id): Id,
    command: Command,
) -> Result<Answer> {
    command.nothing()?;
    let (answer, version) = reschedule(&app, &user, id, &command, Ok).await?;
    if let Some(version) = version {
        // Saves the way through the broker. The event arms the job at once too, so nothing depends on this call.
        tokio::spawn(async move {
            if let Err(error) = app.sidecar.fire(ReminderJobName { reminder_id: id, version }).await {
                tracing::info!(reminder.id = %id, %error, "reminder {id} version {version} is left to its event");
            }
        });
    }
    Ok(answer)
}

/// Makes a reminder live at another instant; answers also with the version it has by that, if this request did it.
async fn reschedule(
    app: &App,
    user: &User,
    id: Uuid,
    command: &Command,
    at: impl FnOnce(DateTime<Utc>) -> Result<DateTime<Utc>> + Send,
) -> Result<(Answer, Option<i32>)> {
    let mut tx = UserTx::begin(&app.db, user.id).await?;
    if let Some(answer) = command.answered(&mut tx, user.id).await? {
        return Ok((answer, None));
    }
    let task = lock_task_of(&mut tx, user.id, id).await?;
    command.expects(task.version)?;
    open(&task)?;
    let reminder = task.reminders.iter().find(|reminder| reminder.id == id);
    let reminder = reminder.ok_or(Problem::Conflict("the reminder is cancelled"))?;
    let becomes: Becomes = reminder.scheduled(at(task.inner.now)?);
    if becomes.is_noop_for(reminder) {
        let answer = Answer::task(StatusCode::OK, &task);
        return command.unchanged(tx, user.id, answer).await.map(|answer| (answer, None));
    }
    liveness::apply(&mut tx, user.id, &[becomes]).await?;
    raise(&mut tx, &task).await?;
    let answer = command.updated(app, tx, user.id, task.id, StatusCode::OK).await?;
    Ok((answer, Some(reminder.version + 1)))
}

/// How long to snooze.
enum Until {
    At(DateTime<Utc>),
    Minutes(u32),
}

impl Until {
    fn read(mut fields: Fields) -> Result<Self> {
        let (both, neither) =
            (fields.has("until") && fields.has("minutes"), !fields.has("until") && !fields.has("minutes"));
        let until = fields.take("until", instant).value().map(Self::At);
        let minutes = fields.take("minutes", |value| whole(value, 1..=A_YEAR_IN_MINUTES)).value().map(Self::Minutes);
        if both || neither {
            fields.fault("until", if both { "cannot stand beside minutes" } else { "or minutes is required" });
        }
        fields.finish()?;
        // Without a fault there is one.
        until.or(minutes).ok_or(Problem::NotFound)
    }

    fn instant(self, now: DateTime<Utc>) -> Result<DateTime<Utc>> {
        match self {
            Self::At(at) if at <= now => Err(Fault::at("/until", "must lie ahead").into()),
            Self::At(at) => Ok(at),
            Self::Minutes(minutes) => Ok(now + TimeDelta::minutes(minutes.into())),
        }
    }
}

/// Locks the task of a reminder; 404 where the task is gone.
async fn lock_task_of(tx: &mut UserTx, user_id: Uuid, reminder_id: Uuid) -> Result<Task> {
    let task_id =
        sqlx::query_scalar!("select task_id from task_reminders where id = $1 and user_id = $2", reminder_id, user_id)
            .fetch_one(&mut **tx)
            .await?;
    task::lock(tx, user_id, task_id).await
}

fn open(task: &Task) -> Result<()> {
    if task.completed { Err(Problem::Conflict("the task is completed; reopen it first")) } else { Ok(()) }
}

/// Raises the version of a task whose reminders a command has changed.
async fn raise(tx: &mut UserTx, task: &Task) -> Result<()> {
    sqlx::query!(
        "update tasks
         set remind_at = (select min(reminder.remind_at) from task_reminders reminder
                          where task_id = tasks.id and state = 'scheduled'
                            and fired_version is distinct from reminder.version),
             version = coalesce(version, 1) + 1, updated_at = now()
         where id = $1 and user_id = $2",
        task.id,
        task.inner.user_id
    )
    .execute(&mut **tx)
    .await?;
    Ok(())
}
