//! `cargo xtask gauntlet`: builds the product with its test-only faults, and runs `xtask/gauntlet` on it.

use std::{fs, path::PathBuf, process::Command};

use anyhow::{bail, ensure};

use crate::{
    checks::{CARGO, cargo},
    dapr, dev, kafka, links, mail, postgres,
    progress::say,
    topology::{FUNCTIONS, target_dir},
};

/// Runs it; `arguments` are those of `xtask/gauntlet/src/main.rs`.
///
/// # Errors
/// When something is missing or does not build, or a promise was broken.
pub fn gauntlet(arguments: &[String]) -> anyhow::Result<()> {
    postgres::binaries()?;
    kafka::binaries()?;
    mail::python()?;
    dapr::binaries()?;
    links::binary()?;
    let bin_dir = build()?;
    let status = Command::new(target_dir().join("debug/gauntlet"))
        .args(["--bin-dir".into(), bin_dir.into_os_string()])
        .args(arguments)
        .status()?;
    ensure!(status.success(), "the gauntlet was not passed");
    Ok(())
}

/// The functions with the feature `faults`, in a folder of their own: an ordinary build replaces what cargo has built.
fn build() -> anyhow::Result<PathBuf> {
    say("building the functions with their test-only faults");
    cargo(Command::new(CARGO).args(["build", "--locked", "--workspace", "--bins", "--features", "shared/faults"]))?;
    let folder = dev().join("faults");
    fs::create_dir_all(&folder)?;
    for name in FUNCTIONS.iter().map(|(name, _)| *name).chain(["migrate", "door"]) {
        let built = target_dir().join("debug").join(name);
        if !built.exists() {
            bail!("{} was not built", built.display());
        }
        let copy = folder.join(name);
        // Another run may be at it: replaced, never written into.
        let new = copy.with_extension("new");
        fs::copy(&built, &new)?;
        fs::rename(&new, &copy)?;
    }
    Ok(folder)
}
