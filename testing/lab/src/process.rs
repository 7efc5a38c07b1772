//! A process of a local run, with its own log and process group. It can be stopped and started again with the same arguments. It is
//! killed when this process ends, unless it was started detached.

use std::{
    fs::{self, File, OpenOptions},
    io::{Read as _, Seek as _, SeekFrom},
    path::{Path, PathBuf},
    process::Child,
    sync::{
        Mutex, MutexGuard,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use anyhow::bail;

use crate::{
    http,
    identity::{self, Identity},
    spawn::{send, spawn},
};

/// The limit for any start, even on a busy or stalling machine.
pub const READY: Duration = Duration::from_secs(60);

/// A program to run.
#[derive(Clone, Debug)]
pub struct Program {
    /// Names the process and its log.
    pub name: String,
    /// The executable.
    pub path: PathBuf,
    /// Its arguments.
    pub args: Vec<String>,
    /// Environment variables in addition to ours.
    pub env: Vec<(String, String)>,
    /// User and group to run as; ours if unset.
    pub user: Option<(u32, u32)>,
    /// When it counts as ready.
    pub ready: Ready,
    /// The signal for a graceful stop.
    pub stop_signal: i32,
}

impl Program {
    /// The executable `path` under the name `name`, without arguments.
    pub fn new(name: impl Into<String>, path: impl Into<PathBuf>) -> Self {
        Self {
            name: name.into(),
            path: path.into(),
            args: Vec::new(),
            env: Vec::new(),
            user: None,
            ready: Ready::Running,
            stop_signal: libc::SIGTERM,
        }
    }

    /// Adds arguments.
    #[must_use]
    pub fn args<S: Into<String>>(mut self, args: impl IntoIterator<Item = S>) -> Self {
        self.args.extend(args.into_iter().map(Into::into));
        self
    }

    /// Adds an environment variable.
    #[must_use]
    pub fn env(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.env.push((name.into(), value.into()));
        self
    }

    /// Sets when it counts as ready.
    #[must_use]
    pub fn ready(mut self, ready: Ready) -> Self {
        self.ready = ready;
        self
    }
}

/// When a process counts as ready.
#[derive(Clone, Debug)]
pub enum Ready {
    /// As soon as it runs.
    Running,
    /// When this port of 127.0.0.1 accepts connections.
    Tcp(u16),
    /// When `GET http://127.0.0.1:<port><path>` answers 2xx.
    Http(u16, &'static str),
    /// When it has logged this text since its last start.
    Says(&'static str),
}

/// The run to which processes belong.
#[derive(Clone, Debug)]
pub struct Run {
    /// Logs are in `<dir>/log/<name>.log`; `<dir>/pids` lists the started processes.
    pub dir: PathBuf,
    /// Whether the processes outlive this one after [`Process::leave_running`].
    pub detached: bool,
}

/// A started process. Dropping it kills it, except after [`Process::leave_running`].
#[derive(Debug)]
pub struct Process {
    program: Program,
    run: Run,
    child: Mutex<Option<Child>>,
    /// The length of its log before its last start.
    log_start: AtomicU64,
    left: AtomicBool,
}

impl Process {
    /// Starts `program` and does not wait until it is ready.
    pub fn spawn(run: &Run, program: Program) -> anyhow::Result<Self> {
        let process = Self {
            program,
            run: run.clone(),
            child: Mutex::new(None),
            log_start: AtomicU64::new(0),
            left: AtomicBool::new(false),
        };
        process.start()?;
        Ok(process)
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.program.name
    }

    /// The process id, if it is running.
    #[must_use]
    pub fn pid(&self) -> Option<u32> {
        let mut child = self.child();
        match child.as_mut()?.try_wait() {
            Ok(None) => child.as_ref().map(Child::id),
            _ => None,
        }
    }

    /// The file with its output.
    #[must_use]
    pub fn log(&self) -> PathBuf {
        self.run.dir.join("log").join(format!("{}.log", self.program.name))
    }

    /// Starts it again with the same arguments. A no-op while it is running.
    pub fn start(&self) -> anyhow::Result<()> {
        if self.pid().is_some() {
            return Ok(());
        }
        let log = self.log();
        fs::create_dir_all(log.parent().unwrap_or(Path::new("/")))?;
        let out = OpenOptions::new().create(true).append(true).open(&log)?;
        self.log_start.store(out.metadata()?.len(), Ordering::Relaxed);
        let child = spawn(self.program.clone(), out, self.run.detached)?;
        if let Some(identity) = Identity::of(child.id()) {
            identity::record(&self.run.dir, identity, self.name())?;
        }
        *self.child() = Some(child);
        Ok(())
    }

    /// Waits until it is ready.
    ///
    /// # Errors
    /// When it ended or is not ready after `limit`; the message contains the end of its log.
    pub fn wait_ready(&self, limit: Duration) -> anyhow::Result<()> {
        self.wait_until(limit, || match self.program.ready {
            Ready::Running => true,
            Ready::Tcp(port) => http::connect(port).is_ok(),
            Ready::Http(port, path) => http::status(port, path).is_ok_and(|status| (200..300).contains(&status)),
            Ready::Says(text) => self.log_since_start().contains(text),
        })
    }

    /// Waits until `ready` returns true.
    ///
    /// # Errors
    /// When it ended or `limit` passed; the message contains the end of its log.
    pub fn wait_until(&self, limit: Duration, ready: impl Fn() -> bool) -> anyhow::Result<()> {
        let started = Instant::now();
        loop {
            if self.pid().is_none() {
                bail!("{} ended before it was ready; {}", self.name(), self.log_tail());
            }
            if ready() {
                return Ok(());
            }
            if started.elapsed() > limit {
                bail!("{} is not ready after {} s; {}", self.name(), limit.as_secs(), self.log_tail());
            }
            thread::sleep(Duration::from_millis(20));
        }
    }

    /// Stops it gracefully (SIGTERM, or SIGINT for PostgreSQL) and kills it after `limit`.
    pub fn stop(&self, limit: Duration) {
        self.signal(self.program.stop_signal);
        self.signal(libc::SIGCONT); // a paused process handles no signal
        let started = Instant::now();
        while self.pid().is_some() && started.elapsed() < limit {
            thread::sleep(Duration::from_millis(20));
        }
        self.kill9();
    }

    /// Kills its process group (SIGKILL).
    pub fn kill9(&self) {
        if let Some(mut child) = self.child().take() {
            send(-(child.id() as i32), libc::SIGKILL);
            let _ = child.wait();
        }
    }

    /// Pauses it (SIGSTOP): it keeps its connections and does not answer.
    pub fn pause(&self) {
        self.signal(libc::SIGSTOP);
    }

    /// Resumes it (SIGCONT).
    pub fn resume(&self) {
        self.signal(libc::SIGCONT);
    }

    /// Lets it outlive this process, if it was started detached.
    pub fn leave_running(&self) {
        self.left.store(true, Ordering::Relaxed);
    }

    fn signal(&self, signal: i32) {
        if let Some(pid) = self.pid() {
            send(pid as i32, signal);
        }
    }

    fn log_since_start(&self) -> String {
        let mut text = Vec::new();
        let start = self.log_start.load(Ordering::Relaxed);
        if let Ok(mut log) = File::open(self.log()) {
            let _ = log.seek(SeekFrom::Start(start)).and_then(|_| log.read_to_end(&mut text));
        }
        String::from_utf8_lossy(&text).into_owned()
    }

    fn log_tail(&self) -> String {
        let text = fs::read_to_string(self.log()).unwrap_or_default();
        let lines: Vec<&str> = text.lines().collect();
        let tail = &lines[lines.len().saturating_sub(8)..];
        format!("its log {} ends with:\n{}", self.log().display(), tail.join("\n"))
    }

    fn child(&self) -> MutexGuard<'_, Option<Child>> {
        self.child.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if !self.left.load(Ordering::Relaxed) {
            self.kill9();
        }
    }
}
