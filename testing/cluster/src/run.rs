//! One run: start the servers, load the images, deploy, run the steps, remove.

use std::{
    fs,
    net::SocketAddr,
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

use crate::{Arguments, Step, deployment::Deployment, images::Images, kube::Kube, parts::Parts, steps};

const RUN: &str = "cluster-test";

/// A deployed product and the means to test it.
pub(crate) struct ClusterTest<'a> {
    pub(crate) arguments: &'a Arguments,
    pub(crate) kube: &'a Kube,
    pub(crate) parts: &'a Parts,
    pub(crate) db: PgPool,
    /// The API: through Knative's gateway, or in the plain rendering at the Service of `tasks`.
    pub(crate) api: Api,
    /// Where that is.
    pub(crate) address: SocketAddr,
    pub(crate) user: User,
    pub(crate) images: &'a Images,
    pub(crate) deployment: &'a Deployment,
    started: Instant,
}

impl ClusterTest<'_> {
    /// Prints an observation.
    pub(crate) fn say(&self, line: impl AsRef<str>) {
        say(self.started, line);
    }

    /// Waits until all functions are at zero; returns how long that took. In the plain rendering there is nothing to wait for.
    pub(crate) async fn zero(&self) -> anyhow::Result<Duration> {
        self.kube.zero(Duration::from_secs(self.arguments.zero_seconds)).await
    }

    /// The API under the host name of a function, by which the gateway routes.
    pub(crate) fn function(&self, name: &str) -> Api {
        self.api.host(host(self.arguments, name))
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

fn say(started: Instant, line: impl AsRef<str>) {
    println!("[{:>4} s] {}", started.elapsed().as_secs(), line.as_ref());
}

/// The name by which Knative's gateway routes to a function.
pub(crate) fn host(arguments: &Arguments, function: &str) -> String {
    format!("{function}.{}.svc.cluster.local", arguments.namespace)
}

/// Runs the whole test.
pub(crate) async fn run(arguments: Arguments) -> anyhow::Result<()> {
    let started = Instant::now();
    for step in &arguments.only {
        let rendering = if arguments.plain { "with" } else { "without" };
        ensure!(step.exists(arguments.plain), "the step {} does not exist {rendering} --plain", name(*step));
    }
    let run = Run { dir: dev().join(RUN), detached: arguments.keep };
    for (left, _) in identity::running(&run.dir) {
        left.stop(2, Duration::from_secs(5)); // an earlier run with --keep
    }
    let _ = fs::remove_dir_all(&run.dir);
    fs::create_dir_all(run.dir.join("log"))?;
    let kube = Kube::connect(&run, &arguments.namespace, arguments.plain)
        .context("the current kubeconfig names no cluster that answers")?;
    kube.get("/apis/dapr.io/v1alpha1").await.context("the cluster has no Dapr")?;
    let gateway = if arguments.plain {
        None
    } else {
        kube.get("/apis/serving.knative.dev/v1").await.context("the cluster has no Knative Serving")?;
        let (namespace, service) = arguments.gateway.split_once('/').context("--gateway is namespace/service")?;
        Some(kube.route_to(namespace, service, 80).await.context("--gateway names no Service")?)
    };
    let images = Images::prepare(&arguments)?;
    let parts = Parts::start(&arguments, &run, &kube).await?;
    let deployment = Deployment::prepare(&arguments, &run, &kube, &parts).await?;
    let db = PgPoolOptions::new().max_connections(4).connect_lazy(&parts.database_url)?;
    say(started, "the servers run and the images are loaded");

    let outcome = async {
        let deployed = deployment.deploy(&images.first).await?;
        ensure!(deployed.works, "the first deployment failed: {}", deployed.output);
        say(started, format!("deployed {} in {} s; it works", images.first, deployed.took.as_secs()));
        let address = match &gateway {
            Some(gateway) => gateway.address,
            None => kube.address_of(&arguments.namespace, "tasks", 80).await?,
        };
        let api = Api::at([format!("http://{address}")], &deployment.jwt_secret).host(host(&arguments, "tasks"));
        let user = api.user();
        let (arguments, kube, parts, images, deployment) = (&arguments, &kube, &parts, &images, &deployment);
        run_steps(&ClusterTest {
            arguments,
            kube,
            parts,
            db: db.clone(),
            api,
            address,
            user,
            images,
            deployment,
            started,
        })
        .await
    };
    let outcome = outcome.await;
    if let Err(error) = &outcome {
        say(started, format!("FAILED: {error:#}"));
        evidence(&kube, &run).await;
        say(started, format!("the state of the cluster is in {}", run.dir.join("log").display()));
    }
    db.close().await;
    if arguments.keep {
        parts.leave_running();
        say(started, format!("kept: the namespace {}, and the servers until the next run", arguments.namespace));
    } else {
        deployment.remove(&kube).await?;
        say(started, "removed");
    }
    outcome
}

async fn run_steps(test: &ClusterTest<'_>) -> anyhow::Result<()> {
    for step in Step::value_variants() {
        let only = &test.arguments.only;
        let is_wanted =
            if only.is_empty() { *step != Step::Page || test.arguments.browser } else { only.contains(step) };
        if step.exists(test.arguments.plain) && is_wanted {
            steps::step(test, *step).await.with_context(|| format!("step {}", name(*step)))?;
        }
    }
    test.say("passed");
    Ok(())
}

fn name(step: Step) -> String {
    step.to_possible_value().map(|value| value.get_name().to_owned()).unwrap_or_default()
}

/// Writes the state of the cluster into the folder of the run, for the analysis of a failure.
async fn evidence(kube: &Kube, run: &Run) {
    let objects = if kube.plain { "deployments,replicasets,jobs" } else { "ksvc,revisions,deployments,jobs" };
    let pods = ["--selector", "app.kubernetes.io/part-of=punctual", "--all-containers", "--prefix"];
    let limits = ["--tail", "200", "--max-log-requests", "60", "--ignore-errors"];
    let all: [(&str, Vec<&str>); 4] = [
        ("pods", vec!["get", "pods", "--output", "wide"]),
        ("objects", vec!["get", objects]),
        ("events", vec!["get", "events", "--sort-by", ".lastTimestamp"]),
        ("logs", [&["logs"][..], &pods, &limits].concat()),
    ];
    for (name, arguments) in all {
        let told = kube.kubectl(&arguments).await.unwrap_or_else(|error| format!("{error:#}"));
        let _ = fs::write(run.dir.join("log").join(format!("{name}.txt")), told);
    }
}
