//! One run: start the servers, load the images, deploy, see, remove.

use std::{
    fs,
    process::Command,
    time::{Duration, Instant},
};

use anyhow::{Context as _, ensure};
use clap::ValueEnum as _;
use lab::{dev, identity, process::Run};
use sqlx::{PgPool, postgres::PgPoolOptions};

use crate::{
    Arguments, Step,
    deployment::Deployment,
    images::Images,
    kube::{Kube, Way},
    parts::Parts,
    steps,
    user::User,
};

const RUN: &str = "cluster-test";

/// What a step needs.
pub(crate) struct World {
    pub(crate) arguments: Arguments,
    pub(crate) kube: Kube,
    pub(crate) parts: Parts,
    pub(crate) db: PgPool,
    pub(crate) user: User,
    pub(crate) images: Images,
    pub(crate) deployment: Deployment,
    pub(crate) started: Instant,
    _gateway: Way,
}

impl World {
    /// One line of what was seen.
    pub(crate) fn say(&self, line: impl AsRef<str>) {
        println!("[{:>4} s] {}", self.started.elapsed().as_secs(), line.as_ref());
    }

    /// Waits until all functions are at zero.
    pub(crate) async fn zero(&self) -> anyhow::Result<Duration> {
        self.kube.zero(Duration::from_secs(self.arguments.zero_seconds)).await
    }
}

/// Runs it.
///
/// # Errors
/// When something is missing, or what was seen is not what was promised.
pub(crate) async fn run(arguments: Arguments) -> anyhow::Result<()> {
    let started = Instant::now();
    let run = Run { dir: dev().join(RUN), detached: arguments.keep };
    for (left, _) in identity::running(&run.dir) {
        left.stop(2, Duration::from_secs(5)); // what an earlier run was told to keep
    }
    let _ = fs::remove_dir_all(&run.dir);
    fs::create_dir_all(run.dir.join("log"))?;
    let kube =
        Kube::connect(&run, &arguments.namespace).context("the current kubeconfig names no cluster that answers")?;
    for (group, what) in [("serving.knative.dev/v1", "Knative Serving"), ("dapr.io/v1alpha1", "Dapr")] {
        kube.get(&format!("/apis/{group}")).await.with_context(|| format!("the cluster has no {what}"))?;
    }
    let gateway_name = arguments.gateway.split_once('/').context("--gateway is namespace/service")?;
    let gateway = kube.way(gateway_name.0, gateway_name.1, 80).await.context("--gateway names none")?;
    let images = Images::prepare(&arguments)?;
    let parts = Parts::start(&arguments, &run, &kube).await?;
    let deployment = Deployment::prepare(&arguments, &run, &kube, &parts).await?;
    let db = PgPoolOptions::new().max_connections(4).connect_lazy(&parts.database_url)?;
    let user = User::new(&gateway.address.to_string(), &arguments.namespace, &deployment.jwt_secret)?;
    let world = World { arguments, kube, parts, db, user, images, deployment, started, _gateway: gateway };
    world.say("the servers run and the images are loaded");

    let seen = see(&world).await;
    if let Err(error) = &seen {
        world.say(format!("FAILED: {error:#}"));
        evidence(&world, &run);
    }
    world.db.close().await;
    if world.arguments.keep {
        world.parts.leave_running();
        world.say(format!("kept: the namespace {}, and the servers until the next run", world.arguments.namespace));
    } else {
        world.deployment.remove(&world.kube).await?;
        world.say("removed");
    }
    seen
}

async fn see(world: &World) -> anyhow::Result<()> {
    let deployed = world.deployment.deploy(&world.images.first).await?;
    ensure!(deployed.works, "the first deployment: {}", deployed.told);
    world.say(format!("deployed {}, which works, in {} s", world.images.first, deployed.took.as_secs()));
    for step in Step::value_variants() {
        if world.arguments.only.is_empty() || world.arguments.only.contains(step) {
            let name = step.to_possible_value().map(|value| value.get_name().to_owned()).unwrap_or_default();
            steps::step(world, *step).await.with_context(|| format!("step {name}"))?;
        }
    }
    world.say("passed");
    Ok(())
}

/// What a person looks for after a failure, into the folder of the run.
fn evidence(world: &World, run: &Run) {
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
        command.args(["--namespace", &world.kube.namespace]).args(arguments);
        if let Ok(output) = command.output() {
            let _ = fs::write(run.dir.join("log").join(format!("{name}.txt")), output.stdout);
        }
    }
    world.say(format!("what the cluster says of it is in {}", run.dir.join("log").display()));
}
