//! The machine under test, and how busy its processor is.

use std::{fs, path::Path, thread, time::Duration};

use anyhow::Context as _;
use chrono::{DateTime, Utc};
use tokio::{sync::mpsc, task::JoinHandle, time::sleep};

use crate::footprint::kilobytes;

/// "2 cores, AMD EPYC, 24 GB".
pub(super) fn description() -> anyhow::Result<String> {
    let cores = thread::available_parallelism()?;
    let cpus = fs::read_to_string("/proc/cpuinfo")?;
    let model = cpus.lines().find_map(|line| line.strip_prefix("model name")?.split_once(':')).map(|(_, name)| name);
    let memory = kilobytes(Path::new("/proc/meminfo"), "MemTotal")? as f64 / f64::from(1 << 20);
    Ok(format!("{cores} cores, {}, {memory:.0} GB", model.unwrap_or("unknown processor").trim()))
}

/// Ticks of all cores since boot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Cpu {
    busy: u64,
    all: u64,
}

impl Cpu {
    pub(super) fn now() -> anyhow::Result<Self> {
        Self::read(&fs::read_to_string("/proc/stat")?).context("cannot parse /proc/stat")
    }

    /// Busy share of the cores since then, in percent.
    pub(super) fn busy_since(self) -> anyhow::Result<u64> {
        Ok(self.busy_until(Self::now()?))
    }

    /// Busy share of the cores between two readings, in percent.
    fn busy_until(self, then: Self) -> u64 {
        (then.busy - self.busy) * 100 / (then.all - self.all).max(1)
    }

    /// Busy share caused by other programs, over three seconds.
    pub(super) fn busy_now() -> anyhow::Result<u64> {
        let before = Self::now()?;
        thread::sleep(Duration::from_secs(3));
        before.busy_since()
    }

    /// user, nice, system, idle, iowait, irq, softirq, steal; user already includes guests.
    fn read(stat: &str) -> Option<Self> {
        let ticks = stat.lines().next()?.strip_prefix("cpu ")?.split_whitespace().take(8);
        let ticks: Vec<u64> = ticks.map(str::parse).collect::<Result<_, _>>().ok()?;
        let all = ticks.iter().sum();
        Some(Self { busy: all - ticks.get(3)? - ticks.get(4)?, all })
    }
}

/// Reads the processor ten times a second, for an interval whose end is known only afterwards.
pub(super) struct Watch {
    task: JoinHandle<()>,
    readings: mpsc::UnboundedReceiver<(DateTime<Utc>, Cpu)>,
}

impl Watch {
    pub(super) fn start() -> Self {
        let (reading, readings) = mpsc::unbounded_channel();
        let task = tokio::spawn(async move {
            while Cpu::now().is_ok_and(|cpu| reading.send((Utc::now(), cpu)).is_ok()) {
                sleep(Duration::from_millis(100)).await;
            }
        });
        Self { task, readings }
    }

    /// Busy share between two instants, in percent: from the last reading before to the first reading after.
    pub(super) async fn busy_between(mut self, from: DateTime<Utc>, until: DateTime<Utc>) -> anyhow::Result<u64> {
        let (_, mut first) = self.readings.recv().await.context("cannot read /proc/stat")?;
        loop {
            let (at, cpu) = self.readings.recv().await.context("cannot read /proc/stat")?;
            if at <= from {
                first = cpu;
            }
            if at >= until {
                self.task.abort();
                return Ok(first.busy_until(cpu));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn idle_and_iowait_are_not_busy() {
        let cpu = Cpu::read("cpu  10 1 5 80 20 1 1 2 7 0\ncpu0 1 1 1 1 1 1 1 1 1 1\n").unwrap();
        assert_eq!(cpu, Cpu { busy: 20, all: 120 });
        assert_eq!(Cpu::read("intr 1 2 3\n"), None);
    }
}
