//! Events that a test writes to the topics itself.

use std::fs;

use chrono::Utc;
use lab::{
    api::{id, text},
    kafka::topics::{self, Client, PartitionClient, Record, record},
    wait,
};
use serde_json::{Value, json};
use shared::{catalogue::EventType, schema::Payload, sidecar::Publication};
use uuid::Uuid;

use crate::product::{RunningProduct, SOON};

/// An event in the outbox, with its CloudEvent.
#[derive(Clone, Debug)]
pub(crate) struct Outboxed {
    pub(crate) id: Uuid,
    pub(crate) kind: EventType,
    pub(crate) json: Value,
}

impl Outboxed {
    /// The record that daprd would write.
    pub(crate) fn record(&self) -> Record {
        record(self.json["subject"].as_str(), self.json.to_string().into_bytes())
    }
}

/// The CloudEvent of a payload, with a new id.
pub(crate) fn cloud_event<T: Payload>(payload: &T) -> Value {
    let task = payload.task();
    let data = serde_json::to_value(payload).expect("a payload is JSON");
    envelope(Uuid::now_v7(), T::TYPE, task.task_id, task.version, data)
}

fn envelope(id: Uuid, kind: EventType, task_id: Uuid, sequence: i64, data: Value) -> Value {
    json!({
        "specversion": "1.0", "id": id, "source": shared::cloud_event::SOURCE, "type": kind.as_str(), "subject": task_id,
        "time": text(Utc::now()), "datacontenttype": "application/json", "partitionkey": task_id,
        "sequence": format!("{sequence:010}"), "data": data,
    })
}

impl RunningProduct {
    /// Inserts an event into the outbox as already published, so that only the test publishes it.
    pub(crate) async fn outboxed<T: Payload>(&self, payload: &T) -> Outboxed {
        let json = cloud_event(payload);
        let id = id(&json["id"]);
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

    /// Publishes every event of a task again, through Dapr, and returns them.
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
            let event = envelope(id, kind, task_id, sequence, data).to_string().into_bytes();
            let event = Publication { id, key: task_id.to_string(), event };
            sidecar.publish(kind.topic(), vec![event]).await.expect("Dapr publishes it");
            again.push((id, kind));
        }
        again
    }

    /// Waits until the functions have logged these events as duplicates.
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

    /// Waits until functions have rejected messages with these ids, none of which the outbox has.
    pub(crate) async fn rejected(&self, ids: &[Uuid]) {
        let wanted = i64::try_from(ids.len()).unwrap_or_default();
        wait::until_equal("the messages are rejected", SOON, wanted, async || {
            sqlx::query_scalar(
                "select count(*) from unnest($1) as message (event_id)
                 where exists (select from dead_letters where strpos(payload, message.event_id::text) > 0)",
            )
            .bind(ids)
            .fetch_one(&self.db)
            .await
            .expect("the database answers")
        })
        .await;
    }

    /// A client of Kafka.
    pub(crate) async fn kafka(&self) -> Client {
        let brokers = self.topology.kafka_brokers().expect("the broker is Kafka");
        topics::connect(&brokers).await.expect("Kafka answers")
    }

    /// Waits until a function has claimed each of these events.
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
    topics::partitions(kafka, topic).await.expect("the topic exists")
}

/// Appends records to a partition.
pub(crate) async fn append(partition: &PartitionClient, records: Vec<Record>) {
    topics::append(partition, records).await.expect("Kafka accepts the records");
}

/// Every record of a topic.
pub(crate) async fn read(kafka: &Client, topic: &str) -> Vec<Record> {
    let mut records = Vec::new();
    for partition in partitions(kafka, topic).await {
        records.extend(topics::read(&partition).await.expect("Kafka answers"));
    }
    records
}
