//! The topics: events put there by hand, and everything that is on them.

use std::fs;

use chrono::Utc;
use rskafka::{
    client::{
        Client, ClientBuilder,
        partition::{Compression, OffsetAt, PartitionClient, UnknownTopicHandling},
    },
    record::Record,
};
use serde_json::{Value, json};
use shared::{catalogue::EventType, schema::Payload, sidecar::Publication};
use uuid::Uuid;

use crate::{
    user, wait,
    world::{SOON, World},
};

/// An event as it is in the outbox, and as it looks on its topic.
#[derive(Clone, Debug)]
pub(crate) struct Outboxed {
    pub(crate) id: Uuid,
    pub(crate) kind: EventType,
    pub(crate) json: Value,
}

impl Outboxed {
    /// The record of it, as daprd would write it.
    pub(crate) fn record(&self) -> Record {
        record(self.json["subject"].as_str().unwrap_or_default(), self.json.to_string().into_bytes())
    }
}

/// A record with a key.
pub(crate) fn record(key: &str, value: Vec<u8>) -> Record {
    Record { key: Some(key.into()), value: Some(value), headers: [].into(), timestamp: Utc::now() }
}

/// The CloudEvent of a payload, with an id of its own.
pub(crate) fn cloud_event<T: Payload>(payload: &T) -> Value {
    let task = payload.task();
    json!({
        "specversion": "1.0", "id": Uuid::now_v7(), "source": shared::cloud_event::SOURCE, "type": T::TYPE.as_str(),
        "subject": task.task_id, "time": user::text(Utc::now()), "datacontenttype": "application/json",
        "partitionkey": task.task_id, "sequence": format!("{:010}", task.version), "data": payload,
    })
}

impl World {
    /// Puts an event into the outbox as if it had been published, so that nothing but the test does.
    pub(crate) async fn outboxed<T: Payload>(&self, payload: &T) -> Outboxed {
        let json = cloud_event(payload);
        let id = user::id(&json["id"]);
        sqlx::query(
            "insert into task_events (id, type, task_id, user_id, sequence, data, published_at)
             values ($1, $2, $3, $4, $5, $6, now())",
        )
        .bind(id)
        .bind(T::TYPE.as_str())
        .bind(payload.task().task_id)
        .bind(payload.task().user_id)
        .bind(payload.task().version)
        .bind(&json["data"])
        .execute(&self.db)
        .await
        .expect("the database answers");
        Outboxed { id, kind: T::TYPE, json }
    }

    /// Publishes again, through Dapr, everything that was ever published about a task, and says what that is.
    pub(crate) async fn publish_again(&self, task_id: Uuid) -> Vec<(Uuid, EventType)> {
        let rows: Vec<(Uuid, String, i64, Value)> =
            sqlx::query_as("select id, type, sequence, data from task_events where task_id = $1 order by id")
                .bind(task_id)
                .fetch_all(&self.db)
                .await
                .expect("the database answers");
        let sidecar = self.sidecar("tasks");
        let mut again = Vec::new();
        for (id, kind, sequence, data) in rows {
            let kind = EventType::parse(&kind).expect("a type");
            let event = json!({
                "specversion": "1.0", "id": id, "source": shared::cloud_event::SOURCE, "type": kind.as_str(), "subject": task_id,
                "time": user::text(Utc::now()), "datacontenttype": "application/json", "data": data,
                "partitionkey": task_id, "sequence": format!("{sequence:010}"),
            });
            let event = Publication { id, key: task_id.to_string(), event: event.to_string().into_bytes() };
            let published = sidecar.publish(kind.topic(), vec![event]).await.expect("Dapr takes it");
            assert_eq!(published.ids, [id], "{published:?}");
            again.push((id, kind));
        }
        again
    }

    /// Waits until the functions have said of these events that they had them before.
    pub(crate) async fn seen_again(&self, events: &[(Uuid, EventType)]) {
        wait::until("the functions see the events again", SOON, async || {
            let unseen: Vec<_> = events
                .iter()
                .filter(|(id, kind)| {
                    let log = fs::read_to_string(self.function(kind.consumer()).process.log()).unwrap_or_default();
                    !log.contains(&format!("{}: event {id} was handled before", kind.consumer()))
                })
                .collect();
            if unseen.is_empty() { Ok(()) } else { Err(format!("not yet seen: {unseen:?}")) }
        })
        .await;
    }

    /// Kafka.
    pub(crate) async fn kafka(&self) -> Client {
        let brokers = self.topology.kafka_brokers().expect("the broker is Kafka");
        ClientBuilder::new(vec![brokers]).build().await.expect("Kafka answers")
    }

    /// Waits until a function has claimed every one of these events.
    pub(crate) async fn claimed(&self, events: &[Uuid]) {
        let wanted = i64::try_from(events.len()).unwrap_or_default();
        wait::until_equal("the events are claimed", SOON, wanted, async || {
            sqlx::query_scalar("select count(*) from processed_events where event_id = any($1)")
                .bind(events)
                .fetch_one(&self.db)
                .await
                .expect("the database answers")
        })
        .await;
    }
}

/// The partitions of a topic.
pub(crate) async fn partitions(kafka: &Client, topic: &str) -> Vec<PartitionClient> {
    let topics = kafka.list_topics().await.expect("Kafka answers");
    let found = topics.into_iter().find(|found| found.name == topic).expect("the topic is there");
    let mut clients = Vec::new();
    for partition in found.partitions {
        let client = kafka.partition_client(topic, partition, UnknownTopicHandling::Retry).await;
        clients.push(client.expect("Kafka answers"));
    }
    clients
}

/// Puts records on a partition, in this order.
pub(crate) async fn put(partition: &PartitionClient, records: Vec<Record>) {
    partition.produce(records, Compression::NoCompression).await.expect("Kafka takes it");
}

/// Every record that is on a topic.
pub(crate) async fn read(kafka: &Client, topic: &str) -> Vec<Record> {
    let mut records = Vec::new();
    for partition in partitions(kafka, topic).await {
        let mut next = partition.get_offset(OffsetAt::Earliest).await.expect("Kafka answers");
        let end = partition.get_offset(OffsetAt::Latest).await.expect("Kafka answers");
        while next < end {
            let (some, _) = partition.fetch_records(next, 1..10_000_000, 1_000).await.expect("Kafka answers");
            next = some.last().map_or(end, |last| last.offset + 1);
            records.extend(some.into_iter().map(|found| found.record));
        }
    }
    records
}
