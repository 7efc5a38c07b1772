//! PgBouncer in transaction mode, in front of a PostgreSQL server that trusts connections from this machine.

use std::{fs, path::PathBuf, process::Command};

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
        let listen = ports::free();
        let settings = run.dir.join("pgbouncer.ini");
        fs::write(
            &settings,
            format!(
                "[databases]\n* = host={host} port={port} user={user}\n[pgbouncer]\nlisten_addr = 127.0.0.1\n\
                 listen_port = {listen}\nunix_socket_dir =\nauth_type = any\npool_mode = transaction\n\
                 default_pool_size = 3\nmax_prepared_statements = 200\nignore_startup_parameters = {ignored}\n"
            ),
        )?;
        let mut program = Program::new("pgbouncer", binary()?);
        if tools::is_root() {
            // It refuses to run as root.
            program = program.args(["-u", "nobody"]);
        }
        let program = program.args([settings.display().to_string()]).ready(Ready::Tcp(listen));
        let pgbouncer = Self { process: Process::spawn(run, program)?, port: listen };
        pgbouncer.process.wait_ready(READY)?;
        Ok(pgbouncer)
    }
}

/// The executable of version 1.21 or newer, which keeps prepared statements in transaction mode. Unpacks the one of Debian trixie if there is
/// none.
pub fn binary() -> anyhow::Result<PathBuf> {
    if let Some(installed) = tools::on_path("pgbouncer").filter(keeps_prepared_statements) {
        return Ok(installed);
    }
    let (dir, script) = (dev().join("pgbouncer"), root().join("testing/lab/pgbouncer.sh"));
    tools::pinned(&dir, &tools::pin_of(std::slice::from_ref(&script))?, || {
        tools::require("apt-get", "PgBouncer 1.21 or newer")?;
        progress::run("unpacking PgBouncer", Command::new(script).arg(&dir))
    })?;
    Ok(dir.join("pgbouncer"))
}

fn keeps_prepared_statements(path: &PathBuf) -> bool {
    let Ok(said) = Command::new(path).arg("--version").output() else { return false };
    let said = String::from_utf8_lossy(&said.stdout).into_owned();
    let version = said.lines().next().and_then(|line| line.strip_prefix("PgBouncer ")).unwrap_or_default();
    let mut numbers = version.split('.').map_while(|number| number.parse().ok());
    (numbers.next(), numbers.next()) >= (Some(1_u32), Some(21_u32))
}
