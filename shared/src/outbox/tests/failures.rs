//! The relay beside a broker that refuses a topic, a partition or a task: each delays only itself.

use sqlx::{PgPool, postgres::PgPoolOptions};

use super::{super::calls::partition, *};
use crate::testing::{Dapr, app_with};

/// A relay, and the time by its clock.
struct Relay {
    db: PgPool,
    dapr: Dapr,
    outbox: Outbox,
    now: Instant,
}

impl Relay {
    async fn new(db: PgPool) -> Self {
        let dapr = Dapr::start().await;
        let outbox = app_with(&db, &dapr, &dapr, &dapr).outbox;
        Self { db, dapr, outbox, now: Instant::now() }
    }

    /// Writes an event of a task.
    async fn write(&self, kind: EventType, task: Uuid) -> Uuid {
        let insert = "insert into task_events (type, task_id, user_id, sequence, data) values ($1, $2, $2, 1, '{}') returning id";
        sqlx::query_scalar(insert).bind(kind.as_str()).bind(task).fetch_one(&self.db).await.unwrap()
    }

    /// Makes a pass when the next event is due, or now. Returns the number of calls.
    async fn pass(&mut self) -> usize {
        let before = self.dapr.publish_calls();
        let pass = self.outbox.pass(self.now).await.unwrap();
        assert!(!pass.busy && !pass.more);
        self.now = pass.retry_at.unwrap_or(self.now).max(self.now);
        self.dapr.publish_calls() - before
    }

    async fn unpublished(&self) -> Vec<Uuid> {
        let unpublished = "select id from task_events where published_at is null order by id";
        sqlx::query_scalar(unpublished).fetch_all(&self.db).await.unwrap()
    }
}

const NOTHING: [Uuid; 0] = [];

/// A task whose events are in a partition of `task-events`.
fn task_in(number: u16) -> Uuid {
    std::iter::repeat_with(Uuid::now_v7).find(|task| partition(EventType::TaskCreated.on(), *task) == number).unwrap()
}

/// A topic that is gone, or that an older daprd may not publish to yet.
#[sqlx::test(migrator = "migrations::MIGRATOR")]
async fn a_topic_that_is_refused_delays_no_other_topic(db: PgPool) {
    let mut relay = Relay::new(db).await;
    relay.dapr.refuse("reminders");
    let task = Uuid::now_v7();
    let mut refused = vec![relay.write(EventType::ReminderDue, task).await];
    for _ in 0..10 {
        refused.push(relay.write(EventType::ReminderDue, Uuid::now_v7()).await);
    }
    // The same task, on other topics.
    relay.write(EventType::TaskUpdated, task).await;
    relay.write(EventType::TaskChanged, task).await;
    assert!(relay.pass().await <= 4 + 2);
    assert_eq!(relay.unpublished().await, refused);
    // What is written from now on finds the topic blamed: its own events cost one failed call, of others none.
    for _ in 0..20 {
        relay.write(EventType::TaskUpdated, Uuid::now_v7()).await;
        refused.push(relay.write(EventType::ReminderSent, Uuid::now_v7()).await);
        assert!(relay.pass().await <= 3);
        assert_eq!(relay.unpublished().await, refused);
    }
    relay.dapr.refuse_nothing();
    relay.pass().await;
    relay.pass().await;
    assert_eq!(relay.unpublished().await, NOTHING);
}

#[sqlx::test(migrator = "migrations::MIGRATOR")]
async fn a_partition_that_is_refused_delays_no_other_partition(db: PgPool) {
    let mut relay = Relay::new(db).await;
    let mut refused = Vec::new();
    for number in 0..60 {
        let task = task_in(number % 6);
        let id = relay.write(EventType::TaskCreated, task).await;
        if number % 6 == 2 {
            relay.dapr.refuse(task);
            refused.push(id);
        }
    }
    for _ in 0..4 {
        relay.pass().await;
    }
    assert_eq!(relay.unpublished().await, refused);
    // New events of the partition are set aside without a call of others that fails.
    for _ in 0..20 {
        let task = task_in(2);
        relay.dapr.refuse(task);
        refused.push(relay.write(EventType::TaskUpdated, task).await);
        relay.write(EventType::TaskUpdated, task_in(1)).await;
        assert!(relay.pass().await <= 3);
        assert_eq!(relay.unpublished().await, refused);
    }
    relay.dapr.refuse_nothing();
    relay.pass().await;
    relay.pass().await;
    assert_eq!(relay.unpublished().await, NOTHING);
}

/// For example one whose event is larger than the broker takes.
#[sqlx::test(migrator = "migrations::MIGRATOR")]
async fn a_task_that_is_refused_delays_no_other_task(db: PgPool) {
    let mut relay = Relay::new(db).await;
    let refused = Uuid::now_v7();
    relay.dapr.refuse(refused);
    let mut stays = vec![relay.write(EventType::TaskCreated, refused).await];
    stays.push(relay.write(EventType::TaskUpdated, refused).await);
    for number in 0..100 {
        relay.write(EventType::TaskCreated, task_in(number % 6)).await;
    }
    let began = relay.now;
    while relay.unpublished().await != stays {
        relay.pass().await;
        assert!(relay.now - began < Duration::from_secs(2));
    }
    // Alone it is tried less and less often.
    let end = relay.now + Duration::from_secs(600);
    let mut calls = 0;
    while relay.now < end {
        calls += relay.pass().await;
    }
    assert!(calls < 25, "{calls}");
    relay.dapr.refuse_nothing();
    relay.pass().await;
    assert_eq!(relay.unpublished().await, NOTHING);
}

/// They prove nothing about the topic, or about the partition of two of them.
#[sqlx::test(migrator = "migrations::MIGRATOR")]
async fn tasks_that_are_refused_for_long_never_delay_a_new_event(db: PgPool) {
    let mut relay = Relay::new(db).await;
    let mut stays = Vec::new();
    for number in [1, 1, 2] {
        let task = task_in(number);
        relay.dapr.refuse(task);
        stays.push(relay.write(EventType::TaskCreated, task).await);
    }
    for _ in 0..40 {
        relay.pass().await;
    }
    for number in 0..6 {
        relay.write(EventType::TaskCreated, task_in(number)).await;
        relay.pass().await;
        assert_eq!(relay.unpublished().await, stays, "of partition {number}");
    }
}

/// The database stops answering while the relay marks. Returned to the pool, its connection would hold a place there for as long.
#[sqlx::test(migrator = "migrations::MIGRATOR")]
async fn a_pass_without_an_answer_ends_and_closes_its_connection(db: PgPool) {
    let own = PgPoolOptions::new().max_connections(1).connect_lazy_with(db.connect_options().as_ref().clone());
    let dapr = Dapr::start().await;
    let mut outbox = app_with(&own, &dapr, &dapr, &dapr).outbox;
    outbox.db.deadlines.relay = Duration::from_millis(300);
    let relay = Relay { db, dapr, outbox, now: Instant::now() };
    let id = relay.write(EventType::TaskCreated, Uuid::now_v7()).await;
    let mut other = relay.db.begin().await.unwrap();
    sqlx::query("select from task_events for update").execute(&mut *other).await.unwrap();
    let error = relay.outbox.pass(relay.now).await.unwrap_err();
    assert_eq!(format!("{error:#}"), "no answer in 300ms: deadline has elapsed");
    let other_work = sqlx::query("select").execute(&own);
    tokio::time::timeout(Duration::from_secs(5), other_work).await.expect("the pool has a connection").unwrap();
    assert_eq!(relay.unpublished().await, [id]);
    other.rollback().await.unwrap();
    // The lock of the shard ended with the connection, which PostgreSQL may notice only at its next answer.
    relay.outbox.flush(Duration::from_secs(5)).await.unwrap();
    assert_eq!(relay.unpublished().await, NOTHING);
}

/// After an outage every event is out at the first success and the pass after it.
#[sqlx::test(migrator = "migrations::MIGRATOR")]
async fn every_event_is_published_within_two_passes_after_an_outage(db: PgPool) {
    let mut relay = Relay::new(db).await;
    for topic in catalogue::TOPICS {
        relay.dapr.refuse(topic.name);
    }
    let end = relay.now + Duration::from_secs(60);
    while relay.now < end {
        if relay.unpublished().await.len() < 90 {
            for kind in [EventType::TaskCreated, EventType::ReminderDue, EventType::TaskChanged] {
                relay.write(kind, Uuid::now_v7()).await;
            }
        }
        assert!(relay.pass().await <= 4);
    }
    relay.dapr.refuse_nothing();
    let healed = relay.now;
    while !relay.unpublished().await.is_empty() {
        relay.pass().await;
        assert!(relay.now - healed <= Duration::from_secs(5), "{} left", relay.unpublished().await.len());
    }
    let ids: BTreeSet<String> = relay.dapr.published().into_iter().map(|event| event.id).collect();
    assert_eq!(ids.len(), relay.dapr.published().len());
}
