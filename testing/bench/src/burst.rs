//! `cargo xtask bench burst`: how long many reminders take that are due in the same second, beside as many bare jobs.
//!
//! A burst is drained when the last of it is done; how it was armed does not count. The bare side is done when its application was called,
//! ours when the last callback has become `reminder.due`. When the mail server has accepted the last message is shown beside it: so far
//! no bare job goes.

use std::{fmt::Write as _, thread, time::Duration};

use clap::Args;

use crate::{
    Outcome, Setting, client,
    machine::Cpu,
    planned::Planned,
    reminders,
    work::{self, Work},
};
use lab::progress::say;

/// How many times as long as bare jobs, until the last is fired.
const RATIO: f64 = 3.0;
/// What creating and arming a reminder takes on a small machine.
const ARMING: Duration = Duration::from_millis(14);
const SCHEDULING: Duration = Duration::from_millis(3);
const LIMIT: Duration = Duration::from_secs(300);

/// How much is measured.
#[derive(Args, Clone, Debug)]
#[group(skip)]
pub(super) struct Arguments {
    /// How many are due at once; again for each
    #[arg(long, num_args = 1.., default_values_t = [1000, 10_000])]
    counts: Vec<usize>,
}

impl Arguments {
    pub(super) fn command(&self) -> String {
        let counts: Vec<String> = self.counts.iter().map(usize::to_string).collect();
        format!("--counts {}", counts.join(" "))
    }
}

pub(super) fn measure(arguments: &Arguments, setting: &Setting<'_>) -> anyhow::Result<Outcome> {
    let mut table =
        "| due at once | seconds until the last | ÷ bare | processor busy |\n|--:|---|--:|--:|\n".to_owned();
    let mut profiles = String::new();
    let mut missed = Vec::new();
    for &count in &arguments.counts {
        let burst = burst(count, setting)?;
        let bare = burst.bare_ms / 1000.0;
        let _ = writeln!(table, "| {count} | bare job at its application: {bare:.2} | | {} % |", burst.bare_busy);
        for (what, took, busy) in [
            ("**fired**", burst.fired_ms, String::new()),
            ("accepted by the mail server", burst.sent_ms, format!("{} %", burst.busy)),
        ] {
            let ratio = took / burst.bare_ms;
            let _ = writeln!(table, "| {count} | {what}: {:.2} | {ratio:.1} | {busy} |", took / 1000.0);
        }
        let ratio = burst.fired_ms / burst.bare_ms;
        if ratio > RATIO {
            missed.push(format!("{count} at once, fired: {ratio:.1} times as long as bare jobs, and not {RATIO}"));
        }
        if burst.early > 0 {
            missed.push(format!("{count} at once: {} were early", burst.early));
        }
        let _ = writeln!(
            profiles,
            "\n{count} at once, milliseconds of processor for each:\n\n{}",
            work::table(&burst.work, count)
        );
    }
    Ok(Outcome { notes: String::new(), table: table + &profiles, missed })
}

struct Burst {
    bare_ms: f64,
    bare_busy: u64,
    fired_ms: f64,
    sent_ms: f64,
    busy: u64,
    early: usize,
    work: Vec<Work>,
}

fn burst(count: usize, Setting { product, bare }: &Setting<'_>) -> anyhow::Result<Burst> {
    let postgres = &product.topology.postgres;
    let many = u32::try_from(count)?;

    say(format!("{count} bare jobs due at once"));
    let theirs = Planned::at_once(postgres, count, SCHEDULING * many + Duration::from_secs(5))?;
    let watch = Watch::from(&theirs);
    let bare = bare.jobs_at_will(&format!("burst-{count}"), &theirs, LIMIT)?;
    let bare_busy = watch.busy_until(bare.max())?;

    say(format!("{count} reminders due at once"));
    let title = format!("bench burst {count}");
    let ours = Planned::at_once(postgres, count, ARMING * many + Duration::from_secs(15))?;
    client::at_will(count, |index| {
        let answer = product.create(&title, index, Some(&ours[index].text));
        // The limit of a user, were it reached, is not what is measured here.
        answer.or_else(|_| {
            thread::sleep(Duration::from_secs(1));
            product.create(&title, index, Some(&ours[index].text))
        })
    })?;
    reminders::wait_until_armed(product, &title, &ours)?;
    // What arming left to do is done.
    let ahead = ours.first().map(Planned::ahead).unwrap_or_default();
    product.wait_for("events handled", "select count(*) from task_events where published_at is null", 0, ahead)?;
    let watch = Watch::from(&ours);
    thread::sleep(ours.first().map(Planned::ahead).unwrap_or_default().saturating_sub(Duration::from_millis(100)));
    let before = work::so_far(product.topology)?;
    reminders::wait_until_sent(product, &title, &ours, LIMIT)?;
    let work = work::since(&before, product.topology)?;
    let measured = reminders::collect(product, &title, &ours)?;
    anyhow::ensure!(measured.twice == 0, "{} of {count} reminders came twice", measured.twice);
    Ok(Burst {
        bare_ms: bare.max(),
        bare_busy,
        fired_ms: measured.fired.max(),
        sent_ms: measured.sent.max(),
        busy: watch.busy_until(measured.sent.max())?,
        early: bare.early() + measured.early(),
        work,
    })
}

/// How busy the processor is while a burst drains.
struct Watch(thread::JoinHandle<Vec<(Duration, Cpu)>>, std::sync::Arc<std::sync::atomic::AtomicBool>);

impl Watch {
    /// Looks five times a second from the instant on.
    fn from(planned: &[Planned]) -> Self {
        let ahead = planned.first().map(Planned::ahead).unwrap_or_default();
        let done = std::sync::Arc::<std::sync::atomic::AtomicBool>::default();
        let ended = std::sync::Arc::clone(&done);
        Self(
            thread::spawn(move || {
                thread::sleep(ahead);
                let began = std::time::Instant::now();
                let mut seen = Vec::new();
                while !ended.load(std::sync::atomic::Ordering::Relaxed) {
                    seen.extend(Cpu::now().ok().map(|cpu| (began.elapsed(), cpu)));
                    thread::sleep(Duration::from_millis(200));
                }
                seen
            }),
            done,
        )
    }

    /// In percent, from the instant until so many milliseconds after it.
    fn busy_until(self, milliseconds: f64) -> anyhow::Result<u64> {
        self.1.store(true, std::sync::atomic::Ordering::Relaxed);
        let seen = self.0.join().unwrap_or_default();
        let end = Duration::from_secs_f64(milliseconds.max(0.0) / 1000.0);
        let last = seen.iter().find(|(at, _)| *at >= end).or(seen.last());
        Ok(seen.first().zip(last).map_or(0, |((_, first), (_, last))| first.busy_until(*last)))
    }
}
