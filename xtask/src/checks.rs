//! `cargo xtask test`, `prepare` and `manifests`: what a change must pass, and what it must regenerate.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    path::Path,
    process::Command,
    time::SystemTime,
};

use anyhow::{bail, ensure};

use crate::{
    chart, dapr, dev, kafka, mail,
    postgres::{self, Postgres},
    process::Run,
    progress::{quietly, say},
    redis, root, schemathesis,
    topology::target_dir,
};

pub(crate) const CARGO: &str = "cargo";

/// Installs every part that a run or a test needs and this machine lacks.
///
/// # Errors
/// When something is missing that no package client can be asked for; the message says what to install.
pub fn install() -> anyhow::Result<()> {
    // The quick ones first, so that what is missing is said before Dapr is built.
    postgres::binaries()?;
    redis::binary()?;
    kafka::binaries()?;
    mail::python()?;
    schemathesis::python()?;
    dapr::binaries()?;
    chart::tools()?;
    Ok(())
}

/// Runs every test, or those whose names contain one of `filters`, on the real runtime.
///
/// # Errors
/// When a part is missing or a test fails.
pub fn test(filters: &[String]) -> anyhow::Result<()> {
    install()?; // all of it now, with its progress shown: a test would install it unseen
    let postgres = scratch("test")?;
    say("building every binary and test");
    cargo(Command::new(CARGO).args(["build", "--workspace", "--bins", "--locked"]))?;
    cargo(Command::new(CARGO).args(["test", "--workspace", "--locked", "--no-run"]))?;
    say("running the tests");
    // `#[sqlx::test]` makes a database on it for each test. It has the schema because rustdoc, which looks for examples to
    // test, expands the statements once more and holds them against it.
    migrate(&postgres)?;
    let tests = ["test", "--workspace", "--locked", "--no-fail-fast", "--"];
    cargo(Command::new(CARGO).args(tests).args(filters).env("DATABASE_URL", postgres.url("punctual")))
}

/// Writes `.sqlx`, the descriptions of all checked statements, so that a build needs no database; with `check` it only
/// says whether that would change anything.
///
/// sqlx's macros write them (sqlx-macros-core, `query/mod.rs`): with a database in `DATABASE_URL` and `SQLX_OFFLINE_DIR`
/// set, each statement that is compiled leaves a file. So it is enough to compile every crate that has one.
///
/// # Errors
/// When a statement does not fit the migrations, or `.sqlx` is not what it should be and `check` is set.
pub fn prepare(check: bool) -> anyhow::Result<()> {
    let fresh = dev().join("prepare/sqlx");
    let _ = fs::remove_dir_all(&fresh);
    fs::create_dir_all(&fresh)?;
    let postgres = scratch("prepare")?;
    cargo(Command::new(CARGO).args(["build", "--locked", "--package", "migrations", "--bins"]))?;
    migrate(&postgres)?;
    for members in ["functions", "migrations", "shared", "xtask"] {
        touch_sources(&root().join(members))?;
    }
    cargo(
        Command::new(CARGO)
            .args(["check", "--workspace", "--all-targets", "--locked"])
            .env("DATABASE_URL", postgres.url("punctual"))
            .env("SQLX_OFFLINE", "false")
            .env("SQLX_OFFLINE_DIR", &fresh),
    )?;
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

/// Writes the manifests that are generated from the code again.
///
/// # Errors
/// When the generator fails.
pub fn manifests() -> anyhow::Result<()> {
    cargo(
        Command::new(CARGO)
            .args(["test", "--locked", "--package", "shared", "--test", "manifests"])
            .env("UPDATE_MANIFESTS", "1"),
    )
}

/// Checks the Helm chart alone; `test` does that too.
///
/// # Errors
/// When a manifest is not what a cluster takes, or not what the code needs.
pub fn chart() -> anyhow::Result<()> {
    cargo(Command::new(CARGO).args(["test", "--locked", "--package", "door", "--test", "chart"]))
}

/// Runs cargo in the repository with its own progress shown.
pub(crate) fn cargo(command: &mut Command) -> anyhow::Result<()> {
    let status = command.current_dir(root()).status()?;
    ensure!(status.success(), "cargo {} failed", command.get_args().next().unwrap_or_default().display());
    Ok(())
}

/// An empty PostgreSQL with a database `punctual`.
pub(crate) fn scratch(name: &str) -> anyhow::Result<Postgres> {
    let run = Run { dir: dev().join(name), detached: false };
    fs::create_dir_all(&run.dir)?;
    postgres::wipe(&run.dir)?;
    let postgres = Postgres::launch(&run)?;
    postgres.create_database("punctual")?;
    Ok(postgres)
}

pub(crate) fn migrate(postgres: &Postgres) -> anyhow::Result<()> {
    quietly(Command::new(target_dir().join("debug/migrate")).env("DATABASE_URL", postgres.url("punctual")))?;
    Ok(())
}

/// Makes cargo compile every member again, as sqlx's own tool does: by the time of their source files.
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
