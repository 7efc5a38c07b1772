//! The Compose test: brings the whole of `compose/docker-compose.dev.yaml` up on a real Docker Engine by the documented command, waits for
//! mail of reminders while parts of it are killed, and takes it down and up again. Effects are read from the API and from Mailpit.
//!
//! Run by `cargo xtask compose-test`, as a project of its own, so that a developer's data stays. With `--stand-ins` it needs no container
//! registry: an engine of its own ([`engine`]) runs images that are built here ([`standins`]).

mod docker;
mod engine;
mod mailpit;
mod run;
mod standins;
mod steps;

use std::{path::PathBuf, process::ExitCode};

use clap::Parser;

/// Runs the compose file on a Docker Engine and kills parts of it.
#[derive(Parser, Clone, Debug)]
pub(crate) struct Arguments {
    /// Where no container registry can be reached: start a Docker Engine and build images that stand in for the published ones; needs
    /// Debian and root
    #[arg(long)]
    pub(crate) stand_ins: bool,
    /// Version of Docker Compose to build and use, as its tag [default: the installed one]
    #[arg(long)]
    pub(crate) compose: Option<String>,
    /// Visit the page in Chromium too; needs Node.js, and installs Chromium and npm packages
    #[arg(long)]
    pub(crate) browser: bool,
    /// Folder of the functions' binaries to use instead of building them
    #[arg(long, requires = "stand_ins")]
    pub(crate) bin_dir: Option<PathBuf>,
}

fn main() -> ExitCode {
    match run::run(&Arguments::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
