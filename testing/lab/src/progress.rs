//! Progress on the terminal during long steps.

use std::{
    cell::RefCell,
    fs::{self, File},
    io::{BufRead as _, BufReader, IsTerminal as _, Write as _},
    process::{Command, Stdio},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering::Relaxed},
        mpsc,
    },
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, bail};

/// The commands that run now. A terminal shows all of them on one line.
static RUNNING: Mutex<Vec<Shown>> = Mutex::new(Vec::new());

thread_local! {
    /// Whether one of the two steps of [`both`] failed, of which this thread takes one.
    static FAILED: RefCell<Arc<AtomicBool>> = RefCell::default();
}

/// Prints a line to stderr. Stdout is reserved for output that scripts read.
pub fn say(line: impl AsRef<str>) {
    let running = running();
    let erase = if is_terminal() && !running.is_empty() { "\r\x1b[2K" } else { "" };
    eprintln!("{erase}{}", line.as_ref());
}

/// Takes two steps at once and returns when both have ended. If one fails, the command that the other [`run`]s is killed.
///
/// # Errors
/// The error of the step that failed first.
pub fn both<A, B: Send>(
    one: impl FnOnce() -> anyhow::Result<A>,
    other: impl FnOnce() -> anyhow::Result<B> + Send,
) -> anyhow::Result<(A, B)> {
    let first_error = Mutex::new(None);
    let failed = Arc::new(AtomicBool::new(false));
    let end = |error: anyhow::Error| {
        failed.store(true, Relaxed);
        first_error.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(error);
    };
    let results = thread::scope(|scope| {
        let other = scope.spawn(|| {
            FAILED.set(failed.clone());
            other().map_err(end).ok()
        });
        let before = FAILED.replace(failed.clone());
        let one = one().map_err(end).ok();
        FAILED.set(before);
        (one, other.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
    });
    let error = first_error.into_inner().unwrap_or_else(PoisonError::into_inner);
    match results {
        (Some(one), Some(other)) => Ok((one, other)),
        _ => Err(error.context("a step failed without an error")?),
    }
}

/// Runs `command`, showing `label`, the elapsed time and its last line of output.
///
/// # Errors
/// When it cannot be started or fails; the message contains the end of its output. All of it is in `.dev/log`.
pub fn run(label: &str, command: &mut Command) -> anyhow::Result<()> {
    let started = Instant::now();
    let log_dir = crate::dev().join("log");
    fs::create_dir_all(&log_dir)?;
    let log = log_dir.join(format!("{}.log", label.replace(|c: char| !c.is_ascii_alphanumeric(), "-")));
    let mut log_file = File::create(&log)?;

    let shown = Step::begin(label, started);
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .with_context(|| format!("cannot start {}", command.get_program().display()))?;
    let (said, lines) = mpsc::channel();
    for stream in [child.stdout.take().map(boxed), child.stderr.take().map(boxed)].into_iter().flatten() {
        let said = said.clone();
        thread::spawn(move || {
            BufReader::new(stream).lines().map_while(Result::ok).for_each(|text| {
                let _ = said.send(text);
            });
        });
    }
    drop(said);

    let mut tail: Vec<String> = Vec::new();
    loop {
        match lines.recv_timeout(Duration::from_secs(1)) {
            Ok(text) => {
                writeln!(log_file, "{text}")?;
                tail.push(text);
                if tail.len() > 12 {
                    tail.remove(0);
                }
            }
            Err(mpsc::RecvTimeoutError::Timeout) => {}
            Err(mpsc::RecvTimeoutError::Disconnected) => break,
        }
        shown.update(tail.last().map_or("", String::as_str));
        if FAILED.with_borrow(|failed| failed.load(Relaxed)) {
            child.kill()?;
        }
    }
    let status = child.wait()?;
    drop(shown);
    if !status.success() {
        bail!("{label}: failed ({status}); {} ends with:\n{}", log.display(), tail.join("\n"));
    }
    say(format!("{label}: done in {:.1} s", started.elapsed().as_secs_f32()));
    Ok(())
}

/// Runs a quick `command` without showing progress; returns its stdout.
///
/// # Errors
/// When it cannot be started or fails; the message contains its output.
pub fn quietly(command: &mut Command) -> anyhow::Result<String> {
    let program = command.get_program().display().to_string();
    let output = command.stdin(Stdio::null()).output().with_context(|| format!("cannot start {program}"))?;
    if !output.status.success() {
        bail!(
            "{program} failed ({}): {}{}",
            output.status,
            String::from_utf8_lossy(&output.stderr).trim(),
            String::from_utf8_lossy(&output.stdout).trim()
        );
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

const SEPARATOR: &str = " | ";

/// What is shown of a running command.
struct Shown {
    label: String,
    started: Instant,
    /// Its last line of output.
    last: String,
    /// When its line was printed last, where that is no terminal.
    printed: Instant,
}

/// A running command, until it is dropped.
struct Step<'a> {
    label: &'a str,
}

impl<'a> Step<'a> {
    fn begin(label: &'a str, started: Instant) -> Self {
        if !is_terminal() {
            say(format!("{label} …"));
        }
        running().push(Shown { label: label.to_owned(), started, last: String::new(), printed: started });
        Self { label }
    }

    /// Rewrites the line on a terminal, and prints one every ten seconds elsewhere.
    fn update(&self, last: &str) {
        let mut running = running();
        let Some(own) = running.iter_mut().find(|shown| shown.label == self.label) else { return };
        own.last = last.trim().to_owned();
        if is_terminal() {
            // A line that the terminal breaks could not be rewritten.
            let width = 78 / running.len() - SEPARATOR.len();
            let parts: Vec<String> = running.iter().map(|shown| shown.line(width)).collect();
            let _ = write!(std::io::stderr(), "\r\x1b[2K{}", parts.join(SEPARATOR));
        } else if own.printed.elapsed() >= Duration::from_secs(10) {
            own.printed = Instant::now();
            eprintln!("{}", own.line(120));
        }
    }
}

impl Drop for Step<'_> {
    fn drop(&mut self) {
        running().retain(|shown| shown.label != self.label);
        if is_terminal() {
            let _ = write!(std::io::stderr(), "\r\x1b[2K");
        }
    }
}

impl Shown {
    fn line(&self, width: usize) -> String {
        let line = format!("{}: {} s  {}", self.label, self.started.elapsed().as_secs(), self.last);
        line.chars().take(width).collect()
    }
}

fn running() -> MutexGuard<'static, Vec<Shown>> {
    RUNNING.lock().unwrap_or_else(PoisonError::into_inner)
}

fn is_terminal() -> bool {
    std::io::stderr().is_terminal()
}

fn boxed(stream: impl std::io::Read + Send + 'static) -> Box<dyn std::io::Read + Send> {
    Box::new(stream)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_steps_run_at_once_and_both_results_are_returned() {
        let (here, there) = mpsc::channel();
        let (one, other) = both(
            || Ok(there.recv_timeout(Duration::from_secs(30))?),
            || {
                here.send(1)?;
                Ok(2)
            },
        )
        .unwrap();
        assert_eq!((one, other), (1, 2));
    }

    #[test]
    fn a_failed_step_ends_the_command_of_the_other() {
        let started = Instant::now();
        let sleep = || run("a long sleep", Command::new("sleep").arg("60"));
        let error = both(sleep, || bail!("Go is missing") as anyhow::Result<()>).unwrap_err();
        assert_eq!(error.to_string(), "Go is missing");
        assert!(started.elapsed() < Duration::from_secs(30), "{:?}", started.elapsed());
    }
}
