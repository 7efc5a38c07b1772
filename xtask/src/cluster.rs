//! `cargo xtask cluster-test`: runs `xtask/cluster` on the cluster of the current kubeconfig.

use std::process::Command;

use anyhow::ensure;

use crate::{
    checks::{CARGO, cargo},
    progress::say,
    tools,
    topology::target_dir,
};

/// Runs it; `arguments` are those of `xtask/cluster/src/main.rs`.
///
/// # Errors
/// When something is missing or does not build, or the cluster did not show what it should.
pub fn cluster_test(arguments: &[String]) -> anyhow::Result<()> {
    tools::require("kubectl", "kubectl (https://kubernetes.io/docs/tasks/tools)")?;
    tools::require("helm", "Helm 3 (https://helm.sh/docs/intro/install)")?;
    tools::require("curl", "curl (Debian: apt-get install curl)")?;
    tools::require("jq", "jq (Debian: apt-get install jq)")?;
    say("building the cluster test");
    // All of them at once: built alone, what it shares with the others would be compiled once more.
    cargo(Command::new(CARGO).args(["build", "--locked", "--workspace", "--bins"]))?;
    let status = Command::new(target_dir().join("debug/cluster-test")).args(arguments).status()?;
    ensure!(status.success(), "the cluster test was not passed");
    Ok(())
}
