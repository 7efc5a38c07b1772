//! The cluster test: deploys Punctual to a real cluster, in a namespace of its own, and sees there what only a cluster can show. Its
//! functions sleep, an HTTP request, an event and a job each wake theirs, and a burst, a rollout, killed pods and a killed scheduler
//! lose nothing. What took effect is asked of PostgreSQL and of the mail server, not of the product.
//!
//! Run by `cargo xtask cluster-test`. It wants a cluster with Knative Serving and Dapr that is there for tests: it kills Dapr's
//! scheduler. PostgreSQL, Kafka and a mail server run on this machine, where its pods reach them.

mod deployment;
mod facts;
mod images;
mod kube;
mod load;
mod parts;
mod steps;
mod user;
mod world;

use std::{net::IpAddr, path::PathBuf, process::ExitCode};

use clap::{Parser, ValueEnum};
use lab::release::Profile;

/// What can be seen; the order is the order in which it is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Step {
    /// Installing twice changes nothing
    Twice,
    /// Everything sleeps, and stays so
    Sleep,
    /// A cold start, beside that of a hello world
    Cold,
    /// A request, every event and every job wake their function
    Wake,
    /// A reminder due while everything sleeps
    Reminder,
    /// A burst from zero, and back
    Burst,
    /// Pods killed in the middle
    Deaths,
    /// Dapr's scheduler killed while a reminder is pending
    Scheduler,
    /// A rollout under load
    Rollout,
    /// Deployments that must fail, under load; last, because the revision that never started goes on trying
    Failure,
}

/// Deploys to the cluster of the current kubeconfig and sees that what runs there keeps its promises.
#[derive(Parser, Clone, Debug)]
pub(crate) struct Arguments {
    /// What makes an image of a static binary and brings it to the cluster: a line for the shell with `{image}` and `{binary}`.
    /// Without it the images are in the registry already
    #[arg(long, env = "CLUSTER_LOAD")]
    pub(crate) load: Option<String>,
    /// What the names of images begin with
    #[arg(long, env = "IMAGE_REGISTRY", default_value = "dev.local/punctual")]
    pub(crate) registry: String,
    /// The version to begin with, where the images are in the registry already
    #[arg(long, required_unless_present = "load")]
    pub(crate) tag: Option<String>,
    /// The version to go on to, likewise
    #[arg(long, required_unless_present = "load")]
    pub(crate) next_tag: Option<String>,
    /// How the binaries are built
    #[arg(long, value_enum, default_value = "release")]
    pub(crate) profile: Profile,
    /// A folder of static binaries, which are taken as they are
    #[arg(long)]
    pub(crate) bin_dir: Option<PathBuf>,
    /// Knative's gateway inside the cluster, as namespace/service
    #[arg(long, env = "GATEWAY", default_value = "kourier-system/kourier-internal")]
    pub(crate) gateway: String,
    /// An address of this machine that pods reach [default: the one from which it reaches a node]
    #[arg(long, env = "CLUSTER_ADDRESS")]
    pub(crate) address: Option<IpAddr>,
    /// A PostgreSQL database that is there already, reached from here and from pods; empty, and its user may create roles
    #[arg(long, requires = "state_database_url")]
    pub(crate) database_url: Option<String>,
    /// One for Dapr's tables
    #[arg(long)]
    pub(crate) state_database_url: Option<String>,
    /// Kafka brokers that are there already with the topics, reached from here and from pods
    #[arg(long)]
    pub(crate) kafka_brokers: Option<String>,
    /// A mail server that is there already; then the database alone says how often a reminder was sent
    #[arg(long)]
    pub(crate) smtp_url: Option<String>,
    /// Made, and deleted at the end
    #[arg(long, default_value = "punctual-cluster-test")]
    pub(crate) namespace: String,
    /// Where Dapr's control plane is
    #[arg(long, default_value = "dapr-system")]
    pub(crate) dapr_namespace: String,
    /// The namespace enforces the restricted Pod Security Standard
    #[arg(long)]
    pub(crate) restricted: bool,
    /// One more argument for Helm
    #[arg(long = "helm", allow_hyphen_values = true)]
    pub(crate) helm: Vec<String>,
    /// Only these; the deployment comes first anyway
    #[arg(long, value_enum, value_delimiter = ',')]
    pub(crate) only: Vec<Step>,
    /// Cold starts that are measured
    #[arg(long, default_value_t = 5)]
    pub(crate) rounds: usize,
    /// How late a reminder may be, in milliseconds: one cold start
    #[arg(long, default_value_t = 5000)]
    pub(crate) late_ms: i64,
    /// How long functions may take to be at zero, in seconds
    #[arg(long, default_value_t = 300)]
    pub(crate) zero_seconds: u64,
    /// How long they have to stay there, in seconds
    #[arg(long, default_value_t = 60)]
    pub(crate) idle_seconds: u64,
    /// Leave everything as it is at the end, the servers of this machine as well
    #[arg(long)]
    pub(crate) keep: bool,
}

#[tokio::main]
async fn main() -> ExitCode {
    match world::run(Arguments::parse()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
