//! `cargo xtask bench`: how late reminders are, how long an event takes and what a function costs, on the product as
//! production has it (a process and a daprd per function, Kafka, mail by SMTP), beside Dapr without us in the same run.
//!
//! It runs in `.dev/bench`, which is gone afterwards; after a failure the logs stay there.

mod application;
mod bare;
mod client;
mod events;
mod footprint;
mod machine;
mod planned;
mod product;
mod reminders;
mod report;
mod sample;

use std::{
    fs::{self, File},
    path::PathBuf,
    time::Duration,
};

use anyhow::ensure;
use clap::Args;

use crate::{
    dev,
    progress::say,
    release::{self, Profile},
    root,
    topology::{Options, Topology},
};
use bare::Bare;
use machine::Cpu;
use product::Product;
use report::Report;

const RUN: &str = "bench";
const PAGE: &str = "docs/performance.md";

/// What to measure.
#[derive(Args, Clone, Debug)]
pub struct Arguments {
    /// How the functions are built
    #[arg(long, value_enum, default_value_t = Profile::Release)]
    profile: Profile,
    /// How many reminders, and as many bare jobs
    #[arg(long, default_value_t = 200, value_parser = clap::value_parser!(u16).range(1..))]
    reminders: u16,
    /// The seconds over which they become due
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u16).range(1..))]
    spread: u16,
    /// Tasks a second, and as many bare events
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u16).range(1..=1000))]
    rate: u16,
    /// For how many seconds
    #[arg(long, default_value_t = 60, value_parser = clap::value_parser!(u16).range(1..))]
    seconds: u16,
    /// Write the results into docs/performance.md
    #[arg(long)]
    write: bool,
}

impl Arguments {
    fn command(&self) -> String {
        let Self { profile, reminders, spread, rate, seconds, .. } = self;
        let profile = if *profile == Profile::Dev { "dev" } else { "release" };
        format!(
            "cargo xtask bench --profile {profile} --reminders {reminders} --spread {spread} --rate {rate} --seconds {seconds}"
        )
    }
}

/// Builds, measures, prints and cleans up.
///
/// # Errors
/// When something does not build or start, the machine cannot keep the rate, or a reminder was early.
pub fn bench(arguments: &Arguments) -> anyhow::Result<()> {
    fs::create_dir_all(dev())?;
    let lock = File::create(dev().join("bench.lock"))?;
    ensure!(lock.try_lock().is_ok(), "another `cargo xtask bench` runs; wait for it");
    let report = measure(arguments, release::build(arguments.profile)?)?;
    fs::remove_dir_all(dev().join(RUN))?;
    let markdown = report.markdown();
    println!("{markdown}");
    if arguments.write {
        report::write(&root().join(PAGE), &markdown)?;
        say(format!("written into {PAGE}"));
    }
    ensure!(report.early() == 0, "{} of the reminders or bare jobs were early", report.early());
    Ok(())
}

fn measure(arguments: &Arguments, bin_dir: PathBuf) -> anyhow::Result<Report> {
    let before = Cpu::busy_now()?;
    let mut options = Options::distributed(RUN);
    options.repair_every = Some(Duration::from_secs(300)); // as in production
    options.bin_dir = bin_dir;
    let topology = Topology::start(options)?;
    let product = Product::new(&topology);
    events::note_commits(&product)?;
    let bare = Bare::start(&topology)?;
    let mut footprints = footprint::idle(&topology)?;
    warm_up(&product)?;

    say(format!("{} reminders due over {} s", arguments.reminders, arguments.spread));
    let cpu = Cpu::now()?;
    let spread = Duration::from_secs(arguments.spread.into());
    let reminders = reminders::measure(&product, &bare, arguments.reminders.into(), spread)?;
    let during_reminders = cpu.busy_since()?;

    say(format!("{} tasks a second for {} s", arguments.rate, arguments.seconds));
    let cpu = Cpu::now()?;
    let length = Duration::from_secs(arguments.seconds.into());
    let events = events::measure(&product, &bare, arguments.rate.into(), length)?;
    let during_events = cpu.busy_since()?;
    footprint::loaded(&topology, &mut footprints)?;

    let starts = footprint::starts(topology.function("task-created"))?;
    let date = product.sql("select to_char(now() at time zone 'UTC', 'YYYY-MM-DD')")?.trim().to_owned();
    drop(bare);
    topology.stop();
    Ok(Report {
        command: arguments.command(),
        date,
        machine: machine::description()?,
        busy: [before, during_reminders, during_events],
        reminders,
        events,
        starts,
        footprints,
    })
}

/// One reminder of each of some users: every connection on the way is made before anything is measured.
fn warm_up(product: &Product<'_>) -> anyhow::Result<()> {
    const COUNT: usize = 20;
    client::steadily(COUNT, Duration::from_millis(50), |index| {
        product.create("bench warm-up", index, Some("2020-01-01T00:00:00Z"))
    })?;
    let sent = "select count(*) from notification_deliveries where state = 'sent'";
    product.wait_for("first reminders sent", sent, COUNT, Duration::from_secs(60))
}
