//! Erases users, in batches of short transactions: a user may have millions of rows, and handlers of other users' events must not wait.
//!
//! A row of `erased_users` is the order. From its commit on, the user's tokens are refused and no message to the user begins. `tasks` writes it and
//! erases at once; `upkeep` finishes what took too long or was interrupted. What is erased, and why no handler in flight writes anything back, is
//! in the SQL function `erase_batch`.

use std::time::{Duration, Instant};

use uuid::Uuid;

use crate::db::Db;

/// Rows of one transaction. Commands and handlers of the user's events wait that long, about 0.1 s.
const BATCH: i32 = 2_000;
/// Dead letters that are searched at a time. Each has up to 16 KiB.
const LETTERS: i64 = 500;

/// Erases users until a limit.
#[derive(Clone, Copy, Debug)]
pub struct Eraser<'a> {
    db: &'a Db,
    until: Instant,
}

impl<'a> Eraser<'a> {
    /// Begins no batch after `limit`.
    #[must_use]
    pub fn new(db: &'a Db, limit: Duration) -> Self {
        Self { db, until: Instant::now() + limit }
    }

    /// Erases a user and marks the erasure as done. Returns false if the limit came first.
    ///
    /// # Errors
    /// The database is away. Another call continues.
    pub async fn erase(&self, user_id: Uuid) -> sqlx::Result<bool> {
        if !(self.rows(user_id).await? && self.letters().await?) {
            return Ok(false);
        }
        sqlx::query!("update erased_users set done = true where user_id = $1", user_id).execute(self.db).await?;
        Ok(true)
    }

    /// Deletes the user's rows, and empties the user's events.
    ///
    /// # Errors
    /// As [`Eraser::erase`].
    pub async fn rows(&self, user_id: Uuid) -> sqlx::Result<bool> {
        while Instant::now() < self.until {
            let erased = sqlx::query_scalar!(r#"select erase_batch($1, $2) as "erased!""#, user_id, BATCH);
            if erased.fetch_one(self.db).await? == 0 {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Deletes the dead letters that name an erased user, or a task or an event of one. No index finds them.
    ///
    /// # Errors
    /// As [`Eraser::erase`].
    pub async fn letters(&self) -> sqlx::Result<bool> {
        let mut after = Uuid::nil();
        while Instant::now() < self.until {
            let last = sqlx::query_scalar!(
                r#"with page as materialized (
                       select id, event_id, payload from dead_letters where id > $1 order by id limit $2
                   ), deleted as (
                       delete from dead_letters
                       where id in (select id from page where is_letter_of_erased(event_id, payload))
                   )
                   select id from page order by id desc limit 1"#,
                after,
                LETTERS
            )
            .fetch_optional(self.db)
            .await?;
            match last {
                Some(last) => after = last,
                None => return Ok(true),
            }
        }
        Ok(false)
    }
}
