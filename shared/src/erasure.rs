//! Erases users, in batches of short transactions: a user may have millions of rows, and handlers of other users' events must not wait.
//!
//! A row of `erased_users` is the order. From its commit on, the user's tokens are refused and no message to the user begins. `tasks` writes it and
//! erases at once; `upkeep` finishes what took too long or was interrupted. First the user's rows go. What they are, and why no handler in flight
//! writes anything back, is in the SQL function `erase_batch`. Then all dead letters are searched for the user's data.
//!
//! Each search has a position (`erased_users.letters_after`), so every call makes progress, however many letters there are. One scan serves all
//! searches. A search that begins while another goes on waits for the end of that scan at most.

use std::time::{Duration, Instant};

use sqlx::PgConnection;
use uuid::Uuid;

use crate::db::Db;

/// Rows of one transaction. Commands and handlers of the user's events wait that long, about 0.1 s.
const BATCH: i32 = 2_000;
/// Dead letters that are searched at a time. Each has up to 16 KiB.
const LETTERS: i64 = 500;

/// Erases users until a limit. Each call makes at least one step, also after the limit.
#[derive(Clone, Copy, Debug)]
pub struct Eraser<'a> {
    db: &'a Db,
    limit: Duration,
}

impl<'a> Eraser<'a> {
    /// A call begins nothing after `limit` but its first batch and its first page of letters.
    #[must_use]
    pub fn new(db: &'a Db, limit: Duration) -> Self {
        Self { db, limit }
    }

    /// Erases a user and marks the erasure as done. Returns false if the limit came first.
    ///
    /// # Errors
    /// The database is away. Another call continues.
    pub async fn erase(&self, user_id: Uuid) -> sqlx::Result<bool> {
        let until = Instant::now() + self.limit;
        let (gone, deleted) = self.rows(vec![user_id], until).await;
        deleted?;
        if gone.is_empty() {
            return Ok(false);
        }
        self.search(&gone).await?;
        self.letters(until).await?;
        sqlx::query_scalar!("select done from erased_users where user_id = $1", user_id).fetch_one(self.db).await
    }

    /// Continues all erasures that are not done. Returns how many of them are done now.
    ///
    /// # Errors
    /// The first failure, after everything else was tried.
    pub async fn finish(&self) -> sqlx::Result<u64> {
        // In random order, because the limit may skip some users.
        let waiting = sqlx::query!("select user_id, letters_after from erased_users where not done order by random()")
            .fetch_all(self.db)
            .await?;
        let ids: Vec<Uuid> = waiting.iter().map(|user| user.user_id).collect();
        let with_rows = waiting.iter().filter(|user| user.letters_after.is_none()).map(|user| user.user_id).collect();
        let begun = Instant::now();
        let (gone, deleted) = self.rows(with_rows, begun + self.limit / 2).await;
        let begins = self.search(&gone).await;
        let searched = self.letters(begun + self.limit).await;
        deleted.and(begins).and(searched)?;
        let done = sqlx::query_scalar!(
            r#"select count(*) as "done!" from erased_users where done and user_id = any($1)"#,
            &ids
        );
        Ok(done.fetch_one(self.db).await?.unsigned_abs())
    }

    /// Repeats the erasures of users. The limit may skip some of them. One search of the letters serves all; [`Eraser::finish`] continues it.
    ///
    /// # Errors
    /// The first failure, after everything else was tried.
    pub async fn repeat(&self, users: Vec<Uuid>) -> sqlx::Result<()> {
        let Some(first) = users.first().copied() else { return Ok(()) };
        let begun = Instant::now();
        let (_, deleted) = self.rows(users, begun + self.limit / 2).await;
        let begins = self.search(&[first]).await;
        let searched = self.letters(begun + self.limit).await;
        deleted.and(begins).and(searched)
    }

    /// Deletes the rows of users and empties their events: a batch of each user in turn, so that a large account does not stop the others. Returns
    /// the users of whom nothing is left, and the first failure.
    async fn rows(&self, mut users: Vec<Uuid>, until: Instant) -> (Vec<Uuid>, sqlx::Result<()>) {
        let (mut gone, mut result) = (Vec::new(), Ok(()));
        while !users.is_empty() {
            let mut left = Vec::new();
            for user_id in users {
                let erased = sqlx::query_scalar!(r#"select erase_batch($1, $2) as "erased!""#, user_id, BATCH);
                match erased.fetch_one(self.db).await {
                    Ok(0) => gone.push(user_id),
                    Ok(_) => left.push(user_id),
                    Err(error) => result = result.and(Err(error)),
                }
                if Instant::now() >= until {
                    return (gone, result);
                }
            }
            users = left;
        }
        (gone, result)
    }

    /// Begins to search the letters for data of users without rows. It waits for the transactions that are storing a letter, so the search finds
    /// the letter. A later transaction sees that the users are erased.
    async fn search(&self, users: &[Uuid]) -> sqlx::Result<()> {
        if users.is_empty() {
            return Ok(());
        }
        let mut tx = self.db.begin().await?;
        sqlx::query!("select from pg_advisory_xact_lock(1818588276, 0)").execute(&mut *tx).await?;
        sqlx::query!(
            "update erased_users set letters_after = '00000000-0000-0000-0000-000000000000'
             where user_id = any($1) and letters_after is null",
            users
        )
        .execute(&mut *tx)
        .await?;
        tx.commit().await
    }

    /// Deletes the letters that name an erased user, or a task or an event of one. No index finds them, so all letters are searched, from the
    /// position that is furthest. An erasure whose search has ended is done.
    async fn letters(&self, until: Instant) -> sqlx::Result<()> {
        loop {
            let searching = sqlx::query_scalar!(
                r#"with start as materialized (
                       select letters_after as id from erased_users where letters_after is not null order by 1 desc limit 1
                   ), page as materialized (
                       select id, event_id, left(payload, 16384) as payload
                       from dead_letters where id > (select id from start) order by id limit $1
                   ), deleted as (
                       delete from dead_letters
                       where id in (select id from page where is_letter_of_erased(event_id, payload))
                   ), last as materialized (
                       select id from page order by id offset $1 - 1 -- none on the last page, which is not full
                   ), searched as (
                       update erased_users set letters_after = last.id, done = done or last.id is null
                       from start left join last on true
                       where letters_after >= start.id and (letters_after < last.id or last.id is null)
                   )
                   select exists (select from start) as "searching!""#,
                LETTERS
            )
            .fetch_one(self.db)
            .await?;
            if !searching || Instant::now() >= until {
                return Ok(());
            }
        }
    }
}

/// Until the transaction ends, no search of the letters begins. A transaction that stores a letter calls this first. It checks in a later statement
/// whether the letter has data of an erased user: a statement that has waited for the lock would not see the latest erasures.
///
/// # Errors
/// The database is away.
pub async fn hold_off_search(conn: &mut PgConnection) -> sqlx::Result<()> {
    sqlx::query!("select from pg_advisory_xact_lock_shared(1818588276, 0)").execute(conn).await?;
    Ok(())
}
