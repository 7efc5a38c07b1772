//! PgBouncer in transaction mode, in front of a PostgreSQL server that trusts connections from this machine.

use std::{fs, path::PathBuf, process::Command};

use anyhow::Context as _;

use crate::{
    dev, ports,
    process::{Process, Program, READY, Ready, Run},
    progress, root, tools,
};

/// A running PgBouncer.
#[derive(Debug)]
pub struct PgBouncer {
    /// Its process.
    pub process: Process,
    /// Where it listens on 127.0.0.1.
    pub port: u16,
}

impl PgBouncer {
    /// Starts it on a free port, with three connections to each database. `ignored` are start-up parameters that it drops instead of
    /// refusing the connection.
    pub fn launch(run: &Run, host: &str, port: u16, user: &str, ignored: &str) -> anyhow::Result<Self> {
        Self::launch_with(run, &format!("host={host} port={port} user={user}"), 3, ignored)
    }

    /// [`PgBouncer::launch`], before `server` and with `connections` to each database.
    pub fn launch_with(run: &Run, server: &str, connections: u32, ignored: &str) -> anyhow::Result<Self> {
        let listen = ports::free();
        let settings = run.dir.join("pgbouncer.ini");
        fs::write(
            &settings,
            format!(
                "[databases]\n* = {server}\n[pgbouncer]\nlisten_addr = 127.0.0.1\n\
                 listen_port = {listen}\nunix_socket_dir =\nauth_type = any\npool_mode = transaction\n\
                 default_pool_size = {connections}\nmax_client_conn = 900\nserver_login_retry = 1\n\
                 max_prepared_statements = 200\nignore_startup_parameters = {ignored}\n"
            ),
        )?;
        let mut program = Program::new("pgbouncer", binary()?);
        if tools::is_root() {
            // It refuses to run as root. Changing its user clears the signal that ends it with this process: a run that is killed leaves it behind.
            program = program.args(["-u", "nobody"]);
        }
        let program = program.args([settings.display().to_string()]).ready(Ready::Tcp(listen));
        let pgbouncer = Self { process: Process::spawn(run, program)?, port: listen };
        pgbouncer.process.wait_ready(READY)?;
        Ok(pgbouncer)
    }
}

/// The executable of version 1.21 or newer, which keeps prepared statements in transaction mode. If there is none, installs the package of
/// this machine's release, or unpacks that of Debian trixie where it is older.
pub fn binary() -> anyhow::Result<PathBuf> {
    let installed = || {
        let path = tools::on_path("pgbouncer")?;
        let said = Command::new(&path).arg("--version").output().ok()?;
        keeps_prepared_statements(&String::from_utf8_lossy(&said.stdout), "PgBouncer ").then_some(path)
    };
    if let Some(installed) = installed() {
        return Ok(installed);
    }
    let offered = Command::new("apt-cache").args(["policy", "pgbouncer"]).output();
    if offered.is_ok_and(|out| keeps_prepared_statements(&String::from_utf8_lossy(&out.stdout), "Candidate: ")) {
        tools::apt(&["pgbouncer"])?;
        return installed().context("the installed PgBouncer is not on PATH");
    }
    let (dir, script) = (dev().join("pgbouncer"), root().join("testing/lab/pgbouncer.sh"));
    tools::pinned(&dir, &tools::pin_of(std::slice::from_ref(&script))?, || {
        tools::require("apt-get", "PgBouncer 1.21 or newer")?;
        progress::run("unpacking PgBouncer", Command::new(script).arg(&dir))
    })?;
    Ok(dir.join("pgbouncer"))
}

/// Whether the version after `label` is 1.21 or newer.
fn keeps_prepared_statements(said: &str, label: &str) -> bool {
    let version = said.lines().find_map(|line| line.trim().strip_prefix(label)).unwrap_or_default();
    let mut numbers = version.split('.').map_while(|number| number.parse().ok());
    (numbers.next(), numbers.next()) >= (Some(1_u32), Some(21_u32))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_version_that_keeps_prepared_statements_is_used() {
        assert!(keeps_prepared_statements("PgBouncer 1.24.1\nlibevent 2.1.12-stable\n", "PgBouncer "));
        assert!(!keeps_prepared_statements("PgBouncer 1.18.0\n", "PgBouncer "));
        let policy = |version| format!("pgbouncer:\n  Installed: (none)\n  Candidate: {version}\n");
        assert!(keeps_prepared_statements(&policy("1.22.0-1build3"), "Candidate: "));
        assert!(!keeps_prepared_statements(&policy("1.18.0-1+b1"), "Candidate: "));
        assert!(!keeps_prepared_statements(&policy("(none)"), "Candidate: "));
    }
}
