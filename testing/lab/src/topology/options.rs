//! What to start.

use std::{collections::BTreeMap, path::PathBuf, time::Duration};

use crate::{clocks::Clocks, root};

/// How the functions are hosted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// All in one process behind one daprd.
    Embedded,
    /// A process and a daprd each.
    Distributed,
}

/// What carries the events.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Broker {
    /// Dapr's in-memory component: works with one daprd and loses events when it ends.
    InMemory,
    /// Kafka, or Redpanda if it is installed.
    Kafka,
    /// Kafka with TLS, users and ACLs, through the components for clouds.
    GuardedKafka,
    /// Redis streams.
    Redis,
}

/// Where mail goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mail {
    /// `reminder-due` writes messages to the mail folder.
    Files,
    /// An SMTP server writes messages to the mail folder.
    Smtp,
}

/// What to start.
#[derive(Clone, Debug)]
pub struct Options {
    /// The name of the run, whose logs and data are in `.dev/<name>`.
    pub name: String,
    /// How the functions are hosted.
    pub mode: Mode,
    /// What carries the events.
    pub broker: Broker,
    /// Where mail goes.
    pub mail: Mail,
    /// The port of the HTTP API; a free one if unset.
    pub port: Option<u16>,
    /// The port of the page, if it is a process of its own; a free one if unset.
    pub page_port: Option<u16>,
    /// The interval of repair; no repair if unset.
    pub repair_every: Option<Duration>,
    /// Whether to delete the data of an earlier run at the start, and of this run at the end unless a test failed.
    pub fresh: bool,
    /// Whether the processes outlive this one.
    pub detached: bool,
    /// Environment variables of every function, which override the defaults.
    pub env: Vec<(String, String)>,
    /// Secrets in the secret store, in addition to those in our environment.
    pub secrets: BTreeMap<String, String>,
    /// Whether the parts connect through [`crate::links::Links`].
    pub links: bool,
    /// Whether each daprd calls its function through the door, as on Knative. The caller must serve the routes behind the doors:
    /// [`super::Topology::routes`].
    pub doors: bool,
    /// The size in megabytes of small disks (tmpfs) for PostgreSQL and Kafka, which a test can fill. Needs root.
    pub small_disks: Option<u32>,
    /// Whether PgBouncer stands between the functions with their daprds and PostgreSQL.
    pub pooler: bool,
    /// The clocks that differ from this machine's.
    pub clocks: Clocks,
    /// The folder of the functions' binaries.
    pub bin_dir: PathBuf,
}

impl Options {
    /// One process, in-memory events, mail in files.
    #[must_use]
    pub fn embedded(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            mode: Mode::Embedded,
            broker: Broker::InMemory,
            mail: Mail::Files,
            port: None,
            page_port: None,
            repair_every: Some(Duration::from_secs(30)),
            fresh: true,
            detached: false,
            env: Vec::new(),
            secrets: BTreeMap::new(),
            links: false,
            doors: false,
            small_disks: None,
            pooler: false,
            clocks: Clocks::default(),
            bin_dir: target_dir().join("debug"),
        }
    }

    /// As in production: a process and a daprd per function, Kafka, mail by SMTP.
    #[must_use]
    pub fn distributed(name: &str) -> Self {
        Self { mode: Mode::Distributed, broker: Broker::Kafka, mail: Mail::Smtp, ..Self::embedded(name) }
    }

    /// Sets an environment variable of every function.
    #[must_use]
    pub fn env(mut self, name: &str, value: impl Into<String>) -> Self {
        self.env.push((name.to_owned(), value.into()));
        self
    }
}

/// Cargo's target folder.
#[must_use]
pub fn target_dir() -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root().join("target"), |dir| root().join(dir))
}
