//! Measures the product as production has it (a process and a daprd per function, Kafka, mail by SMTP), beside Dapr without
//! us in the same run. Run by `cargo xtask bench`.
//!
//! It runs in `.dev/bench`, which it deletes at its end; after a failure the logs stay there.

mod application;
mod bare;
mod burst;
mod client;
mod events;
mod faults;
mod footprint;
mod load;
mod machine;
mod overview;
mod planned;
mod product;
mod reminders;
mod report;
mod sample;
mod steady;
mod work;

use std::{
    fs::{self, File},
    path::PathBuf,
    time::Duration,
};

use anyhow::{bail, ensure};
use clap::{Parser, Subcommand};

use bare::Bare;
use lab::{
    dev,
    progress::say,
    release::{self, Profile},
    root,
    topology::{Options, Topology},
};
use machine::Cpu;
use product::Product;

const RUN: &str = "bench";
const PAGE: &str = "docs/performance.md";

/// Measures reminders, events and a function, beside Dapr alone.
#[derive(Parser, Clone, Debug)]
#[command(name = "bench", bin_name = "cargo xtask bench")]
struct Arguments {
    #[command(subcommand)]
    what: Option<What>,
    #[command(flatten)]
    overview: overview::Arguments,
    /// How the functions are built
    #[arg(long, value_enum, default_value_t = Profile::Release, global = true)]
    profile: Profile,
    /// Measure the binaries in this folder, which are built already
    #[arg(long, global = true)]
    built: Option<PathBuf>,
    /// Write the results into docs/performance.md
    #[arg(long, global = true)]
    write: bool,
}

/// What is measured in place of the overview. Each fails where its bounds are missed.
#[derive(Subcommand, Clone, Debug)]
enum What {
    /// How late reminders are while nothing fails
    Steady(steady::Arguments),
    /// How late reminders are while a part of the system is killed
    Faults(faults::Arguments),
    /// How long many reminders take that are due at once
    Burst(burst::Arguments),
    /// What others feel of a client that asks for too much, and of a dependency that falters
    Load(load::Arguments),
}

impl Arguments {
    fn what(&self) -> &'static str {
        match &self.what {
            None => "",
            Some(What::Steady(_)) => " steady",
            Some(What::Faults(_)) => " faults",
            Some(What::Burst(_)) => " burst",
            Some(What::Load(_)) => " load",
        }
    }

    fn command(&self) -> String {
        let options = match &self.what {
            None => self.overview.command(),
            Some(What::Steady(steady)) => steady.command(),
            Some(What::Faults(faults)) => faults.command(),
            Some(What::Burst(burst)) => burst.command(),
            Some(What::Load(load)) => load.command(),
        };
        let profile = if self.profile == Profile::Dev { "dev" } else { "release" };
        format!("cargo xtask bench{} --profile {profile} {options}", self.what())
    }
}

/// What came of a measurement.
struct Outcome {
    /// What belongs beside how busy the machine was.
    notes: String,
    /// In Markdown.
    table: String,
    /// The bounds that did not hold.
    missed: Vec<String>,
}

/// Everything runs, and every connection on the way was made.
struct Setting<'a> {
    product: Product<'a>,
    bare: Bare,
}

/// Builds, measures, prints and cleans up.
///
/// # Errors
/// When something does not build or start, the machine cannot keep the rate, or a bound is missed.
fn main() -> anyhow::Result<()> {
    let arguments = &Arguments::parse();
    fs::create_dir_all(dev())?;
    let lock = File::create(dev().join("bench.lock"))?;
    ensure!(lock.try_lock().is_ok(), "another `cargo xtask bench` runs; wait for it");
    let bin_dir = match &arguments.built {
        Some(built) => root().join(built),
        None => release::build(arguments.profile)?,
    };
    let (missed, markdown) = measure(arguments, bin_dir)?;
    fs::remove_dir_all(dev().join(RUN))?;
    println!("{markdown}");
    if arguments.write {
        report::write(&root().join(PAGE), arguments.what(), &markdown)?;
        say(format!("written into {PAGE}"));
    }
    if !missed.is_empty() {
        bail!("missed: {}", missed.join("; "));
    }
    Ok(())
}

fn measure(arguments: &Arguments, bin_dir: PathBuf) -> anyhow::Result<(Vec<String>, String)> {
    let before = Cpu::busy_now()?;
    let mut options = Options::distributed(RUN);
    options.repair_every = Some(Duration::from_secs(300)); // as in production
    options.bin_dir = bin_dir;
    let topology = Topology::start(options)?;
    let setting = Setting { product: Product::new(&topology), bare: Bare::start(&topology)? };
    setting.warm_up("first")?;
    let outcome = match &arguments.what {
        None => overview::measure(&arguments.overview, &setting)?.outcome(),
        Some(What::Steady(steady)) => steady::measure(steady, &setting)?,
        Some(What::Faults(faults)) => faults::measure(faults, &setting)?,
        Some(What::Burst(burst)) => burst::measure(burst, &setting)?,
        Some(What::Load(load)) => load::measure(load, &setting)?,
    };
    let date = setting.product.sql("select to_char(now() at time zone 'UTC', 'YYYY-MM-DD')")?.trim().to_owned();
    drop(setting);
    topology.stop();
    let notes = if outcome.notes.is_empty() { ".".to_owned() } else { format!(", {}", outcome.notes) };
    let markdown = format!(
        "`{}`, {date}, {}. Processor busy: {before} % before the run{notes}\n\n{}",
        arguments.command(),
        machine::description()?,
        outcome.table
    );
    Ok((outcome.missed, markdown))
}

impl Setting<'_> {
    /// One reminder of each of some users: every connection on the way is made before anything is measured.
    fn warm_up(&self, name: &str) -> anyhow::Result<()> {
        const COUNT: usize = 20;
        let title = format!("bench warm-up, {name}");
        client::steadily(COUNT, Duration::from_millis(50), |index| {
            self.product.create(&title, index, Some("2020-01-01T00:00:00Z"))
        })?;
        let sent = format!(
            "select count(*) from notification_deliveries delivery join tasks task on task.id = task_id
             where title like '{title} %' and state = 'sent'"
        );
        self.product.wait_for("first reminders sent", &sent, COUNT, Duration::from_secs(60))
    }
}
