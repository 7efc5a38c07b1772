//! `cargo xtask bench steady`: how late reminders are while nothing fails, next to bare jobs at the same rate.

use std::time::Duration;

use clap::Args;
use lab::progress::say;

use crate::{
    Outcome, Setting,
    machine::Cpu,
    reminders::{self, Reminders},
    report::{HEAD, row},
};

/// Bounds that a user may notice: quantile, and milliseconds from the planned time until the mail server accepted the message.
const ACCEPTED: [(f64, f64); 2] = [(0.5, 50.0), (0.99, 250.0)];
/// Bound for the p99 of firing, as a multiple of a bare job's.
const RATIO: f64 = 1.5;

#[derive(Args, Clone, Debug)]
#[group(skip)]
pub(super) struct Arguments {
    /// Reminders per second, and as many bare jobs
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u16).range(1..=100))]
    rate: u16,
    /// Duration in seconds
    #[arg(long, default_value_t = 300, value_parser = clap::value_parser!(u16).range(1..=600))]
    seconds: u16,
}

pub(super) async fn measure(arguments: &Arguments, setting: &Setting) -> anyhow::Result<Outcome> {
    say(format!("{} reminders per second for {} s", arguments.rate, arguments.seconds));
    let count = usize::from(arguments.rate) * usize::from(arguments.seconds);
    let cpu = Cpu::now()?;
    let duration = Duration::from_secs(arguments.seconds.into());
    let Reminders { ours, bare } = reminders::measure(setting, count, duration).await?;
    let busy = cpu.busy_since()?;

    let mut table = HEAD.to_owned();
    row(&mut table, "planned → fired", &ours.fired, Some(&bare));
    row(&mut table, "planned → accepted by the mail server", &ours.sent, Some(&bare));
    row(&mut table, "bare Dapr job, under load: planned → application", &bare, None);
    let early = ours.early() + bare.early();
    let mut missed = Vec::new();
    if early > 0 {
        missed.push(format!("{early} reminders or bare jobs were early"));
    }
    for (share, limit) in ACCEPTED {
        let late = ours.sent.quantile(share);
        if late > limit {
            missed.push(format!("accepted, p{}: {late:.1} ms, more than {limit} ms", share * 100.0));
        }
    }
    let ratio = ours.fired.quantile(0.99) / bare.quantile(0.99);
    if ratio > RATIO {
        missed.push(format!("fired, p99: {ratio:.2} times a bare job's, more than {RATIO} times"));
    }
    let notes = format!("{busy} % while reminders were due. Early: {early} of {}.", count * 2);
    Ok(Outcome { notes, table, missed })
}
