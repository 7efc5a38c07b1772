//! Another process of a function behind the same daprd, as after a scale-out or in a job.

use std::{path::PathBuf, process::Command};

use crate::{
    dev, ports,
    process::{Process, Program, Ready, Run},
};

use super::{Topology, environment::Owners};

impl Topology {
    /// Starts another process of the function `name`, named `<name>-2`; returns it with its URL.
    pub fn second(&self, name: &str) -> anyhow::Result<(Process, String)> {
        let port = ports::free();
        let binary: PathBuf = self.options.bin_dir.join(name);
        let mut program = Program::new(format!("{name}-2"), binary).ready(Ready::Http(port, "/readyz"));
        program.env = self.env_behind(name, port)?;
        let ahead = self.options.clocks.process(&program.name);
        let program = program.clock(ahead)?;
        let run = Run { dir: dev().join(&self.options.name), detached: false };
        Ok((Process::spawn(&run, program)?, format!("http://127.0.0.1:{port}")))
    }

    /// The command that runs repair once.
    pub fn repair_now(&self) -> anyhow::Result<Command> {
        let mut repair = Command::new(self.options.bin_dir.join("upkeep"));
        repair.arg("--repair").envs(self.env_behind("upkeep", self.function("upkeep").port)?);
        Ok(repair)
    }

    fn env_behind(&self, name: &str, port: u16) -> anyhow::Result<Vec<(String, String)>> {
        let owner = |name| (name, self.daprd(name).grpc_port);
        self.env(
            port,
            (name, self.function(name).daprd.as_ref().map(|daprd| daprd.grpc_port)),
            &Owners { alarm: owner("alarm"), reminder_due: owner("reminder-due") },
        )
    }
}
