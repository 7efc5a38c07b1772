//! What the product is measured beside: Dapr alone. A daprd of its own, on the scheduler and the Kafka of the same run,
//! whose application only notes when it is called; one topic, no dead letters, no outbox, no database.

use std::{
    fs, thread,
    time::{Duration, SystemTime},
};

use anyhow::{Context as _, ensure};
use serde_json::json;

use crate::{
    application::Listening,
    client::{self, Answer},
    planned::Planned,
    sample::{Sample, milliseconds},
};
use lab::{
    dapr::{self, SidecarPorts},
    dev, ports,
    process::{Process, Program, Ready, Run},
    topology::Topology,
};

const APP_ID: &str = "bench-bare";
const TOPIC: &str = "bench-bare";
/// As many as `task-events` has.
const PARTITIONS: i32 = 6;
const LIMIT: Duration = Duration::from_secs(60);

/// A daprd and its application.
pub(super) struct Bare {
    pub(super) daprd: Process,
    application: Listening,
    port: u16,
}

impl Bare {
    /// Starts it and returns when it has delivered a first event and a first job.
    pub(super) fn start(topology: &Topology) -> anyhow::Result<Self> {
        let kafka = topology.kafka.as_ref().context("the bench runs on Kafka")?;
        kafka.create_topic(TOPIC, PARTITIONS)?;
        let run = Run { dir: dev().join(&topology.options.name), detached: false };
        let resources = run.dir.join("bare");
        fs::create_dir_all(&resources)?;
        fs::write(resources.join("pubsub.yaml"), component(&kafka.brokers()))?;
        fs::write(resources.join("subscription.yaml"), SUBSCRIPTION)?;
        let configuration = run.dir.join("bare.yaml");
        fs::write(&configuration, configured(&run.dir.join("bare-names.db").display().to_string()))?;

        let application = Listening::start()?;
        let at = SidecarPorts::free();
        let program = Program::new(format!("daprd-{APP_ID}"), dapr::binaries()?.daprd)
            .args([format!("--app-id={APP_ID}"), format!("--app-port={}", application.port)])
            .args([format!("--dapr-http-port={}", at.http), format!("--dapr-grpc-port={}", at.grpc)])
            .args([format!("--dapr-internal-grpc-port={}", ports::free())])
            .args(["--dapr-listen-addresses=127.0.0.1", "--dapr-internal-grpc-listen-address=127.0.0.1"])
            .args([format!("--scheduler-host-address=127.0.0.1:{}", topology.scheduler.port)])
            .args(["--placement-host-address=", "--enable-metrics=false", "--log-level=warn"])
            .args(["--disable-init-endpoints=config,subscribe"])
            .args([format!("--config={}", configuration.display())])
            .args([format!("--resources-path={}", resources.display())])
            .env("DAPR_HOST_IP", "127.0.0.1")
            .ready(Ready::Http(at.http, "/v1.0/healthz"));
        let daprd = Process::spawn(&run, program)?;
        daprd.wait_ready(LIMIT)?;
        let bare = Self { daprd, application, port: at.http };
        bare.publish("warm-up")?;
        bare.schedule("warm-up-job", "0s")?;
        bare.application.wait_for(&["warm-up".to_owned(), "warm-up-job".to_owned()], LIMIT)?;
        Ok(bare)
    }

    /// How late jobs are that are due at `planned`, scheduled one each `every`.
    pub(super) fn jobs(&self, name: &str, planned: &[Planned], every: Duration) -> anyhow::Result<Sample> {
        let names: Vec<String> = (0..planned.len()).map(|index| format!("{name}-{index}")).collect();
        client::steadily(planned.len(), every, |index| self.schedule(&names[index], &planned[index].text))?;
        let limit = planned.last().map_or(LIMIT, |last| last.ahead() + LIMIT);
        let arrived = self.application.wait_for(&names, limit)?;
        Ok(planned.iter().zip(arrived).map(|(planned, arrived)| milliseconds(planned.at, arrived)).collect())
    }

    /// The same, scheduled as fast as it goes.
    pub(super) fn jobs_at_will(&self, name: &str, planned: &[Planned], limit: Duration) -> anyhow::Result<Sample> {
        let names: Vec<String> = (0..planned.len()).map(|index| format!("{name}-{index}")).collect();
        client::at_will(planned.len(), |index| self.schedule(&names[index], &planned[index].text))?;
        let ahead = planned.first().map(Planned::ahead).unwrap_or_default();
        ensure!(!ahead.is_zero(), "bare jobs were scheduled only when they were due: this machine is too busy");
        let arrived = self.application.wait_for(&names, ahead + limit)?;
        Ok(planned.iter().zip(arrived).map(|(planned, arrived)| milliseconds(planned.at, arrived)).collect())
    }

    /// How long events take from the call that publishes them to the application.
    pub(super) fn events(&self, name: &str, count: usize, every: Duration) -> anyhow::Result<Sample> {
        let names: Vec<String> = (0..count).map(|index| format!("{name}-{index}")).collect();
        let published: Vec<SystemTime> = client::steadily(count, every, |index| Ok(self.publish(&names[index])?.sent))?;
        let arrived = self.application.wait_for(&names, LIMIT)?;
        Ok(published.into_iter().zip(arrived).map(|(published, arrived)| milliseconds(published, arrived)).collect())
    }

    /// From now until an event gets through, for an event each 50 ms; whether one is taken is up to Kafka.
    pub(super) fn until_an_event_arrives(&self, name: &str) -> anyhow::Result<Duration> {
        let began = SystemTime::now();
        for index in 0.. {
            let name = format!("{name}-{index}");
            if self.publish(&name).is_ok() {
                let arrived = self.application.wait_for(&[name], LIMIT)?;
                return Ok(arrived.first().and_then(|at| at.duration_since(began).ok()).unwrap_or_default());
            }
            ensure!(began.elapsed()? < LIMIT, "Kafka takes no events again");
            thread::sleep(Duration::from_millis(50));
        }
        unreachable!("it counts without end")
    }

    fn publish(&self, name: &str) -> anyhow::Result<Answer> {
        let path = format!("/v1.0/publish/pubsub/{TOPIC}?metadata.partitionKey={name}");
        client::post(self.port, &path, None, &json!(name).to_string())
    }

    fn schedule(&self, name: &str, due: &str) -> anyhow::Result<Answer> {
        // Without data daprd accepts a job and then fails to call it.
        let job = json!({ "dueTime": due, "data": {} });
        client::post(self.port, &format!("/v1.0/jobs/{name}"), None, &job.to_string())
    }
}

fn component(brokers: &str) -> String {
    format!(
        "apiVersion: dapr.io/v1alpha1\n\
         kind: Component\n\
         metadata: {{ name: pubsub }}\n\
         spec:\n\
         \x20 type: pubsub.kafka\n\
         \x20 version: v1\n\
         \x20 metadata:\n\
         \x20   - {{ name: brokers, value: \"{brokers}\" }}\n\
         \x20   - {{ name: authType, value: none }}\n\
         \x20   - {{ name: version, value: 2.8.0 }}\n\
         \x20   - {{ name: initialOffset, value: oldest }}\n"
    )
}

const SUBSCRIPTION: &str = "apiVersion: dapr.io/v2alpha1
kind: Subscription
metadata: { name: bench-bare }
spec:
  pubsubname: pubsub
  topic: bench-bare
  routes: { default: /events }
";

/// Names are resolved from a file, as in every local run: the default, multicast DNS, does not work on the loopback interface.
fn configured(names: &str) -> String {
    format!(
        "apiVersion: dapr.io/v1alpha1\n\
         kind: Configuration\n\
         metadata: {{ name: bench-bare }}\n\
         spec:\n\
         \x20 nameResolution:\n\
         \x20   component: sqlite\n\
         \x20   configuration: {{ connectionString: \"{names}\" }}\n"
    )
}
