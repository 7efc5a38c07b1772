//! Messages put straight onto the topics: what was there before, again and in another order, and what nobody can handle.

use anyhow::Context as _;
use chrono::Utc;
use fastrand::Rng;
use rskafka::{
    client::{
        Client, ClientBuilder,
        partition::{Compression, UnknownTopicHandling},
    },
    record::Record,
};
use serde_json::{Value, json};
use sqlx::{Connection as _, PgConnection};
use uuid::Uuid;

use crate::faults::Poison;

const LIMIT: std::time::Duration = std::time::Duration::from_secs(10);

async fn kafka(brokers: &str) -> anyhow::Result<Client> {
    Ok(tokio::time::timeout(LIMIT, ClientBuilder::new(vec![brokers.to_owned()]).build()).await??)
}

async fn put(kafka: &Client, topic: &str, partition: i32, records: Vec<Record>) -> anyhow::Result<()> {
    let put = async {
        let partition = kafka.partition_client(topic, partition, UnknownTopicHandling::Retry).await?;
        partition.produce(records, Compression::NoCompression).await
    };
    tokio::time::timeout(LIMIT, put).await??;
    Ok(())
}

fn partitions(topic: &str) -> i32 {
    if topic == "reminders" { 12 } else { 6 }
}

fn topic(kind: &str) -> &'static str {
    match kind {
        "reminder.due" | "reminder.sent" => "reminders",
        "task.changed" => "task-updates",
        _ => "task-events",
    }
}

fn record(key: &str, event: &Value) -> Record {
    Record { key: Some(key.into()), value: Some(event.to_string().into()), headers: [].into(), timestamp: Utc::now() }
}

/// Some events that were published, each up to 50 times, mixed, on a partition that need not be theirs.
pub(crate) async fn repeat(brokers: &str, database: &str, mut rng: Rng) -> anyhow::Result<usize> {
    let mut db = tokio::time::timeout(LIMIT, PgConnection::connect(database)).await??;
    let rows: Vec<(Uuid, String, Uuid, i64, Value, chrono::DateTime<Utc>)> = sqlx::query_as(
        "select id, type, task_id, sequence, data, occurred_at from task_events
         where published_at is not null order by random() limit $1",
    )
    .bind(i64::from(rng.i32(3..60)))
    .fetch_all(&mut db)
    .await?;
    let kafka = kafka(brokers).await?;
    let mut put_there = 0;
    for wanted in ["task-events", "reminders", "task-updates"] {
        let mut records = Vec::new();
        for (id, kind, task, sequence, data, at) in rows.iter().filter(|row| topic(&row.1) == wanted) {
            let event = json!({
                "specversion": "1.0", "id": id, "source": shared::cloud_event::SOURCE, "type": kind, "subject": task, "time": at,
                "datacontenttype": "application/json", "data": data, "partitionkey": task,
                "sequence": format!("{sequence:010}"),
            });
            let times = if rng.u32(..10) == 0 { 50 } else { rng.usize(1..4) };
            records.extend((0..times).map(|_| record(&task.to_string(), &event)));
        }
        rng.shuffle(&mut records);
        put_there += records.len();
        if !records.is_empty() {
            put(&kafka, wanted, rng.i32(0..partitions(wanted)), records).await?;
        }
    }
    Ok(put_there)
}

/// What a partition holds, once more and in its order: as for a consumer whose offsets are lost.
pub(crate) async fn replay(brokers: &str, mut rng: Rng) -> anyhow::Result<usize> {
    let topic = ["task-events", "reminders", "task-updates"][rng.usize(..3)];
    let partition = rng.i32(0..partitions(topic));
    let kafka = kafka(brokers).await?;
    let again = async {
        let client = kafka.partition_client(topic, partition, UnknownTopicHandling::Retry).await?;
        let (records, _) = client.fetch_records(0, 1..500_000, 1_000).await?;
        let records: Vec<Record> = records.into_iter().map(|one| one.record).collect();
        let count = records.len();
        if count > 0 {
            client.produce(records, Compression::NoCompression).await?;
        }
        anyhow::Ok(count)
    };
    tokio::time::timeout(LIMIT, again).await?
}

/// Events that are not what their type says, one for a function each.
pub(crate) async fn poison(brokers: &str, mut rng: Rng) -> anyhow::Result<Vec<Poison>> {
    let kafka = kafka(brokers).await.context("Kafka is away")?;
    let kinds = [
        ("task.created", "task-created"),
        ("task.updated", "task-updated"),
        ("reminder.due", "reminder-due"),
        ("task.changed", "task-changed"),
    ];
    let mut poison = Vec::new();
    for _ in 0..rng.usize(1..4) {
        let (kind, consumer) = kinds[rng.usize(..kinds.len())];
        let id = Uuid::now_v7();
        let data = [json!({"task_id": "nobody"}), json!("text"), json!({})][rng.usize(..3)].clone();
        let event = json!({
            "specversion": "1.0", "id": id, "source": shared::cloud_event::SOURCE, "type": kind, "subject": id, "time": Utc::now(),
            "datacontenttype": "application/json", "data": data,
        });
        put(&kafka, topic(kind), rng.i32(0..partitions(topic(kind))), vec![record(&id.to_string(), &event)]).await?;
        poison.push(Poison { id, consumer });
    }
    Ok(poison)
}
