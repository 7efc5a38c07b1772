//! The ids of events: by the clock of the database, after the mark, in the order of insertion.

use sqlx::PgPool;

use super::*;
use crate::testing::{execute, user};

const INSERT: &str = "insert into task_events (type, task_id, user_id, sequence, data)
    select 'task.updated', gen_random_uuid(), gen_random_uuid(), n, '{}' from generate_series($1::bigint, $2) n";

/// Inserts 2,000 events in one statement and 500 in statements of their own, in one transaction.
async fn assert_ordered(db: &PgPool) {
    let mut tx = db.begin().await.unwrap();
    sqlx::query(INSERT).bind(1_i64).bind(2_000_i64).execute(&mut *tx).await.unwrap();
    for one in 2_001_i64..=2_500 {
        sqlx::query(INSERT).bind(one).bind(one).execute(&mut *tx).await.unwrap();
    }
    tx.commit().await.unwrap();
    let inserted: Vec<i64> =
        sqlx::query_scalar("select sequence from task_events order by id").fetch_all(db).await.unwrap();
    assert!(inserted.into_iter().eq(1..=2_500));
    let versions: Vec<i32> = sqlx::query_scalar("select distinct get_byte(uuid_send(id), 6) >> 4 from task_events")
        .fetch_all(db)
        .await
        .unwrap();
    assert_eq!(versions, [7]);
}

#[sqlx::test(migrator = "migrations::MIGRATOR")]
async fn ids_sort_in_the_order_of_insertion(db: PgPool) {
    assert_ordered(&db).await;
    let early: i64 = sqlx::query_scalar(
        "select count(*) from task_events where id not between uuid_v7_floor(now() - interval '1 minute') and uuid_v7_floor(now() + interval '1 second')",
    )
    .fetch_one(&db)
    .await
    .unwrap();
    assert_eq!(early, 0);
}

/// As on a standby that is promoted and whose clock is minutes behind.
#[sqlx::test(migrator = "migrations::MIGRATOR")]
async fn ids_are_after_the_mark_and_in_order_even_if_the_clock_is_behind_the_mark(db: PgPool) {
    // The mark can be an event's id, which has bits after the time.
    execute(
        &db,
        "update marks set event_id = overlay(uuid_v7_floor(now() + interval '10 minutes')::text
                      placing '7fff-bfff-ffffffffffff' from 15)::uuid where name = 'handled'",
    )
    .await;
    assert_ordered(&db).await;
    let before = "select count(*) from task_events where id <= (select event_id from marks where name = 'handled')
        or id >= (select uuid_v7_floor(now() + interval '11 minutes'))";
    assert_eq!(sqlx::query_scalar::<_, i64>(before).fetch_one(&db).await.unwrap(), 0);
}

#[sqlx::test(migrator = "migrations::MIGRATOR")]
async fn the_role_of_commands_gets_ids_and_reads_no_mark(db: PgPool) {
    let user = user(&db).await;
    let mut tx = db.begin().await.unwrap();
    sqlx::query("select set_config('role', 'punctual_api', true), set_config('punctual.user_id', $1, true)")
        .bind(user.to_string())
        .execute(&mut *tx)
        .await
        .unwrap();
    let insert =
        "insert into task_events (type, task_id, user_id, sequence, data) values ('t', $1, $1, 1, '{}') returning id";
    let id: Uuid = sqlx::query_scalar(insert).bind(user).fetch_one(&mut *tx).await.unwrap();
    assert_eq!(id.get_version_num(), 7);
    // A table of the session does not stand in for the marks.
    sqlx::raw_sql(
        "create temporary table marks (name text, event_id uuid); insert into marks values ('handled', 'ffffffff-ffff-7fff-bfff-ffffffffffff')",
    )
    .execute(&mut *tx)
    .await
    .unwrap();
    let other: Uuid = sqlx::query_scalar(insert).bind(user).fetch_one(&mut *tx).await.unwrap();
    assert!(id < other && other.as_bytes()[0] < 0x80);
    let denied = sqlx::query("select from public.marks").execute(&mut *tx).await.unwrap_err();
    assert!(denied.to_string().contains("permission denied"), "{denied}");
}
