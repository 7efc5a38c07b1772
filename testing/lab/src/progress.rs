//! Progress on the terminal during long steps.

use std::{
    fs::{self, File},
    io::{BufRead as _, BufReader, IsTerminal as _, Write as _},
    process::{Command, Stdio},
    sync::mpsc,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, bail};

/// Prints a line to stderr. Stdout is reserved for output that scripts read.
pub fn say(line: impl AsRef<str>) {
    eprintln!("{}", line.as_ref());
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

    let mut line = Line::new(label);
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
        line.update(tail.last().map_or("", String::as_str), started);
    }
    let status = child.wait()?;
    line.end();
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

fn boxed(stream: impl std::io::Read + Send + 'static) -> Box<dyn std::io::Read + Send> {
    Box::new(stream)
}

/// A line that is rewritten in place on a terminal, and printed every ten seconds elsewhere.
struct Line<'a> {
    label: &'a str,
    terminal: bool,
    shown: Option<Instant>,
}

impl<'a> Line<'a> {
    fn new(label: &'a str) -> Self {
        let terminal = std::io::stderr().is_terminal();
        if !terminal {
            say(format!("{label} …"));
        }
        Self { label, terminal, shown: (!terminal).then(Instant::now) }
    }

    fn update(&mut self, last: &str, started: Instant) {
        let pause = if self.terminal { Duration::from_millis(100) } else { Duration::from_secs(10) };
        if self.shown.is_some_and(|shown| shown.elapsed() < pause) {
            return;
        }
        self.shown = Some(Instant::now());
        let last: String = last.trim().chars().take(80).collect();
        let text = format!("{}: {} s  {last}", self.label, started.elapsed().as_secs());
        if self.terminal {
            let _ = write!(std::io::stderr(), "\r\x1b[2K{text}");
        } else {
            say(text);
        }
    }

    fn end(&self) {
        if self.terminal {
            let _ = write!(std::io::stderr(), "\r\x1b[2K");
        }
    }
}
