//! The baseline: Dapr without the product. One daprd on the scheduler and the Kafka of the same run, with an
//! application that only records when it is called: one topic, no dead letters, no outbox, no database.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use anyhow::{Context as _, ensure};
use axum::{
    Router,
    body::to_bytes,
    extract::{Request, State},
    serve::ListenerExt as _,
};
use chrono::{DateTime, Utc};
use lab::{
    api::Answer,
    dapr::{self, SidecarPorts},
    dev, ports,
    process::{Process, Program, Ready, Run},
    root,
    topology::Topology,
};
use reqwest::RequestBuilder;
use serde_json::{Value, json};
use tokio::{
    net::TcpListener,
    task::block_in_place,
    time::{Instant, sleep},
};

use crate::{
    pace::{self, AT_WILL},
    planned::{until_first, until_last},
    sample::{Sample, milliseconds},
};

const APP_ID: &str = "bench-bare";
const TOPIC: &str = "bench-bare";
/// As many as `task-events` has.
const PARTITIONS: i32 = 6;
const LIMIT: Duration = Duration::from_secs(60);
const TIMEOUT: Duration = Duration::from_secs(30);

/// A daprd and its application.
pub(super) struct Bare {
    pub(super) daprd: Process,
    application: Application,
    http: reqwest::Client,
    url: String,
}

impl Bare {
    /// Starts it and returns when it has delivered its first event and its first job.
    pub(super) async fn start(topology: &Topology) -> anyhow::Result<Self> {
        let kafka = topology.kafka.as_ref().context("the bench runs on Kafka")?;
        let run = Run { dir: dev().join(&topology.options.name), detached: false };
        let (application, port) = Application::listen().await?;
        let at = SidecarPorts::free();
        let program = Program::new(format!("daprd-{APP_ID}"), dapr::binaries()?.daprd)
            .args([format!("--app-id={APP_ID}"), format!("--app-port={port}")])
            .args([format!("--dapr-http-port={}", at.http), format!("--dapr-grpc-port={}", at.grpc)])
            .args([format!("--dapr-internal-grpc-port={}", ports::free())])
            .args(["--dapr-listen-addresses=127.0.0.1", "--dapr-internal-grpc-listen-address=127.0.0.1"])
            .args([format!("--scheduler-host-address=127.0.0.1:{}", topology.scheduler.port)])
            .args(["--placement-host-address=", "--enable-metrics=false", "--log-level=warn"])
            .args(["--disable-init-endpoints=config,subscribe"])
            .args([format!("--config={}", root().join("dapr/local/name-resolution.yaml").display())])
            .args([format!("--resources-path={}", root().join("testing/bench/dapr").display())])
            .env("DAPR_HOST_IP", "127.0.0.1")
            .env("KAFKA_BROKERS", kafka.brokers())
            .ready(Ready::Http(at.http, "/v1.0/healthz"));
        let daprd = block_in_place(|| {
            kafka.create_topic(TOPIC, PARTITIONS)?;
            let daprd = Process::spawn(&run, program)?;
            daprd.wait_ready(LIMIT)?;
            anyhow::Ok(daprd)
        })?;
        let url = format!("http://127.0.0.1:{}/v1.0", at.http);
        let bare =
            Self { daprd, application, http: reqwest::Client::builder().no_proxy().timeout(TIMEOUT).build()?, url };
        bare.publish("warm-up").await?;
        bare.schedule("warm-up-job", json!("0s")).await?;
        bare.application.wait_for(&["warm-up".to_owned(), "warm-up-job".to_owned()], LIMIT).await?;
        Ok(bare)
    }

    /// Lateness of jobs that are due at `planned` and are scheduled one per `every`.
    pub(super) async fn jobs(&self, name: &str, planned: &[DateTime<Utc>], every: Duration) -> anyhow::Result<Sample> {
        let names = names(name, planned.len());
        pace::steadily(planned.len(), every, |index| self.schedule(&names[index], json!(planned[index]))).await?;
        self.lateness(planned, &names, until_last(planned)? + LIMIT).await
    }

    /// Lateness of jobs that are all due at the same instant and are scheduled as fast as daprd accepts them.
    pub(super) async fn jobs_at_will(
        &self,
        name: &str,
        planned: &[DateTime<Utc>],
        limit: Duration,
    ) -> anyhow::Result<Sample> {
        let names = names(name, planned.len());
        pace::steadily(planned.len(), AT_WILL, |index| self.schedule(&names[index], json!(planned[index]))).await?;
        let ahead = until_first(planned)?;
        ensure!(!ahead.is_zero(), "scheduling the bare jobs took until they were due: this machine is too busy");
        self.lateness(planned, &names, ahead + limit).await
    }

    /// How long events take from the publish call to the application.
    pub(super) async fn events(&self, name: &str, count: usize, every: Duration) -> anyhow::Result<Sample> {
        let names = names(name, count);
        let published = pace::steadily(count, every, |index| self.publish(&names[index])).await?;
        let published: Vec<DateTime<Utc>> = published.into_iter().map(|answer| answer.sent_at).collect();
        self.lateness(&published, &names, LIMIT).await
    }

    /// Publishes an event every 50 ms until Kafka accepts one, then waits until it arrives.
    pub(super) async fn until_an_event_arrives(&self, name: &str) -> anyhow::Result<()> {
        let began = Instant::now();
        for index in 0_u32.. {
            let name = format!("{name}-{index}");
            if self.publish(&name).await.is_ok() {
                self.application.wait_for(&[name], LIMIT).await?;
                break;
            }
            ensure!(began.elapsed() < LIMIT, "Kafka still rejects events after {} s", LIMIT.as_secs());
            sleep(Duration::from_millis(50)).await;
        }
        Ok(())
    }

    async fn lateness(&self, from: &[DateTime<Utc>], names: &[String], limit: Duration) -> anyhow::Result<Sample> {
        let arrived = self.application.wait_for(names, limit).await?;
        Ok(from.iter().zip(arrived).map(|(from, arrived)| milliseconds(*from, arrived)).collect())
    }

    fn publish(&self, name: &str) -> impl Future<Output = anyhow::Result<Answer>> + Send + use<> {
        let url = format!("{}/publish/pubsub/{TOPIC}?metadata.partitionKey={name}", self.url);
        accepted(self.http.post(url).json(name))
    }

    fn schedule(&self, name: &str, due: Value) -> impl Future<Output = anyhow::Result<Answer>> + Send + use<> {
        // daprd accepts a job without data and then fails to call it.
        let job = json!({ "dueTime": due, "data": {} });
        accepted(self.http.post(format!("{}/jobs/{name}", self.url)).json(&job))
    }
}

/// Sends a request that daprd must accept.
async fn accepted(request: RequestBuilder) -> anyhow::Result<Answer> {
    let answer = Answer::to(request).await?;
    ensure!(answer.is_success(), "daprd answered {}: {}", answer.status, answer.body);
    Ok(answer)
}

fn names(name: &str, count: usize) -> Vec<String> {
    (0..count).map(|index| format!("{name}-{index}")).collect()
}

/// Answers every call with 200 and records when each job (by its name) and each event (by its data, a string) first arrived.
#[derive(Clone, Default)]
struct Application(Arc<Mutex<HashMap<String, DateTime<Utc>>>>);

impl Application {
    /// Listens on a free port until this process ends.
    async fn listen() -> anyhow::Result<(Self, u16)> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let port = listener.local_addr()?.port();
        let application = Self::default();
        let listener = listener.tap_io(|connection| {
            let _ = connection.set_nodelay(true);
        });
        let router = Router::new().fallback(arrive).with_state(application.clone());
        tokio::spawn(async { axum::serve(listener, router).await });
        Ok((application, port))
    }

    /// Waits until everything in `expected` has arrived, and returns when each did.
    async fn wait_for(&self, expected: &[String], limit: Duration) -> anyhow::Result<Vec<DateTime<Utc>>> {
        let began = Instant::now();
        loop {
            let arrived: Vec<DateTime<Utc>> = {
                let arrivals = self.0.lock().unwrap_or_else(PoisonError::into_inner);
                expected.iter().filter_map(|name| arrivals.get(name).copied()).collect()
            };
            if arrived.len() == expected.len() {
                return Ok(arrived);
            }
            ensure!(
                began.elapsed() < limit,
                "bare Dapr delivered {} of {} within {} s",
                arrived.len(),
                expected.len(),
                limit.as_secs()
            );
            sleep(Duration::from_millis(50)).await;
        }
    }
}

async fn arrive(State(Application(arrivals)): State<Application>, request: Request) {
    let at = Utc::now();
    let (head, body) = request.into_parts();
    let name = match head.uri.path().strip_prefix("/job/") {
        Some(job) => Some(job.to_owned()),
        None => to_bytes(body, usize::MAX).await.ok().and_then(|body| {
            let event: Value = serde_json::from_slice(&body).ok()?;
            event["data"].as_str().map(str::to_owned)
        }),
    };
    if let Some(name) = name {
        arrivals.lock().unwrap_or_else(PoisonError::into_inner).entry(name).or_insert(at);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_job_is_known_by_its_name_and_an_event_by_its_data() {
        let (application, port) = Application::listen().await.unwrap();
        let http = reqwest::Client::builder().no_proxy().build().unwrap();
        for (path, body) in [("job/one", "{}"), ("flow", r#"{"id": "x", "data": "two"}"#), ("flow", "[")] {
            let request = http.post(format!("http://127.0.0.1:{port}/{path}")).body(body);
            assert_eq!(Answer::to(request).await.unwrap().status, 200);
        }
        let expected = ["one".to_owned(), "two".to_owned()];
        let arrived = application.wait_for(&expected, Duration::from_secs(5)).await.unwrap();
        assert!(arrived[0] <= arrived[1]);
        assert!(application.wait_for(&["three".to_owned()], Duration::ZERO).await.is_err());
    }
}
