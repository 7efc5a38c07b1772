//! What a function costs: start time, memory and binary size.

use std::{
    fs,
    path::Path,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, ensure};
use lab::{
    http,
    process::Process,
    topology::{Function, Topology},
};

const LIMIT: Duration = Duration::from_secs(30);

/// A process, by its name in the table.
pub(super) struct Footprint {
    pub(super) name: String,
    pub(super) binary_bytes: u64,
    pub(super) resident_bytes: u64,
}

/// Measures the processes in the table.
pub(super) fn measure(topology: &Topology) -> anyhow::Result<Vec<Footprint>> {
    let function = |name| (format!("`{name}`"), &topology.function(name).process);
    let processes = [
        function("task-created"),
        function("tasks"),
        function("alarm"),
        function("reminder-due"),
        ("daprd of `task-created`".to_owned(), &topology.daprd("task-created").process),
        ("Dapr's scheduler".to_owned(), &topology.scheduler.process),
    ];
    let measure = |(name, process): (String, &Process)| {
        let resident_bytes = resident(process)?;
        let pid = process.pid().with_context(|| format!("{name} does not run"))?;
        let binary_bytes = fs::metadata(fs::read_link(format!("/proc/{pid}/exe"))?)?.len();
        Ok(Footprint { name, binary_bytes, resident_bytes })
    };
    processes.into_iter().map(measure).collect()
}

/// Restarts a function; returns the milliseconds from exec to its first 200 for `/healthz`.
pub(super) fn start(function: &Function) -> anyhow::Result<f64> {
    function.process.stop(LIMIT);
    let began = Instant::now();
    function.process.start()?;
    while http::status(function.port, "/healthz").ok() != Some(200) {
        ensure!(began.elapsed() < LIMIT, "{} does not start", function.name);
        thread::sleep(Duration::from_micros(200));
    }
    Ok(began.elapsed().as_secs_f64() * 1000.0)
}

/// Resident memory of a process in bytes.
pub(super) fn resident(process: &Process) -> anyhow::Result<u64> {
    let pid = process.pid().with_context(|| format!("{} does not run", process.name()))?;
    Ok(kilobytes(Path::new(&format!("/proc/{pid}/status")), "VmRSS")? * 1024)
}

/// Reads the line `<name>: <number> kB` of a file in /proc.
pub(super) fn kilobytes(path: &Path, name: &str) -> anyhow::Result<u64> {
    let text = fs::read_to_string(path)?;
    let value = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':')?.trim().strip_suffix(" kB"));
    value.and_then(|value| value.trim().parse().ok()).with_context(|| format!("{} has no {name}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_memory_of_a_process_is_read() {
        let own = kilobytes(Path::new("/proc/self/status"), "VmRSS").unwrap();
        assert!(own > 1024, "{own}");
        assert!(kilobytes(Path::new("/proc/self/status"), "VmNothing").is_err());
    }
}
