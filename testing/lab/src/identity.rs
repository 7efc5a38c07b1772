//! The list of a run's processes for later runs of this program: `<run>/pids` has a line with id, start time and name for each
//! process. A process that only reuses an id is never touched.

use std::{
    fs::{self, OpenOptions},
    io::Write as _,
    path::Path,
    thread,
    time::{Duration, Instant},
};

use crate::spawn::send;

/// A process, identified by its id and start time, because ids are reused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Identity {
    /// The process id.
    pub pid: u32,
    /// Its start, in clock ticks since boot.
    pub started: u64,
}

impl Identity {
    /// The process that currently has this id.
    #[must_use]
    pub fn of(pid: u32) -> Option<Self> {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        // The second field is the command in parentheses, which may contain anything. The state follows.
        let mut fields = stat.rsplit_once(')')?.1.split_whitespace();
        let state = fields.next()?;
        let started = fields.nth(18)?.parse().ok()?;
        (state != "Z").then_some(Self { pid, started })
    }

    /// Whether this very process is still running.
    #[must_use]
    pub fn is_alive(self) -> bool {
        Self::of(self.pid) == Some(self)
    }

    /// Sends it `signal`, and kills its group after `limit`. Another process with the same id is left alone.
    pub fn stop(self, signal: i32, limit: Duration) {
        let started = Instant::now();
        if self.is_alive() {
            send(self.pid as i32, signal);
        }
        while self.is_alive() {
            if started.elapsed() > limit {
                send(-(self.pid as i32), libc::SIGKILL);
            }
            thread::sleep(Duration::from_millis(20));
        }
    }
}

/// Adds a process to the list of a run.
pub(crate) fn record(run: &Path, identity: Identity, name: &str) -> std::io::Result<()> {
    let mut file = OpenOptions::new().create(true).append(true).open(run.join("pids"))?;
    writeln!(file, "{} {} {name}", identity.pid, identity.started)
}

/// The processes of a run that are still running, in the order of their start.
#[must_use]
pub fn running(run: &Path) -> Vec<(Identity, String)> {
    let text = fs::read_to_string(run.join("pids")).unwrap_or_default();
    let entry = |line: &str| {
        let mut words = line.splitn(3, ' ');
        let identity = Identity { pid: words.next()?.parse().ok()?, started: words.next()?.parse().ok()? };
        Some((identity, words.next()?.to_owned()))
    };
    text.lines().filter_map(entry).filter(|(identity, _)| identity.is_alive()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::process::{Process, Program, Run};

    fn sleeper(name: &str) -> (Run, Process) {
        let run =
            Run { dir: std::env::temp_dir().join(format!("punctual-{name}-{}", std::process::id())), detached: false };
        let process = Process::spawn(&run, Program::new("sleeper", "/bin/sleep").args(["60"])).unwrap();
        (run, process)
    }

    #[test]
    fn a_started_process_is_found_again_until_it_ends() {
        let (run, process) = sleeper("found");
        let identity = Identity::of(process.pid().unwrap()).unwrap();
        assert_eq!(running(&run.dir), [(identity, "sleeper".to_owned())]);
        process.kill9();
        assert_eq!(running(&run.dir), []);
        fs::remove_dir_all(run.dir).unwrap();
    }

    #[test]
    fn a_process_that_reuses_an_id_is_never_killed() {
        let (run, process) = sleeper("recycled");
        let real = Identity::of(process.pid().unwrap()).unwrap();
        let earlier = Identity { pid: real.pid, started: real.started - 1 };
        earlier.stop(libc::SIGKILL, Duration::ZERO);
        assert!(real.is_alive());
        fs::remove_dir_all(run.dir).unwrap();
    }

    #[test]
    fn a_paused_process_resumes_and_a_stopped_one_starts_with_the_same_arguments() {
        let (run, process) = sleeper("again");
        process.pause();
        assert!(process.pid().is_some());
        process.resume();
        process.stop(Duration::from_secs(5));
        assert_eq!(process.pid(), None);
        process.start().unwrap();
        let arguments = fs::read(format!("/proc/{}/cmdline", process.pid().unwrap())).unwrap();
        assert_eq!(arguments, ["/bin/sleep", "60", ""].join("\0").as_bytes());
        fs::remove_dir_all(run.dir).unwrap();
    }
}
