//! Everything that runs Punctual on one machine: finds or installs the real parts (PostgreSQL, Dapr, Kafka, an SMTP
//! server), starts them on free ports and stops them again. `cargo xtask` is the command line of it; the end-to-end tests
//! use [`topology::Topology`] directly.
//!
//! Nothing here is part of the product: blocking code on the standard library, Linux only.

pub mod bench;
pub mod chart;
pub mod checks;
pub mod cluster;
pub mod dapr;
pub mod fuzz;
pub mod gauntlet;
pub mod http;
pub mod identity;
pub mod kafka;
pub mod links;
pub mod mail;
pub mod ports;
pub mod postgres;
pub mod process;
pub mod progress;
pub mod redis;
pub mod release;
pub mod schemathesis;
pub mod secrets;
mod spawn;
pub mod tools;
pub mod topology;
pub mod up;

use std::path::PathBuf;

/// The repository.
#[must_use]
pub fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).parent().map(PathBuf::from).unwrap_or_default()
}

/// Where everything that is installed, written or left running lives; safe to delete while nothing runs.
#[must_use]
pub fn dev() -> PathBuf {
    root().join(".dev")
}
