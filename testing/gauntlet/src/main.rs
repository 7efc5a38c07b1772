//! The gauntlet: runs the whole product as in production, with twenty users and a new fault every few seconds. Then it ends all
//! faults and checks each promise against the recorded events. `docs/gauntlet.md` lists the promises.
//!
//! `cargo xtask gauntlet` builds and runs it. The same seed repeats the users' actions and the order of the faults;
//! their exact timing depends on the machine.

mod check;
mod clock;
mod doubles;
mod facts;
mod faults;
mod history;
mod jobs;
mod listen;
mod load;
mod messages;
mod report;
mod routes;
mod run;
mod scratch;
mod setting;
mod table;
mod user;
mod variants;

use std::{path::PathBuf, process::ExitCode, time::Duration};

use clap::{Parser, ValueEnum};

/// The mail provider.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Provider {
    /// An SMTP server that keeps each message it accepts.
    Smtp,
    /// A double of Resend's API.
    Resend,
    /// A double of Mailgun's API.
    Mailgun,
}

/// Runs the product under faults and checks its promises.
#[derive(Parser, Clone, Debug)]
#[command(args_override_self = true)]
pub(crate) struct Arguments {
    /// Duration of the faults, in minutes
    #[arg(long, default_value_t = 5.0)]
    pub(crate) minutes: f64,
    /// Seed of the users' actions and of the faults [default: a new one]
    #[arg(long)]
    pub(crate) seed: Option<u64>,
    /// The mail provider
    #[arg(long, value_enum, default_value = "smtp")]
    pub(crate) provider: Provider,
    /// Longest pause of a process, in seconds
    #[arg(long, default_value_t = 25)]
    pub(crate) longest_pause: u64,
    /// Process that is killed or paused as often as all others together; `silence` for peers that fall silent; `partition` for a partition
    /// without a leader for 130 s
    #[arg(long)]
    pub(crate) often: Option<String>,
    /// Let each daprd call its function directly, without a door, as on a cluster without Knative
    #[arg(long)]
    pub(crate) no_doors: bool,
    /// Whether PgBouncer stands before PostgreSQL, and is killed and paused like the others [default: the seed decides]
    #[arg(long, value_name = "BOOL")]
    pub(crate) pooler: Option<bool>,
    /// Let all processes have this machine's clock, instead of clocks that differ by minutes
    #[arg(long)]
    pub(crate) same_clock: bool,
    /// Build and run these broken variants (`docs/gauntlet.md`), separated by commas: each must be found
    #[arg(long = "variant", visible_alias = "variants", value_name = "NAME", value_delimiter = ',', group = "series")]
    pub(crate) variants: Vec<String>,
    /// Build and run every broken variant
    #[arg(long, group = "series")]
    pub(crate) every_variant: bool,
    /// Write the results of the variants into the table of `docs/gauntlet.md`
    #[arg(long, requires = "series")]
    pub(crate) write: bool,
    /// Run without repair, and without the faults that only repair can fix
    #[arg(long)]
    pub(crate) no_repair: bool,
    /// Folder of the run under `.dev`; runs with different names can run at the same time
    #[arg(long, default_value = "gauntlet")]
    pub(crate) name: String,
    /// Number of users
    #[arg(long, default_value_t = 20)]
    pub(crate) users: usize,
    /// Disk size of PostgreSQL and Kafka in megabytes, so that faults can fill them [default: 1000 as root, else unlimited]
    #[arg(long)]
    pub(crate) disks: Option<u32>,
    /// Folder of the functions' binaries, built with the feature `faults`
    #[arg(long)]
    pub(crate) bin_dir: PathBuf,
    /// Never run repair, but inject the faults that need it.
    #[arg(skip)]
    pub(crate) upkeep_never_woken: bool,
}

impl Arguments {
    /// How often repair runs.
    fn repair_every(&self) -> Option<Duration> {
        (!self.no_repair && !self.upkeep_never_woken).then_some(Duration::from_secs(20))
    }

    fn length(&self) -> Duration {
        Duration::from_secs_f64(self.minutes * 60.0)
    }
}

#[tokio::main]
async fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let passed = if arguments.every_variant || !arguments.variants.is_empty() {
        variants::series(&arguments).await
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
