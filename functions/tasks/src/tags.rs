//! `GET /v1/tags`, and how tags are stored.

use axum::{Json, extract::State};
use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD};
use serde::Serialize;
use shared::{
    App,
    auth::User,
    problem::{Problem, Result},
    tag,
};
use utoipa::ToSchema;
use uuid::Uuid;

use crate::{
    docs::ReadProblems,
    limits::Limits,
    params::{PageParams, Params},
    user_tx::UserTx,
};

/// A page of the tags of a user's tasks.
#[derive(Serialize, ToSchema)]
pub(crate) struct Tags {
    items: Vec<Tag>,
    /// The `cursor` of the next page; null at the end.
    next_cursor: Option<String>,
}

/// One tag.
#[derive(Serialize, ToSchema)]
struct Tag {
    name: String,
    /// The number of open tasks with it.
    open_tasks: i64,
}

/// The answer to a command whose tag disappeared before it was linked to the task.
pub(crate) const DELETED: Problem = Problem::Conflict("a tag of the task was deleted at the same time; retry");

/// The ids of a user's tags.
pub(crate) fn tag_ids(user_id: Uuid, names: &[String]) -> Vec<Uuid> {
    names.iter().map(|name| tag::id(user_id, name)).collect()
}

/// List the tags in use
#[utoipa::path(
    get, path = "/v1/tags", operation_id = "list_tags", tag = "tags", params(PageParams),
    responses((status = 200, description = "A page, in the order of code points", body = Tags), ReadProblems),
    security(("bearer" = [])),
)]
pub(crate) async fn list_tags(
    State(app): State<App>,
    State(limits): State<Limits>,
    user: User,
    mut params: Params,
) -> Result<Json<Tags>> {
    let after = params.take("cursor", |text| {
        let name = BASE64_URL_SAFE_NO_PAD.decode(text).ok().and_then(|name| String::from_utf8(name).ok());
        name.filter(|name| !name.contains('\0')).ok_or("must be the `next_cursor` of a page of this list")
    });
    let limit = params.limit();
    params.finish()?;
    let _scan = limits.scan(user.id).await?;
    let mut tx = UserTx::read(&app.db, &user).await?;
    // The page is chosen before its tasks are counted. `is true` makes one hash table of the open tasks for all tags of the page.
    let mut items = sqlx::query_as!(
        Tag,
        r#"select name, (select count(*) from task_tag_associations
                         where tag_id = page.id
                           and (task_id in (select id from tasks where user_id = $1 and not completed)) is true) as "open_tasks!"
           from (select id, name from task_tags
                 where user_id = $1 and name collate "C" > $2
                   and exists (select from task_tag_associations where tag_id = task_tags.id)
                 order by name collate "C" limit $3) page
           order by name collate "C""#,
        user.id,
        after.unwrap_or_default(),
        i64::try_from(limit + 1).unwrap_or(i64::MAX)
    )
    .fetch_all(&mut *tx)
    .await?;
    let more = items.len() > limit;
    items.truncate(limit);
    let last = items.last().filter(|_| more);
    let next_cursor = last.map(|tag| BASE64_URL_SAFE_NO_PAD.encode(&tag.name));
    Ok(Json(Tags { items, next_cursor }))
}
