//! What one function costs: its start, its memory, its binary.

use std::{
    fs,
    path::Path,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, ensure};

use crate::sample::Sample;
use lab::{
    http,
    process::Process,
    topology::{Function, Topology},
};

const STARTS: usize = 20;
const LIMIT: Duration = Duration::from_secs(30);

/// A process, by its name in the table.
pub(super) struct Footprint {
    pub(super) name: String,
    pub(super) binary_bytes: u64,
    pub(super) idle_bytes: u64,
    pub(super) loaded_bytes: u64,
}

/// Those whose memory is of interest.
fn processes(topology: &Topology) -> Vec<(String, &Process)> {
    let function = |name| (format!("`{name}`"), &topology.function(name).process);
    vec![
        function("task-created"),
        function("tasks"),
        function("alarm"),
        function("reminder-due"),
        ("daprd of `task-created`".to_owned(), &topology.daprd("task-created").process),
        ("Dapr's scheduler".to_owned(), &topology.scheduler.process),
    ]
}

/// What they take now; [`loaded`] adds what they take after the load.
pub(super) fn idle(topology: &Topology) -> anyhow::Result<Vec<Footprint>> {
    let measure = |(name, process): (String, &Process)| {
        let pid = process.pid().with_context(|| format!("{name} does not run"))?;
        let binary_bytes = fs::metadata(fs::read_link(format!("/proc/{pid}/exe"))?)?.len();
        Ok(Footprint { name, binary_bytes, idle_bytes: resident(pid)?, loaded_bytes: 0 })
    };
    processes(topology).into_iter().map(measure).collect()
}

pub(super) fn loaded(topology: &Topology, footprints: &mut [Footprint]) -> anyhow::Result<()> {
    for (footprint, (name, process)) in footprints.iter_mut().zip(processes(topology)) {
        footprint.loaded_bytes = resident(process.pid().with_context(|| format!("{name} does not run"))?)?;
    }
    Ok(())
}

/// Milliseconds from the start of the process to its first `200` for `/healthz`.
pub(super) fn starts(function: &Function) -> anyhow::Result<Sample> {
    let start = |_| {
        function.process.stop(LIMIT);
        let began = Instant::now();
        function.process.start()?;
        while http::status(function.port, "/healthz").ok() != Some(200) {
            ensure!(began.elapsed() < LIMIT, "{} does not start", function.name);
            thread::sleep(Duration::from_micros(200));
        }
        Ok(began.elapsed().as_secs_f64() * 1000.0)
    };
    (0..STARTS).map(start).collect()
}

fn resident(pid: u32) -> anyhow::Result<u64> {
    let path = format!("/proc/{pid}/status");
    kilobytes(Path::new(&path), "VmRSS").map(|kilobytes| kilobytes * 1024)
}

/// A line of a file of /proc that reads `<name>: <number> kB`.
pub(super) fn kilobytes(path: &Path, name: &str) -> anyhow::Result<u64> {
    let text = fs::read_to_string(path)?;
    let value = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':')?.trim().strip_suffix(" kB"));
    value.and_then(|value| value.trim().parse().ok()).with_context(|| format!("{} has no {name}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_takes_memory() {
        let own = resident(std::process::id()).unwrap();
        assert!(own > 1 << 20, "{own}");
        assert!(kilobytes(Path::new("/proc/self/status"), "VmNothing").is_err());
    }
}
