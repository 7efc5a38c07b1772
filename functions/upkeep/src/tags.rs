//! Merges tags whose name is not in NFC, as release 0.1.0 stored it, into those of the same name in NFC. No filter finds them before.

use shared::{db::Db, tag};
use uuid::Uuid;

/// Merges the tags of each user in a transaction, and returns how many were merged.
///
/// Looks at every tag, without an index: with one, a database in another encoding than UTF-8 would refuse every tag.
///
/// # Errors
/// The first failure, after all others were tried.
pub async fn merge(db: &Db) -> sqlx::Result<u64> {
    // In another encoding PostgreSQL normalizes nothing. This condition is evaluated first, and once.
    let users = sqlx::query_scalar!(
        "select user_id from task_tags where getdatabaseencoding() = 'UTF8' and name is not nfc normalized
         group by user_id order by random()" // The run may end while it waits for some users.
    )
    .fetch_all(db)
    .await?;
    let (mut merged, mut first_error) = (0, None);
    for user_id in users {
        match merge_of(db, user_id).await {
            Ok(some) => merged += some,
            Err(error) => first_error = first_error.or(Some(error)),
        }
    }
    first_error.map_or(Ok(merged), Err)
}

async fn merge_of(db: &Db, user_id: Uuid) -> sqlx::Result<u64> {
    let mut tx = db.begin().await?;
    // Commands lock it first, so none changes the tags of a task meanwhile.
    sqlx::query!("select lock_user_usage($1)", user_id).fetch_one(&mut *tx).await?;
    let tags =
        sqlx::query!("select id, name from task_tags where user_id = $1 and name is not nfc normalized", user_id)
            .fetch_all(&mut *tx)
            .await?;
    let tags = tags.into_iter().map(|old| (old.id, tag::nfc(&old.name), old.name));
    // PostgreSQL may know another version of Unicode, and NFC makes a few names longer.
    let tags = tags.filter(|(_, name, old)| name != old && name.chars().count() <= tag::NAME_LIMIT);
    let (old, names): (Vec<_>, Vec<_>) = tags.map(|(id, name, _)| (id, name)).unzip();
    tag::insert(&mut tx, user_id, &names).await?;
    let merged = sqlx::query!(
        "with tagged as (
             insert into task_tag_associations (task_id, tag_id)
             select task_id, kept.id
             from unnest($2::uuid[], $3::text[]) as merged (id, name)
             join task_tags kept on kept.user_id = $1 and kept.name = merged.name
             join task_tag_associations on tag_id = merged.id
             on conflict do nothing
         )
         delete from task_tags where id = any($2)",
        user_id,
        &old,
        &names,
    )
    .execute(&mut *tx)
    .await?
    .rows_affected();
    tx.commit().await?;
    Ok(merged)
}
