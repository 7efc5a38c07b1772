//! Measures the product as it runs in production (a process and a daprd per function, Kafka, mail by SMTP), next to Dapr
//! without it in the same run. `cargo xtask bench` runs it.
//!
//! It works in `.dev/bench` and deletes that at its end. After a failure the logs stay there.

mod bare;
mod burst;
mod compare;
mod events;
mod faults;
mod footprint;
mod hostile;
mod load;
mod machine;
mod overview;
mod pace;
mod planned;
mod product;
mod reminders;
mod report;
mod sample;
mod steady;
mod streams;
mod work;

use std::{
    fmt::Write as _,
    fs::{self, File},
    path::PathBuf,
    sync::Arc,
    time::Duration,
};

use anyhow::{bail, ensure};
use chrono::{DateTime, Utc};
use clap::{ArgMatches, CommandFactory as _, FromArgMatches as _, Parser, Subcommand};
use lab::{
    dev,
    progress::say,
    release::{self, Profile},
    root,
    topology::{Options, Topology},
};
use tokio::task::block_in_place;

use bare::Bare;
use machine::Cpu;
use product::Product;

const RUN: &str = "bench";
const PAGE: &str = "docs/performance.md";

/// Measures reminders, events and functions, next to Dapr alone
#[derive(Parser, Clone, Debug)]
#[command(name = "bench", bin_name = "cargo xtask bench")]
struct Arguments {
    #[command(subcommand)]
    what: Option<What>,
    #[command(flatten)]
    overview: overview::Arguments,
    /// Build profile of the functions
    #[arg(long, value_enum, default_value_t = Profile::Release, global = true)]
    profile: Profile,
    /// Measure the binaries in this folder instead of building them
    #[arg(long, global = true)]
    built: Option<PathBuf>,
    /// Write the results into docs/performance.md
    #[arg(long, global = true)]
    write: bool,
}

/// Measurements other than the overview. Each fails when a bound is missed.
#[derive(Subcommand, Clone, Debug)]
enum What {
    /// Lateness of reminders while nothing fails
    Steady(steady::Arguments),
    /// Lateness of reminders while a part of the system is killed
    Faults(faults::Arguments),
    /// Time to fire and send many reminders that are due at once
    Burst(burst::Arguments),
    /// Effect of an abusive client and of a stalling dependency on other clients
    Load(load::Arguments),
    /// Memory of many idle streams, and the time until listeners hear of a change
    Streams(streams::Arguments),
    /// Two builds in turn: start time, memory and throughput of each function
    Compare(compare::Arguments),
}

impl Arguments {
    /// The folder of the binaries; builds them unless they are given.
    fn bin_dir(&self) -> anyhow::Result<PathBuf> {
        match (&self.what, &self.built) {
            (Some(What::Compare(compare)), _) => compare.bin_dir(),
            (_, Some(built)) => Ok(root().join(built)),
            _ => release::build(self.profile),
        }
    }
}

/// The name of the subcommand, and its options with all defaults.
fn command(matches: &ArgMatches) -> (String, String) {
    let (name, matches) = matches.subcommand().map_or((String::new(), matches), |(name, of)| (format!(" {name}"), of));
    let mut options = String::new();
    // `compare` builds nothing, so it has no profile.
    let hidden = ["built", "write", if name == " compare" { "profile" } else { "" }];
    for id in matches.ids().filter(|id| !hidden.contains(&id.as_str())) {
        let values = matches.try_get_raw(id.as_str()).ok().flatten().into_iter().flatten();
        let values: Vec<_> = values.map(|value| value.to_string_lossy()).collect();
        if !values.is_empty() {
            let _ = write!(options, " --{id} {}", values.join(" "));
        }
    }
    (name, options)
}

/// The result of a measurement.
struct Outcome {
    /// Added to the line that says how busy the machine was.
    notes: String,
    /// In Markdown.
    table: String,
    /// The bounds that were missed.
    missed: Vec<String>,
}

/// The running system, with every connection established.
struct Setting {
    product: Product,
    bare: Bare,
    topology: Topology,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let matches = Arguments::command().get_matches();
    let arguments = &Arguments::from_arg_matches(&matches)?;
    let (what, options) = command(&matches);
    fs::create_dir_all(dev())?;
    let lock = File::create(dev().join("bench.lock"))?;
    ensure!(lock.try_lock().is_ok(), "another `cargo xtask bench` runs; wait for it");
    let bin_dir = arguments.bin_dir()?;
    let busy = Cpu::busy_now()?;
    let Outcome { notes, table, missed } = measure(arguments, bin_dir).await?;
    fs::remove_dir_all(dev().join(RUN))?;

    let date = Utc::now().format("%Y-%m-%d");
    let machine = machine::description()?;
    let notes = if notes.is_empty() { ".".to_owned() } else { format!(", {notes}") };
    let markdown = format!(
        "`cargo xtask bench{what}{options}`, {date}, {machine}. Processor busy: {busy} % before the run{notes}\n\n{table}"
    );
    println!("{markdown}");
    if arguments.write {
        report::write(&root().join(PAGE), &what, &markdown)?;
        say(format!("written into {PAGE}"));
    }
    if !missed.is_empty() {
        bail!("missed: {}", missed.join("; "));
    }
    Ok(())
}

async fn measure(arguments: &Arguments, bin_dir: PathBuf) -> anyhow::Result<Outcome> {
    let mut options = Options::distributed(RUN);
    options.repair_every = Some(Duration::from_secs(300)); // as in production
    options.bin_dir = bin_dir;
    // A user of the benchmark gets more messages than anybody else.
    for quota in ["USER_MESSAGES_PER_HOUR", "USER_REMINDERS_PER_HOUR", "USER_REMINDERS"] {
        options = options.env(quota, "1000000");
    }
    let topology = block_in_place(|| Topology::start(options))?;
    let (product, bare) = (Product::new(&topology)?, Bare::start(&topology).await?);
    let setting = Arc::new(Setting { product, bare, topology });
    setting.warm_up("first").await?;
    let outcome = match &arguments.what {
        None => overview::measure(&arguments.overview, &setting).await?,
        Some(What::Steady(steady)) => steady::measure(steady, &setting).await?,
        Some(What::Faults(faults)) => faults::measure(faults, &setting).await?,
        Some(What::Burst(burst)) => burst::measure(burst, &setting).await?,
        Some(What::Load(load)) => load::measure(load, &setting).await?,
        Some(What::Streams(streams)) => streams::measure(streams, &setting).await?,
        Some(What::Compare(compare)) => compare::measure(compare, &setting).await?,
    };
    setting.product.db.close().await;
    block_in_place(|| setting.topology.stop());
    Ok(outcome)
}

impl Setting {
    /// Sends one reminder for each of some users, so that every connection exists before the measurement.
    async fn warm_up(&self, name: &str) -> anyhow::Result<()> {
        const COUNT: usize = 20;
        let title = format!("bench warm-up, {name}");
        let past = DateTime::UNIX_EPOCH;
        pace::steadily(COUNT, Duration::from_millis(50), |index| self.product.create(&title, index, Some(past)))
            .await?;
        reminders::wait_until_sent(&self.product, &title, &[past; COUNT], Duration::from_secs(60)).await
    }
}
