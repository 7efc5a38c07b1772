//! Messages that faults write to the topics: duplicates, replays and poison.

use std::time::Duration;

use chrono::Utc;
use fastrand::Rng;
use lab::kafka::topics::{self, Client, PartitionClient, Record, record};
use serde_json::{Value, json};
use shared::{
    catalogue::{EventType, TOPICS},
    cloud_event::SOURCE,
};
use sqlx::{Connection as _, PgConnection};
use tokio::time::timeout;
use uuid::Uuid;

use crate::{clock, faults::Poison};

const LIMIT: Duration = Duration::from_secs(10);

async fn kafka(brokers: &str) -> anyhow::Result<Client> {
    timeout(LIMIT, topics::connect(brokers)).await?
}

async fn any_partition(kafka: &Client, topic: &str, rng: &mut Rng) -> anyhow::Result<PartitionClient> {
    let mut partitions = timeout(LIMIT, topics::partitions(kafka, topic)).await??;
    Ok(partitions.swap_remove(rng.usize(..partitions.len())))
}

/// Republishes some events up to 50 times each, shuffled, to an arbitrary partition of their topic. The data of some copies is changed, which
/// must have no effect: an event is its row.
pub(crate) async fn repeat(brokers: &str, database: &str, mut rng: Rng) -> anyhow::Result<usize> {
    let mut db = timeout(LIMIT, PgConnection::connect(database)).await??;
    let rows: Vec<(Uuid, String, Uuid, i64, Value, chrono::DateTime<Utc>)> = sqlx::query_as(
        "select id, type, task_id, sequence, data, occurred_at from task_events
         where published_at is not null order by random() limit $1",
    )
    .bind(i64::from(rng.i32(3..60)))
    .fetch_all(&mut db)
    .await?;
    let kafka = kafka(brokers).await?;
    let mut written = 0;
    for topic in TOPICS.map(|topic| topic.name) {
        let mut records = Vec::new();
        for (id, kind, task, sequence, data, at) in &rows {
            if EventType::parse(kind).map(EventType::topic) != Some(topic) {
                continue;
            }
            let data = if rng.u32(..4) == 0 { &forged(Uuid::now_v7()) } else { data };
            let event = json!({
                "specversion": "1.0", "id": id, "source": SOURCE, "type": kind, "subject": task, "time": at,
                "datacontenttype": "application/json", "data": data, "partitionkey": task,
                "sequence": format!("{sequence:010}"),
            });
            let times = if rng.u32(..10) == 0 { 50 } else { rng.usize(1..4) };
            records.extend((0..times).map(|_| record(Some(&task.to_string()), event.to_string().into())));
        }
        rng.shuffle(&mut records);
        written += records.len();
        if !records.is_empty() {
            topics::append(&any_partition(&kafka, topic, &mut rng).await?, records).await?;
        }
    }
    Ok(written)
}

/// Appends the records of a partition to it again, in order. Consumers see the same sequence as after losing their offsets. `copied` gets the
/// records before they are appended: a failed append may have written them.
pub(crate) async fn replay(brokers: &str, mut rng: Rng, copied: impl FnOnce(&[Record])) -> anyhow::Result<usize> {
    let topic = TOPICS[rng.usize(..TOPICS.len())].name;
    let partition = any_partition(&kafka(brokers).await?, topic, &mut rng).await?;
    let (records, _) = timeout(LIMIT, partition.fetch_records(0, 1..500_000, 1_000)).await??;
    let records: Vec<Record> = records.into_iter().map(|found| found.record).collect();
    let count = records.len();
    if count > 0 {
        copied(&records);
        topics::append(&partition, records).await?;
    }
    Ok(count)
}

/// The data of an event of any type, about a task that does not exist.
fn forged(id: Uuid) -> Value {
    json!({
        "task_id": id, "user_id": id, "title": "forged", "version": 1, "completed_at": clock::now(), "reminder_id": id,
        "remind_at": clock::now(), "reminder_version": 1, "channel": "email", "delivery_id": id, "cause": "task.created",
    })
}

/// Writes events that the outbox does not have, well-formed or not.
pub(crate) async fn poison(brokers: &str, mut rng: Rng) -> anyhow::Result<Vec<Poison>> {
    let kafka = kafka(brokers).await?;
    let kinds = [EventType::TaskCreated, EventType::TaskUpdated, EventType::ReminderDue, EventType::TaskChanged];
    let mut poison = Vec::new();
    for _ in 0..rng.usize(1..4) {
        let kind = kinds[rng.usize(..kinds.len())];
        let id = Uuid::now_v7();
        let data = [json!({"task_id": "nobody"}), json!("text"), json!({}), forged(id)][rng.usize(..4)].clone();
        let event = json!({
            "specversion": "1.0", "id": id, "source": SOURCE, "type": kind.as_str(), "subject": id, "time": clock::now(),
            "datacontenttype": "application/json", "data": data,
            // Older versions of daprd crash on one that is not a string.
            "traceparent": data,
        });
        let partition = any_partition(&kafka, kind.topic(), &mut rng).await?;
        topics::append(&partition, vec![record(Some(&id.to_string()), event.to_string().into())]).await?;
        poison.push(Poison { id, consumer: kind.consumer(), topic: kind.topic(), written: clock::now(), copies: 1 });
    }
    Ok(poison)
}
