//! `cargo xtask bench` without a subcommand: reminders, events, and what a function costs.

use std::{fmt::Write as _, time::Duration};

use clap::Args;
use lab::progress::say;
use tokio::task::block_in_place;

use crate::{
    Outcome, Setting,
    events::{self, Events},
    footprint,
    machine::Cpu,
    reminders::{self, Ours, Reminders},
    report::{HEAD, row},
};

const STARTS: usize = 20;

#[derive(Args, Clone, Debug)]
#[group(skip)]
pub(super) struct Arguments {
    /// Number of reminders, and of bare jobs
    #[arg(long, default_value_t = 200, value_parser = clap::value_parser!(u16).range(1..))]
    reminders: u16,
    /// Seconds over which they become due
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u16).range(1..))]
    spread: u16,
    /// Tasks per second, and as many bare events
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u16).range(1..=1000))]
    rate: u16,
    /// Seconds at that rate
    #[arg(long, default_value_t = 60, value_parser = clap::value_parser!(u16).range(1..))]
    seconds: u16,
}

pub(super) async fn measure(arguments: &Arguments, setting: &Setting) -> anyhow::Result<Outcome> {
    events::record_commits(setting).await?;
    let idle = footprint::measure(&setting.topology)?;
    setting.warm_up("again").await?;

    say(format!("{} reminders due over {} s", arguments.reminders, arguments.spread));
    let (count, spread) = (arguments.reminders.into(), Duration::from_secs(arguments.spread.into()));
    let cpu = Cpu::now()?;
    let bare_alone = reminders::bare_alone(setting, count, spread).await?;
    let Reminders { ours, bare } = reminders::measure(setting, count, spread).await?;
    let busy_reminders = cpu.busy_since()?;

    say(format!("{} tasks per second for {} s", arguments.rate, arguments.seconds));
    let cpu = Cpu::now()?;
    let events = events::measure(setting, arguments.rate.into(), Duration::from_secs(arguments.seconds.into())).await?;
    let busy_events = cpu.busy_since()?;
    let loaded = footprint::measure(&setting.topology)?;
    let task_created = setting.topology.function("task-created");
    let starts = block_in_place(|| (0..STARTS).map(|_| footprint::start(task_created)).collect::<anyhow::Result<_>>())?;

    let early = ours.early() + bare.early();
    let notes = format!(
        "{busy_reminders} % while reminders were due, {busy_events} % under the events. Early: {early} of {} reminders and bare jobs.",
        ours.fired.len() + bare.len(),
    );
    let missed = if early == 0 { Vec::new() } else { vec![format!("{early} reminders or bare jobs were early")] };

    let mut table = HEAD.to_owned();
    let Ours { fired, sent, attempt, .. } = &ours;
    row(&mut table, "**reminder**: planned → fired", fired, Some(&bare));
    row(&mut table, "**reminder**: planned → accepted by the mail server", sent, Some(&bare));
    row(&mut table, "of which the attempt: started → accepted", attempt, None);
    row(&mut table, "bare Dapr job, under load: planned → application", &bare, None);
    row(&mut table, "bare Dapr job, alone: planned → application", &bare_alone, None);
    let Events { effect, after_answer, started, answer, bare, bare_alone } = &events;
    row(&mut table, "**event**: command committed → effect committed", effect, Some(bare));
    row(&mut table, "**event**: 201 at the client → handler's transaction starts", after_answer, Some(bare));
    row(&mut table, "**event**: command's transaction starts → handler's starts", started, Some(bare));
    row(&mut table, "request → 201", answer, None);
    row(&mut table, "bare Dapr event, under load: publish → application", bare, None);
    row(&mut table, "bare Dapr event, alone: publish → application", bare_alone, None);
    row(&mut table, "`task-created`: exec → first 200 of `/healthz`", &starts, None);
    table.push_str("\n| megabytes | binary | memory, idle | memory, after the load |\n|---|--:|--:|--:|\n");
    for (idle, loaded) in idle.iter().zip(loaded) {
        let megabytes = [idle.binary_bytes, idle.resident_bytes, loaded.resident_bytes].map(|bytes| bytes as f64 / 1e6);
        let [binary, before, after] = megabytes;
        let _ = writeln!(table, "| {} | {binary:.1} | {before:.1} | {after:.1} |", idle.name);
    }
    Ok(Outcome { notes, table, missed })
}
