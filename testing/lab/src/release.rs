//! The binaries as images carry them: linked statically, so that they want nothing but a kernel.

use std::{path::PathBuf, process::Command};

use anyhow::Context as _;
use clap::ValueEnum;

use crate::{
    cargo,
    progress::{quietly, say},
    topology::target_dir,
};

/// How the functions are built.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Profile {
    /// In a fraction of the time.
    Dev,
    /// As for production.
    Release,
}

/// Builds what becomes images, the workspace's default members, and gives the folder they are in.
///
/// # Errors
/// When something does not build.
pub fn build(profile: Profile) -> anyhow::Result<PathBuf> {
    let rustc = quietly(Command::new("rustc").arg("-vV"))?;
    let host = rustc.lines().find_map(|line| line.strip_prefix("host: ")).context("rustc does not tell its host")?;
    say("building the functions");
    let profile_name = if profile == Profile::Dev { "dev" } else { "release" };
    // With a target named, cargo links build scripts and macros dynamically as usual.
    cargo::run(&["build", "--locked", "--bins", "--target", host, "--profile", profile_name], |build| {
        build.env("RUSTFLAGS", "-C target-feature=+crt-static")
    })?;
    Ok(target_dir().join(host).join(if profile == Profile::Dev { "debug" } else { "release" }))
}
