//! Runs Punctual on one machine: finds or installs the real parts (PostgreSQL, Dapr, Kafka, an SMTP server), starts
//! them on free ports and stops them. `cargo xtask up` and all tests across processes use [`topology::Topology`].
//!
//! Nothing here is part of the product. It runs on Linux only: it needs `/proc`, parent-death signals and process groups.
//!
//! `cargo xtask up` compiles this crate first on a fresh machine, so without features it blocks and uses little beyond the
//! standard library. The feature `kafka` adds Kafka's topics. The feature `client`, for tests, also adds the API client
//! (`api`) and waiting (`wait`, `settled`). The feature `push`, for tests, adds a push service (`push`).

#[cfg(feature = "client")]
pub mod api;
pub mod browser;
pub mod cargo;
pub mod chart;
pub mod clocks;
pub mod dapr;
pub mod forwarder;
pub mod http;
pub mod identity;
pub mod kafka;
pub mod links;
pub mod mail;
pub mod pgbouncer;
pub mod ports;
pub mod postgres;
pub mod process;
pub mod progress;
#[cfg(feature = "push")]
pub mod push;
pub mod redis;
pub mod release;
pub mod secrets;
#[cfg(feature = "client")]
pub mod settled;
pub mod signals;
pub mod spawn;
pub mod tools;
pub mod topology;
#[cfg(feature = "client")]
pub mod wait;

use std::path::PathBuf;

/// The root of the repository.
#[must_use]
pub fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).map(PathBuf::from).unwrap_or_default()
}

/// The folder of installed tools, data and logs. Safe to delete while nothing runs.
#[must_use]
pub fn dev() -> PathBuf {
    root().join(".dev")
}
