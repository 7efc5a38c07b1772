//! `GET /v1/tasks/{id}/history`: what happened to a task. It outlives the task.

use axum::{Json, extract::State};
use chrono::{DateTime, Utc};
use serde::Serialize;
use serde_json::Value;
use shared::{
    App,
    auth::User,
    problem::{Problem, Result},
};
use sqlx::PgConnection;
use utoipa::ToSchema;
use uuid::Uuid;

use crate::{
    command::Id,
    docs::ReadProblems,
    params::{PageParams, Params},
    user_tx::UserTx,
};

/// A page of a task's history, oldest first.
#[derive(Serialize, ToSchema)]
pub(crate) struct History {
    items: Vec<HistoryEntry>,
    /// The `cursor` of the next page; null at the end.
    next_cursor: Option<String>,
}

/// One entry of the history.
#[derive(Serialize, ToSchema)]
struct HistoryEntry {
    at: DateTime<Utc>,
    /// The type of the event, or what happened to a reminder.
    #[schema(example = "task.updated")]
    action: String,
    /// The event.
    event_id: Option<Uuid>,
    /// The reminder, if it is about one.
    reminder_id: Option<Uuid>,
    reminder_version: Option<i32>,
    /// Details, which depend on the action.
    #[schema(value_type = Object)]
    detail: Value,
}

/// An entry of the history of one of the user's tasks.
#[derive(Serialize)]
pub(crate) struct OwnEntry {
    task_id: Uuid,
    #[serde(flatten)]
    entry: HistoryEntry,
    #[serde(skip)]
    number: i64,
}

impl OwnEntry {
    /// Its place among the entries of the user.
    pub(crate) fn place(&self) -> (Uuid, i64) {
        (self.task_id, self.number)
    }
}

/// Reads entries of all tasks of a user after a place, task by task, each oldest first.
pub(crate) async fn of_user(
    conn: &mut PgConnection,
    user_id: Uuid,
    (task_id, number): (Uuid, i64),
    limit: usize,
) -> sqlx::Result<Vec<OwnEntry>> {
    let rows = sqlx::query!(
        "select id, task_id, created_at, action, event_id, reminder_id, reminder_version, detail
         from audit_logs where user_id = $1 and (task_id, id) > ($2, $3)
         order by task_id, id limit $4",
        user_id,
        task_id,
        number,
        i64::try_from(limit).unwrap_or(i64::MAX)
    )
    .fetch_all(conn)
    .await?;
    let entries = rows.into_iter().map(|row| OwnEntry {
        task_id: row.task_id,
        entry: HistoryEntry {
            at: row.created_at,
            action: row.action,
            event_id: row.event_id,
            reminder_id: row.reminder_id,
            reminder_version: row.reminder_version,
            detail: row.detail,
        },
        number: row.id,
    });
    Ok(entries.collect())
}

/// Get a task's history
///
/// Every handled event of the task, oldest first. Also after the task was deleted.
#[utoipa::path(
    get, path = "/v1/tasks/{id}/history", operation_id = "task_history", tag = "tasks",
    params(("id" = Uuid, Path), PageParams),
    responses((status = 200, description = "A page", body = History), ReadProblems),
    security(("bearer" = [])),
)]
pub(crate) async fn task_history(
    State(app): State<App>,
    user: User,
    Id(id): Id,
    mut params: Params,
) -> Result<Json<History>> {
    let after = params
        .take("cursor", |text| text.parse::<i64>().map_err(|_| "must be the `next_cursor` of a page of this history"));
    let limit = params.limit();
    params.finish()?;
    let mut tx = UserTx::read(&app.db, &user).await?;
    let exists = sqlx::query_scalar!(
        r#"select exists (select from tasks where id = $1 and user_id = $2)
               or exists (select from audit_logs where task_id = $1 and user_id = $2) as "exists!""#,
        id,
        user.id
    )
    .fetch_one(&mut *tx)
    .await?;
    if !exists {
        return Err(Problem::NotFound);
    }
    let mut rows = sqlx::query!(
        "select id, created_at, action, event_id, reminder_id, reminder_version, detail
         from audit_logs where task_id = $1 and user_id = $2 and id > $3
         order by id limit $4",
        id,
        user.id,
        after.unwrap_or_default(),
        i64::try_from(limit + 1).unwrap_or(i64::MAX)
    )
    .fetch_all(&mut *tx)
    .await?;
    let more = rows.len() > limit;
    rows.truncate(limit);
    let next_cursor = rows.last().filter(|_| more).map(|row| row.id.to_string());
    let items = rows.into_iter().map(|row| HistoryEntry {
        at: row.created_at,
        action: row.action,
        event_id: row.event_id,
        reminder_id: row.reminder_id,
        reminder_version: row.reminder_version,
        detail: row.detail,
    });
    Ok(Json(History { items: items.collect(), next_cursor }))
}
