//! The gauntlet: the whole product as production has it, twenty users, and something going wrong every few seconds; then
//! everything is healed, and what was promised is held against what happened. `docs/gauntlet.md` names the promises.
//!
//! Run by `cargo xtask gauntlet`, which builds what it needs. The same seed makes the same users do the same things and the
//! same faults happen in the same order; the moments at which they meet are the machine's.

mod check;
mod doubles;
mod facts;
mod faults;
mod history;
mod jobs;
mod load;
mod messages;
mod report;
mod routes;
mod run;
mod user;
mod variants;

use std::{path::PathBuf, process::ExitCode, time::Duration};

use clap::{Parser, ValueEnum};

/// The variant that is not in the code of a function: what wakes upkeep is part of the run.
pub(crate) const UPKEEP: &str = "upkeep-never-woken";

/// Who carries the mail.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Provider {
    /// A server that keeps what it accepts.
    Smtp,
    /// Its API.
    Resend,
    /// Its API.
    Mailgun,
}

/// Runs the product under faults and checks its promises.
#[derive(Parser, Clone, Debug)]
pub(crate) struct Arguments {
    /// How long things go wrong
    #[arg(long, default_value_t = 5.0)]
    pub(crate) minutes: f64,
    /// What the users do and what goes wrong [default: a new one]
    #[arg(long)]
    pub(crate) seed: Option<u64>,
    /// Who carries the mail
    #[arg(long, value_enum, default_value = "smtp")]
    pub(crate) provider: Provider,
    /// The longest pause of a process, in seconds
    #[arg(long, default_value_t = 25)]
    pub(crate) longest_pause: u64,
    /// The process that is killed or paused as often as all others together
    #[arg(long)]
    pub(crate) often: Option<String>,
    /// Each daprd calls its function itself, as without Knative
    #[arg(long)]
    pub(crate) no_doors: bool,
    /// A variant of the product that breaks a promise (`docs/gauntlet.md`): the run must find it
    #[arg(long)]
    pub(crate) broken: Option<String>,
    /// Runs every such variant, one after another, and prints the table of `docs/gauntlet.md`
    #[arg(long, conflicts_with = "broken")]
    pub(crate) every_variant: bool,
    /// With `--every-variant`: replaces the table in the page
    #[arg(long, requires = "every_variant")]
    pub(crate) write: bool,
    /// Without repair, and without what only repair puts right: everything else must not need it
    #[arg(long)]
    pub(crate) no_repair: bool,
    /// The run: it lives in `.dev/<name>`, so that several can be at it at once
    #[arg(long, default_value = "gauntlet")]
    pub(crate) name: String,
    /// Users at work
    #[arg(long, default_value_t = 20)]
    pub(crate) users: usize,
    /// The disks of PostgreSQL and Kafka in megabytes, so that they can be full [default: only as root, 1000]
    #[arg(long)]
    pub(crate) disks: Option<u32>,
    /// Where the functions' binaries are, built with the feature `faults`
    #[arg(long)]
    pub(crate) bin_dir: PathBuf,
}

impl Arguments {
    /// How often repair runs.
    fn repair_every(&self) -> Option<Duration> {
        (!self.no_repair && !self.is_broken(UPKEEP)).then_some(Duration::from_secs(20))
    }

    fn is_broken(&self, variant: &str) -> bool {
        self.broken.as_deref() == Some(variant)
    }

    fn length(&self) -> Duration {
        Duration::from_secs_f64(self.minutes * 60.0)
    }
}

#[tokio::main]
async fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let passed = if arguments.every_variant {
        variants::every(&arguments).await
    } else {
        run::run(arguments).await.map(|verdict| verdict.findings.is_empty())
    };
    match passed {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
