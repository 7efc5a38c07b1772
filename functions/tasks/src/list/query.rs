//! The statements of a list. A page takes a few milliseconds, also for a user with 100,000 tasks.
//!
//! - Without a filter, or with a filter on the sort key, an index gives the page in its order. Each index holds the tasks of one status
//!   together, so a list of both statuses merges two scans.
//! - With another filter the matching tasks are found first, and sorted then. A search reads all texts of the user: row-level security keeps
//!   PostgreSQL from using an index for a function that is not leakproof. The quota limits the number of texts.
//! - A tag is a filter of the second kind if few tasks have it. Otherwise the page is usually full after the first tasks in the order of an
//!   index. If it is not, all tasks of the user are compared with those of the tag.
//!
//! PostgreSQL plans these statements without the values of their parameters, so their form decides how they run. `offset 0` separates finding
//! from sorting. An array is looked up in an index. A scalar subquery is a filter. `in (select …) is true` makes a hash table of the subquery,
//! once, where `in (select …)` alone would become a join.

use shared::search_text;
use sqlx::{Arguments as _, PgConnection, Postgres, QueryBuilder, postgres::PgArguments};
use uuid::Uuid;

use super::{By, Cursor, Placed, Sort, Wanted};
use crate::{tags::tag_ids, text};

/// A tag with at most this many tasks is looked up first.
const FEW: i64 = 2_000;
/// Of another tag, this many tasks of each status are tried in the order of the index. If one in 20 has it, they fill a page.
const NEAR: i64 = 1_000;
/// Limits of `q`. Each word is compared with all texts of the user.
const WORDS: usize = 20;
const CHARACTERS: usize = 500;

/// A word of a search.
///
/// `strpos` looks for it. It is about as fast as `like` on ordinary texts, and at least three times as fast on texts that resemble the word. But
/// PostgreSQL has no function that finds a word in linear time: at each place of a text of `a`, it compares all of `b` and 499 times `a`. A limit
/// for a word would not help, because twenty short ones take as long. So a search has a [limit of time](crate::user_tx::UserTx::search), and a
/// user has [one at a time](crate::limits::Limits::scan).
#[derive(Debug)]
pub(super) struct Word {
    /// As it is in `search_text`.
    folded: String,
    /// As it is in a text that has no `search_text` yet.
    given: String,
}

impl Word {
    /// Reads `q`.
    pub(super) fn all(text: &str) -> Result<Vec<Self>, String> {
        if text.chars().nth(CHARACTERS).is_some() {
            return Err(format!("must have at most {CHARACTERS} characters"));
        }
        let words: Vec<Self> = text.split_whitespace().filter(|word| !text::is_blank(word)).map(Self::new).collect();
        match words.len() {
            0 => Err("must have a word".to_owned()),
            1..=WORDS => Ok(words),
            _ => Err(format!("must have at most {WORDS} words")),
        }
    }

    fn new(word: &str) -> Self {
        Self { folded: search_text::fold(word), given: text::nfc(word) }
    }
}

/// The tasks that one statement of a page gives.
#[derive(Clone, Copy, Debug)]
pub(super) enum Part {
    /// All, in the order of an index. If there is a tag, the next ones alone.
    InOrder,
    /// The tasks without a due time, which come after all others.
    Undated,
    /// All, found first and sorted then.
    Found,
    /// All, found first by a tag that few tasks have.
    FoundByTag,
}

impl Wanted {
    /// Reads the ids of at most `limit` tasks of the page, each with its sort key as a number.
    pub(super) async fn page(&self, conn: &mut PgConnection, user_id: Uuid, limit: usize) -> sqlx::Result<Vec<Placed>> {
        let few_have_the_tag = self.few_have_the_tag(conn, user_id).await?;
        let mut rows: Vec<Placed> = Vec::new();
        for part in self.parts(few_have_the_tag) {
            if rows.len() == limit {
                break;
            }
            if let Part::Found = part {
                // The tasks that were tried before are among them.
                rows.clear();
            }
            let mut statement = self.statement(user_id, *part, limit - rows.len());
            rows.extend(statement.build_query_as::<Placed>().fetch_all(&mut *conn).await?);
        }
        Ok(rows)
    }

    async fn few_have_the_tag(&self, conn: &mut PgConnection, user_id: Uuid) -> sqlx::Result<bool> {
        let Some(tag) = &self.tag else { return Ok(false) };
        sqlx::query_scalar!(
            r#"select count(*) <= $2 as "few!"
               from (select from task_tag_associations where tag_id = $1 limit $2::bigint + 1) associations"#,
            tag_id(user_id, tag),
            FEW
        )
        .fetch_one(conn)
        .await
    }

    pub(super) fn parts(&self, few_have_the_tag: bool) -> &'static [Part] {
        let by = self.sort.by;
        let filters_due = self.due_before.or(self.due_after).is_some();
        let finds_first =
            !self.words.is_empty() || (self.priority.is_some() && by != By::Priority) || (filters_due && by != By::Due);
        let is_tagged = self.tag.is_some();
        match (by, &self.cursor) {
            _ if few_have_the_tag => &[Part::FoundByTag],
            _ if finds_first => &[Part::Found],
            (_, Some(Cursor { key: None, .. })) if is_tagged => &[Part::Undated, Part::Found],
            (_, Some(Cursor { key: None, .. })) => &[Part::Undated],
            _ if is_tagged => &[Part::InOrder, Part::Found],
            (By::Due, _) => &[Part::InOrder, Part::Undated],
            _ => &[Part::InOrder],
        }
    }

    pub(super) fn statement(&self, user_id: Uuid, part: Part, limit: usize) -> QueryBuilder<Postgres> {
        let direction = if self.sort.descending { "desc" } else { "asc" };
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        let mut arguments = PgArguments::default();
        arguments.add(user_id).expect("a UUID can be encoded");
        let mut query = QueryBuilder::with_arguments("select id, place from (", arguments);
        if let Part::Found | Part::FoundByTag = part {
            self.push_matching(&mut query, user_id, self.completed, part);
            query.push(" offset 0");
        } else {
            let statuses = self.completed.map_or_else(|| vec![false, true], |only| vec![only]);
            let first = format!(" order by key {direction}, id {direction} limit ");
            for (index, completed) in statuses.into_iter().enumerate() {
                query.push(if index == 0 { "(" } else { " union all (" });
                if let Some(tag) = &self.tag {
                    query.push("select * from (");
                    self.push_matching(&mut query, user_id, Some(completed), part);
                    query.push(&first).push_bind(NEAR);
                    query.push(
                        ") near where (select true from task_tag_associations where task_id = near.id and tag_id = ",
                    );
                    query.push_bind(tag_id(user_id, tag)).push(")");
                } else {
                    self.push_matching(&mut query, user_id, Some(completed), part);
                }
                query.push(&first).push_bind(limit).push(")");
            }
        }
        query.push(format_args!(") found order by place {direction} nulls last, id {direction} limit "));
        query.push_bind(limit);
        query
    }

    /// The tasks of the user, who is `$1`, that match and come after the cursor.
    fn push_matching(&self, query: &mut QueryBuilder<Postgres>, user_id: Uuid, completed: Option<bool>, part: Part) {
        let by = self.sort.by;
        query.push(format_args!(
            "select id, {} as place, {} as key from tasks where user_id = $1",
            by.as_number(),
            by.sql()
        ));
        match completed {
            Some(completed) => query.push(format_args!(" and completed = {completed}")),
            // Always true. It lets PostgreSQL use the index column after this one.
            None => query.push(" and completed in (false, true)"),
        };
        if let Some(priority) = self.priority {
            query.push(format_args!(" and {} = ", By::Priority.sql())).push_bind(priority.rank());
        }
        let tag = self.tag.as_ref().map(|tag| tag_id(user_id, tag));
        match (part, tag) {
            (Part::FoundByTag, Some(tag)) => {
                query.push(" and id = any(array(select task_id from task_tag_associations where tag_id = ");
                query.push_bind(tag).push("))");
            }
            (Part::Found, Some(tag)) => {
                query.push(" and (id in (select task_id from task_tag_associations where tag_id = ");
                query.push_bind(tag).push(")) is true");
            }
            // Of these the next ones are compared with the tag.
            (Part::InOrder | Part::Undated, _) | (_, None) => {}
        }
        if let Some(before) = self.due_before {
            query.push(" and due_at < ").push_bind(before);
        }
        if let Some(after) = self.due_after {
            query.push(" and due_at > ").push_bind(after);
        }
        for word in &self.words {
            query.push(r#" and (strpos(search_text collate "C", "#).push_bind(&word.folded);
            query.push(") > 0 or search_text is null and (");
            for (index, spelling) in [&word.folded, &word.given].into_iter().enumerate() {
                query.push(if index == 0 { "" } else { " or " });
                query.push(r#"strpos((title || e'\n' || coalesce(description, '')) collate "C", "#);
                query.push_bind(spelling).push(") > 0");
            }
            query.push("))");
        }
        self.push_cursor(query, part);
    }

    fn push_cursor(&self, query: &mut QueryBuilder<Postgres>, part: Part) {
        let Sort { by, descending } = self.sort;
        let (key, beyond) = (by.sql(), if descending { "<" } else { ">" });
        // Tasks without a due time come after all others, in either direction.
        match part {
            Part::InOrder if by == By::Due => drop(query.push(" and due_at is not null")),
            Part::Undated => drop(query.push(format_args!(" and {key} is null"))),
            Part::InOrder | Part::Found | Part::FoundByTag => {}
        }
        match (&self.cursor, part) {
            (Some(Cursor { key: Some(_), .. }), Part::Undated) | (None, _) => {}
            (Some(Cursor { key: Some(value), id, .. }), _) => {
                query.push(format_args!(" and (({key}, id) {beyond} ("));
                by.push_key(query, *value);
                query.push(", ").push_bind(*id).push(")");
                if let Part::Found | Part::FoundByTag = part {
                    query.push(format_args!(" or {key} is null"));
                }
                query.push(")");
            }
            (Some(Cursor { key: None, id, .. }), _) => {
                query.push(format_args!(" and {key} is null and id {beyond} ")).push_bind(*id);
            }
        }
    }
}

fn tag_id(user_id: Uuid, tag: &str) -> Uuid {
    tag_ids(user_id, &[tag.to_owned()])[0]
}

#[cfg(test)]
mod tests;
