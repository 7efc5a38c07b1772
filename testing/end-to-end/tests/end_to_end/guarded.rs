//! Kafka as a cloud has it, over TLS, with users and rights: the daprds log in by the components for the clouds, unchanged, and nobody
//! else writes to our topics. And the reason why nobody may: one event that crashes every daprd which reads it, and the cure.

use std::time::Duration;

use lab::topology::{Broker, Options};
use rskafka::client::{
    Client, ClientBuilder, Credentials, SaslConfig,
    error::{Error, ProtocolError},
    partition::{Compression, OffsetAt, UnknownTopicHandling},
};
use serde_json::json;
use shared::schema::{TaskRef, TaskUpdated};

use crate::{
    documented::block,
    topics::{self, record},
    user::id,
    wait,
    world::{SOON, World, on},
};

const READERS: [&str; 4] = ["task-created", "task-updated", "task-completed", "task-deleted"];

#[test]
fn on_a_guarded_broker_only_the_functions_write_and_an_event_that_crashes_daprd_is_stepped_over() {
    on(Options { broker: Broker::GuardedKafka, ..Options::distributed("end-to-end-guarded") }, async |world| {
        a_reminder_is_sent(world).await;
        others_are_refused(world).await;
        poison_is_stepped_over(world).await;
    });
}

async fn a_reminder_is_sent(world: &World) {
    let user = world.user();
    world.without_repair();
    let task = user.remind("over TLS", user.in_ms(1_000).await).await;
    world.mail_about(&user, "over TLS").await;
    user.settled().await;
    assert_eq!(user.task(&task).await["reminders"][0]["state"], "sent");
}

/// Somebody with a password of their own.
async fn log_in(
    world: &World,
    as_whom: fn(Credentials) -> SaslConfig,
    password: Option<&str>,
) -> Result<Client, Error> {
    let guard = world.topology.kafka.as_ref().and_then(|kafka| kafka.guard.as_ref()).expect("a guarded broker");
    let password = password.unwrap_or(guard.password("visitor")).to_owned();
    let login = as_whom(Credentials::new("visitor".to_owned(), password));
    let brokers = vec![format!("127.0.0.1:{}", guard.port)];
    let client = ClientBuilder::new(brokers).sasl_config(login).build();
    tokio::time::timeout(Duration::from_secs(5), client)
        .await
        .unwrap_or_else(|_| Err(Error::InvalidResponse("none".to_owned())))
}

async fn write(client: &Client, topic: &str) -> Result<(), Error> {
    let partition = client.partition_client(topic, 0, UnknownTopicHandling::Error).await?;
    partition.produce(vec![record("key", b"{}".to_vec())], Compression::NoCompression).await.map(drop)
}

async fn read(client: &Client, topic: &str) -> Result<(), Error> {
    let partition = client.partition_client(topic, 0, UnknownTopicHandling::Error).await?;
    let begin = partition.get_offset(OffsetAt::Earliest).await?;
    partition.fetch_records(begin, 0..1_000_000, 100).await.map(drop)
}

fn is_refused(outcome: &Result<(), Error>) -> bool {
    matches!(outcome, Err(Error::ServerError { protocol_error: ProtocolError::TopicAuthorizationFailed, .. }))
}

async fn others_are_refused(world: &World) {
    const OURS: [&str; 4] = ["task-events", "reminders", "task-updates", "task-events.dlq.task-created"];
    world.topology.kafka.as_ref().expect("Kafka").create_topic("visits", 1).unwrap_or_else(|error| panic!("{error:#}"));
    let allow = async |right: &str| {
        let allow = format!("kafka-acls.sh --bootstrap-server $BROKERS --add --allow-principal User:visitor {right}");
        world.by_hand(&allow, &[]).await.unwrap_or_else(|error| panic!("{error:#}"));
    };
    allow("--operation Read --operation Write --topic visits").await;
    assert!(log_in(world, SaslConfig::Plain, Some("wrong")).await.is_err());
    let mechanisms: [fn(Credentials) -> SaslConfig; 2] = [SaslConfig::Plain, SaslConfig::ScramSha256];
    for mechanism in mechanisms {
        let visitor = log_in(world, mechanism, None).await.expect("the password is right");
        wait::until("it may do so with its own", SOON, async || {
            write(&visitor, "visits").await.map_err(|error| error.to_string())?;
            read(&visitor, "visits").await.map_err(|error| error.to_string())
        })
        .await;
        for topic in OURS {
            let (written, seen) = (write(&visitor, topic).await, read(&visitor, topic).await);
            assert!(is_refused(&written) && is_refused(&seen), "{topic}: written {written:?}, read {seen:?}");
        }
    }
    // Nor is who may read allowed to write.
    allow("--operation Read --topic task-events").await;
    let reader = log_in(world, SaslConfig::ScramSha256, None).await.expect("the password is right");
    wait::until("it may read", SOON, async || read(&reader, "task-events").await.map_err(|error| error.to_string()))
        .await;
    let written = write(&reader, "task-events").await;
    assert!(is_refused(&written), "{written:?}");
}

async fn poison_is_stepped_over(world: &World) {
    let user = world.user();
    let task = user.create(json!({"title": "neighbour"})).await;
    user.settled().await;
    let task = TaskRef { task_id: id(&task["id"]), user_id: user.id, title: "neighbour".to_owned(), version: 2 };
    let neighbour = async || world.outboxed(&TaskUpdated { task: task.clone() }).await;
    let (before, behind) = (neighbour().await, neighbour().await);
    let mut poison = neighbour().await.json;
    poison["id"] = json!(uuid::Uuid::now_v7());
    poison["traceparent"] = json!(123);

    // By one who may write everything.
    let partition = topics::partitions(&world.kafka().await, "task-events").await.swap_remove(2);
    let poison = record("key", poison.to_string().into_bytes());
    topics::put(&partition, vec![before.record(), poison, behind.record()]).await;
    let daprds = READERS.map(|name| &world.topology.daprd(name).process);
    for _ in 0..2 {
        for daprd in daprds {
            daprd.start().unwrap_or_else(|error| panic!("{error:#}"));
        }
        wait::until("every daprd that reads it crashes", SOON, async || {
            let alive: Vec<&str> =
                daprds.iter().filter(|daprd| daprd.pid().is_some()).map(|daprd| daprd.name()).collect();
            if alive.is_empty() { Ok(()) } else { Err(format!("{alive:?} are alive")) }
        })
        .await;
    }
    for daprd in daprds {
        let log = std::fs::read_to_string(daprd.log()).unwrap_or_default();
        assert!(log.matches("interface conversion").count() >= 2, "{} died of something else", daprd.name());
    }
    let meanwhile = user.remind("made meanwhile", user.in_ms(1_000).await).await;

    let found = world
        .by_hand(&block("print.offset=true"), &[("TOPIC", "task-events")])
        .await
        .unwrap_or_else(|error| panic!("{error:#}"));
    let field = |name: &str| {
        found.split(['\t', '\n']).find_map(|field| field.strip_prefix(name)).expect("a line with partition and offset")
    };
    assert_eq!((found.lines().count(), field("Partition:")), (1, "2"), "{found}");
    tokio::time::sleep(Duration::from_secs(12)).await; // "wait 10 s": until the groups are empty
    let place = [("TOPIC", "task-events"), ("PARTITION", field("Partition:")), ("OFFSET", field("Offset:"))];
    let moved = world.by_hand(&block("--reset-offsets"), &place).await.unwrap_or_else(|error| panic!("{error:#}"));
    for group in READERS {
        assert!(moved.lines().any(|line| line.starts_with(group)), "{group} did not move: {moved}");
    }
    for daprd in daprds {
        daprd.start().unwrap_or_else(|error| panic!("{error:#}"));
    }
    world.claimed(&[before.id, behind.id]).await;
    world.mail_about(&user, "made meanwhile").await;
    let letters = "select count(*) from dead_letters where $1::uuid is not null";
    assert_eq!(world.count(letters, user.id).await, 0);
    // The one that was made with the poison is in the outbox as published, and on no topic.
    world.topology.repair.as_ref().expect("repair").start().unwrap_or_else(|error| panic!("{error:#}"));
    user.settled().await;
    assert_eq!(user.history(&meanwhile).await.iter().filter(|what| *what == "task.created").count(), 1);
    assert_eq!(world.mails(&user).len(), 1, "{:?}", world.subjects(&user));
}
