//! One process of a local run: started with its own log and process group, killed with this process unless it is to
//! stay, stopped and started again with identical arguments.

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

/// How long anything may take to start: enough for a machine that is busy, or stands still for a while.
pub const READY: Duration = Duration::from_secs(60);

/// What to run.
#[derive(Clone, Debug)]
pub struct Program {
    /// Names the process and its log.
    pub name: String,
    /// The executable.
    pub path: PathBuf,
    /// Its arguments.
    pub args: Vec<String>,
    /// Variables beyond those of this process.
    pub env: Vec<(String, String)>,
    /// User and group to run as; this process's when unset.
    pub user: Option<(u32, u32)>,
    /// When it counts as started.
    pub ready: Ready,
    /// The signal that asks it to end in order.
    pub stop_signal: i32,
}

impl Program {
    /// `path` under the name `name`, without arguments.
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

    /// Adds a variable.
    #[must_use]
    pub fn env(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.env.push((name.into(), value.into()));
        self
    }

    /// Sets when it counts as started.
    #[must_use]
    pub fn ready(mut self, ready: Ready) -> Self {
        self.ready = ready;
        self
    }
}

/// When a process counts as started.
#[derive(Clone, Debug)]
pub enum Ready {
    /// As soon as it runs.
    Running,
    /// When something listens on this port of 127.0.0.1.
    Tcp(u16),
    /// When `GET http://127.0.0.1:<port><path>` answers 2xx.
    Http(u16, &'static str),
    /// When it has logged this since it was last started.
    Says(&'static str),
}

/// How processes of a run are started.
#[derive(Clone, Debug)]
pub struct Run {
    /// Logs go to `<dir>/log/<name>.log`, and `<dir>/pids` says what was started.
    pub dir: PathBuf,
    /// Whether they outlive this process, once [`Process::leave_running`] is called.
    pub detached: bool,
}

/// A started process. Dropping it kills it, unless it was left running.
#[derive(Debug)]
pub struct Process {
    program: Program,
    run: Run,
    child: Mutex<Option<Child>>,
    /// Where its log ended before it was last started.
    log_start: AtomicU64,
    left: AtomicBool,
}

impl Process {
    /// Starts `program`; [`Process::wait_ready`] tells when it answers.
    ///
    /// # Errors
    /// When it cannot be started.
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

    /// The name it was given.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.program.name
    }

    /// The process id, while it runs.
    #[must_use]
    pub fn pid(&self) -> Option<u32> {
        let mut child = self.child();
        match child.as_mut()?.try_wait() {
            Ok(None) => child.as_ref().map(Child::id),
            _ => None,
        }
    }

    /// The file its output goes to.
    #[must_use]
    pub fn log(&self) -> PathBuf {
        self.run.dir.join("log").join(format!("{}.log", self.program.name))
    }

    /// Starts it again with the same arguments; nothing happens while it runs.
    ///
    /// # Errors
    /// When it cannot be started.
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
    /// When it ended, or is not ready after `limit`; the message holds the end of its log.
    pub fn wait_ready(&self, limit: Duration) -> anyhow::Result<()> {
        self.wait_until(limit, || match self.program.ready {
            Ready::Running => true,
            Ready::Tcp(port) => http::connect(port).is_ok(),
            Ready::Http(port, path) => http::status(port, path).is_ok_and(|status| (200..300).contains(&status)),
            Ready::Says(text) => self.log_since_start().contains(text),
        })
    }

    /// Waits until `ready` says so.
    ///
    /// # Errors
    /// When it ended, or `limit` passed; the message holds the end of its log.
    pub fn wait_until(&self, limit: Duration, ready: impl Fn() -> bool) -> anyhow::Result<()> {
        let started = Instant::now();
        loop {
            if self.pid().is_none() {
                bail!("{} ended at once; {}", self.name(), self.log_tail());
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

    /// Asks it to end (SIGTERM, SIGINT for PostgreSQL) and kills it after `limit`.
    pub fn stop(&self, limit: Duration) {
        self.signal(self.program.stop_signal);
        self.signal(libc::SIGCONT); // a paused process would never hear of it
        let started = Instant::now();
        while self.pid().is_some() && started.elapsed() < limit {
            thread::sleep(Duration::from_millis(20));
        }
        self.kill9();
    }

    /// Kills it and whatever it started, without a warning.
    pub fn kill9(&self) {
        if let Some(mut child) = self.child().take() {
            send(-(child.id() as i32), libc::SIGKILL);
            let _ = child.wait();
        }
    }

    /// Stops it where it is (SIGSTOP): it keeps its connections and answers nothing.
    pub fn pause(&self) {
        self.signal(libc::SIGSTOP);
    }

    /// Lets a paused process go on.
    pub fn resume(&self) {
        self.signal(libc::SIGCONT);
    }

    /// Lets it outlive this process; only what was started detached does.
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
