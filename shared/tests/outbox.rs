//! The outbox on a real PostgreSQL: every row is a CloudEvent that matches its schema.

use std::time::{Duration, Instant};

use chrono::DateTime;
use cloudevents::{AttributesReader as _, Data, Event};
use serde_json::Value;
use shared::{
    catalogue::EventType,
    cloud_event::{SOURCE, Trace},
    outbox,
    schema::{
        Channel, Payload, ReminderDue, ReminderSent, TaskChanged, TaskCompleted, TaskCreated, TaskDeleted, TaskRef,
        TaskUpdated,
    },
    testing::{app, count, emitted, handed_over},
};
use sqlx::PgPool;
use uuid::Uuid;

fn task(version: i64) -> TaskRef {
    TaskRef {
        task_id: Uuid::now_v7(),
        user_id: Uuid::now_v7(),
        title: "call the \"dentist\" \u{1f9b7}\n".to_owned(),
        version,
    }
}

/// Checks an event of the outbox against CloudEvents 1.0 and the schema of its type.
async fn holds<T: Payload>(db: &PgPool, payload: T) {
    let task = payload.task().clone();
    let json = emitted(db, &payload).await;
    let event: Event = serde_json::from_value(json.clone()).unwrap();
    let id: Uuid = event.id().parse().unwrap();
    assert_eq!((id.get_version_num(), event.id()), (7, id.to_string().as_str()));
    assert_eq!(event.source(), SOURCE);
    assert_eq!(event.ty(), T::TYPE.as_str());
    assert_eq!(event.subject(), Some(task.task_id.to_string().as_str()));
    assert_eq!(event.datacontenttype(), Some("application/json"));
    assert_eq!(json["specversion"], "1.0");
    let age = chrono::Utc::now() - DateTime::parse_from_rfc3339(json["time"].as_str().unwrap()).unwrap().to_utc();
    assert!(age.num_seconds().abs() < 10, "{age}");
    assert_eq!(json["partitionkey"], task.task_id.to_string());
    assert_eq!(json["sequence"], format!("{:010}", task.version));
    // daprd replaces a `traceparent` without a `traceid`.
    assert_eq!(json["traceid"], json["traceparent"]);
    let traceparent = json["traceparent"].as_str().unwrap();
    assert_eq!(Trace::from_header(Some(traceparent)).as_str(), traceparent);
    for name in json.as_object().unwrap().keys() {
        assert!(name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit()), "{name} is no attribute's name");
    }

    let path = format!("{}/schema/{}.json", env!("CARGO_MANIFEST_DIR"), T::TYPE.as_str());
    let schema: Value = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
    let schema = jsonschema::options().should_validate_formats(true).build(&schema).unwrap();
    let Some(Data::Json(data)) = event.data() else { panic!("no JSON: {json}") };
    assert!(schema.is_valid(data), "{:?}", schema.iter_errors(data).map(|e| e.to_string()).collect::<Vec<_>>());
    for name in ["task_id", "user_id", "title", "version"] {
        let mut without = data.clone();
        without.as_object_mut().unwrap().remove(name).unwrap();
        assert!(!schema.is_valid(&without), "{} may lack {name}", T::TYPE.as_str());
    }
}

#[sqlx::test(migrator = "migrations::MIGRATOR")]
async fn every_event_is_a_cloud_event_that_its_schema_describes(db: PgPool) {
    let now = chrono::Utc::now();
    let (reminder_id, remind_at, reminder_version) = (Uuid::now_v7(), now, 2);
    holds(&db, TaskCreated { task: task(1) }).await;
    holds(&db, TaskUpdated { task: task(2) }).await;
    holds(&db, TaskCompleted { task: task(10), completed_at: now }).await;
    holds(&db, TaskDeleted { task: task(9_999_999_999) }).await;
    holds(&db, ReminderDue { task: task(3), reminder_id, remind_at, reminder_version }).await;
    let delivery_id = Uuid::now_v7();
    let channel = Channel::Email.into();
    let target = None;
    holds(&db, ReminderSent { task: task(3), reminder_id, remind_at, reminder_version, channel, target, delivery_id })
        .await;
    for cause in EventType::ALL {
        holds(&db, TaskChanged { task: task(3), cause: cause.into() }).await;
    }
}

#[sqlx::test(migrator = "migrations::MIGRATOR")]
async fn a_later_version_of_a_task_has_a_sequence_that_sorts_later(db: PgPool) {
    let mut sequences = Vec::new();
    for version in [1, 2, 9, 10, 99, 100, 4_294_967_296] {
        sequences
            .push(emitted(&db, &TaskUpdated { task: task(version) }).await["sequence"].as_str().unwrap().to_owned());
    }
    assert!(sequences.is_sorted(), "{sequences:?}");
    sequences.dedup();
    assert_eq!(sequences.len(), 7);
}

#[sqlx::test(migrator = "migrations::MIGRATOR")]
async fn an_event_is_rolled_back_with_its_transaction_and_keeps_the_trace(db: PgPool) {
    let trace = Trace::from_header(Some("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"));
    let mut tx = db.begin().await.unwrap();
    outbox::emit(&mut tx, &TaskCreated { task: task(1) }, &trace).await.unwrap();
    tx.rollback().await.unwrap();
    assert_eq!(count(&db, "select count(*) from task_events").await, 0);
    let mut tx = db.begin().await.unwrap();
    let id = outbox::emit(&mut tx, &TaskCreated { task: task(1) }, &trace).await.unwrap();
    tx.commit().await.unwrap();
    assert_eq!(handed_over(&db, id).await["traceparent"], trace.as_str());
}

#[sqlx::test(migrator = "migrations::MIGRATOR")]
async fn an_event_that_could_not_be_published_stays_unpublished_and_releases_its_lock(db: PgPool) {
    let app = app(&db);
    emitted(&db, &TaskCreated { task: task(1) }).await;
    app.outbox.flush(Duration::from_secs(5)).await.unwrap_err();
    assert_eq!(count(&db, "select count(*) from task_events where published_at is null").await, 1);
    // The failure released the lock of the shard.
    assert_eq!(
        count(
            &db,
            "select count(*) from pg_locks where locktype = 'advisory' and database =
        (select oid from pg_database where datname = current_database())"
        )
        .await,
        0
    );
}

#[sqlx::test(migrator = "migrations::MIGRATOR")]
async fn an_event_of_a_newer_version_stays_unpublished_and_the_relay_becomes_idle(db: PgPool) {
    emitted(&db, &TaskCreated { task: task(1) }).await;
    sqlx::query("update task_events set type = 'task.unheard'").execute(&db).await.unwrap();
    let began = Instant::now();
    app(&db).outbox.flush(Duration::from_secs(5)).await.unwrap();
    assert!(began.elapsed() < Duration::from_secs(4));
    assert_eq!(count(&db, "select count(*) from task_events where published_at is null").await, 1);
}

#[sqlx::test(migrator = "migrations::MIGRATOR")]
async fn a_relay_waits_for_the_lock_of_another_relay(db: PgPool) {
    emitted(&db, &TaskCreated { task: task(1) }).await;
    let mut other = db.begin().await.unwrap();
    sqlx::query("select pg_advisory_xact_lock(x'6f757462'::int, shard) from task_events")
        .execute(&mut *other)
        .await
        .unwrap();
    let error = app(&db).outbox.flush(Duration::from_millis(300)).await.unwrap_err();
    assert!(error.is::<tokio::time::error::Elapsed>(), "{error:#}");
    sqlx::query("update task_events set published_at = now()").execute(&mut *other).await.unwrap();
    other.commit().await.unwrap();
    app(&db).outbox.flush(Duration::from_secs(5)).await.unwrap();
}
