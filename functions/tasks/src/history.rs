//! `GET /v1/tasks/{id}/history`: what happened to a task, and what each command changed. It outlives the task.

use axum::{Json, extract::State};
use chrono::{DateTime, TimeDelta, Utc};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use shared::{
    App,
    auth::User,
    problem::{Problem, Result},
};
use sqlx::{PgConnection, types::Json as Jsonb};
use utoipa::ToSchema;
use uuid::Uuid;

use crate::{
    command::Id,
    docs::ReadProblems,
    page,
    params::{PageParams, Params},
    task::{self, Task},
    user_tx::UserTx,
    versions::Content,
};

/// Entries that are read at a time. Each may show two long texts.
const AT_ONCE: usize = 25;
/// Edits of one field within this time are one entry.
const FOLDED: TimeDelta = TimeDelta::minutes(10);

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
    /// The fields that the command changed. Absent if the versions before and after it are not kept.
    #[serde(skip_serializing_if = "Option::is_none")]
    changes: Option<Vec<FieldChange>>,
    /// Details, which depend on the action.
    #[schema(value_type = Object)]
    detail: Value,
    /// Its place in the history.
    #[serde(skip)]
    id: i64,
    /// When the first of the edits that it shows was made.
    #[serde(skip)]
    since: DateTime<Utc>,
}

/// A change of a field of the task. Reminders have no state here.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
struct FieldChange {
    #[schema(example = "title")]
    field: String,
    #[schema(example = "call the dentist")]
    from: Value,
    #[schema(example = "call the doctor")]
    to: Value,
}

impl HistoryEntry {
    /// Whether this edit continues the one of `before`: both change the same single field, this one starts from the value that `before` set, and it
    /// came soon after the first edit.
    fn continues(&self, before: &Self) -> bool {
        let is_update = |entry: &Self| entry.action == "task.updated";
        match (before.changes.as_deref(), self.changes.as_deref()) {
            (Some([first]), Some([then])) => {
                (&first.field, &first.to) == (&then.field, &then.from)
                    && is_update(before)
                    && is_update(self)
                    && self.since - before.since <= FOLDED
            }
            _ => false,
        }
    }

    /// Shows the edits of `before` too. They may end where they began.
    fn fold(&mut self, before: Self) {
        self.since = before.since;
        if let (Some([first]), Some(changes)) = (before.changes.as_deref(), &mut self.changes) {
            changes.iter_mut().for_each(|last| last.from.clone_from(&first.from));
            changes.retain(|change| change.from != change.to);
        }
    }
}

/// An entry of the history of one of the user's tasks.
#[derive(Serialize)]
pub(crate) struct OwnEntry {
    task_id: Uuid,
    #[serde(flatten)]
    entry: HistoryEntry,
}

impl OwnEntry {
    /// Its place among the entries of the user.
    pub(crate) fn place(&self) -> (Uuid, i64) {
        (self.task_id, self.entry.id)
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
            changes: None,
            detail: row.detail,
            id: row.id,
            since: row.created_at,
        },
    });
    Ok(entries.collect())
}

/// Get a task's history
///
/// Every handled event of the task, oldest first. Also after the task was deleted. An update says which fields it changed, from what and to what, for
/// 30 days. Edits of one field within 10 minutes, with nothing in between, are one entry.
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
    let mut after = params
        .take("cursor", |text| text.parse::<i64>().map_err(|_| "must be the `next_cursor` of a page of this history"))
        .unwrap_or_default();
    let limit = params.limit();
    params.finish()?;
    let mut tx = UserTx::read(&app.db, &user).await?;
    let current = task::load_all(&mut tx, user.id, &[id]).await?.pop();
    if current.is_none() {
        let existed = sqlx::query_scalar!(
            r#"select exists (select from audit_logs where task_id = $1 and user_id = $2) as "existed!""#,
            id,
            user.id
        );
        if !existed.fetch_one(&mut *tx).await? {
            return Err(Problem::NotFound);
        }
    }
    let mut items: Vec<HistoryEntry> = Vec::new();
    loop {
        let entries = read(&mut tx, user.id, id, current.as_ref(), after).await?;
        let is_last = entries.len() < AT_ONCE;
        for mut entry in entries {
            after = entry.id;
            if items.last().is_some_and(|last| entry.continues(last)) {
                items.pop().into_iter().for_each(|last| entry.fold(last));
            }
            items.push(entry);
        }
        // One more than the page holds: no edit continues the last entry of the page.
        let fitting = page::fitting_in_json(&items).min(limit);
        if fitting < items.len() || is_last {
            let more = fitting < items.len();
            items.truncate(fitting);
            let next_cursor = items.last().filter(|_| more).map(|entry| entry.id.to_string());
            return Ok(Json(History { items, next_cursor }));
        }
    }
}

/// Reads the next entries. Each command kept the version that it replaced, so it changed that version into the next one that is kept, or into the
/// current one.
async fn read(
    conn: &mut PgConnection,
    user_id: Uuid,
    id: Uuid,
    current: Option<&Task>,
    after: i64,
) -> Result<Vec<HistoryEntry>> {
    let rows = sqlx::query!(
        r#"select entry.id, created_at, action, event_id, reminder_id, reminder_version, detail,
                  (select coalesce(jsonb_agg(jsonb_build_object('field', key, 'from', past.value, 'to', present.value) order by key), '[]')
                   from jsonb_each(before) past join jsonb_each(after) present using (key) where past.value <> present.value)
                      as "changes: Jsonb<Vec<FieldChange>>",
                  before is not null and after is not null as "is_kept!"
           from (select *, case when action in ('task.updated', 'task.completed') then (detail->>'version')::bigint end as version
                 from audit_logs where task_id = $1 and user_id = $2 and id > $3 order by id limit $4) entry
           left join lateral (select snapshot->'content' as before from task_versions
                              where user_id = $2 and task_id = $1 and version < entry.version order by version desc limit 1) replaced on true
           cross join lateral (select coalesce((select snapshot->'content' from task_versions
                                                where user_id = $2 and task_id = $1 and version >= entry.version order by version limit 1),
                                               case when $5 >= entry.version then $6::jsonb end) as after) made
           order by entry.id"#,
        id,
        user_id,
        after,
        i64::try_from(AT_ONCE).unwrap_or(i64::MAX),
        current.map(|task| task.version),
        current.map(|task| json!(Content::from(task)))
    )
    .fetch_all(conn)
    .await?;
    let entries = rows.into_iter().map(|row| {
        let occurred_at = row.detail["occurred_at"].as_str().and_then(|text| text.parse().ok());
        HistoryEntry {
            at: row.created_at,
            action: row.action,
            event_id: row.event_id,
            reminder_id: row.reminder_id,
            reminder_version: row.reminder_version,
            changes: row.changes.filter(|_| row.is_kept).map(|Jsonb(changes)| changes),
            detail: row.detail,
            id: row.id,
            since: occurred_at.unwrap_or(row.created_at),
        }
    });
    Ok(entries.collect())
}
