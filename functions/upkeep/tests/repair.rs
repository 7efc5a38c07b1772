//! Repair without a daprd: its changes in the database, and the failures that it reports.

use std::time::Duration;

use chrono::Utc;
use serde_json::Value;
use shared::{
    schema::TaskCreated,
    testing::{app, emitted, execute, reminder, task, user},
};
use sqlx::PgPool;
use upkeep::repair::{Settings, run};
use uuid::Uuid;

/// Runs repair. Every call to daprd fails in these tests.
async fn repair(db: &PgPool) -> String {
    let settings = Settings { repair_interval_seconds: 300, repair_after_seconds: 120 };
    format!("{:#}", run(&app(db), &settings).await.unwrap_err())
}

async fn repair_events(db: &PgPool) {
    let settings = Settings { repair_interval_seconds: 300, repair_after_seconds: 120 };
    upkeep::repair::unpublish_unclaimed(&db.into(), Utc::now(), &settings).await.unwrap();
}

/// Inserts an event that was committed and published `minutes` ago.
async fn event(db: &PgPool, minutes: i32) -> Uuid {
    let user = user(db).await;
    let task = task(db, user).await;
    let id: Uuid = id(&emitted(db, &TaskCreated { task }).await);
    sqlx::query_scalar(
        "update task_events
         set id = overlay(id::text placing left(uuid_v7_floor(now() - make_interval(mins => $2))::text, 13) from 1)::uuid,
             published_at = now() - make_interval(mins => $2) + interval '1 second'
         where id = $1 returning id",
    )
    .bind(id)
    .bind(minutes)
    .fetch_one(db)
    .await
    .unwrap()
}

fn id(event: &Value) -> Uuid {
    event["id"].as_str().unwrap().parse().unwrap()
}

async fn claim(db: &PgPool, consumer: &str, id: Uuid) {
    let claim = "insert into processed_events (consumer, event_id) values ($1, $2)";
    sqlx::query(claim).bind(consumer).bind(id).execute(db).await.unwrap();
}

async fn unpublished(db: &PgPool) -> Vec<Uuid> {
    sqlx::query_scalar("select id from task_events where published_at is null order by id").fetch_all(db).await.unwrap()
}

/// The `handled` mark. Every event before it is claimed.
async fn mark(db: &PgPool) -> Uuid {
    sqlx::query_scalar("select event_id from marks where name = 'handled'").fetch_one(db).await.unwrap()
}

async fn floor(db: &PgPool, minutes: i32) -> Uuid {
    sqlx::query_scalar("select uuid_v7_floor(now() - make_interval(mins => $1))")
        .bind(minutes)
        .fetch_one(db)
        .await
        .unwrap()
}

#[sqlx::test(migrator = "migrations::MIGRATOR")]
async fn only_events_that_their_function_never_claimed_are_republished(db: PgPool) {
    let (lost, handled, others, fresh) =
        (event(&db, 20).await, event(&db, 19).await, event(&db, 18).await, event(&db, 1).await);
    claim(&db, "task-created", handled).await;
    claim(&db, "task-updated", others).await;
    assert!(repair(&db).await.contains("publish"));
    assert_eq!(unpublished(&db).await, [lost, others]);
    assert!(fresh > others);
}

/// A process whose clock is 20 minutes behind writes an event, or a database after a failover to such a clock. Kafka loses the event.
#[sqlx::test(migrator = "migrations::MIGRATOR")]
async fn a_lost_event_is_found_even_if_the_clock_of_its_writer_is_behind_the_mark(db: PgPool) {
    execute(&db, "update marks set event_id = uuid_v7_floor(now() + interval '10 minutes') where name = 'handled'")
        .await;
    let user = user(&db).await;
    let task = task(&db, user).await;
    let lost = id(&emitted(&db, &TaskCreated { task }).await);
    execute(
        &db,
        "update task_events set occurred_at = now() - interval '5 minutes', published_at = now() - interval '5 minutes'",
    )
    .await;
    repair_events(&db).await;
    assert_eq!(unpublished(&db).await, [lost]);
}

#[sqlx::test(migrator = "migrations::MIGRATOR")]
async fn republishing_backs_off_up_to_a_maximum(db: PgPool) {
    let id = event(&db, 5).await;
    // Minutes since the event happened, minutes since its last publication, and whether repair republishes it.
    for (old, since, again) in
        [(5, 1, false), (5, 3, true), (10, 4, false), (10, 6, true), (1_000, 15, false), (1_000, 17, true)]
    {
        let age = "update task_events set occurred_at = now() - make_interval(mins => $2),
                   published_at = now() - make_interval(mins => $3) where id = $1";
        sqlx::query(age).bind(id).bind(old).bind(since).execute(&db).await.unwrap();
        repair_events(&db).await;
        assert_eq!(unpublished(&db).await == [id], again, "{old} minutes old, published {since} minutes ago");
    }
}

#[sqlx::test(migrator = "migrations::MIGRATOR")]
async fn a_slow_function_gets_fewer_copies_than_a_fast_one(db: PgPool) {
    let settings = Settings { repair_interval_seconds: 1, repair_after_seconds: 1 };
    // Two functions have fifteen unclaimed events each. One of them has claimed six events of the last second.
    for _ in 0..15 {
        event(&db, 20).await;
    }
    let others = "with event as (
            update task_events set type = 'task.updated' where id in (select id from task_events where type = 'task.created')
            returning id, task_id, user_id, sequence, data, published_at)
        insert into task_events (id, type, task_id, user_id, sequence, data, published_at)
        select gen_random_uuid(), 'task.created', task_id, user_id, sequence, data, published_at from event";
    sqlx::query(others).execute(&db).await.unwrap();
    let now = Utc::now();
    for minutes in 1..=6 {
        claim(&db, "task-updated", Uuid::now_v7()).await;
        claim(&db, "task-created", floor(&db, minutes).await).await;
    }
    upkeep::repair::unpublish_unclaimed(&(&db).into(), now, &settings).await.unwrap();
    let published: Vec<(String, i64)> =
        sqlx::query_as("select type, count(*) from task_events where published_at is null group by 1 order by 1")
            .fetch_all(&db)
            .await
            .unwrap();
    assert_eq!(published, [("task.created".to_owned(), 10), ("task.updated".to_owned(), 12)]);
}

#[sqlx::test(migrator = "migrations::MIGRATOR")]
async fn the_mark_stops_before_the_first_unclaimed_event_and_ten_minutes_before_now(db: PgPool) {
    let (first, second, third) = (event(&db, 40).await, event(&db, 30).await, event(&db, 20).await);
    let before = mark(&db).await;
    claim(&db, "task-created", first).await;
    claim(&db, "task-created", third).await;
    repair(&db).await;
    assert_eq!(mark(&db).await, second);
    assert!(before < first);
    // The mark waits for the second event, whose publication is still on its way.
    assert_eq!(unpublished(&db).await, [second]);
    repair(&db).await;
    assert_eq!(mark(&db).await, second);
    claim(&db, "task-created", second).await;
    repair(&db).await;
    let behind = mark(&db).await;
    assert!(floor(&db, 11).await < behind && behind <= floor(&db, 10).await && third < behind);
}

#[sqlx::test(migrator = "migrations::MIGRATOR")]
async fn the_mark_never_goes_back(db: PgPool) {
    repair(&db).await;
    let ahead = floor(&db, -60).await;
    sqlx::query("update marks set event_id = $1 where name = 'handled'").bind(ahead).execute(&db).await.unwrap();
    repair(&db).await;
    assert_eq!(mark(&db).await, ahead);
}

/// Replays an event as an operator does, but loses the publication.
async fn replay(conn: &mut sqlx::PgConnection, id: Uuid) {
    let forget = "delete from processed_events where event_id = $1";
    sqlx::query(forget).bind(id).execute(&mut *conn).await.unwrap();
    let lower = "update marks set event_id = least(event_id, $1) where name = 'handled'";
    sqlx::query(lower).bind(id).execute(&mut *conn).await.unwrap();
}

#[sqlx::test(migrator = "migrations::MIGRATOR")]
async fn a_replayed_event_below_the_mark_is_found_again(db: PgPool) {
    let old = event(&db, 45).await;
    claim(&db, "task-created", old).await;
    repair(&db).await;
    assert!(old < mark(&db).await);
    replay(&mut db.acquire().await.unwrap(), old).await;
    repair(&db).await;
    assert_eq!((unpublished(&db).await, mark(&db).await), (vec![old], old));
}

#[sqlx::test(migrator = "migrations::MIGRATOR")]
async fn the_mark_does_not_pass_an_event_replayed_during_repair(db: PgPool) {
    let old = event(&db, 45).await;
    claim(&db, "task-created", old).await;
    let mut tx = db.begin().await.unwrap();
    replay(&mut tx, old).await;
    let repairing = tokio::spawn({
        let db = db.clone();
        async move { repair(&db).await }
    });
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert!(!repairing.is_finished());
    tx.commit().await.unwrap();
    repairing.await.unwrap();
    assert!(mark(&db).await <= old);
    repair(&db).await;
    assert_eq!(unpublished(&db).await, [old]);
}

#[sqlx::test(migrator = "migrations::MIGRATOR")]
async fn repair_returns_the_first_failure_and_does_all_other_steps(db: PgPool) {
    let lost = event(&db, 20).await;
    let told = repair(&db).await;
    assert!(told.contains("publish"), "{told}");
    let user = user(&db).await;
    let task = task(&db, user).await;
    reminder(&db, &task, chrono::Utc::now()).await;
    // Reminders and deliveries come first. Their failure never stops the other steps.
    sqlx::query("update task_events set published_at = now() - interval '1 hour'").execute(&db).await.unwrap();
    let told = repair(&db).await;
    assert!(told.contains("schedule job"), "{told}");
    assert_eq!(unpublished(&db).await, [lost]);
    claim(&db, "task-created", lost).await;
    sqlx::query("update task_events set published_at = now()").execute(&db).await.unwrap();
    sqlx::query("update task_reminders set state = 'sent'").execute(&db).await.unwrap();
    // The retention job still cannot be scheduled.
    let told = repair(&db).await;
    assert!(told.contains("schedule job"), "{told}");
}

#[sqlx::test(migrator = "migrations::MIGRATOR")]
async fn concurrent_repairs_republish_a_lost_event_and_keep_the_mark_before_it(db: PgPool) {
    let lost = event(&db, 20).await;
    tokio::join!(repair(&db), repair(&db), repair(&db));
    assert_eq!((unpublished(&db).await, mark(&db).await <= lost), (vec![lost], true));
}

#[sqlx::test(migrator = "migrations::MIGRATOR")]
async fn missing_search_texts_are_filled_without_a_new_version(db: PgPool) {
    let task = task(&db, user(&db).await).await;
    let row = async || {
        let row = sqlx::query_as("select search_text, version, updated_at from tasks where id = $1").bind(task.task_id);
        let row: (Option<String>, i64, chrono::DateTime<Utc>) = row.fetch_one(&db).await.unwrap();
        row
    };
    let (text, version, updated_at) = row().await;
    assert_eq!(text, None);
    repair(&db).await;
    assert_eq!(row().await, (Some("call the dentist".to_owned()), version, updated_at));
    let phase_two = "update tasks set title = 'STRASSE', description = 'Ä' where id = $1";
    sqlx::query(phase_two).bind(task.task_id).execute(&db).await.unwrap();
    assert_eq!((row().await.0, row().await.1), (None, version + 1));
    // A task that a command is changing waits for the next run.
    let mut command = db.begin().await.unwrap();
    sqlx::query("select from tasks for update").execute(&mut *command).await.unwrap();
    assert_eq!(upkeep::search_text::fill(&(&db).into()).await.unwrap(), 0);
    command.rollback().await.unwrap();
    assert_eq!(upkeep::search_text::fill(&(&db).into()).await.unwrap(), 1);
    assert_eq!((row().await.0, row().await.1), (Some("strasse\nä".to_owned()), version + 1));
    assert_eq!(upkeep::search_text::fill(&(&db).into()).await.unwrap(), 0, "nothing is left");
}
