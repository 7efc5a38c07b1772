//! Fills `tasks.search_text` where another writer has set a task's text, or where a release before the column made the task.

use std::time::{Duration, Instant};

use shared::{db::Db, search_text};

/// Rows of one transaction, which are locked meanwhile.
const BATCH: i64 = 500;
/// When a run ends. The next run continues.
const LIMIT: Duration = Duration::from_secs(20);

/// Fills the missing texts, and returns how many were missing. Skips tasks that a command is changing: it sets the text itself.
///
/// # Errors
/// The database is unavailable. Earlier batches stay.
pub async fn fill(db: &Db) -> sqlx::Result<u64> {
    let began = Instant::now();
    let mut filled = 0;
    while began.elapsed() < LIMIT {
        let some = fill_batch(db).await?;
        if some == 0 {
            break;
        }
        filled += some;
    }
    Ok(filled)
}

async fn fill_batch(db: &Db) -> sqlx::Result<u64> {
    let mut tx = db.begin().await?;
    let rows = sqlx::query!(
        "select id, title, description from tasks where search_text is null limit $1 for no key update skip locked",
        BATCH
    )
    .fetch_all(&mut *tx)
    .await?;
    if rows.is_empty() {
        return Ok(0);
    }
    let (ids, texts): (Vec<_>, Vec<_>) =
        rows.into_iter().map(|row| (row.id, search_text::of_task(&row.title, row.description.as_deref()))).unzip();
    let filled = sqlx::query!(
        "update tasks set search_text = filled.search_text
         from unnest($1::uuid[], $2::text[]) as filled (id, search_text) where tasks.id = filled.id",
        &ids,
        &texts
    )
    .execute(&mut *tx)
    .await?
    .rows_affected();
    tx.commit().await?;
    Ok(filled)
}
