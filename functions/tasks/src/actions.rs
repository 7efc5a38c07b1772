//! `POST /v1/actions`: what a link in a reminder's mail, or a button of its notification, does.
//!
//! The request has a capability in its body and no token. It runs the command of the route that a token would use. It takes effect once:
//! the deliveries of the reminder's version record that it was used, in the transaction of the command. Whatever has happened to the task
//! or the reminder since the message makes the request change nothing.

use axum::{
    extract::{FromRequest as _, Request, State},
    http::StatusCode,
};
use chrono::{DateTime, TimeDelta, Utc};
use serde::Serialize;
use shared::{
    capability::{Action, Capability},
    problem::{InvalidField, Problem, Result},
};
use utoipa::ToSchema;
use uuid::Uuid;

use crate::{
    Api,
    answer::Answer,
    bodies::{self, CAPABILITY, MINUTES},
    command::Command,
    complete::complete,
    docs::ActionProblems,
    input::Fields,
    locked_task::{LockedTask, Target},
    reminders::reschedule,
    task::Task,
    user_tx::{Caller, UserTx},
};

/// The path. Its requests have no token, so `limits` treats them in a way of their own.
pub(crate) const PATH: &str = "/v1/actions";

/// How long a reminder is snoozed unless the request says otherwise.
const SNOOZE_MINUTES: u32 = 60;

/// The result of a request. It shows nothing of the task, because a capability allows acting and no reading.
#[derive(Serialize, ToSchema)]
pub(crate) struct Acted {
    action: Action,
    task_id: Uuid,
    reminder_id: Uuid,
    outcome: ActionOutcome,
    /// Why nothing was changed.
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<Obstacle>,
    /// When the reminder is due again, after a snooze.
    #[serde(skip_serializing_if = "Option::is_none")]
    remind_at: Option<DateTime<Utc>>,
}

/// Whether a request changed something.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
enum ActionOutcome {
    Done,
    Unchanged,
}

/// Why a request changed nothing.
#[derive(Clone, Copy, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
#[schema(as = ActionObstacle)]
enum Obstacle {
    /// A link or a button of this message was used before.
    Used,
    /// The task is completed.
    Completed,
    /// The reminder was snoozed or moved since, or is cancelled.
    Moved,
    /// The task is deleted.
    Deleted,
}

impl Acted {
    fn new(capability: &Capability, outcome: ActionOutcome) -> Self {
        let Capability { action, task_id, reminder_id, .. } = *capability;
        Self { action, task_id, reminder_id, outcome, reason: None, remind_at: None }
    }

    fn nothing(capability: &Capability, reason: Obstacle) -> Answer {
        Self { reason: Some(reason), ..Self::new(capability, ActionOutcome::Unchanged) }.into_answer()
    }

    fn into_answer(self) -> Answer {
        Answer::json(StatusCode::OK, &self)
    }
}

impl From<&Capability> for Caller {
    fn from(capability: &Capability) -> Self {
        Self { id: capability.user_id, issued_at: Some(capability.issued_at()) }
    }
}

/// The body of a request.
pub(crate) struct Wanted {
    pub(crate) capability: String,
    pub(crate) minutes: u32,
}

impl Wanted {
    pub(crate) fn read(fields: &mut Fields) -> Option<Self> {
        let capability = fields.require(&CAPABILITY);
        let minutes = fields.take(&MINUTES).value().unwrap_or(SNOOZE_MINUTES);
        Some(Self { capability: capability?, minutes })
    }
}

/// Act on a reminder's message
///
/// Performs the action of a link in a mail, or of a button of a notification. Needs no token: the capability names the user, the reminder and the
/// action. It is valid for seven days and takes effect once. A repetition, or a link of a reminder that was snoozed, moved or completed since, changes
/// nothing and says so. Not found where the deployment has no key for links.
#[utoipa::path(
    post, path = "/v1/actions", operation_id = "act", tag = "actions", request_body = bodies::ActionRequest,
    responses((status = 200, description = "What it did", body = Acted), ActionProblems),
    security(()),
)]
pub(crate) async fn act(State(api): State<Api>, request: Request) -> Result<Answer> {
    let keys = api.keys.as_ref().ok_or(Problem::NotFound)?;
    let request = api.limits.receive_without_token(request).await?;
    let command = Command::from_request(request, &api).await?;
    let wanted = command.object()?.read(Wanted::read)?;
    let refuse = |wrong: &dyn std::fmt::Display| InvalidField::in_body(format_args!("/{}", CAPABILITY.name), wrong);
    let capability = keys.verify(&wanted.capability, Utc::now()).map_err(|wrong| refuse(&wrong))?;
    api.limits.count(capability.user_id)?;
    let place = api.limits.place(capability.user_id)?;
    let _turn = place.turn().await?;

    // A kept answer or a precondition would tell of the task.
    let command = command.without_conditions();
    let act = async |locked: LockedTask<'_>| perform(locked, &capability, wanted.minutes).await;
    match command.on_task(&api.app, &capability, Target::Task(capability.task_id), act).await {
        Err(Problem::NotFound) => Ok(Acted::nothing(&capability, Obstacle::Deleted)),
        // The user was erased since.
        Err(Problem::BadToken(wrong)) => Err(refuse(&wrong).into()),
        answer => answer,
    }
}

async fn perform(mut locked: LockedTask<'_>, capability: &Capability, minutes: u32) -> Result<Answer> {
    let is_first = record_use(&mut locked.tx, capability).await?;
    let obstacle = if is_first { obstacle(&locked.task, capability) } else { Some(Obstacle::Used) };
    if let Some(reason) = obstacle {
        // Rolls back.
        return Ok(Acted::nothing(capability, reason));
    }
    let mut acted = Acted::new(capability, ActionOutcome::Done);
    match capability.action {
        Action::Complete => drop(complete(locked).await?),
        Action::Snooze => {
            let at = locked.task.inner.now + TimeDelta::minutes(minutes.into());
            reschedule(locked, capability.reminder_id, at).await?;
            acted.remind_at = Some(at);
        }
    }
    Ok(acted.into_answer())
}

/// Records on the deliveries of the message that it was acted on. Returns whether this is the first time.
async fn record_use(tx: &mut UserTx, capability: &Capability) -> Result<bool> {
    let recorded = sqlx::query!(
        "update notification_deliveries set action = $4, acted_at = now()
         where reminder_id = $1 and reminder_version = $2 and user_id = $3 and acted_at is null",
        capability.reminder_id,
        capability.reminder_version,
        capability.user_id,
        capability.action.as_str(),
    )
    .execute(&mut **tx)
    .await?;
    Ok(recorded.rows_affected() > 0)
}

/// Why the action must not take effect, if so.
fn obstacle(task: &Task, capability: &Capability) -> Option<Obstacle> {
    // The list leaves out reminders that the user has cancelled.
    let reminder = task.reminders.iter().find(|reminder| reminder.id == capability.reminder_id);
    if task.completed {
        Some(Obstacle::Completed)
    } else if reminder.is_none_or(|reminder| reminder.version != capability.reminder_version) {
        Some(Obstacle::Moved)
    } else {
        None
    }
}
