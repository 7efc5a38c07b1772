//! A Kafka client (rskafka) for a run: creates and deletes topics, reads and writes records. Kafka's own tool would need a
//! JVM per topic, about a second each.

use std::{
    thread,
    time::{Duration, Instant},
};

use anyhow::Context as _;
use chrono::Utc;
use rskafka::{
    BackoffConfig,
    client::{
        ClientBuilder,
        error::{Error, ProtocolError},
        partition::{Compression, OffsetAt, UnknownTopicHandling},
    },
};
pub use rskafka::{
    client::{Client, partition::PartitionClient},
    record::Record,
};

const LIMIT: Duration = Duration::from_secs(20);

/// Connects to brokers, separated by commas.
///
/// # Errors
/// When none answers within 20 seconds.
pub async fn connect(brokers: &str) -> anyhow::Result<Client> {
    let backoff = BackoffConfig {
        init_backoff: Duration::from_millis(100),
        max_backoff: Duration::from_secs(1),
        base: 2.0,
        deadline: Some(LIMIT),
    };
    let brokers = brokers.split(',').map(str::to_owned).collect();
    let client = ClientBuilder::new(brokers).backoff_config(backoff).build();
    Ok(tokio::time::timeout(LIMIT, client).await.context("Kafka does not answer")??)
}

/// A client for each partition of a topic, in order.
///
/// # Errors
/// When Kafka does not answer or has no such topic.
pub async fn partitions(kafka: &Client, topic: &str) -> anyhow::Result<Vec<PartitionClient>> {
    let topics = kafka.list_topics().await?;
    let found = topics.into_iter().find(|found| found.name == topic).with_context(|| format!("no topic {topic}"))?;
    let mut clients = Vec::new();
    for partition in found.partitions {
        clients.push(kafka.partition_client(topic, partition, UnknownTopicHandling::Retry).await?);
    }
    Ok(clients)
}

/// A record, stamped with the current time.
#[must_use]
pub fn record(key: Option<&str>, value: Vec<u8>) -> Record {
    Record { key: key.map(Into::into), value: Some(value), headers: [].into(), timestamp: Utc::now() }
}

/// Appends records to a partition, in this order.
///
/// # Errors
/// When Kafka refuses them.
pub async fn append(partition: &PartitionClient, records: Vec<Record>) -> anyhow::Result<()> {
    tokio::time::timeout(LIMIT, partition.produce(records, Compression::NoCompression)).await??;
    Ok(())
}

/// Every record of a partition, from the oldest.
///
/// # Errors
/// When Kafka does not answer.
pub async fn read(partition: &PartitionClient) -> anyhow::Result<Vec<Record>> {
    let mut next = partition.get_offset(OffsetAt::Earliest).await?;
    let end = partition.get_offset(OffsetAt::Latest).await?;
    let mut records = Vec::new();
    while next < end {
        let (some, _) = partition.fetch_records(next, 1..10_000_000, 1_000).await?;
        next = some.last().map_or(end, |last| last.offset + 1);
        records.extend(some.into_iter().map(|found| found.record));
    }
    Ok(records)
}

/// Creates topics (name, partitions); existing ones stay as they are.
pub(super) fn create(brokers: &str, topics: &[(String, i32)]) -> anyhow::Result<()> {
    block_on(async {
        let controller = connect(brokers).await?.controller_client()?;
        let started = Instant::now();
        for (name, partitions) in topics {
            loop {
                match controller.create_topic(name, *partitions, 1, LIMIT.as_millis() as i32).await {
                    Ok(()) | Err(Error::ServerError { protocol_error: ProtocolError::TopicAlreadyExists, .. }) => break,
                    Err(error) if started.elapsed() > LIMIT => {
                        return Err(error).with_context(|| format!("Kafka does not create topic {name}"));
                    }
                    // A broker that just began to listen may not have registered with its controller yet.
                    Err(_) => tokio::time::sleep(Duration::from_millis(100)).await,
                }
            }
        }
        Ok(())
    })
}

pub(super) fn delete(brokers: &str, topic: &str) -> anyhow::Result<()> {
    block_on(async {
        let controller = connect(brokers).await?.controller_client()?;
        let deleted = controller.delete_topic(topic, LIMIT.as_millis() as i32).await;
        deleted.with_context(|| format!("Kafka does not delete topic {topic}"))
    })
}

/// Runs a future in a runtime on a thread of its own, because the caller may be inside a runtime, where blocking panics.
fn block_on<T: Send>(work: impl Future<Output = anyhow::Result<T>> + Send) -> anyhow::Result<T> {
    let run = || tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(work);
    thread::scope(|scope| scope.spawn(run).join()).unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}
