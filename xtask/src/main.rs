//! `cargo xtask`: runs, tests and maintains Punctual on this machine.

mod browser;
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
    /// Start Punctual, print a link to its page and a token, and show each mail as it arrives
    Up {
        /// Run as in production: a process and a daprd per function, Kafka, mail by SMTP
        #[arg(long)]
        distributed: bool,
        /// Return once Punctual is ready; .dev/up.json describes it, `down` stops it
        #[arg(long)]
        detach: bool,
        /// Port of the HTTP API [default: a free one], and of the page unless it is distributed [default: 8420, if it is free]
        #[arg(long)]
        port: Option<u16>,
        /// Delete the data of earlier runs first
        #[arg(long)]
        fresh: bool,
    },
    /// Stop the processes that `up` started
    Down,
    /// Print a bearer token for the running instance
    Token {
        /// UUID of the user
        #[arg(long)]
        user: String,
        /// Email address of the user
        #[arg(long)]
        email: String,
        /// Include the operator scope, which allows dead letters to be read and replayed
        #[arg(long)]
        operator: bool,
    },
    /// Install the missing parts that runs and tests need
    Install,
    /// Run the tests, on a real PostgreSQL, Kafka, Dapr and SMTP server
    Test {
        /// Run only tests whose names contain one of these words
        filter: Vec<String>,
    },
    /// Measure reminders, events and a function, compared with Dapr alone; `bench --help` lists the options
    #[command(disable_help_flag = true)]
    Bench {
        /// `steady`, `faults`, `burst`, `load` or `compare`, and their options
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<String>,
    },
    /// Run the product under injected faults and check its guarantees; `gauntlet --help` lists the options
    #[command(disable_help_flag = true)]
    Gauntlet {
        /// `--minutes N --seed S`, and others
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<String>,
    },
    /// Check the answers of a real `tasks` against the OpenAPI document
    Schemathesis(schemathesis::Arguments),
    /// Test the page in a real Chromium, against the real product
    BrowserTest(browser::Arguments),
    /// Coverage-guided fuzzing of every parser
    Fuzz(fuzz::Arguments),
    /// Deploy to the cluster of the current kubeconfig and test sleep, wake-up and failures, or with `--plain` the rendering without
    /// Knative; `cluster-test --help` lists the options
    #[command(disable_help_flag = true)]
    ClusterTest {
        /// `--load COMMAND`, and others
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<String>,
    },
    /// Run the compose file on a Docker Engine, kill parts of it, and take it down and up again; `compose-test --help` lists the
    /// options
    #[command(disable_help_flag = true)]
    ComposeTest {
        /// `--stand-ins` where no container registry can be reached, and others
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<String>,
    },
    /// Write .sqlx, with which a build checks its SQL without a database
    Prepare {
        /// Only check whether it is up to date, and that clippy has no warnings
        #[arg(long)]
        check: bool,
    },
    /// Write the manifests that are generated from the code
    Manifests,
    /// Check the Helm chart of every environment against the schemas of the cluster and against the code
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
        Command::BrowserTest(arguments) => browser::browser_test(&arguments),
        Command::Fuzz(arguments) => fuzz::fuzz(&arguments),
        Command::ClusterTest { arguments } => laboratory::cluster_test(&arguments),
        Command::ComposeTest { arguments } => laboratory::compose_test(&arguments),
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
