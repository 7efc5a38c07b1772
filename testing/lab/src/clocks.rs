//! Clocks that differ from this machine's, as those of hosts do.
//!
//! A preloaded library (`clock.c`) moves the clock of a program that reads it through libc: the functions and PostgreSQL. Go reads the kernel's
//! clock without libc, so the scheduler is built with a clock of its own (`testing/lab/clock`).

use std::{collections::BTreeMap, path::PathBuf, process::Command};

use crate::{
    dev,
    process::Program,
    progress::quietly,
    root,
    tools::{self, pin_of},
};

/// How many seconds each clock is ahead of this machine's; behind if negative.
#[derive(Clone, Debug, Default)]
pub struct Clocks {
    /// PostgreSQL's.
    pub database: i64,
    /// The scheduler's, by which it calls jobs.
    pub scheduler: i64,
    /// Those of processes of functions, by name. The others have this machine's.
    pub processes: BTreeMap<String, i64>,
}

impl Clocks {
    /// How far the clock of the process `name` is ahead.
    #[must_use]
    pub fn process(&self, name: &str) -> i64 {
        self.processes.get(name).copied().unwrap_or_default()
    }
}

/// The variable that says how far a clock is ahead.
pub(crate) const VARIABLE: &str = "CLOCK_AHEAD";

impl Program {
    /// Moves its clock ahead by seconds, or back if negative. It must be linked dynamically.
    pub fn clock(self, ahead: i64) -> anyhow::Result<Self> {
        if ahead == 0 {
            return Ok(self);
        }
        Ok(self.env("LD_PRELOAD", library()?.display().to_string()).env(VARIABLE, format!("{ahead}s")))
    }
}

fn library() -> anyhow::Result<PathBuf> {
    // As root, PostgreSQL runs as another user, which may not have access to `.dev`.
    let dir = if tools::is_root() { PathBuf::from("/var/tmp/punctual-clock") } else { dev().join("clock") };
    let (source, library) = (root().join("testing/lab/clock.c"), dir.join("clock.so"));
    tools::pinned(&dir, &pin_of(std::slice::from_ref(&source))?, || {
        let cc = tools::require("cc", "a C compiler (Debian: apt-get install gcc)")?;
        // A program may be using the old one: replace it, never write into it.
        let new = dir.join("new.so");
        quietly(Command::new(cc).args(["-O2", "-Wall", "-shared", "-fPIC", "-o"]).arg(&new).arg(&source))?;
        Ok(std::fs::rename(new, &library)?)
    })?;
    Ok(library)
}
