//! What to start.

use std::{collections::BTreeMap, path::PathBuf, time::Duration};

use crate::root;

/// Every function, and the topic whose events reach it.
pub const FUNCTIONS: [(&str, Option<&str>); 11] = [
    ("tasks", None),
    ("task-created", Some("task-events")),
    ("task-updated", Some("task-events")),
    ("task-completed", Some("task-events")),
    ("task-deleted", Some("task-events")),
    ("alarm", None),
    ("reminder-due", Some("reminders")),
    ("reminder-sent", Some("reminders")),
    ("task-changed", Some("task-updates")),
    ("dead-letters", None),
    ("upkeep", None),
];
/// The app-id of all functions in one process.
pub(super) const EMBEDDED: &str = "punctual";

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
    /// Dapr's in-memory component: one daprd only, forgets when it ends.
    InMemory,
    /// Kafka, or Redpanda where it is installed.
    Kafka,
    /// Kafka over TLS, with users and rights, through the components for the clouds.
    GuardedKafka,
    /// Redis streams.
    Redis,
}

/// Where mail goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mail {
    /// `reminder-due` writes it to the mail folder.
    Files,
    /// By SMTP to a server that keeps it in the mail folder.
    Smtp,
}

/// What to start.
#[derive(Clone, Debug)]
pub struct Options {
    /// The run: its logs and data are in `.dev/<name>`.
    pub name: String,
    /// How the functions are hosted.
    pub mode: Mode,
    /// What carries the events.
    pub broker: Broker,
    /// Where mail goes.
    pub mail: Mail,
    /// The port of the HTTP API; a free one when unset.
    pub port: Option<u16>,
    /// How often repair runs; never when unset.
    pub repair_every: Option<Duration>,
    /// Whether the data of an earlier run of this name is deleted first, and this run's at its end unless a test failed.
    pub fresh: bool,
    /// Whether the processes outlive this one.
    pub detached: bool,
    /// Variables of every function, over those set here.
    pub env: Vec<(String, String)>,
    /// The secret store: beside the keys found in this environment.
    pub secrets: BTreeMap<String, String>,
    /// Whether the parts reach each other over [`crate::links::Links`].
    pub links: bool,
    /// Whether each daprd calls its function through the door, as on Knative, and what the door calls is for others to serve:
    /// [`super::Topology::routes`].
    pub doors: bool,
    /// The size of the disks of PostgreSQL and Kafka in megabytes, each a tmpfs of its own, so that they can be filled; as root only.
    pub small_disks: Option<u32>,
    /// Where the functions' binaries are.
    pub bin_dir: PathBuf,
}

impl Options {
    /// One process, in-memory events, mail as files.
    #[must_use]
    pub fn embedded(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            mode: Mode::Embedded,
            broker: Broker::InMemory,
            mail: Mail::Files,
            port: None,
            repair_every: Some(Duration::from_secs(30)),
            fresh: true,
            detached: false,
            env: Vec::new(),
            secrets: BTreeMap::new(),
            links: false,
            doors: false,
            small_disks: None,
            bin_dir: target_dir().join("debug"),
        }
    }

    /// As in production: a process and a daprd per function, Kafka, mail by SMTP.
    #[must_use]
    pub fn distributed(name: &str) -> Self {
        Self { mode: Mode::Distributed, broker: Broker::Kafka, mail: Mail::Smtp, ..Self::embedded(name) }
    }

    /// Sets a variable of every function.
    #[must_use]
    pub fn env(mut self, name: &str, value: impl Into<String>) -> Self {
        self.env.push((name.to_owned(), value.into()));
        self
    }
}

/// Where cargo puts what it builds.
#[must_use]
pub fn target_dir() -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root().join("target"), |dir| root().join(dir))
}
