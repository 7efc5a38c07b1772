//! `cargo xtask bench` by itself: reminders, events, and what a function costs.

use std::time::Duration;

use clap::Args;

use crate::{Setting, events, footprint, machine::Cpu, reminders, report::Report};
use lab::progress::say;

/// How much is measured.
#[derive(Args, Clone, Debug)]
#[group(skip)]
pub(super) struct Arguments {
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
}

impl Arguments {
    pub(super) fn command(&self) -> String {
        let Self { reminders, spread, rate, seconds } = self;
        format!("--reminders {reminders} --spread {spread} --rate {rate} --seconds {seconds}")
    }
}

pub(super) fn measure(arguments: &Arguments, setting: &Setting<'_>) -> anyhow::Result<Report> {
    let Setting { product, bare } = setting;
    events::note_commits(product)?;
    let mut footprints = footprint::idle(product.topology)?;
    setting.warm_up("again")?;

    say(format!("{} reminders due over {} s", arguments.reminders, arguments.spread));
    let cpu = Cpu::now()?;
    let spread = Duration::from_secs(arguments.spread.into());
    let reminders = reminders::measure(product, bare, arguments.reminders.into(), spread, true)?;
    let during_reminders = cpu.busy_since()?;

    say(format!("{} tasks a second for {} s", arguments.rate, arguments.seconds));
    let cpu = Cpu::now()?;
    let length = Duration::from_secs(arguments.seconds.into());
    let events = events::measure(product, bare, arguments.rate.into(), length)?;
    let during_events = cpu.busy_since()?;
    footprint::loaded(product.topology, &mut footprints)?;

    let starts = footprint::starts(product.topology.function("task-created"))?;
    Ok(Report { busy: [during_reminders, during_events], reminders, events, starts, footprints })
}
