//! The statement that reads the heads, on a real PostgreSQL.

use std::collections::BTreeMap;

use proptest::{prelude::*, strategy::ValueTree as _, test_runner::TestRunner};
use sqlx::PgPool;

use super::*;
use crate::testing::{Dapr, app_with, execute};

const fn id(high: u64, low: u64) -> Uuid {
    Uuid::from_u64_pair(high, low)
}

/// Inserts an event; the last four bits of the task are its shard.
async fn insert(db: &PgPool, id: Uuid, kind: &str, task: Uuid, user: Uuid, published: bool) {
    sqlx::query(
        "insert into task_events (id, type, task_id, user_id, sequence, data, published_at)
         values ($1, $2, $3, $4, 1, '{}', case when $5 then now() end)",
    )
    .bind(id)
    .bind(kind)
    .bind(task)
    .bind(user)
    .bind(published)
    .execute(db)
    .await
    .unwrap();
}

async fn read_once(db: &PgPool, cursors: &mut Cursors, calls: &Calls) -> Vec<Head> {
    heads::read(&mut db.acquire().await.unwrap(), cursors, calls).await.unwrap()
}

/// The statement that `World::heads` stands for.
#[sqlx::test(migrator = "migrations::MIGRATOR")]
async fn the_first_event_of_each_task_and_topic_is_read_unless_it_is_held(db: PgPool) {
    const KINDS: [&str; 4] = ["task.created", "task.updated", "task.changed", "reminder.due"];
    let row = (0..TASKS, 0..KINDS.len(), any::<bool>(), any::<bool>());
    let rows = (prop::collection::vec(row, 0..20), prop::collection::vec((0..TASKS, 0..KINDS.len()), 0..2));
    let mut runner = TestRunner::deterministic();
    for _ in 0..50 {
        execute(&db, "delete from task_events").await;
        let (rows, held) = rows.new_tree(&mut runner).unwrap().current();
        let mut calls = Calls::default();
        calls.begin(Instant::now());
        let mut held_keys = BTreeSet::new();
        for (task, kind) in held {
            let topic = EventType::parse(KINDS[kind]).unwrap().on();
            calls.failed(vec![Head { topic, task: task_id(task), event: Uuid::nil() }]);
            held_keys.insert((topic.name, task_id(task)));
        }
        let mut expected = BTreeMap::new();
        // Of each user and kind of lane, `heads::read` looks at the five oldest events that are not held.
        let mut looked_at = BTreeMap::<_, usize>::new();
        for (n, (task, kind, published, unknown)) in rows.into_iter().enumerate() {
            let (event, task, kind) = (id(0, n as u64 + 1), task_id(task), KINDS[kind]);
            let user = id(task.as_u64_pair().0 % 2, 0);
            insert(&db, event, if unknown { "task.unheard" } else { kind }, task, user, published).await;
            let topic = EventType::parse(kind).unwrap().topic();
            if published || unknown || held_keys.contains(&(topic, task)) {
                continue;
            }
            let place = looked_at.entry((user, kind == "reminder.due")).or_default();
            *place += 1;
            if *place <= 5 {
                expected.entry((topic, task)).or_insert(event);
            }
        }
        let mut cursors = Cursors::default();
        let heads = read_once(&db, &mut cursors, &calls).await;
        let read: BTreeMap<_, _> = heads.iter().map(|head| ((head.topic.name, head.task), head.event)).collect();
        assert_eq!((read.len(), &read), (heads.len(), &expected));
    }
}

#[sqlx::test(migrator = "migrations::MIGRATOR")]
async fn a_pass_visits_every_user_once(db: PgPool) {
    for user in 0..40 {
        insert(&db, id(0, user), "task.created", id(user, 3), id(user, 0), false).await;
    }
    let mut cursors = Cursors::default();
    let mut rounds = Vec::new();
    loop {
        rounds.push(read_once(&db, &mut cursors, &Calls::default()).await);
        if cursors.is_finished(0) {
            break;
        }
    }
    assert_eq!(rounds.iter().map(Vec::len).collect::<Vec<_>>(), [12, 12, 12, 4]);
    let visited: BTreeSet<Uuid> = rounds.iter().flatten().map(|head| head.event).collect();
    assert_eq!(visited.len(), 40);
}

/// 40 users of one lane have an event, and the first 12 write another one before every pass.
#[sqlx::test(migrator = "migrations::MIGRATOR")]
async fn users_that_keep_writing_delay_no_other_user_when_every_pass_ends_early(db: PgPool) {
    let dapr = Dapr::start().await;
    let mut outbox = app_with(&db, &dapr, &dapr, &dapr).outbox;
    // As if each call took as long as a pass may last.
    outbox.longest_pass = Duration::ZERO;
    let waiting: Vec<Uuid> = (0..40).map(|user| id(0, user)).collect();
    for (user, event) in (0..).zip(&waiting) {
        insert(&db, *event, "task.created", id(user, 3), id(user, 0), false).await;
    }
    for pass in 1..=4 {
        for user in 0..12 {
            insert(&db, id(pass, user), "task.created", id(pass * 100 + user, 3), id(user, 0), false).await;
        }
        assert!(outbox.pass(Instant::now()).await.unwrap().more);
    }
    let published: BTreeSet<String> = dapr.published().into_iter().map(|event| event.id).collect();
    let left: Vec<&Uuid> = waiting.iter().filter(|event| !published.contains(&event.to_string())).collect();
    assert!(left.is_empty(), "{left:?}");
    // The next passes begin with the first users again.
    while outbox.pass(Instant::now()).await.unwrap().more {}
    assert_eq!(dapr.published().len(), 40 + 4 * 12);
}

/// A user has 20,000 unpublished events: of one task, of many tasks, or of reminders. Another user has a reminder.
#[sqlx::test(migrator = "migrations::MIGRATOR")]
async fn a_backlog_of_one_user_delays_no_reminder_of_another(db: PgPool) {
    let dapr = Dapr::start().await;
    for (kind, task) in [
        ("task.updated", "'00000000-0000-4000-8000-000000000000'"),
        ("task.updated", "gen_random_uuid()"),
        ("reminder.due", "gen_random_uuid()"),
    ] {
        execute(&db, "truncate task_events").await;
        let backlog = format!(
            "insert into task_events (id, type, task_id, user_id, sequence, data)
             select overlay(gen_random_uuid()::text placing '00000000-0000-7' from 1)::uuid, '{kind}', {task},
                    '00000000-0000-4000-8000-000000000000', n, '{{}}' from generate_series(1, 20000) n"
        );
        execute(&db, &backlog).await;
        let other = id(u64::MAX, 0);
        insert(&db, other, "reminder.due", other, other, false).await;
        let outbox = app_with(&db, &dapr, &dapr, &dapr).outbox;
        let earlier = dapr.publish_calls();
        let pass = async { outbox.pass(Instant::now()).await.unwrap() };
        let out = async {
            while !dapr.published().iter().any(|event| event.id == other.to_string() && event.call > earlier) {
                tokio::task::yield_now().await;
            }
        };
        tokio::select! { _ = pass => {}, () = out => {} }
        let published = dapr.published();
        let reminder = published.iter().find(|event| event.id == other.to_string() && event.call > earlier).unwrap();
        assert_eq!(reminder.call, earlier + 1, "{kind} {task}");
    }
}

/// What a round reads does not depend on what waits.
#[sqlx::test(migrator = "migrations::MIGRATOR")]
async fn a_round_reads_a_bounded_number_of_rows(db: PgPool) {
    let empty = explain(&db).await;
    assert!(empty.buffers < 100, "{empty:?}");
    backlog(&db, 20_000).await;
    let round = explain(&db).await;
    assert!(round.plan.contains("task_events_unpublished_by_user"), "{}", round.plan);
    assert!(!round.plan.contains("Seq Scan"), "{}", round.plan);
    // A lane has at most 12 users, each with an index scan for it and one for its five rows.
    assert!(round.buffers < 32 * 12 * 2 * 6, "{round:?}");
}

/// Prints what a round and a pass take: `cargo test -p shared --lib -- --ignored --nocapture duration_of_a_pass`.
#[sqlx::test(migrator = "migrations::MIGRATOR")]
#[ignore = "a measurement"]
async fn duration_of_a_pass_with_and_without_a_backlog(db: PgPool) {
    let dapr = Dapr::start().await;
    for rows in [0, 100_000] {
        backlog(&db, rows).await;
        let mut times = Vec::new();
        for _ in 0..20 {
            let began = Instant::now();
            let read = read_once(&db, &mut Cursors::default(), &Calls::default()).await;
            times.push((began.elapsed(), read.len()));
        }
        times.sort();
        let explained = explain(&db).await;
        println!("{rows} rows: a round {:?}, {} buffers, {} ms", times[10], explained.buffers, explained.milliseconds);
        let began = Instant::now();
        let pass = app_with(&db, &dapr, &dapr, &dapr).outbox.pass(Instant::now()).await.unwrap();
        println!("{rows} rows: a pass published {} in {:?}, more: {}", pass.published, began.elapsed(), pass.more);
    }
}

/// Inserts unpublished events of a hundredth as many users, a tenth of them reminders.
async fn backlog(db: &PgPool, events: u32) {
    let insert = format!(
        "insert into task_events (type, task_id, user_id, sequence, data)
         select case when n % 10 = 0 then 'reminder.due' else 'task.updated' end, gen_random_uuid(),
                md5((n % ({events} / 100 + 1))::text)::uuid, n, '{{}}'
         from generate_series(1, {events}) n"
    );
    execute(db, &insert).await;
    execute(db, "analyze task_events").await;
}

#[derive(Debug)]
struct Explained {
    plan: String,
    buffers: u64,
    milliseconds: f64,
}

/// Runs the statement of a first round as the relay does: with a generic plan.
async fn explain(db: &PgPool) -> Explained {
    let calls = Calls::default();
    let (shards, reminders): (Vec<i16>, Vec<bool>) = (0..16).flat_map(|shard| [(shard, true), (shard, false)]).unzip();
    let mut conn = db.acquire().await.unwrap();
    sqlx::query("set plan_cache_mode = 'force_generic_plan'").execute(&mut *conn).await.unwrap();
    let statement = concat!("explain (analyze, buffers, format json) ", include_str!("../heads.sql"));
    let plan: serde_json::Value = sqlx::query_scalar(statement)
        .bind(&shards)
        .bind(&reminders)
        .bind(vec![Uuid::nil(); shards.len()])
        .bind(12_i64)
        .bind(calls.open_types())
        .bind(Vec::<Uuid>::new())
        .bind(Vec::<String>::new())
        .bind(5_i64)
        .fetch_one(&mut *conn)
        .await
        .unwrap();
    let top = &plan[0]["Plan"];
    let buffers = ["Shared Hit Blocks", "Shared Read Blocks"].map(|name| top[name].as_u64().unwrap());
    let milliseconds = plan[0]["Execution Time"].as_f64().unwrap();
    Explained { plan: plan.to_string(), buffers: buffers.iter().sum(), milliseconds }
}
