//! `cargo xtask`: runs, tests and maintains Punctual on this machine.

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use xtask::{bench, checks, cluster, fuzz, gauntlet, schemathesis, up};

/// Runs, tests and maintains Punctual on this machine.
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Start everything, print the address and a token, and show each mail as it arrives
    Up {
        /// As in production: a process and a daprd per function, Kafka, mail by SMTP
        #[arg(long)]
        distributed: bool,
        /// Return once everything answers; .dev/up.json describes it, `down` stops it
        #[arg(long)]
        detach: bool,
        /// The port of the HTTP API [default: a free one]
        #[arg(long)]
        port: Option<u16>,
        /// Forget what earlier runs stored
        #[arg(long)]
        fresh: bool,
    },
    /// Stop what `up` started
    Down,
    /// Print a bearer token for the running instance
    Token {
        /// The user, a UUID
        #[arg(long)]
        user: String,
        /// The user's e-mail address
        #[arg(long)]
        email: String,
        /// With the operator's scope
        #[arg(long)]
        operator: bool,
    },
    /// Install every part that runs and tests need and this machine lacks
    Install,
    /// Run the tests, on a real PostgreSQL, Kafka, Dapr and SMTP server
    Test {
        /// Only tests whose name contains one of these
        filter: Vec<String>,
    },
    /// Measure reminders, events and a function, beside Dapr alone
    Bench(bench::Arguments),
    /// Run the product under faults for some minutes and check what it promises; `-- --help` tells the options
    Gauntlet {
        /// `--minutes N --seed S`, and others
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<String>,
    },
    /// Hold the answers of a real `tasks` against the OpenAPI document
    Schemathesis(schemathesis::Arguments),
    /// Look for inputs that the parsers do not bear, guided by the code that they reach
    Fuzz(fuzz::Arguments),
    /// Deploy to the cluster of the current kubeconfig and see there that it sleeps, wakes and loses nothing; `-- --help` tells
    /// the options
    ClusterTest {
        /// `--load COMMAND`, and others
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<String>,
    },
    /// Write .sqlx again, which lets a build check its SQL without a database
    Prepare {
        /// Only say whether it is up to date
        #[arg(long)]
        check: bool,
    },
    /// Write the manifests that are generated from the code again
    Manifests,
    /// Check the Helm chart: what it renders for every environment, against the schemas of the cluster and against the code
    ChartCheck,
}

fn main() -> ExitCode {
    let done = match Cli::parse().command {
        Command::Up { distributed, detach, port, fresh } => up::up(distributed, detach, port, fresh),
        Command::Down => up::down(),
        Command::Token { user, email, operator } => up::token(&user, &email, operator).map(|token| println!("{token}")),
        Command::Install => checks::install(),
        Command::Test { filter } => checks::test(&filter),
        Command::Bench(arguments) => bench::bench(&arguments),
        Command::Gauntlet { arguments } => gauntlet::gauntlet(&arguments),
        Command::Schemathesis(arguments) => schemathesis::schemathesis(&arguments),
        Command::Fuzz(arguments) => fuzz::fuzz(&arguments),
        Command::ClusterTest { arguments } => cluster::cluster_test(&arguments),
        Command::Prepare { check } => checks::prepare(check),
        Command::Manifests => checks::manifests(),
        Command::ChartCheck => checks::chart(),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
