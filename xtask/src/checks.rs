//! `cargo xtask install`, `test`, `prepare`, `manifests` and `chart-check`.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    path::Path,
    time::SystemTime,
};

use anyhow::bail;
use lab::{
    cargo::{self, migrate, scratch},
    chart, dapr, dev, kafka, mail, pgbouncer, postgres,
    progress::say,
    redis, root,
};

use crate::{browser, schemathesis};

/// Installs the missing parts that runs and tests need.
pub(crate) fn install() -> anyhow::Result<()> {
    // Quick ones first, so that a missing prerequisite is reported before the long build of Dapr.
    postgres::binaries()?;
    redis::binary()?;
    pgbouncer::binary()?;
    kafka::binaries()?;
    mail::python()?;
    schemathesis::python()?;
    browser::install()?;
    dapr::in_memory_binaries()?; // a first `up` builds these, so the tests of the single process use them too
    dapr::binaries()?;
    chart::tools()?;
    chart::compose_check()?;
    Ok(())
}

/// Runs every test, or those whose names contain one of `filters`.
pub(crate) fn test(filters: &[String]) -> anyhow::Result<()> {
    install()?; // a test would install missing parts without showing progress
    let postgres = scratch("test")?;
    say("building every binary and test");
    // One build: tests have dependencies that switch on features of others, so two builds would compile half of them twice.
    cargo::run(&["build", "--workspace", "--bins", "--tests", "--locked"], |build| build)?;
    say("running the tests");
    // `#[sqlx::test]` creates a database for each test. This one needs the schema too: rustdoc expands the `query!` macros again
    // when it looks for doctests.
    migrate(&postgres)?;
    cargo::run(&["test", "--workspace", "--locked", "--no-fail-fast", "--"], |test| {
        test.args(filters).env("DATABASE_URL", postgres.url("punctual"))
    })?;
    browser::after_others(filters)
}

/// Writes `.sqlx`, the descriptions of all checked statements, so that a build needs no database. With `check`, only fails if it
/// is out of date, or if clippy warns: both need the whole workspace compiled, so one build does both.
///
/// sqlx's macros write a file per compiled statement if `DATABASE_URL` and `SQLX_OFFLINE_DIR` are set (sqlx-macros-core,
/// `query/mod.rs`), so this compiles every crate.
pub(crate) fn prepare(check: bool) -> anyhow::Result<()> {
    let fresh = dev().join("prepare/sqlx");
    let _ = fs::remove_dir_all(&fresh);
    fs::create_dir_all(&fresh)?;
    let postgres = scratch("prepare")?;
    cargo::run(&["build", "--locked", "--package", "migrations", "--bins"], |build| build)?;
    migrate(&postgres)?;
    for members in ["functions", "migrations", "shared", "testing", "xtask"] {
        touch_sources(&root().join(members))?;
    }
    let (compile, lints): (_, &[&str]) = if check { ("clippy", &["--", "-D", "warnings"]) } else { ("check", &[]) };
    cargo::run(&[compile, "--workspace", "--all-targets", "--locked"], |compile| {
        compile
            .args(lints)
            .env("DATABASE_URL", postgres.url("punctual"))
            .env("SQLX_OFFLINE", "false")
            .env("SQLX_OFFLINE_DIR", &fresh)
    })?;
    let kept = root().join(".sqlx");
    let (is, should) = (contents(&kept)?, contents(&fresh)?);
    if is == should {
        say(format!(".sqlx is up to date: {} statements", should.len()));
        return Ok(());
    }
    let names = is.keys().chain(should.keys()).filter(|name| is.get(*name) != should.get(*name));
    let differing: std::collections::BTreeSet<&String> = names.collect();
    if check {
        bail!(".sqlx is out of date for {} statements: run `cargo xtask prepare` and commit it", differing.len());
    }
    let _ = fs::remove_dir_all(&kept);
    fs::create_dir_all(&kept)?;
    for (name, content) in &should {
        fs::write(kept.join(name), content)?;
    }
    say(format!(".sqlx written: {} statements, {} of them changed", should.len(), differing.len()));
    Ok(())
}

/// Writes the generated manifests: first every list of the catalogue, then what needs the product's types.
pub(crate) fn manifests() -> anyhow::Result<()> {
    manifests::write(&root())?;
    let tests = ["test", "--locked", "--package", "manifests", "--test", "generated", "--test", "configuration"];
    cargo::run(&tests, |test| test.env("UPDATE_MANIFESTS", "1"))
}

/// Checks only the Helm chart; `test` includes this check.
pub(crate) fn chart() -> anyhow::Result<()> {
    cargo::run(&["test", "--locked", "--package", "manifests", "--test", "chart"], |test| test)
}

/// Makes cargo compile every member again by touching its sources, as sqlx's own tool does.
fn touch_sources(dir: &Path) -> anyhow::Result<()> {
    for entry in fs::read_dir(dir)? {
        let path = entry?.path();
        if path.is_dir() {
            touch_sources(&path)?;
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            File::options().append(true).open(path)?.set_modified(SystemTime::now())?;
        }
    }
    Ok(())
}

fn contents(dir: &Path) -> anyhow::Result<BTreeMap<String, String>> {
    let mut files = BTreeMap::new();
    for entry in fs::read_dir(dir).into_iter().flatten() {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        files.insert(name, fs::read_to_string(&path)?);
    }
    Ok(files)
}
