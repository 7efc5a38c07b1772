//! `POST /v1/recurrence/preview`: the next dates of a recurrence, before a task has it.

use axum::{Json, extract::State};
use chrono::{DateTime, Utc};
use serde::Serialize;
use shared::{
    App,
    auth::User,
    problem::{Problem, Result},
    recurrence::{Planned, Reason, Recurrence, Series, Zone},
};
use utoipa::ToSchema;

use crate::{
    bodies::{self, COUNT, FIRST_DUE_AT, RECURRENCE, TIME_ZONE},
    command::Command,
    docs::WriteProblems,
    draft,
    input::Fields,
    me::users_zone,
    user_tx::UserTx,
};

/// How many dates are shown unless the request says otherwise.
const DATES: u32 = 5;

/// The dates of a recurrence, in order.
#[derive(Serialize, ToSchema)]
pub(crate) struct Preview {
    /// The next dates, and those in between that are left out. Fewer than asked for if the recurrence ends, or has no further date.
    items: Vec<PlannedDate>,
}

/// A date that a recurrence names.
#[derive(Serialize, ToSchema)]
struct PlannedDate {
    /// The local time that the recurrence names. The day may be one that does not exist.
    #[schema(example = "2027-03-28T02:30:00")]
    named: String,
    /// When an occurrence is due; null if the date is left out.
    due_at: Option<DateTime<Utc>>,
    /// The same in the zone; null if the date is left out.
    #[schema(example = "2027-03-28T03:30:00")]
    local: Option<String>,
    /// Why it is due at another time than named or left out, or which of two times counts. Empty for an ordinary date.
    reasons: Vec<Reason>,
}

impl PlannedDate {
    fn new(planned: Planned, zone: &Zone) -> Self {
        Self {
            named: planned.named.to_string(),
            due_at: planned.due_at,
            local: planned.due_at.and_then(|at| zone.local(at)),
            reasons: planned.reasons,
        }
    }
}

/// The request of a preview.
pub(crate) struct Wanted {
    recurrence: Recurrence,
    start: DateTime<Utc>,
    zone: Option<Zone>,
    count: u32,
}

impl Wanted {
    pub(crate) fn read(fields: &mut Fields) -> Option<Self> {
        let recurrence = fields.require_object(&RECURRENCE, draft::recurrence);
        let start = fields.require(&FIRST_DUE_AT);
        let zone = fields.take(&TIME_ZONE).value();
        let count = fields.take(&COUNT).value().unwrap_or(DATES);
        Some(Self { recurrence: recurrence?, start: start?, zone, count })
    }
}

/// Preview a recurrence
///
/// The dates at which the occurrences after the first one would be due, with the reason for each that is shifted or left out. With the anchor
/// `completion`, each occurrence counts as completed when it is due. Changes nothing.
#[utoipa::path(
    post, path = "/v1/recurrence/preview", operation_id = "preview_recurrence", tag = "tasks",
    request_body = bodies::PreviewedRecurrence,
    responses((status = 200, description = "The dates", body = Preview), WriteProblems),
    security(("bearer" = [])),
)]
pub(crate) async fn preview_recurrence(State(app): State<App>, user: User, command: Command) -> Result<Json<Preview>> {
    let wanted = command.object()?.read(Wanted::read)?;
    let mut tx = UserTx::read(&app.db, &user).await?;
    let zone = match wanted.zone {
        Some(zone) => zone,
        None => users_zone(&mut tx, user.id).await?,
    };
    drop(tx);
    // A rule that rarely matches takes some milliseconds, in which other requests go on.
    let computed = tokio::task::spawn_blocking(move || {
        let series = Series { recurrence: wanted.recurrence, start: wanted.start, zone };
        let dates = series.preview(series.start, wanted.count as usize).into_iter();
        dates.map(|date| PlannedDate::new(date, &series.zone)).collect()
    });
    let items = computed.await.map_err(|panic| Problem::Internal(panic.into()))?;
    Ok(Json(Preview { items }))
}
