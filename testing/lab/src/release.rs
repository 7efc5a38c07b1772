//! Builds the binaries for images: statically linked, so that an image needs no libraries.

use std::{path::PathBuf, process::Command};

use anyhow::Context as _;
use clap::ValueEnum;

use crate::{
    cargo,
    progress::{quietly, say},
    topology::target_dir,
};

/// The cargo profile of the functions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Profile {
    /// Fast to build.
    Dev,
    /// As in production.
    Release,
}

/// Builds the workspace's default members, which become images; returns their folder.
pub fn build(profile: Profile) -> anyhow::Result<PathBuf> {
    let rustc = quietly(Command::new("rustc").arg("-vV"))?;
    let host = rustc.lines().find_map(|line| line.strip_prefix("host: ")).context("rustc -vV prints no host")?;
    say("building the functions");
    let profile_name = if profile == Profile::Dev { "dev" } else { "release" };
    // With --target, the flag does not apply to build scripts and macros, which must be linked dynamically.
    cargo::run(&["build", "--locked", "--bins", "--target", host, "--profile", profile_name], |build| {
        build.env("RUSTFLAGS", "-C target-feature=+crt-static")
    })?;
    Ok(target_dir().join(host).join(if profile == Profile::Dev { "debug" } else { "release" }))
}
