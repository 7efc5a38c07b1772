//! Runs cargo, and prepares scratch databases for its builds.

use std::{fs, process::Command};

use anyhow::ensure;

use crate::{
    dev,
    postgres::{self, Postgres},
    process::Run,
    progress::quietly,
    root,
    topology::target_dir,
};

/// Builds every binary of the workspace in the profile dev. Building packages one by one would compile shared dependencies again
/// with other features.
pub fn build() -> anyhow::Result<()> {
    run(&["build", "--workspace", "--bins", "--locked"], |build| build)
}

/// Runs cargo in the repository, showing its output. `settings` may add arguments and variables.
pub fn run(arguments: &[&str], settings: impl FnOnce(&mut Command) -> &mut Command) -> anyhow::Result<()> {
    let mut command = Command::new("cargo");
    let status = settings(command.args(arguments)).current_dir(root()).status()?;
    ensure!(status.success(), "cargo {} failed", arguments.first().copied().unwrap_or_default());
    Ok(())
}

/// Starts PostgreSQL with an empty database `punctual`, in `.dev/<name>`.
pub fn scratch(name: &str) -> anyhow::Result<Postgres> {
    let run = Run { dir: dev().join(name), detached: false };
    fs::create_dir_all(&run.dir)?;
    postgres::wipe(&run.dir)?;
    let postgres = Postgres::launch(&run)?;
    // Each test creates and drops a database. With fsync, a slow disk stopped every statement for longer than a test waits.
    postgres.sql("postgres", "alter system set fsync = off")?;
    postgres.sql("postgres", "select pg_reload_conf()")?;
    postgres.create_database("punctual")?;
    Ok(postgres)
}

/// Applies the migrations to the database `punctual`. The binaries must be built.
pub fn migrate(postgres: &Postgres) -> anyhow::Result<()> {
    quietly(Command::new(target_dir().join("debug/migrate")).env("DATABASE_URL", postgres.url("punctual")))?;
    Ok(())
}
