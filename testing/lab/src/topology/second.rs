//! One more process of a function, behind the daprd of the first: what a platform that scales out does, and what a job does.

use std::{path::PathBuf, process::Command};

use crate::{
    dapr::{Sidecar, SidecarPorts},
    dev, ports,
    process::{Process, Program, Ready, Run},
};

use super::{Topology, environment::Owners};

impl Topology {
    /// Starts one more process of the function `name`, under the name `<name>-2`; also says its address.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn second(&self, name: &str) -> anyhow::Result<(Process, String)> {
        let port = ports::free();
        let binary: PathBuf = self.options.bin_dir.join(name);
        let mut program = Program::new(format!("{name}-2"), binary).ready(Ready::Http(port, "/readyz"));
        program.env = self.env_behind(name, port)?;
        let run = Run { dir: dev().join(&self.options.name), detached: false };
        Ok((Process::spawn(&run, program)?, format!("http://127.0.0.1:{port}")))
    }

    /// Repair, once and now: to be run to its end.
    ///
    /// # Errors
    /// When a link cannot be made.
    pub fn repair_now(&self) -> anyhow::Result<Command> {
        let mut repair = Command::new(self.options.bin_dir.join("upkeep"));
        repair.arg("--repair").envs(self.env_behind("upkeep", self.function("upkeep").port)?);
        Ok(repair)
    }

    fn env_behind(&self, name: &str, port: u16) -> anyhow::Result<Vec<(String, String)>> {
        let own = |sidecar: &Sidecar| SidecarPorts { http: sidecar.http_port, grpc: sidecar.grpc_port };
        let owner = |name| (name, own(self.daprd(name)));
        self.env(
            port,
            (name, own(self.daprd(name))),
            &Owners { alarm: owner("alarm"), reminder_due: owner("reminder-due") },
        )
    }
}
