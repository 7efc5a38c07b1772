//! Kafka as clouds run it: TLS, users and ACLs. The daprds log in with the unchanged cloud components, and no other user may write
//! to our topics. The reason: a single malformed event crashes every daprd that reads it. The documented cure is tested too.

use std::time::Duration;

use lab::{
    kafka::topics::record,
    topology::{Broker, Options},
    wait,
};
use rskafka::client::{
    Client, ClientBuilder, Credentials, SaslConfig,
    error::{Error, ProtocolError},
    partition::{Compression, OffsetAt, UnknownTopicHandling},
};
use serde_json::json;
use shared::schema::{TaskRef, TaskUpdated};

use crate::{
    documented::block,
    product::{RunningProduct, SOON, on},
    topics,
    user::id,
};

const READERS: [&str; 4] = ["task-created", "task-updated", "task-completed", "task-deleted"];

#[test]
fn a_guarded_broker_accepts_writes_only_from_the_functions_and_an_event_that_crashes_daprd_can_be_skipped() {
    on(Options { broker: Broker::GuardedKafka, ..Options::distributed("end-to-end-guarded") }, async |product| {
        a_reminder_is_sent(product).await;
        others_are_refused(product).await;
        poison_can_be_skipped(product).await;
    });
}

async fn a_reminder_is_sent(product: &RunningProduct) {
    let user = product.user();
    product.without_repair();
    let task = user.remind("over TLS", user.in_ms(1_000).await).await;
    product.mail_about(&user, "over TLS").await;
    user.settled().await;
    assert_eq!(user.task(&task).await["reminders"][0]["state"], "sent");
}

/// Logs in as the user `visitor`.
async fn log_in(
    product: &RunningProduct,
    mechanism: fn(Credentials) -> SaslConfig,
    password: Option<&str>,
) -> Result<Client, Error> {
    let guard = product.topology.kafka.as_ref().and_then(|kafka| kafka.guard.as_ref()).expect("a guarded broker");
    let password = password.unwrap_or(guard.password("visitor")).to_owned();
    let login = mechanism(Credentials::new("visitor".to_owned(), password));
    let brokers = vec![format!("127.0.0.1:{}", guard.port)];
    let client = ClientBuilder::new(brokers).sasl_config(login).build();
    tokio::time::timeout(Duration::from_secs(5), client)
        .await
        .unwrap_or_else(|_| Err(Error::InvalidResponse("none".to_owned())))
}

async fn write(client: &Client, topic: &str) -> Result<(), Error> {
    let partition = client.partition_client(topic, 0, UnknownTopicHandling::Error).await?;
    partition.produce(vec![record(Some("key"), b"{}".to_vec())], Compression::NoCompression).await.map(drop)
}

async fn read(client: &Client, topic: &str) -> Result<(), Error> {
    let partition = client.partition_client(topic, 0, UnknownTopicHandling::Error).await?;
    let begin = partition.get_offset(OffsetAt::Earliest).await?;
    partition.fetch_records(begin, 0..1_000_000, 100).await.map(drop)
}

fn is_refused(outcome: &Result<(), Error>) -> bool {
    matches!(outcome, Err(Error::ServerError { protocol_error: ProtocolError::TopicAuthorizationFailed, .. }))
}

async fn others_are_refused(product: &RunningProduct) {
    const OURS: [&str; 4] = ["task-events", "reminders", "task-updates", "task-events.dlq.task-created"];
    product
        .topology
        .kafka
        .as_ref()
        .expect("Kafka")
        .create_topic("visits", 1)
        .unwrap_or_else(|error| panic!("{error:#}"));
    let allow = async |right: &str| {
        let allow = format!("kafka-acls.sh --bootstrap-server $BROKERS --add --allow-principal User:visitor {right}");
        product.by_hand(&allow, &[]).await.unwrap_or_else(|error| panic!("{error:#}"));
    };
    allow("--operation Read --operation Write --topic visits").await;
    assert!(log_in(product, SaslConfig::Plain, Some("wrong")).await.is_err());
    let mechanisms: [fn(Credentials) -> SaslConfig; 2] = [SaslConfig::Plain, SaslConfig::ScramSha256];
    for mechanism in mechanisms {
        let visitor = log_in(product, mechanism, None).await.expect("the password is correct");
        wait::until("it may write and read its own topic", SOON, async || {
            write(&visitor, "visits").await.map_err(|error| error.to_string())?;
            read(&visitor, "visits").await.map_err(|error| error.to_string())
        })
        .await;
        for topic in OURS {
            let (written, seen) = (write(&visitor, topic).await, read(&visitor, topic).await);
            assert!(is_refused(&written) && is_refused(&seen), "{topic}: written {written:?}, read {seen:?}");
        }
    }
    // The right to read does not include the right to write.
    allow("--operation Read --topic task-events").await;
    let reader = log_in(product, SaslConfig::ScramSha256, None).await.expect("the password is correct");
    wait::until("it may read the topic", SOON, async || {
        read(&reader, "task-events").await.map_err(|error| error.to_string())
    })
    .await;
    let written = write(&reader, "task-events").await;
    assert!(is_refused(&written), "{written:?}");
}

async fn poison_can_be_skipped(product: &RunningProduct) {
    let user = product.user();
    let task = user.create(json!({"title": "neighbour"})).await;
    user.settled().await;
    let task = TaskRef { task_id: id(&task["id"]), user_id: user.id, title: "neighbour".to_owned(), version: 2 };
    let neighbour = async || product.outboxed(&TaskUpdated { task: task.clone() }).await;
    let (before, behind) = (neighbour().await, neighbour().await);
    let mut poison = neighbour().await.json;
    poison["id"] = json!(uuid::Uuid::now_v7());
    poison["traceparent"] = json!(123);

    // The plain listener may write everything.
    let partition = topics::partitions(&product.kafka().await, "task-events").await.swap_remove(2);
    let poison = record(Some("key"), poison.to_string().into_bytes());
    topics::append(&partition, vec![before.record(), poison, behind.record()]).await;
    let daprds = READERS.map(|name| &product.topology.daprd(name).process);
    for _ in 0..2 {
        for daprd in daprds {
            daprd.start().unwrap_or_else(|error| panic!("{error:#}"));
        }
        wait::until("every daprd that reads the event crashes", SOON, async || {
            let alive: Vec<&str> =
                daprds.iter().filter(|daprd| daprd.pid().is_some()).map(|daprd| daprd.name()).collect();
            if alive.is_empty() { Ok(()) } else { Err(format!("{alive:?} are alive")) }
        })
        .await;
    }
    for daprd in daprds {
        let log = std::fs::read_to_string(daprd.log()).unwrap_or_default();
        assert!(log.matches("interface conversion").count() >= 2, "{} crashed for another reason", daprd.name());
    }
    let meanwhile = user.remind("made meanwhile", user.in_ms(1_000).await).await;

    let found = product
        .by_hand(&block("print.offset=true"), &[("TOPIC", "task-events")])
        .await
        .unwrap_or_else(|error| panic!("{error:#}"));
    let field = |name: &str| {
        found.split(['\t', '\n']).find_map(|field| field.strip_prefix(name)).expect("a line with partition and offset")
    };
    assert_eq!((found.lines().count(), field("Partition:")), (1, "2"), "{found}");
    tokio::time::sleep(Duration::from_secs(12)).await; // "wait 10 s": until the consumer groups are empty
    let place = [("TOPIC", "task-events"), ("PARTITION", field("Partition:")), ("OFFSET", field("Offset:"))];
    let moved = product.by_hand(&block("--reset-offsets"), &place).await.unwrap_or_else(|error| panic!("{error:#}"));
    for group in READERS {
        assert!(moved.lines().any(|line| line.starts_with(group)), "{group} did not move: {moved}");
    }
    for daprd in daprds {
        daprd.start().unwrap_or_else(|error| panic!("{error:#}"));
    }
    product.claimed(&[before.id, behind.id]).await;
    product.mail_about(&user, "made meanwhile").await;
    let letters = "select count(*) from dead_letters where $1::uuid is not null";
    assert_eq!(product.count(letters, user.id).await, 0);
    // The event that became the poison is in the outbox as published but on no topic: repair publishes it.
    product.topology.repair.as_ref().expect("repair").start().unwrap_or_else(|error| panic!("{error:#}"));
    user.settled().await;
    assert_eq!(user.history(&meanwhile).await.iter().filter(|what| *what == "task.created").count(), 1);
    assert_eq!(product.mails(&user).len(), 1, "{:?}", product.subjects(&user));
}
