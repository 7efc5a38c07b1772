//! `GET /v1/tasks` and `GET /v1/tasks/{id}`.

use axum::{
    Json,
    extract::State,
    http::{HeaderMap, StatusCode},
};
use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD};
use chrono::{DateTime, Utc};
use serde::Serialize;
use shared::{
    App,
    auth::User,
    problem::{Problem, ProblemBody, Result},
};
use sqlx::{Postgres, QueryBuilder};
use utoipa::ToSchema;
use uuid::Uuid;

use crate::{
    answer::Answer,
    command::Id,
    docs::ReadProblems,
    field::instant,
    limits::Limits,
    page,
    params::{Conditions, ListParams, Params},
    preconditions::Preconditions,
    task::{self, Priority, Task},
    text,
    user_tx::UserTx,
};

mod query;

use query::Word;

/// Get a task
///
/// A task with an overdue or sent reminder is always sent whole, because the `ETag` does not tell what happens to reminders.
#[utoipa::path(
    get, path = "/v1/tasks/{id}", operation_id = "get_task", tag = "tasks", params(("id" = Uuid, Path), Conditions),
    responses(
        ReadProblems,
        (status = 200, description = "The task", body = Task, headers(("etag" = String, description = "`\"<version>\"`"))),
        (status = 304, description = "The task is at a version that `If-None-Match` names",
         headers(("etag" = String, description = "`\"<version>\"`"))),
        (status = 412, description = "The task is at another version than `If-Match` names", body = ProblemBody,
         content_type = "application/problem+json"),
    ),
    security(("bearer" = [])),
)]
pub(crate) async fn get_task(State(app): State<App>, user: User, Id(id): Id, headers: HeaderMap) -> Result<Answer> {
    let mut tx = UserTx::read(&app.db, &user).await?;
    let task = task::load(&mut tx, user.id, id).await?;
    let preconditions = Preconditions::of(&headers);
    preconditions.check_if_match(task.version)?;
    if task.follows_from_its_version() && !preconditions.none_match(task.version) {
        return Ok(Answer::not_modified(task.version));
    }
    Ok(Answer::task(StatusCode::OK, &task))
}

/// A page of tasks.
#[derive(Serialize, ToSchema)]
pub(crate) struct TaskPage {
    items: Vec<Task>,
    /// The `cursor` of the next page; null at the end.
    next_cursor: Option<String>,
}

/// List tasks
///
/// Page by page: a task that is there the whole time is on exactly one page, whatever is created meanwhile. A page of very long
/// tasks has fewer than its `limit`. With `id` these tasks, in this order, without those that do not exist.
#[utoipa::path(
    get, path = "/v1/tasks", operation_id = "list_tasks", tag = "tasks", params(ListParams),
    responses((status = 200, description = "A page", body = TaskPage), ReadProblems),
    security(("bearer" = [])),
)]
pub(crate) async fn list_tasks(
    State(app): State<App>,
    State(limits): State<Limits>,
    user: User,
    mut params: Params,
) -> Result<Json<TaskPage>> {
    if let Some(ids) = params.take("id", task_ids) {
        return by_ids(&app, &user, params, &ids).await;
    }
    let wanted = Wanted::read(params)?;
    let is_search = !wanted.words.is_empty();
    let _scan = if is_search { Some(limits.scan(user.id).await?) } else { None };
    let mut tx = if is_search { UserTx::search(&app.db, &user).await? } else { UserTx::read(&app.db, &user).await? };
    let rows = wanted.page(&mut tx, user.id, wanted.limit + 1).await;
    let mut rows =
        rows.map_err(|error| if is_search && was_stopped(&error) { Problem::SearchTimeout } else { error.into() })?;
    let found = rows.len();
    rows.truncate(wanted.limit);
    let sizes = task::sizes(&mut tx, user.id, &ids(&rows)).await?;
    let fitting = page::fitting(sizes.iter().map(|(_, bytes)| *bytes));
    end_before(&mut rows, sizes.get(fitting).map(|(id, _)| *id));
    let mut items = task::load_all(&mut tx, user.id, &ids(&rows)).await?;
    let fitting = page::fitting_in_json(&items);
    end_before(&mut rows, items.get(fitting).map(|task| task.id));
    items.truncate(fitting);
    let last = rows.last().filter(|_| rows.len() < found);
    let next = last.map(|(id, key)| Cursor { sort: wanted.sort, key: *key, id: *id });
    Ok(Json(TaskPage { items, next_cursor: next.map(Cursor::encode) }))
}

/// Maximum ids in a list of tasks by their ids.
const IDS_LIMIT: usize = 50;

/// Reads `id`: ids separated by commas. One that is there twice counts once.
fn task_ids(text: &str) -> Result<Vec<Uuid>, String> {
    let mut ids = Vec::new();
    for id in text.split(',') {
        let id: Uuid = id.parse().map_err(|_| "must be ids separated by commas")?;
        if !ids.contains(&id) {
            ids.push(id);
        }
    }
    if ids.len() <= IDS_LIMIT { Ok(ids) } else { Err(format!("must have at most {IDS_LIMIT} ids")) }
}

/// Lists tasks by their ids. The cursor is the id after which a page ended.
async fn by_ids(app: &App, user: &User, mut params: Params, ids: &[Uuid]) -> Result<Json<TaskPage>> {
    let after = params.take("cursor", |text| {
        let last = text.parse::<Uuid>().ok().and_then(|last| ids.iter().position(|id| *id == last));
        last.ok_or("is not a next_cursor of a list of these ids")
    });
    params.finish()?;
    let mut tx = UserTx::read(&app.db, user).await?;
    let sizes = task::sizes(&mut tx, user.id, &ids[after.map_or(0, |last| last + 1)..]).await?;
    let fitting = sizes.iter().take(page::fitting(sizes.iter().map(|(_, bytes)| *bytes)));
    let mut items = task::load_all(&mut tx, user.id, &fitting.map(|(id, _)| *id).collect::<Vec<_>>()).await?;
    items.truncate(page::fitting_in_json(&items));
    let last = items.last().filter(|last| sizes.last().is_some_and(|(id, _)| *id != last.id));
    let next_cursor = last.map(|task| task.id.simple().to_string());
    Ok(Json(TaskPage { items, next_cursor }))
}

/// Whether PostgreSQL stopped a statement.
fn was_stopped(error: &sqlx::Error) -> bool {
    error.as_database_error().is_some_and(|error| error.code().as_deref() == Some("57014"))
}

/// The id of a task, with its place in the order of the list.
type Placed = (Uuid, Option<i64>);

fn ids(rows: &[Placed]) -> Vec<Uuid> {
    rows.iter().map(|(id, _)| *id).collect()
}

/// Ends a page before a task that does not fit. A task that was deleted meanwhile is in the rows alone.
fn end_before(rows: &mut Vec<Placed>, task: Option<Uuid>) {
    if let Some(end) = rows.iter().position(|(id, _)| Some(*id) == task) {
        rows.truncate(end);
    }
}

/// A list as it is asked for.
struct Wanted {
    completed: Option<bool>,
    priority: Option<Priority>,
    tag: Option<String>,
    due_before: Option<DateTime<Utc>>,
    due_after: Option<DateTime<Utc>>,
    words: Vec<Word>,
    sort: Sort,
    cursor: Option<Cursor>,
    limit: usize,
}

impl Wanted {
    fn read(mut params: Params) -> Result<Self> {
        let completed = params.take("status", |text| match text {
            "open" => Ok(Some(false)),
            "completed" => Ok(Some(true)),
            "all" => Ok(None),
            _ => Err("must be open, completed or all"),
        });
        let sort = params
            .take("sort", |text| {
                Sort::parse(text).ok_or("must be created_at, due_at or priority, or one of them with a - before it")
            })
            .unwrap_or(Sort::parse("created_at").expect("it is one"));
        let cursor = params.take("cursor", |text| {
            Cursor::decode(text)
                .filter(|cursor| cursor.sort == sort)
                .ok_or("is not a next_cursor of a list with this sort")
        });
        let wanted = Self {
            completed: completed.flatten(),
            priority: params.take("priority", str::parse),
            tag: params.take("tag", |text| Ok::<_, &str>(text::nfc(text))),
            due_before: params.take("due_before", instant),
            due_after: params.take("due_after", instant),
            words: params.take("q", Word::all).unwrap_or_default(),
            sort,
            cursor,
            limit: params.limit(),
        };
        params.finish()?;
        Ok(wanted)
    }
}

#[cfg(test)]
pub(crate) fn is_search(text: &str) -> bool {
    Word::all(text).is_ok()
}

/// An order of tasks; equals are in the order of their ids.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Sort {
    by: By,
    descending: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum By {
    Created,
    Due,
    Priority,
}

impl Sort {
    fn parse(text: &str) -> Option<Self> {
        let (descending, name) = text.strip_prefix('-').map_or((false, text), |name| (true, name));
        let by = [By::Created, By::Due, By::Priority].into_iter().find(|by| by.name() == name)?;
        Some(Self { by, descending })
    }
}

impl By {
    const fn name(self) -> &'static str {
        match self {
            Self::Created => "created_at",
            Self::Due => "due_at",
            Self::Priority => "priority",
        }
    }

    const fn sql(self) -> &'static str {
        match self {
            Self::Created => "created_at",
            Self::Due => "due_at",
            // As in the index `tasks_by_status_and_priority`.
            Self::Priority => "(case priority when 'low' then 1 when 'high' then 3 when 'urgent' then 4 else 2 end)",
        }
    }

    /// The same as a number: microseconds are what PostgreSQL keeps of a time.
    fn as_number(self) -> String {
        let key = self.sql();
        match self {
            Self::Created | Self::Due => format!("(extract(epoch from {key}) * 1000000)::bigint"),
            Self::Priority => format!("{key}::bigint"),
        }
    }

    fn push_key(self, query: &mut QueryBuilder<Postgres>, value: i64) {
        match self {
            Self::Created | Self::Due => query.push_bind(DateTime::from_timestamp_micros(value)),
            Self::Priority => query.push_bind(value),
        };
    }
}

/// Where a page ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Cursor {
    sort: Sort,
    key: Option<i64>,
    id: Uuid,
}

impl Cursor {
    fn encode(self) -> String {
        let sign = if self.sort.descending { "-" } else { "" };
        let key = self.key.map(|key| key.to_string()).unwrap_or_default();
        BASE64_URL_SAFE_NO_PAD.encode(format!("{sign}{} {key} {}", self.sort.by.name(), self.id.simple()))
    }

    fn decode(text: &str) -> Option<Self> {
        let text = String::from_utf8(BASE64_URL_SAFE_NO_PAD.decode(text).ok()?).ok()?;
        let mut parts = text.split(' ');
        let (sort, key, id) = (parts.next()?, parts.next()?, parts.next()?);
        let sort = Sort::parse(sort)?;
        let key = if key.is_empty() { None } else { Some(key.parse().ok()?) };
        if key.is_some_and(|key| page::instant(key).is_none()) || parts.next().is_some() {
            return None;
        }
        Some(Self { sort, key, id: id.parse().ok()? })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use sqlx::{Execute as _, PgPool};

    use super::*;
    use crate::user_tx::user_with;

    /// The one statement of this function that no macro knows: also without its user filter it shows nothing of another's.
    #[sqlx::test(migrator = "migrations::MIGRATOR")]
    async fn a_list_without_its_user_filter_shows_no_task_of_another_user(db: PgPool) {
        let ada = Uuid::new_v4();
        let tag = crate::tags::tag_ids(ada, &["canary".to_owned()])[0];
        for statement in [
            "insert into users (id, email) select $1, 'ada@example.org' where $2 <> $1",
            "insert into tasks (user_id, title, due_at) select $1, 'canary', now() where $2 <> $1",
            "insert into task_tags (id, user_id, name) values ($2, $1, 'canary')",
        ] {
            sqlx::query(statement).bind(ada).bind(tag).execute(&db).await.unwrap();
        }
        let tagged = "insert into task_tag_associations select tasks.id, task_tags.id from tasks, task_tags";
        sqlx::query(tagged).execute(&db).await.unwrap();
        for query in ["", "status=open", "tag=canary", "q=canary", "due_after=2020-01-01T00:00:00Z", "sort=-due_at"] {
            let given = query.split_once('=').map(|(name, value)| (name.to_owned(), value.to_owned()));
            let wanted = Wanted::read(Params::new(given.into_iter().collect()).unwrap()).unwrap();
            for part in wanted.parts(true).iter().chain(wanted.parts(false)) {
                // As another user who knows the ids of ada's tags.
                let built = || wanted.statement(ada, *part, 10);
                let text = built().sql().as_str().to_owned();
                let unfiltered = text.replace("user_id = $1", "$1::uuid is not null");
                assert_ne!(unfiltered, text);
                // The same values, for the statement without its filter.
                let found = async |conn: &mut sqlx::PgConnection| {
                    let values = built().build().take_arguments().unwrap().unwrap();
                    let statement = sqlx::AssertSqlSafe(unfiltered.clone());
                    sqlx::query_with(statement, values).fetch_all(conn).await.unwrap().len()
                };
                let is_there = usize::from(!matches!(part, query::Part::Undated));
                assert_eq!(found(&mut db.acquire().await.unwrap()).await, is_there, "{query}: it is there to be found");
                let mut tx = UserTx::read(&(&db).into(), &user_with(Uuid::new_v4())).await.unwrap();
                assert_eq!(found(&mut tx).await, 0, "{query}");
            }
        }
    }

    proptest! {
        #[test]
        fn a_cursor_survives_encoding_and_decoding(by in 0..3usize, descending: bool, key in prop::option::of(0..253_402_300_800_000_000i64), id: u128) {
            let by = [By::Created, By::Due, By::Priority][by];
            let cursor = Cursor { sort: Sort { by, descending }, key, id: Uuid::from_u128(id) };
            prop_assert_eq!(Cursor::decode(&cursor.encode()), Some(cursor));
        }

        #[test]
        fn parsing_a_cursor_never_panics(text in ".*") {
            let _ = Cursor::decode(&text);
            let _ = Cursor::decode(&BASE64_URL_SAFE_NO_PAD.encode(text));
        }
    }
}
