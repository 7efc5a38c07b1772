//! Finds the parts that a run needs, and installs missing ones with the usual package clients: pinned versions, into `.dev/` where
//! the client allows it. A stamp in each installation holds its pin, so that nothing is installed twice.
//!
//! For Go, a JDK, Maven and Python, which no client installs, the error is one line that says what to install.

use std::{
    env, fs,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    process::Command,
    sync::Mutex,
};

use anyhow::{Context as _, bail};
use sha2::{Digest as _, Sha256};

use crate::{
    dev,
    progress::{self, quietly},
    root,
};

/// The first executable `name` on PATH.
#[must_use]
pub fn on_path(name: &str) -> Option<PathBuf> {
    env::split_paths(&env::var_os("PATH")?).map(|dir| dir.join(name)).find(|path| path.is_file())
}

/// `name` on PATH; the error says what to install.
pub fn require(name: &str, what_to_install: &str) -> anyhow::Result<PathBuf> {
    on_path(name).with_context(|| format!("{name} is missing: install {what_to_install} and try again"))
}

/// A version that `versions.env` names.
///
/// # Panics
/// When it does not name it.
#[must_use]
pub fn version(name: &str) -> &'static str {
    let version = |line: &'static str| line.strip_prefix(name)?.strip_prefix('=');
    let found = include_str!("../../../versions.env").lines().find_map(version);
    found.unwrap_or_else(|| panic!("versions.env names no {name}"))
}

/// Go on PATH; the error says which version to install.
pub fn go() -> anyhow::Result<PathBuf> {
    let module = include_str!("../../../dapr/runtime/go.mod");
    let oldest = module.lines().find_map(|line| line.strip_prefix("go ")).unwrap_or_default();
    require("go", &format!("Go {oldest} or newer (https://go.dev/dl)"))
}

/// The folder of a Go module's source, at the version that the `go.mod` in `folder` takes.
pub fn module(folder: &str, path: &str) -> anyhow::Result<PathBuf> {
    let go = go()?;
    let ask = |arguments: &[&str]| {
        quietly(Command::new(&go).args(arguments).arg(path).current_dir(root().join(folder)).env("GOFLAGS", ""))
    };
    ask(&["mod", "download"])?;
    Ok(PathBuf::from(ask(&["list", "-m", "-f", "{{.Dir}}"])?.trim()))
}

/// A program of a Go module at a version, built into `.dev/<name>/<name>` if missing. Not by `go install`, which refuses modules that exclude or
/// replace others.
pub fn go_program(name: &str, module: &str, version: &str, package: &str, flags: &[&str]) -> anyhow::Result<PathBuf> {
    let dir = dev().join(name);
    pinned(&dir, version, || {
        let go = go()?;
        let mut download = Command::new(&go);
        download.args(["mod", "download", "-json", &format!("{module}@{version}")]).current_dir(&dir);
        let downloaded: serde_json::Value = serde_json::from_str(&quietly(&mut download)?)?;
        let source = downloaded["Dir"].as_str().context("go mod download names no folder")?;
        let mut build = Command::new(&go);
        build.args(["build", "-mod=readonly", "-buildvcs=false", "-trimpath"]).args(flags);
        build.arg("-o").arg(dir.join(name)).arg(package).current_dir(source);
        progress::run(&format!("building {name}"), build.env("CGO_ENABLED", "0").env("GOFLAGS", ""))
    })?;
    Ok(dir.join(name))
}

/// Runs `install` for `dir` unless its stamp equals `pin`. If `install` fails, there is no stamp and the next run tries again.
pub fn pinned(dir: &Path, pin: &str, install: impl FnOnce() -> anyhow::Result<()>) -> anyhow::Result<()> {
    // Tests share `.dev/` with other runs, so only one process installs at a time.
    fs::create_dir_all(dir)?;
    let lock = fs::File::create(dir.join(".lock"))?;
    lock.lock()?;
    if is_pinned(dir, pin) {
        return Ok(());
    }
    install()?;
    fs::write(dir.join(".pin"), pin)?;
    Ok(())
}

/// Whether the stamp of `dir` equals `pin`.
#[must_use]
pub fn is_pinned(dir: &Path, pin: &str) -> bool {
    fs::read_to_string(dir.join(".pin")).is_ok_and(|found| found == pin)
}

/// The Python of a virtual environment with a package from PyPI, which is created if missing.
pub fn venv(dir: &Path, package: &str, version: &str) -> anyhow::Result<PathBuf> {
    let python = dir.join("bin/python");
    pinned(dir, version, || {
        let system = require("python3", "Python 3.9 or newer (Debian: apt-get install python3 python3-venv)")?;
        if Command::new(&system).args(["-c", "import ensurepip"]).output().is_ok_and(|out| !out.status.success()) {
            apt(&["python3-venv"])?;
        }
        progress::run("python3 -m venv", Command::new(&system).args(["-m", "venv"]).arg(dir))?;
        progress::run(
            &format!("pip install {package}"),
            Command::new(&python)
                .args(["-m", "pip", "install", "-q", "--disable-pip-version-check"])
                .arg(format!("{package}=={version}")),
        )
    })?;
    Ok(python)
}

/// A pin that changes with the content of `files`.
pub fn pin_of(files: &[PathBuf]) -> anyhow::Result<String> {
    let mut hash = Sha256::new();
    for file in files {
        hash.update(fs::read(file).with_context(|| format!("cannot read {}", file.display()))?);
    }
    Ok(hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect())
}

/// Installs Debian packages, as root or with sudo.
pub fn apt(packages: &[&str]) -> anyhow::Result<()> {
    static UPDATED: Mutex<bool> = Mutex::new(false);
    let mut updated = UPDATED.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    let wanted = packages.join(" ");
    if on_path("apt-get").is_none() || !(is_root() || on_path("sudo").is_some()) {
        bail!(
            "{wanted} is missing: install it with this system's package manager (Debian: apt-get install {wanted}) and try again"
        );
    }
    if !*updated {
        progress::run("apt-get update", as_root("apt-get").args(["update", "-q"]))?;
        *updated = true;
    }
    progress::run(
        &format!("apt-get install {wanted}"),
        as_root("apt-get")
            .args(["install", "-y", "-q", "--no-install-recommends"])
            .args(packages)
            .env("DEBIAN_FRONTEND", "noninteractive"),
    )
}

fn as_root(program: &str) -> Command {
    if is_root() {
        return Command::new(program);
    }
    let mut command = Command::new("sudo");
    command.arg("--preserve-env=DEBIAN_FRONTEND").arg(program);
    command
}

/// Whether this process is root.
#[must_use]
pub fn is_root() -> bool {
    fs::metadata("/proc/self").is_ok_and(|own| own.uid() == 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tool_is_installed_again_only_when_its_pin_changes() {
        let dir = env::temp_dir().join(format!("punctual-tools-{}", std::process::id()));
        let mut installed = 0;
        for pin in ["1", "1", "2"] {
            pinned(&dir, pin, || {
                installed += 1;
                Ok(())
            })
            .unwrap();
        }
        assert!(pinned(&dir, "3", || bail!("no network")).is_err());
        pinned(&dir, "3", || {
            installed += 1;
            Ok(())
        })
        .unwrap();
        fs::remove_dir_all(dir).unwrap();
        assert_eq!(installed, 3);
    }

    #[test]
    fn the_error_for_a_missing_tool_is_one_line_that_says_what_to_install() {
        let error = require("no-such-program", "Go 1.26 (https://go.dev/dl)").unwrap_err().to_string();
        assert_eq!(error, "no-such-program is missing: install Go 1.26 (https://go.dev/dl) and try again");
    }
}
