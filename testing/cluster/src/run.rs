//! One run: start the servers, load the images, deploy, run the steps, remove.

use std::{
    fs,
    process::Command,
    time::{Duration, Instant},
};

use anyhow::{Context as _, ensure};
use clap::ValueEnum as _;
use lab::{
    api::{Api, Method, User, id},
    dev, identity,
    process::Run,
};
use serde_json::{Value, json};
use sqlx::{PgPool, postgres::PgPoolOptions};
use uuid::Uuid;

use crate::{
    Arguments, Step,
    deployment::Deployment,
    images::Images,
    kube::{Kube, ServiceRoute},
    parts::Parts,
    steps,
};

const RUN: &str = "cluster-test";

/// A deployed product and the means to test it.
pub(crate) struct ClusterTest {
    pub(crate) arguments: Arguments,
    pub(crate) kube: Kube,
    pub(crate) parts: Parts,
    pub(crate) db: PgPool,
    /// The API through Knative's gateway.
    pub(crate) api: Api,
    pub(crate) user: User,
    pub(crate) images: Images,
    pub(crate) deployment: Deployment,
    pub(crate) started: Instant,
    _gateway: ServiceRoute,
}

impl ClusterTest {
    /// Prints an observation.
    pub(crate) fn say(&self, line: impl AsRef<str>) {
        println!("[{:>4} s] {}", self.started.elapsed().as_secs(), line.as_ref());
    }

    /// Waits until all functions are at zero; returns how long that took.
    pub(crate) async fn zero(&self) -> anyhow::Result<Duration> {
        self.kube.zero(Duration::from_secs(self.arguments.zero_seconds)).await
    }

    /// The API under the host name of a function, by which the gateway routes.
    pub(crate) fn function(&self, name: &str) -> Api {
        self.api.host(format!("{name}.{}.svc.cluster.local", self.arguments.namespace))
    }

    /// A command of the user, which must succeed. Returns the task.
    pub(crate) async fn command(&self, method: Method, path: &str, body: Option<Value>) -> anyhow::Result<Value> {
        Ok(self.user.command(method, path, body.as_ref()).await?.body)
    }

    /// Creates a task with a title.
    pub(crate) async fn create(&self, title: &str) -> anyhow::Result<Uuid> {
        Ok(id(&self.command(Method::POST, "/v1/tasks", Some(json!({ "title": title }))).await?["id"]))
    }
}

/// Runs the whole test.
pub(crate) async fn run(arguments: Arguments) -> anyhow::Result<()> {
    let started = Instant::now();
    let run = Run { dir: dev().join(RUN), detached: arguments.keep };
    for (left, _) in identity::running(&run.dir) {
        left.stop(2, Duration::from_secs(5)); // an earlier run with --keep
    }
    let _ = fs::remove_dir_all(&run.dir);
    fs::create_dir_all(run.dir.join("log"))?;
    let kube =
        Kube::connect(&run, &arguments.namespace).context("the current kubeconfig names no cluster that answers")?;
    for (group, what) in [("serving.knative.dev/v1", "Knative Serving"), ("dapr.io/v1alpha1", "Dapr")] {
        kube.get(&format!("/apis/{group}")).await.with_context(|| format!("the cluster has no {what}"))?;
    }
    let gateway_name = arguments.gateway.split_once('/').context("--gateway is namespace/service")?;
    let gateway = kube.route_to(gateway_name.0, gateway_name.1, 80).await.context("--gateway names no Service")?;
    let images = Images::prepare(&arguments)?;
    let parts = Parts::start(&arguments, &run, &kube).await?;
    let deployment = Deployment::prepare(&arguments, &run, &kube, &parts).await?;
    let db = PgPoolOptions::new().max_connections(4).connect_lazy(&parts.database_url)?;
    let api = Api::at([format!("http://{}", gateway.address)], &deployment.jwt_secret)
        .host(format!("tasks.{}.svc.cluster.local", arguments.namespace));
    let user = api.user();
    let test = ClusterTest { arguments, kube, parts, db, api, user, images, deployment, started, _gateway: gateway };
    test.say("the servers run and the images are loaded");

    let outcome = run_steps(&test).await;
    if let Err(error) = &outcome {
        test.say(format!("FAILED: {error:#}"));
        evidence(&test, &run);
    }
    test.db.close().await;
    if test.arguments.keep {
        test.parts.leave_running();
        test.say(format!("kept: the namespace {}, and the servers until the next run", test.arguments.namespace));
    } else {
        test.deployment.remove(&test.kube).await?;
        test.say("removed");
    }
    outcome
}

async fn run_steps(test: &ClusterTest) -> anyhow::Result<()> {
    let deployed = test.deployment.deploy(&test.images.first).await?;
    ensure!(deployed.works, "the first deployment failed: {}", deployed.output);
    test.say(format!("deployed {} in {} s; it works", test.images.first, deployed.took.as_secs()));
    for step in Step::value_variants() {
        if test.arguments.only.is_empty() || test.arguments.only.contains(step) {
            let name = step.to_possible_value().map(|value| value.get_name().to_owned()).unwrap_or_default();
            steps::step(test, *step).await.with_context(|| format!("step {name}"))?;
        }
    }
    test.say("passed");
    Ok(())
}

/// Writes the state of the cluster into the folder of the run, for the analysis of a failure.
fn evidence(test: &ClusterTest, run: &Run) {
    let all = [
        ("pods", vec!["get", "pods", "--output", "wide"]),
        ("services", vec!["get", "ksvc,revisions,deployments,jobs"]),
        ("events", vec!["get", "events", "--sort-by", ".lastTimestamp"]),
        (
            "logs",
            vec![
                "logs",
                "--selector",
                "app.kubernetes.io/part-of=punctual",
                "--all-containers",
                "--prefix",
                "--tail",
                "200",
                "--max-log-requests",
                "60",
            ],
        ),
    ];
    for (name, arguments) in all {
        let mut command = Command::new("kubectl");
        command.args(["--namespace", &test.kube.namespace]).args(arguments);
        if let Ok(output) = command.output() {
            let _ = fs::write(run.dir.join("log").join(format!("{name}.txt")), output.stdout);
        }
    }
    test.say(format!("the state of the cluster is in {}", run.dir.join("log").display()));
}
