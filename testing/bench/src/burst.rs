//! `cargo xtask bench burst`: how long many reminders take that are due at the same instant, next to as many bare jobs.
//!
//! Time counts from that instant; arming does not count. The bare side is done when its application was called for the last
//! job. Our side is done when the last callback has written `reminder.due`. The time until the mail server accepted the last
//! message is reported as well: no bare job does as much.

use std::{fmt::Write as _, time::Duration};

use anyhow::ensure;
use chrono::TimeDelta;
use clap::Args;
use lab::{progress::say, settled::settled};
use tokio::time::sleep;

use crate::{
    Outcome, Setting,
    machine::Watch,
    pace::{self, AT_WILL},
    planned::{spread, until_first},
    reminders, work,
};

/// Bound for firing the last reminder, as a multiple of the time for bare jobs.
const RATIO: f64 = 3.0;
/// Time to create and arm one reminder on a small machine.
const ARMING: Duration = Duration::from_millis(14);
const SCHEDULING: Duration = Duration::from_millis(3);
const LIMIT: Duration = Duration::from_secs(300);

#[derive(Args, Clone, Debug)]
#[group(skip)]
pub(super) struct Arguments {
    /// Sizes of the bursts
    #[arg(long, num_args = 1.., default_values_t = [1000, 10_000])]
    counts: Vec<usize>,
}

pub(super) async fn measure(arguments: &Arguments, setting: &Setting) -> anyhow::Result<Outcome> {
    let head = "| due at once | seconds until the last | ÷ bare | processor busy |\n|--:|---|--:|--:|\n";
    let mut outcome = Outcome { notes: String::new(), table: head.to_owned(), missed: Vec::new() };
    let mut profiles = String::new();
    for &count in &arguments.counts {
        let work = burst(count, setting, &mut outcome).await?;
        let _ = write!(profiles, "\n{count} at once, milliseconds of processor time per reminder:\n\n{work}");
    }
    outcome.table.push_str(&profiles);
    Ok(outcome)
}

/// Adds the rows of one burst to the outcome, and returns the table of the processor time it took.
async fn burst(count: usize, setting: &Setting, outcome: &mut Outcome) -> anyhow::Result<String> {
    let Setting { product, bare, topology } = setting;
    let many = u32::try_from(count)?;

    say(format!("{count} bare jobs due at once"));
    let theirs = spread(count, SCHEDULING * many + Duration::from_secs(5), Duration::ZERO)?;
    let watch = Watch::start();
    let bare = bare.jobs_at_will(&format!("burst-{count}"), &theirs, LIMIT).await?;
    let bare_busy = watch.busy_between(theirs[0], theirs[0] + span(bare.max())).await?;

    say(format!("{count} reminders due at once"));
    let title = format!("bench burst {count}");
    let ours = spread(count, ARMING * many + Duration::from_secs(15), Duration::ZERO)?;
    pace::steadily(count, AT_WILL, |index| {
        let [create, again] = [(); 2].map(|()| product.create(&title, index, Some(ours[index])));
        async {
            let Err(_) = create.await.map(drop) else { return Ok(()) };
            // The per-user rate limit is not what is measured here.
            sleep(Duration::from_secs(1)).await;
            again.await.map(drop)
        }
    })
    .await?;
    reminders::wait_until_armed(product, &title, &ours).await?;
    settled(&product.db, None, until_first(&ours)?).await?;
    let watch = Watch::start();
    sleep(until_first(&ours)?.saturating_sub(Duration::from_millis(100))).await;
    let before = work::so_far(topology)?;
    reminders::wait_until_sent(product, &title, &ours, LIMIT).await?;
    let work = work::since(&before, topology)?;
    let measured = reminders::collect(setting, &title, &ours).await?;
    ensure!(measured.duplicates == 0, "{} of {count} reminders were sent more than once", measured.duplicates);
    let busy = watch.busy_between(ours[0], ours[0] + span(measured.sent.max())).await?;

    let [bare_s, fired_s, sent_s] = [&bare, &measured.fired, &measured.sent].map(|sample| sample.max() / 1000.0);
    let ratio = fired_s / bare_s;
    let _ = write!(
        outcome.table,
        "| {count} | bare job at its application: {bare_s:.2} | | {bare_busy} % |\n\
         | {count} | **fired**: {fired_s:.2} | {ratio:.1} | |\n\
         | {count} | accepted by the mail server: {sent_s:.2} | {:.1} | {busy} % |\n",
        sent_s / bare_s,
    );
    if ratio > RATIO {
        let times = format!("{ratio:.1} times as long as bare jobs, more than {RATIO} times");
        outcome.missed.push(format!("{count} at once, fired: {times}"));
    }
    let early = bare.early() + measured.early();
    if early > 0 {
        outcome.missed.push(format!("{count} at once: {early} were early"));
    }
    Ok(work::table(&work, count))
}

fn span(milliseconds: f64) -> TimeDelta {
    TimeDelta::milliseconds(milliseconds as i64)
}
