//! How much a page reads, under the role that it runs as and with the plans that it runs with.

use sqlx::PgPool;

use super::*;
use crate::{
    params::Params,
    user_tx::{UserTx, user_with},
};

const TASKS: i64 = 6_000;
const PAGE: i64 = 51;

/// Ada with [`TASKS`] tasks, and others with as many. Of ada's tasks every third is completed, every fifth has no due time, and 10 are urgent.
async fn ada(db: &PgPool) -> Uuid {
    let ada = Uuid::new_v4();
    let users = "insert into users (id, email) select case n when 1 then $1 else gen_random_uuid() end, 'x' || n from generate_series(1, 20) n";
    sqlx::query(users).bind(ada).execute(db).await.unwrap();
    sqlx::query(
        "insert into tasks (user_id, title, search_text, completed, priority, due_at, created_at)
         select case when n <= $2 then $1 else (select id from users where email = 'x' || n % 19 + 2) end,
                'T' || n, 't' || n, n % 3 = 0, case when n % 600 = 1 then 'urgent' else 'low' end,
                case when n % 5 > 0 then now() + n * 7919 % 6000 * interval '1 hour' end, now() - n * 31 % 6000 * interval '1 hour'
         from generate_series(1, $2 * 2) n",
    )
    .bind(ada)
    .bind(TASKS)
    .execute(db)
    .await
    .unwrap();
    // `late` has the latest 2,001 tasks.
    for (tag, share, most) in [("all", 1, TASKS), ("rare", 500, TASKS), ("late", 1, FEW + 1)] {
        sqlx::query(
            "with tag as (insert into task_tags (id, user_id, name) values ($1, $2, $3))
             insert into task_tag_associations select id, $1 from tasks where user_id = $2 and substr(title, 2)::int % $4 = 0
             order by created_at desc, id desc limit $5",
        )
        .bind(tag_id(ada, tag))
        .bind(ada)
        .bind(tag)
        .bind(share)
        .bind(most)
        .execute(db)
        .await
        .unwrap();
    }
    sqlx::raw_sql("vacuum analyze").execute(db).await.unwrap();
    ada
}

/// The page of a query, and how many rows of `tasks` and of the associations were read for it.
async fn page(db: &PgPool, ada: Uuid, query: &str) -> (Vec<Placed>, i64) {
    let (rows, read, _) = counted_page(db, ada, query).await;
    (rows, read)
}

/// As [`page`], and how often an index of the associations was looked into.
async fn counted_page(db: &PgPool, ada: Uuid, query: &str) -> (Vec<Placed>, i64, i64) {
    let given = query.split('&').map(|pair| pair.split_once('=').unwrap());
    let given = given.map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
    let wanted = Wanted::read(Params::new(given).unwrap()).unwrap();
    let mut tx = UserTx::read(&db.into(), &user_with(ada)).await.unwrap();
    sqlx::query("set local plan_cache_mode = force_generic_plan").execute(&mut *tx).await.unwrap();
    let counts = async |conn: &mut PgConnection| -> (i64, i64) {
        let counts = "select sum(seq_tup_read + coalesce(idx_tup_fetch, 0))::bigint,
                             (sum(idx_scan) filter (where relname = 'task_tag_associations'))::bigint
                      from pg_stat_xact_user_tables where relname in ('tasks', 'task_tag_associations')";
        sqlx::query_as(counts).fetch_one(conn).await.unwrap()
    };
    let before = counts(&mut tx).await;
    let rows = wanted.page(&mut tx, ada, wanted.limit + 1).await.unwrap();
    let after = counts(&mut tx).await;
    (rows, after.0 - before.0, after.1 - before.1)
}

fn cursor(sort: &str, row: &(Uuid, Option<i64>)) -> String {
    Cursor { sort: Sort::parse(sort).unwrap(), key: row.1, id: row.0 }.encode()
}

#[sqlx::test(migrator = "migrations::MIGRATOR")]
async fn a_page_in_index_order_reads_only_its_own_rows(db: PgPool) {
    let ada = ada(&db).await;
    for sort in ["created_at", "-created_at", "due_at", "-due_at", "priority", "-priority"] {
        for status in ["all", "open", "completed"] {
            // The first page, a page in the middle, and one of those without a due time.
            let middle = page(&db, ada, &format!("sort={sort}&status={status}&limit=100")).await.0[99];
            let undated = sqlx::query_scalar(
                "select id from tasks where user_id = $1 and due_at is null order by id limit 1 offset 500",
            );
            let undated = (undated.bind(ada).fetch_one(&db).await.unwrap(), None);
            let mut cursors = vec![String::new(), format!("&cursor={}", cursor(sort, &middle))];
            cursors.extend(sort.ends_with("due_at").then(|| format!("&cursor={}", cursor(sort, &undated))));
            for cursor in cursors {
                let query = format!("sort={sort}&status={status}{cursor}");
                let (rows, read) = page(&db, ada, &query).await;
                assert_eq!(rows.len(), 51, "{query}");
                // A merge of two statuses reads a page of each.
                assert!(read <= 2 * PAGE, "{query} reads {read} rows");
            }
        }
    }
}

#[sqlx::test(migrator = "migrations::MIGRATOR")]
async fn a_filtered_page_reads_only_matching_tasks(db: PgPool) {
    let ada = ada(&db).await;
    for (query, matching, most) in [
        ("priority=urgent&sort=created_at", 10, 10),
        ("priority=urgent&sort=-priority", 10, 10),
        ("priority=low&sort=priority", PAGE, 2 * PAGE),
        ("due_before=2000-01-01T00:00:00Z&sort=created_at", 0, 0),
        ("due_before=2000-01-01T00:00:00Z&sort=-due_at", 0, 0),
        ("tag=rare&sort=created_at", 12, 40),
        ("tag=rare&sort=-due_at&status=all", 12, 40),
        // The count ends after a few, and each of the page is looked up.
        ("tag=all&sort=due_at", PAGE, FEW + 5 * PAGE),
        ("tag=none&sort=priority", 0, 0),
    ] {
        let (rows, read) = page(&db, ada, query).await;
        assert_eq!(rows.len(), usize::try_from(matching).unwrap(), "{query}");
        assert!(read <= most, "{query} reads {read} rows");
    }
}

#[sqlx::test(migrator = "migrations::MIGRATOR")]
async fn the_tasks_of_a_tag_are_found_wherever_they_are(db: PgPool) {
    let ada = ada(&db).await;
    let last = |status: &str| {
        let late = "select id from tasks join task_tag_associations on task_id = id where tag_id = $1";
        format!("{late} and {status} order by created_at, id limit 51")
    };
    for (status, filter) in [("all", "true"), ("open", "not completed"), ("completed", "completed")] {
        let expected: Vec<Uuid> = sqlx::query_scalar(sqlx::AssertSqlSafe(last(filter)))
            .bind(tag_id(ada, "late"))
            .fetch_all(&db)
            .await
            .unwrap();
        for (sort, begins_late) in [("created_at", true), ("-created_at", false), ("due_at", true), ("priority", true)]
        {
            let query = format!("tag=late&status={status}&sort={sort}");
            let (rows, _, looks) = counted_page(&db, ada, &query).await;
            let ids: Vec<Uuid> = rows.iter().map(|(id, _)| *id).collect();
            if sort == "created_at" {
                assert_eq!(ids, expected, "{query}");
            }
            assert_eq!(ids.len(), 51, "{query}");
            assert!(looks <= if begins_late { 2 * NEAR + 10 } else { 2 * PAGE + 10 }, "{query} looks {looks} times");
        }
    }
}

#[sqlx::test(migrator = "migrations::MIGRATOR")]
async fn a_search_reads_each_text_of_its_user_once(db: PgPool) {
    let ada = ada(&db).await;
    for (query, matching) in
        [("q=nothing", 0), ("q=T17+t&sort=-due_at", PAGE), ("q=t&sort=-due_at", PAGE), ("q=t&sort=priority", PAGE)]
    {
        let (rows, read) = page(&db, ada, &query.replace('+', " ")).await;
        assert_eq!(rows.len(), usize::try_from(matching).unwrap(), "{query}");
        assert!((TASKS..=2 * TASKS).contains(&read), "{query} reads {read} rows");
    }
}

#[test]
fn a_search_word_is_matched_literally() {
    let words = Word::all("100%_\\ ÄPFEL").unwrap();
    assert_eq!(words.iter().map(|word| &*word.folded).collect::<Vec<_>>(), [r"100%_\", "äpfel"]);
    assert_eq!(words.iter().map(|word| &*word.given).collect::<Vec<_>>(), [r"100%_\", "ÄPFEL"]);
    assert_eq!(Word::all("\u{a0} A\u{3000}b\u{2028}").unwrap().len(), 2);
    for (wrong, text) in [
        ("must have a word", " \u{200b} ".to_owned()),
        ("must have at most 20 words", "a ".repeat(21)),
        ("must have at most 500 characters", "a".repeat(501)),
    ] {
        assert_eq!(Word::all(&text).unwrap_err(), wrong);
    }
}
