//! The feed in the database. `task-changed` writes `users.feed_seq` and the rows up to that number in one transaction each.

use std::collections::HashMap;

use shared::{auth::User, db::Db};
use uuid::Uuid;

/// A client that is more changes behind reads everything again.
pub(crate) const FURTHEST: usize = 500;
/// The last changes of a user that a process keeps at most.
const RECENT: i64 = 32;

/// A change of a task.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Change {
    /// Its number among the user's changes.
    pub(crate) seq: i64,
    pub(crate) task_id: Uuid,
    /// The task's version after it.
    pub(crate) version: i64,
}

/// The end of a user's feed: the number of the last change, and the changes up to it that were read together with it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tail {
    pub(crate) seq: i64,
    pub(crate) recent: Vec<Change>,
}

/// The number of the user's last change. Fails for a token from before the user was erased.
pub(crate) async fn last(db: &Db, user: &User) -> sqlx::Result<i64> {
    let row = sqlx::query!(
        "select admit_token($1, $2, false)::text as admitted, (select feed_seq from users where id = $1) as seq",
        user.id,
        user.issued_at
    )
    .fetch_one(db)
    .await?;
    Ok(row.seq.unwrap_or_default())
}

/// The changes after `seen` up to `last`; none if they are not all there, are too many, or `seen` is above `last`.
pub(crate) async fn between(db: &Db, user_id: Uuid, seen: i64, last: i64) -> sqlx::Result<Option<Vec<Change>>> {
    let Some(count) = usize::try_from(last - seen).ok().filter(|count| *count <= FURTHEST) else { return Ok(None) };
    let changes = sqlx::query_as!(
        Change,
        r#"select seq, task_id, (data->>'version')::bigint as "version!" from feed
           where user_id = $1 and seq > $2 and seq <= $3 order by seq"#,
        user_id,
        seen,
        last
    )
    .fetch_all(db)
    .await?;
    Ok((changes.len() == count).then_some(changes))
}

/// The tails of those users whose feed does not end at the number that is known.
pub(crate) async fn moved(db: &Db, known: &HashMap<Uuid, i64>) -> sqlx::Result<Vec<(Uuid, Tail)>> {
    let (users, numbers): (Vec<Uuid>, Vec<i64>) = known.iter().unzip();
    let rows = sqlx::query!(
        r#"select known.user_id as "user_id!", coalesce(users.feed_seq, 0) as "last!", feed.seq as "seq?", feed.task_id as "task_id?",
                  (feed.data->>'version')::bigint as version
           from unnest($1::uuid[], $2::bigint[]) as known (user_id, seq)
           left join users on users.id = known.user_id
           left join feed on feed.user_id = known.user_id and feed.seq > greatest(known.seq, users.feed_seq - $3)
           where coalesce(users.feed_seq, 0) <> known.seq
           order by known.user_id, feed.seq"#,
        &users,
        &numbers,
        RECENT
    )
    .fetch_all(db)
    .await?;
    let of_users = rows.chunk_by(|row, next| row.user_id == next.user_id);
    let tails = of_users.map(|rows| {
        let changes =
            rows.iter().filter_map(|row| Some(Change { seq: row.seq?, task_id: row.task_id?, version: row.version? }));
        (rows[0].user_id, Tail::new(rows[0].last, changes.collect()))
    });
    Ok(tails.collect())
}

impl Tail {
    /// Retention may have deleted some of the changes. They are kept if none is missing.
    fn new(seq: i64, recent: Vec<Change>) -> Self {
        let whole = recent.iter().rev().zip((0..=seq).rev()).all(|(change, number)| change.seq == number);
        Self { seq, recent: if whole { recent } else { Vec::new() } }
    }

    /// The changes after `seen`, if all of them are here.
    pub(crate) fn after(&self, seen: i64) -> Option<&[Change]> {
        let count = usize::try_from(self.seq - seen).ok()?;
        self.recent.len().checked_sub(count).map(|start| &self.recent[start..])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn changes(numbers: impl IntoIterator<Item = i64>) -> Vec<Change> {
        numbers.into_iter().map(|seq| Change { seq, task_id: Uuid::nil(), version: seq }).collect()
    }

    #[test]
    fn a_tail_has_the_changes_after_a_number_or_says_that_it_lacks_some() {
        let tail = Tail::new(9, changes(7..=9));
        assert_eq!(tail.after(9), Some(&[][..]));
        assert_eq!(tail.after(7), Some(&changes(8..=9)[..]));
        assert_eq!(tail.after(6), Some(&changes(7..=9)[..]));
        assert_eq!(tail.after(5), None);
        assert_eq!(tail.after(10), None, "a number that the feed does not have yet");
    }

    #[test]
    fn a_tail_with_a_hole_keeps_nothing() {
        for numbers in [vec![6, 8, 9], vec![7, 8], vec![7, 9]] {
            assert!(Tail::new(9, changes(numbers)).recent.is_empty());
        }
        assert_eq!(Tail::new(9, changes([9])).recent.len(), 1);
    }
}
