//! A PostgreSQL server with its own data directory, from Debian's binaries or those on PATH.
//!
//! PostgreSQL refuses to run as root. When we are root, it runs as the user `postgres`, which Debian's package creates, else as
//! `nobody`.

use std::{
    env, fs,
    net::IpAddr,
    os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown},
    os::unix::process::CommandExt as _,
    path::{Path, PathBuf},
    process::Command,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, bail};

use crate::{
    ports,
    process::{Process, Program, READY, Ready, Run},
    progress::{self, quietly},
    tools,
};

/// The variable that gives new servers an ICU locale as their default, such as `tr`, instead of the locale C. No behaviour may depend on it.
/// Needs PostgreSQL 15 or newer.
const LOCALE: &str = "PUNCTUAL_TEST_LOCALE";
const ACCESS: &str = "host all all 127.0.0.1/32 trust\nhost all all all scram-sha-256\n";

/// A running server. It trusts connections from this machine and requires a password from others.
#[derive(Debug)]
pub struct Postgres {
    /// Its process. After `kill9`, use [`Postgres::start`].
    pub process: Process,
    /// Where it listens on 127.0.0.1.
    pub port: u16,
    bin: PathBuf,
}

impl Postgres {
    /// Starts a server on a free port. Its data stays in `<run>/pg` and is reused.
    pub fn launch(run: &Run) -> anyhow::Result<Self> {
        Self::launch_with(run, None, 0)
    }

    /// [`Postgres::launch`], listening also on an address of this machine that pods or other machines can reach.
    pub fn launch_for(run: &Run, others: Option<IpAddr>) -> anyhow::Result<Self> {
        Self::launch_with(run, others, 0)
    }

    /// [`Postgres::launch_for`], with a clock that is ahead by seconds, or behind if negative.
    pub fn launch_with(run: &Run, others: Option<IpAddr>, ahead: i64) -> anyhow::Result<Self> {
        let bin = binaries()?;
        let port = ports::free();
        let user = tools::is_root().then(unprivileged).transpose()?;
        let data = data_dir(&run.dir)?;
        if !data.join("PG_VERSION").exists() {
            init(&bin, &data, user)?;
        }
        if others.is_some() {
            fs::write(data.join("pg_hba.conf"), ACCESS)?;
        }
        let listen = others.map(|address| format!(",{address}")).unwrap_or_default();
        let mut program = Program::new("postgres", bin.join("postgres"))
            .args(["-D".into(), data.display().to_string(), "-p".into(), port.to_string()])
            .args(["-c".to_owned(), format!("listen_addresses=127.0.0.1{listen}")])
            .args(["-c", "unix_socket_directories="])
            .args(["-c", "max_connections=500", "-c", "timezone=UTC", "-c", "log_timezone=UTC"])
            .ready(Ready::Tcp(port))
            .clock(ahead)?;
        program.user = user;
        program.stop_signal = libc::SIGINT; // "fast": ends the sessions instead of waiting for them
        let postgres = Self { process: Process::spawn(run, program)?, port, bin };
        postgres.start()?;
        Ok(postgres)
    }

    /// The URL of a database.
    #[must_use]
    pub fn url(&self, database: &str) -> String {
        self.url_at(self.port, database)
    }

    /// The URL of a database through another port.
    #[must_use]
    pub fn url_at(&self, port: u16, database: &str) -> String {
        format!("postgres://postgres@127.0.0.1:{port}/{database}")
    }

    /// Starts the server unless it is running, and waits up to a minute until it accepts statements.
    pub fn start(&self) -> anyhow::Result<()> {
        let started = Instant::now();
        loop {
            // Right after a kill, orphaned backends still lock the data directory and a start fails at once.
            self.process.start()?;
            let answer = self.sql("postgres", "select 1");
            match answer {
                Ok(_) => return Ok(()),
                Err(error) if started.elapsed() > READY => {
                    return Err(
                        error.context(format!("PostgreSQL does not start, see {}", self.process.log().display()))
                    );
                }
                Err(_) => thread::sleep(Duration::from_millis(100)),
            }
        }
    }

    /// Creates a database unless it exists.
    pub fn create_database(&self, name: &str) -> anyhow::Result<()> {
        let there = self.sql("postgres", &format!("select 1 from pg_database where datname = '{name}'"))?;
        if there.trim().is_empty() {
            self.sql("postgres", &format!("create database {name}"))?;
        }
        Ok(())
    }

    /// Runs statements by psql; returns the rows, with columns separated by `|`.
    pub fn sql(&self, database: &str, statement: &str) -> anyhow::Result<String> {
        quietly(
            Command::new(self.bin.join("psql"))
                .args(["-X", "-q", "-A", "-t", "-w", "-v", "ON_ERROR_STOP=1", "-h", "127.0.0.1", "-U", "postgres"])
                .args(["-p", &self.port.to_string(), "-d", database, "-c", statement])
                .env("PGCONNECT_TIMEOUT", "30"),
        )
    }

    /// Makes a CA and a certificate of it for 127.0.0.1, with which the server then accepts TLS. Returns the file of the CA's certificate.
    pub fn certify(&self) -> anyhow::Result<PathBuf> {
        const KEY: &str = "-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 1";
        let openssl = tools::require("openssl", "OpenSSL (Debian: apt-get install openssl)")?;
        let data = PathBuf::from(self.sql("postgres", "show data_directory")?.trim());
        let run = |arguments: &str| quietly(Command::new(&openssl).args(arguments.split(' ')).current_dir(&data));
        fs::write(data.join("names"), "subjectAltName = IP:127.0.0.1\n")?;
        run(&format!("req -x509 {KEY} -subj /CN=ca -keyout ca.key -out ca.crt"))?;
        run(&format!("req {KEY} -subj /CN=server -keyout server.key -out server.csr"))?;
        run(
            "x509 -req -in server.csr -CA ca.crt -CAkey ca.key -CAcreateserial -days 1 -extfile names -out server.crt",
        )?;
        let owner = fs::metadata(&data)?;
        for file in ["server.key", "server.crt"] {
            chown(data.join(file), Some(owner.uid()), Some(owner.gid()))?;
        }
        self.sql("postgres", "alter system set ssl = on")?;
        self.sql("postgres", "select pg_reload_conf()")?;
        let reloaded = Instant::now();
        while self.sql("postgres", "show ssl")?.trim() != "on" {
            if reloaded.elapsed() > READY {
                bail!("PostgreSQL does not accept its certificate, see {}", self.process.log().display());
            }
            thread::sleep(Duration::from_millis(20));
        }
        Ok(data.join("ca.crt"))
    }

    /// The folder with psql, pg_dump and pg_restore.
    #[must_use]
    pub fn programs(&self) -> &Path {
        &self.bin
    }
}

/// The folder of the newest installed server. Installs Debian's package if there is none.
pub fn binaries() -> anyhow::Result<PathBuf> {
    if let Some(found) = installed() {
        return Ok(found);
    }
    progress::say("PostgreSQL is not installed");
    tools::apt(&["postgresql"])?;
    installed().context(
        "PostgreSQL is missing: install its server binaries (Debian: apt-get install postgresql) and try again",
    )
}

fn installed() -> Option<PathBuf> {
    let mut debian: Vec<(u32, PathBuf)> = fs::read_dir("/usr/lib/postgresql")
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| Some((entry.file_name().to_str()?.parse().ok()?, entry.path().join("bin"))))
        .filter(|(_, bin)| is_complete(bin))
        .collect();
    debian.sort();
    let on_path = tools::on_path("initdb").and_then(|initdb| fs::canonicalize(initdb).ok());
    let on_path = on_path.and_then(|initdb| Some(initdb.parent()?.to_path_buf())).filter(|bin| is_complete(bin));
    debian.pop().map(|(_, bin)| bin).or(on_path)
}

fn is_complete(bin: &Path) -> bool {
    ["initdb", "postgres", "psql"].iter().all(|name| bin.join(name).exists())
}

fn init(bin: &Path, data: &Path, user: Option<(u32, u32)>) -> anyhow::Result<()> {
    let mut initdb = Command::new(bin.join("initdb"));
    initdb.args(["--auth=trust", "--username=postgres", "--encoding=UTF8", "--locale=C", "--no-sync", "-D"]).arg(data);
    if let Ok(locale) = env::var(LOCALE) {
        initdb.args(["--locale-provider=icu".to_owned(), format!("--icu-locale={locale}")]);
    }
    if let Some((uid, gid)) = user {
        chown(data, Some(uid), Some(gid))?;
        initdb.uid(uid).gid(gid).current_dir("/");
    }
    quietly(&mut initdb)?;
    Ok(())
}

/// `<run>/pg`, or a folder in /var/tmp if the user that runs PostgreSQL cannot enter `<run>` (a checkout in root's home).
fn data_dir(run: &Path) -> anyhow::Result<PathBuf> {
    let mut data = run.join("pg");
    fs::create_dir_all(&data)?;
    let open = |dir: &Path| fs::metadata(dir).is_ok_and(|meta| meta.permissions().mode() & 0o001 != 0);
    if tools::is_root() && !run.ancestors().all(open) {
        let name = run.display().to_string().replace('/', "-");
        data = PathBuf::from(format!("/var/tmp/punctual{name}-pg"));
        fs::create_dir_all(&data)?;
    }
    fs::set_permissions(&data, fs::Permissions::from_mode(0o700))?;
    Ok(data)
}

/// Removes the data of a run.
pub fn wipe(run: &Path) -> anyhow::Result<()> {
    let data = data_dir(run)?;
    fs::remove_dir_all(&data).with_context(|| format!("cannot remove {}", data.display()))
}

/// The user and group that run PostgreSQL when we are root.
fn unprivileged() -> anyhow::Result<(u32, u32)> {
    let passwd = fs::read_to_string("/etc/passwd")?;
    let find = |name: &str| {
        let line = passwd.lines().find(|line| line.split(':').next() == Some(name))?;
        let mut fields = line.split(':').skip(2);
        Some((fields.next()?.parse().ok()?, fields.next()?.parse().ok()?))
    };
    match find("postgres").or_else(|| find("nobody")) {
        Some(ids) => Ok(ids),
        None => {
            bail!("PostgreSQL does not run as root, and there is no user postgres or nobody: run this as another user")
        }
    }
}
