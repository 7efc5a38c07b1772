//! A Redis server, for tests of the product on a second broker.

use std::path::PathBuf;

use crate::{
    ports,
    process::{Process, Program, READY, Ready, Run},
    tools,
};

/// A running server without persistence.
#[derive(Debug)]
pub struct Redis {
    /// Its process.
    pub process: Process,
    /// Where it listens on 127.0.0.1.
    pub port: u16,
}

impl Redis {
    /// Starts it on a free port.
    pub fn launch(run: &Run) -> anyhow::Result<Self> {
        let path = binary()?;
        let port = ports::free();
        let program = Program::new("redis", path)
            .args(["--bind", "127.0.0.1", "--port", &port.to_string(), "--save", "", "--appendonly", "no"])
            .ready(Ready::Tcp(port));
        let redis = Self { process: Process::spawn(run, program)?, port };
        redis.process.wait_ready(READY)?;
        Ok(redis)
    }
}

/// The server's executable. Installs Debian's package if there is none.
pub fn binary() -> anyhow::Result<PathBuf> {
    if tools::on_path("redis-server").is_none() {
        tools::apt(&["redis-server"])?;
    }
    tools::require("redis-server", "Redis (Debian: apt-get install redis-server)")
}
