//! `cargo xtask`: runs, tests and maintains Punctual on this machine.

mod checks;
mod fuzz;
mod laboratory;
mod schemathesis;
mod up;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

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
    /// Measure reminders, events and a function, beside Dapr alone; `bench --help` lists the options
    #[command(disable_help_flag = true)]
    Bench {
        /// `steady`, `faults`, `burst` or `load`, and their options
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<String>,
    },
    /// Run the product under faults and check its promises; `gauntlet --help` lists the options
    #[command(disable_help_flag = true)]
    Gauntlet {
        /// `--minutes N --seed S`, and others
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<String>,
    },
    /// Check the answers of a real `tasks` against the OpenAPI document
    Schemathesis(schemathesis::Arguments),
    /// Coverage-guided fuzzing of every parser
    Fuzz(fuzz::Arguments),
    /// Deploy to the cluster of the current kubeconfig and test sleep, wake-up and failures; `cluster-test --help` lists the
    /// options
    #[command(disable_help_flag = true)]
    ClusterTest {
        /// `--load COMMAND`, and others
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<String>,
    },
    /// Write .sqlx, which lets a build check its SQL without a database
    Prepare {
        /// Only say whether it is up to date
        #[arg(long)]
        check: bool,
    },
    /// Write the manifests that are generated from the code
    Manifests,
    /// Check the Helm chart of every environment against the cluster's schemas and the code
    ChartCheck,
}

fn main() -> ExitCode {
    let done = match Cli::parse().command {
        Command::Up { distributed, detach, port, fresh } => up::up(distributed, detach, port, fresh),
        Command::Down => up::down(),
        Command::Token { user, email, operator } => up::token(&user, &email, operator).map(|token| println!("{token}")),
        Command::Install => checks::install(),
        Command::Test { filter } => checks::test(&filter),
        Command::Bench { arguments } => laboratory::bench(&arguments),
        Command::Gauntlet { arguments } => laboratory::gauntlet(&arguments),
        Command::Schemathesis(arguments) => schemathesis::schemathesis(&arguments),
        Command::Fuzz(arguments) => fuzz::fuzz(&arguments),
        Command::ClusterTest { arguments } => laboratory::cluster_test(&arguments),
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
