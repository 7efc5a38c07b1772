//! Kafka as clouds run it: TLS, users and ACLs. The daprds log in with the unchanged cloud components, and no other user may read or
//! write our topics.

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

use crate::product::{RunningProduct, SOON, on};

#[test]
fn a_guarded_broker_accepts_writes_only_from_the_functions() {
    on(Options { broker: Broker::GuardedKafka, ..Options::distributed("end-to-end-guarded") }, async |product| {
        a_reminder_is_sent(product).await;
        others_are_refused(product).await;
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
