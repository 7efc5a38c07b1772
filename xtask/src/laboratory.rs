//! `cargo xtask bench`, `gauntlet`, `cluster-test` and `compose-test`: builds the program under `testing/` and runs it.

use std::{fs, path::PathBuf, process::Command};

use anyhow::{bail, ensure};
use lab::{cargo, dapr, dev, kafka, links, mail, pgbouncer, postgres, progress::say, tools, topology::target_dir};

/// Runs `testing/bench`.
pub(crate) fn bench(arguments: &[String]) -> anyhow::Result<()> {
    say("building the benchmarks");
    cargo::build()?;
    run("bench", arguments)
}

/// Runs `testing/gauntlet` on functions that are built with crash points.
pub(crate) fn gauntlet(arguments: &[String]) -> anyhow::Result<()> {
    postgres::binaries()?;
    kafka::binaries()?;
    mail::python()?;
    dapr::binaries()?;
    dapr::movable_scheduler()?;
    pgbouncer::binary()?;
    links::binary()?;
    let bin_dir = with_crash_points()?;
    let arguments = [&["--bin-dir".to_owned(), bin_dir.display().to_string()], arguments].concat();
    run("gauntlet", &arguments)
}

/// Runs `testing/cluster`.
pub(crate) fn cluster_test(arguments: &[String]) -> anyhow::Result<()> {
    tools::require("kubectl", "kubectl (https://kubernetes.io/docs/tasks/tools)")?;
    tools::require("helm", "Helm 3 (https://helm.sh/docs/intro/install)")?;
    tools::require("curl", "curl (Debian: apt-get install curl)")?;
    tools::require("jq", "jq (Debian: apt-get install jq)")?;
    say("building the cluster test");
    cargo::build()?;
    run("cluster-test", arguments)
}

/// Runs `testing/compose`. A nightly run compiles nothing else, so this builds no other program.
pub(crate) fn compose_test(arguments: &[String]) -> anyhow::Result<()> {
    say("building the Compose test");
    cargo::run(&["build", "--locked", "--package", "compose-test"], |build| build)?;
    run("compose-test", arguments)
}

/// Runs a program that is built.
fn run(program: &str, arguments: &[String]) -> anyhow::Result<()> {
    let status = Command::new(target_dir().join("debug").join(program)).args(arguments).status()?;
    ensure!(status.success(), "{program} failed");
    Ok(())
}

/// Builds the functions with crash points into a folder of their own: the next ordinary build replaces what cargo built.
fn with_crash_points() -> anyhow::Result<PathBuf> {
    say("building the gauntlet, and the functions with crash points");
    cargo::run(&["build", "--locked", "--workspace", "--bins", "--features", "shared/faults"], |build| build)?;
    let folder = dev().join("faults");
    fs::create_dir_all(&folder)?;
    for name in catalogue::FUNCTIONS.iter().map(|function| function.name).chain(["migrate", "door"]) {
        let built = target_dir().join("debug").join(name);
        if !built.exists() {
            bail!("{} was not built", built.display());
        }
        let copy = folder.join(name);
        // Another run may be executing the old file: replace it, never write into it.
        let new = copy.with_extension("new");
        fs::copy(&built, &new)?;
        fs::rename(&new, &copy)?;
    }
    Ok(folder)
}
