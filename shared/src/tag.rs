//! Tags: the form of a name, and the id that follows from it.

use sqlx::PgConnection;
use unicode_normalization::UnicodeNormalization as _;
use uuid::Uuid;

/// Maximum length of a name, in characters.
pub const NAME_LIMIT: usize = 50;

/// The id of a user's tag. A statement can use it before it knows whether the tag is new.
#[must_use]
pub fn id(user_id: Uuid, name: &str) -> Uuid {
    Uuid::new_v5(&user_id, name.as_bytes())
}

/// The name in NFC, in which it is stored and found. Release 0.1.0 stored it as given.
#[must_use]
pub fn nfc(name: &str) -> String {
    name.nfc().collect()
}

/// Makes the tags of a user that do not exist yet. The names must be in NFC.
///
/// # Errors
/// The database is away.
pub async fn insert(conn: &mut PgConnection, user_id: Uuid, names: &[String]) -> sqlx::Result<()> {
    let ids: Vec<_> = names.iter().map(|name| id(user_id, name)).collect();
    sqlx::query!(
        "insert into task_tags (id, user_id, name)
         select id, $1, name from unnest($2::uuid[], $3::text[]) as tag (id, name) on conflict do nothing",
        user_id,
        &ids,
        names,
    )
    .execute(conn)
    .await?;
    Ok(())
}
