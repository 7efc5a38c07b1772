//! One more process of a function, behind the daprd of the first: what a platform that scales out does.

use std::path::PathBuf;

use crate::{
    dapr::{Sidecar, SidecarPorts},
    dev, ports,
    process::{Process, Program, Ready, Run},
};

use super::Topology;

impl Topology {
    /// Starts one more process of the function `name`, under the name `<name>-2`; also says its address.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn second(&self, name: &str) -> anyhow::Result<(Process, String)> {
        let own = |sidecar: &Sidecar| SidecarPorts { http: sidecar.http_port, grpc: sidecar.grpc_port };
        let port = ports::free();
        let binary: PathBuf = self.options.bin_dir.join(name);
        let mut program = Program::new(format!("{name}-2"), binary).ready(Ready::Http(port, "/readyz"));
        let reminders = ("reminder-due", own(self.daprd("reminder-due")));
        program.env = self.env(port, (name, own(self.daprd(name))), reminders)?;
        let run = Run { dir: dev().join(&self.options.name), detached: false };
        Ok((Process::spawn(&run, program)?, format!("http://127.0.0.1:{port}")))
    }
}
