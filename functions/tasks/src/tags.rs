//! `GET /v1/tags`, and how tags are stored.

use axum::{Json, extract::State};
use serde::Serialize;
use shared::{
    App,
    auth::User,
    problem::{Problem, Result},
};
use utoipa::ToSchema;
use uuid::Uuid;

use crate::{docs::ReadProblems, user_tx::UserTx};

/// The tags of a user's tasks.
#[derive(Serialize, ToSchema)]
pub(crate) struct Tags {
    items: Vec<Tag>,
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

/// The ids of a user's tags. An id follows from user and name, so that a statement can use it before it knows whether the tag is new.
pub(crate) fn tag_ids(user_id: Uuid, names: &[String]) -> Vec<Uuid> {
    names.iter().map(|name| Uuid::new_v5(&user_id, name.as_bytes())).collect()
}

/// List the tags in use
#[utoipa::path(
    get, path = "/v1/tags", operation_id = "list_tags", tag = "tags",
    responses((status = 200, description = "In alphabetical order", body = Tags), ReadProblems),
    security(("bearer" = [])),
)]
pub(crate) async fn list_tags(State(app): State<App>, user: User) -> Result<Json<Tags>> {
    let mut tx = UserTx::begin(&app.db, user.id).await?;
    let items = sqlx::query_as!(
        Tag,
        r#"select name, count(*) filter (where not completed) as "open_tasks!"
           from task_tags
           join task_tag_associations on tag_id = task_tags.id
           join tasks on tasks.id = task_id
           where task_tags.user_id = $1
           group by name order by name"#,
        user.id
    )
    .fetch_all(&mut *tx)
    .await?;
    Ok(Json(Tags { items }))
}
