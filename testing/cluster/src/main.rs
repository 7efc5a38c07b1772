//! The cluster test: deploys Punctual to a real cluster, in its own namespace, and tests what only a cluster can show. Functions scale
//! to zero; an HTTP request, an event and a job each wake their function; a burst, a rollout, killed pods and a killed scheduler
//! lose nothing. Effects are read from PostgreSQL and the mail server, not from the product.
//!
//! With `--plain` it deploys the rendering without Knative instead: Deployments with injected sidecars, some with two replicas. The steps
//! are the same but for those about zero.
//!
//! Run by `cargo xtask cluster-test`. It needs a cluster for tests, because it kills Dapr's scheduler. PostgreSQL, Kafka and a mail server
//! run on this machine, reachable from the pods.

mod deployment;
mod facts;
mod images;
mod kube;
mod load;
mod parts;
mod run;
mod steps;

use std::{net::IpAddr, path::PathBuf, process::ExitCode};

use clap::{Parser, ValueEnum};
use lab::release::Profile;

/// The steps, in the order in which they run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Step {
    /// Installing twice changes nothing
    Twice,
    /// Every function scales to zero and stays there (Knative)
    Sleep,
    /// A cold start, compared with that of a hello world (Knative)
    Cold,
    /// A request, each event, each job and an invocation reach their function, which wakes from zero on Knative
    Wake,
    /// A reminder, due while every function is at zero on Knative
    Reminder,
    /// A burst from zero, and back (Knative)
    Burst,
    /// Two replicas of a function share its work, and one survives the other (`--plain`)
    Replicas,
    /// Pods killed in the middle of their work
    Deaths,
    /// The page in a browser: from zero on Knative, and warm (`--browser`)
    Page,
    /// Dapr's scheduler killed while a reminder is pending
    Scheduler,
    /// A rollout under load
    Rollout,
    /// Deployments that must fail, under load; last, because the failed revision keeps retrying
    Failure,
}

impl Step {
    /// Whether the rendering has this step.
    pub(crate) const fn exists(self, plain: bool) -> bool {
        match self {
            Self::Sleep | Self::Cold | Self::Burst => !plain,
            Self::Replicas => plain,
            _ => true,
        }
    }
}

/// Deploys to the cluster of the current kubeconfig and tests it there.
#[derive(Parser, Clone, Debug)]
pub(crate) struct Arguments {
    /// Deploy `values-minikube.yaml`, ordinary Deployments with injected sidecars, in place of Knative Services; Service addresses must be
    /// reachable from here
    #[arg(long)]
    pub(crate) plain: bool,
    /// Shell command that makes `{image}` from the static binary `{binary}` and loads it into the cluster; without it the images
    /// must already be in the registry
    #[arg(long, env = "CLUSTER_LOAD")]
    pub(crate) load: Option<String>,
    /// Prefix of image names
    #[arg(long, env = "IMAGE_REGISTRY", default_value = "dev.local/punctual")]
    pub(crate) registry: String,
    /// Version to deploy first, if the images are already in the registry
    #[arg(long, required_unless_present = "load")]
    pub(crate) tag: Option<String>,
    /// Version to roll out next, if the images are already in the registry
    #[arg(long, required_unless_present = "load")]
    pub(crate) next_tag: Option<String>,
    /// Profile of the binaries
    #[arg(long, value_enum, default_value = "release")]
    pub(crate) profile: Profile,
    /// Folder of static binaries to use instead of building them
    #[arg(long)]
    pub(crate) bin_dir: Option<PathBuf>,
    /// Knative's gateway inside the cluster, as namespace/service
    #[arg(long, env = "GATEWAY", default_value = "kourier-system/kourier-internal")]
    pub(crate) gateway: String,
    /// Address of this machine that pods can reach [default: its address towards a node]
    #[arg(long, env = "CLUSTER_ADDRESS")]
    pub(crate) address: Option<IpAddr>,
    /// Existing empty PostgreSQL database, reachable from here and from pods, whose user may create roles
    #[arg(long, requires = "state_database_url")]
    pub(crate) database_url: Option<String>,
    /// Existing PostgreSQL database for Dapr's tables
    #[arg(long)]
    pub(crate) state_database_url: Option<String>,
    /// Existing Kafka brokers with the topics, reachable from here and from pods
    #[arg(long)]
    pub(crate) kafka_brokers: Option<String>,
    /// Existing mail server; then only the database shows how often a reminder was sent
    #[arg(long)]
    pub(crate) smtp_url: Option<String>,
    /// Namespace, created for the test and deleted at its end
    #[arg(long, default_value = "punctual-cluster-test")]
    pub(crate) namespace: String,
    /// Namespace of Dapr's control plane
    #[arg(long, default_value = "dapr-system")]
    pub(crate) dapr_namespace: String,
    /// The namespace enforces the restricted Pod Security Standard
    #[arg(long)]
    pub(crate) restricted: bool,
    /// Additional argument for Helm
    #[arg(long = "helm", allow_hyphen_values = true)]
    pub(crate) helm: Vec<String>,
    /// Run only these steps after the deployment
    #[arg(long, value_enum, value_delimiter = ',')]
    pub(crate) only: Vec<Step>,
    /// Number of measured cold starts
    #[arg(long, default_value_t = 5)]
    pub(crate) rounds: usize,
    /// Maximum lateness of a reminder in milliseconds: one cold start
    #[arg(long, default_value_t = 5000)]
    pub(crate) late_ms: i64,
    /// Maximum seconds until all functions are at zero
    #[arg(long, default_value_t = 300)]
    pub(crate) zero_seconds: u64,
    /// Seconds for which they must stay at zero
    #[arg(long, default_value_t = 60)]
    pub(crate) idle_seconds: u64,
    /// Visit the page in Chromium too; needs Node.js, and installs Chromium and npm packages
    #[arg(long)]
    pub(crate) browser: bool,
    /// Keep the deployment and the servers on this machine running at the end
    #[arg(long)]
    pub(crate) keep: bool,
}

#[tokio::main]
async fn main() -> ExitCode {
    match run::run(Arguments::parse()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
