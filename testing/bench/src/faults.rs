//! `cargo xtask bench faults`: how late reminders are that are due while one part of the system is killed and restarted.
//!
//! The time a part needs to recover is not ours. The same run measures it by a sign of recovery: a health check, or bare jobs
//! and events next to our reminders. Their daprd is killed whenever ours is.

use std::{
    fmt::Write as _,
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::Context as _;
use clap::{Args, ValueEnum};
use lab::progress::say;
use tokio::{task::spawn_blocking, time::sleep};

use crate::{
    Outcome, Setting,
    planned::{interleaved, until_first},
    reminders::{self, Ours, PREPARE},
    sample::Sample,
};

/// Bound for the lateness of a reminder after the part has recovered.
const GRACE_MS: f64 = 5000.0;
const EVERY: Duration = Duration::from_millis(100);
/// From the first reminder to the fault.
const FAULT_AFTER: Duration = Duration::from_secs(5);
/// Until a supervisor restarts a process.
const DOWN: Duration = Duration::from_secs(1);
/// We do not supervise the mail server, so its outage is longer.
const MAIL_DOWN: Duration = Duration::from_secs(12);
const LIMIT: Duration = Duration::from_secs(90);

#[derive(Args, Clone, Debug)]
#[group(skip)]
pub(super) struct Arguments {
    /// Duration in seconds; ten reminders are due each second, and the fault comes after five seconds
    #[arg(long, default_value_t = 25, value_parser = clap::value_parser!(u16).range(10..=120))]
    seconds: u16,
    /// Kill only these
    #[arg(long, value_enum, num_args = 1..)]
    only: Vec<Victim>,
}

/// A part that is killed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Victim {
    /// The process of alarm
    Alarm,
    /// The daprd of alarm
    AlarmDaprd,
    /// The process of reminder-due
    Function,
    /// The daprd of reminder-due
    Daprd,
    /// Dapr's scheduler
    Scheduler,
    /// Kafka
    Kafka,
    /// PostgreSQL, with every connection
    Postgres,
    /// The mail server
    Mail,
}

impl Victim {
    /// Its name in the table, and the sign of its recovery.
    fn names(self) -> (&'static str, &'static str) {
        match self {
            Self::Alarm => ("`alarm`, killed", "it answers `/readyz`"),
            Self::AlarmDaprd => ("the daprd of `alarm`, killed", "it answers its health check"),
            Self::Function => ("`reminder-due`, killed", "it answers `/readyz`"),
            Self::Daprd => {
                ("the daprd of `reminder-due`, killed", "a bare event arrives through a daprd killed with it")
            }
            Self::Scheduler => ("the scheduler, killed", "the last bare job arrived"),
            Self::Kafka => ("Kafka, killed", "a bare event arrives"),
            Self::Postgres => ("PostgreSQL, killed", "it answers a query"),
            Self::Mail => ("the mail server, down for 12 s", "it accepts connections"),
        }
    }

    /// Kills and restarts it, and returns how long it took to recover.
    async fn strike(self, setting: &Arc<Setting>) -> anyhow::Result<Duration> {
        let began = Instant::now();
        let shared = Arc::clone(setting);
        spawn_blocking(move || self.restart(&shared)).await??;
        if matches!(self, Self::Kafka | Self::Daprd) {
            // Kafka notices a killed consumer only after 10 s. Events published before that wait for it.
            setting.bare.until_an_event_arrives(&format!("{self:?}-is-back")).await?;
        }
        Ok(began.elapsed())
    }

    fn restart(self, Setting { topology, bare, .. }: &Setting) -> anyhow::Result<()> {
        let process = match self {
            Self::Alarm => &topology.function("alarm").process,
            Self::AlarmDaprd => &topology.daprd("alarm").process,
            Self::Function => &topology.function("reminder-due").process,
            Self::Daprd => &topology.daprd("reminder-due").process,
            Self::Scheduler => &topology.scheduler.process,
            Self::Kafka => &topology.kafka.as_ref().context("the bench runs on Kafka")?.process,
            Self::Postgres => &topology.postgres.process,
            Self::Mail => &topology.smtp.as_ref().context("the bench sends mail by SMTP")?.process,
        };
        process.kill9();
        let with_bare = matches!(self, Self::Daprd | Self::AlarmDaprd);
        if with_bare {
            bare.daprd.kill9();
        }
        std::thread::sleep(if self == Self::Mail { MAIL_DOWN } else { DOWN });
        if with_bare {
            bare.daprd.start()?;
            bare.daprd.wait_ready(LIMIT)?;
        }
        match self {
            Self::Postgres => topology.postgres.start()?,
            _ => process.start()?,
        }
        process.wait_ready(LIMIT)
    }
}

pub(super) async fn measure(arguments: &Arguments, setting: &Arc<Setting>) -> anyhow::Result<Outcome> {
    let mut table =
        "| milliseconds | recovered after | sign of recovery | last fired | last accepted | after its recovery | \
                     last bare job | accepted twice |\n|---|--:|---|--:|--:|--:|--:|--:|\n"
            .to_owned();
    let mut missed = Vec::new();
    let is_chosen = |victim: &Victim| arguments.only.is_empty() || arguments.only.contains(victim);
    for victim in Victim::value_variants().iter().copied().filter(is_chosen) {
        let (name, sign) = victim.names();
        let (recovery_ms, ours, bare) = under(victim, arguments, setting).await?;
        let beyond = ours.sent.max() - recovery_ms;
        let _ = writeln!(
            table,
            "| {name} | {recovery_ms:.0} | {sign} | {:.0} | {:.0} | {:.0} | {:.0} | {} of {} |",
            ours.fired.max(),
            ours.sent.max(),
            beyond.max(0.0),
            bare.max(),
            ours.duplicates,
            ours.sent.len(),
        );
        if beyond > GRACE_MS {
            missed.push(format!("{name}: a reminder was accepted {beyond:.0} ms after the recovery"));
        }
        if ours.early() + bare.early() > 0 {
            missed.push(format!("{name}: reminders or bare jobs were early"));
        }
        // SMTP allows a duplicate when the connection or the process dies between the message and the reply.
        if ours.duplicates > 0 && !matches!(victim, Victim::Function | Victim::Mail) {
            missed.push(format!("{name}: {} reminders were sent more than once", ours.duplicates));
        }
    }
    Ok(Outcome { notes: String::new(), table, missed })
}

/// Returns the milliseconds until the part recovered, our reminders, and the bare jobs.
async fn under(victim: Victim, arguments: &Arguments, setting: &Arc<Setting>) -> anyhow::Result<(f64, Ours, Sample)> {
    say(format!("reminders, and {}", victim.names().0));
    let product = &setting.product;
    let title = format!("bench fault {victim:?}").to_lowercase();
    let count = usize::from(arguments.seconds) * 10;
    let (ours, theirs) = interleaved(count, PREPARE * u32::try_from(count)? + Duration::from_secs(6), EVERY)?;
    let strike = async {
        reminders::arm(product, &title, &ours, PREPARE).await?;
        sleep(until_first(&ours)? + FAULT_AFTER).await;
        let recovery = victim.strike(setting).await?;
        reminders::wait_until_sent(product, &title, &ours, LIMIT).await?;
        Ok(recovery)
    };
    let jobs = format!("beside-{victim:?}").to_lowercase();
    let (recovery, bare) = tokio::try_join!(strike, setting.bare.jobs(&jobs, &theirs, PREPARE))?;
    let recovery_ms = match victim {
        Victim::Scheduler => bare.max(),
        _ => recovery.as_secs_f64() * 1000.0,
    };
    Ok((recovery_ms, reminders::collect(setting, &title, &ours).await?, bare))
}
