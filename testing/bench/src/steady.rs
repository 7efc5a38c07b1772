//! `cargo xtask bench steady`: how late reminders are on an ordinary day, nothing failing, beside bare jobs at the same rate.

use std::time::Duration;

use clap::Args;

use crate::{
    Outcome, Setting,
    machine::Cpu,
    reminders::{self, Reminders},
    report::{HEAD, row},
};
use lab::progress::say;

/// What a user may notice: milliseconds from the planned time until the mail server has accepted the message.
const ACCEPTED: [(f64, f64); 2] = [(0.5, 50.0), (0.99, 250.0)];
/// How much later than bare jobs the callbacks may take effect.
const RATIO: f64 = 1.5;

/// How much is measured.
#[derive(Args, Clone, Debug)]
#[group(skip)]
pub(super) struct Arguments {
    /// Reminders a second, and as many bare jobs
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u16).range(1..=100))]
    rate: u16,
    /// For how many seconds
    #[arg(long, default_value_t = 300, value_parser = clap::value_parser!(u16).range(1..=600))]
    seconds: u16,
}

impl Arguments {
    pub(super) fn command(&self) -> String {
        format!("--rate {} --seconds {}", self.rate, self.seconds)
    }
}

pub(super) fn measure(arguments: &Arguments, setting: &Setting<'_>) -> anyhow::Result<Outcome> {
    say(format!("{} reminders a second for {} s", arguments.rate, arguments.seconds));
    let count = usize::from(arguments.rate) * usize::from(arguments.seconds);
    let cpu = Cpu::now()?;
    let spread = Duration::from_secs(arguments.seconds.into());
    let measured = reminders::measure(&setting.product, &setting.bare, count, spread, false)?;
    let busy = cpu.busy_since()?;

    let Reminders { ours, bare, .. } = &measured;
    let mut table = HEAD.to_owned();
    row(&mut table, "planned → fired", &ours.fired, Some(bare));
    row(&mut table, "planned → accepted by the mail server", &ours.sent, Some(bare));
    row(&mut table, "bare Dapr job: planned → application, beside", bare, None);
    let early = ours.early() + bare.early();
    let mut missed = Vec::new();
    if early > 0 {
        missed.push(format!("{early} reminders or bare jobs were early"));
    }
    for (share, limit) in ACCEPTED {
        let late = ours.sent.quantile(share);
        if late > limit {
            missed.push(format!("accepted, p{}: {late:.1} ms, and not {limit} ms or less", share * 100.0));
        }
    }
    let ratio = ours.fired.quantile(0.99) / bare.quantile(0.99);
    if ratio > RATIO {
        missed.push(format!("fired, p99: {ratio:.2} times a bare job's, and not {RATIO} times or less"));
    }
    let notes = format!("{busy} % while reminders were due. Before their time: {early} of {}.", count * 2);
    Ok(Outcome { notes, table, missed })
}
