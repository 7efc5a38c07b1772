//! The end of a run.

use std::{fs, path::Path, thread, time::Duration};

use super::{Topology, disks};
use crate::{dev, postgres, process::Process};

impl Topology {
    /// Every process, dependents before their dependencies.
    #[must_use]
    pub fn processes(&self) -> Vec<&Process> {
        let mut all: Vec<&Process> = self.repair.iter().collect();
        all.extend(self.daprds().map(|daprd| &daprd.process));
        all.extend(&self.doors);
        all.extend(self.functions.iter().map(|function| &function.process));
        all.extend(self.smtp.iter().map(|smtp| &smtp.process));
        all.push(&self.scheduler.process);
        all.extend(self.kafka.iter().map(|kafka| &kafka.process));
        all.extend(self.redis.iter().map(|redis| &redis.process));
        all.extend(self.pooler.iter().map(|pooler| &pooler.process));
        all.push(&self.postgres.process);
        all
    }

    /// Lets every process outlive this one, if the run was started detached.
    pub fn leave_running(mut self) {
        self.left = self.options.detached;
        for process in self.processes().into_iter().filter(|_| self.left) {
            process.leave_running();
        }
    }

    /// Stops every process gracefully: first the sidecars, then the functions, then the servers.
    pub fn stop(&self) {
        let stop_all = |processes: &[&Process]| {
            thread::scope(|scope| {
                for process in processes {
                    scope.spawn(|| process.stop(Duration::from_secs(15)));
                }
            });
        };
        let processes = self.processes();
        let (daprds, others): (Vec<_>, Vec<_>) = processes.into_iter().partition(|process| {
            ["daprd-", "door-"].iter().any(|kind| process.name().starts_with(kind)) || process.name() == "repair"
        });
        stop_all(&daprds);
        let (functions, servers): (Vec<_>, Vec<_>) = others
            .into_iter()
            .partition(|process| self.functions.iter().any(|function| function.name == process.name()));
        stop_all(&functions);
        stop_all(&servers);
    }
}

impl Drop for Topology {
    fn drop(&mut self) {
        if self.left {
            return;
        }
        for process in self.processes() {
            process.kill9();
        }
        if self.options.fresh && !thread::panicking() {
            let _ = wipe(&dev().join(&self.options.name));
        }
    }
}

/// Deletes the data of a run, but not its logs and mail.
pub(super) fn wipe(run: &Path) -> anyhow::Result<()> {
    if !run.exists() {
        return Ok(());
    }
    disks::unmount(run);
    postgres::wipe(run)?;
    for part in ["kafka", "scheduler"] {
        let _ = fs::remove_dir_all(run.join(part));
    }
    Ok(())
}
