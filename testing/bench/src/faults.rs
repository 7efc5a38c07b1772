//! `cargo xtask bench faults`: how late reminders are that are due while a part of the system is killed and comes back.
//!
//! How long a part takes to come back is not ours to decide and is measured in the same run: by what tells that it works again, or, where
//! that is whether jobs or events arrive, by bare ones beside our reminders, whose daprd is killed when ours is.

use std::{
    fmt::Write as _,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, bail};
use clap::Args;

use crate::{
    Outcome, Setting,
    bare::Bare,
    planned::Planned,
    reminders::{self, Ours},
    sample::Sample,
};
use lab::{progress::say, topology::Topology};

/// How much later than the part itself a reminder may be.
const GRACE_MS: f64 = 5000.0;
const PREPARE: Duration = Duration::from_millis(20);
const EVERY: Duration = Duration::from_millis(100);
/// How long after the first reminder.
const STRIKES_AFTER: Duration = Duration::from_secs(5);
/// Until whoever supervises a process starts it again.
const DOWN: Duration = Duration::from_secs(1);
/// A mail server is not ours to start.
const MAIL_IS_AWAY: Duration = Duration::from_secs(12);
const LIMIT: Duration = Duration::from_secs(90);

/// How much is measured.
#[derive(Args, Clone, Debug)]
#[group(skip)]
pub(super) struct Arguments {
    /// For how many seconds reminders are due, ten each second; the fault comes after five
    #[arg(long, default_value_t = 25, value_parser = clap::value_parser!(u16).range(10..=120))]
    seconds: u16,
    /// Only these
    #[arg(long, value_enum, num_args = 1..)]
    only: Vec<Victim>,
}

impl Arguments {
    pub(super) fn command(&self) -> String {
        format!("--seconds {}", self.seconds)
    }
}

/// What is killed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Victim {
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
    const ALL: [Self; 6] = [Self::Function, Self::Daprd, Self::Scheduler, Self::Kafka, Self::Postgres, Self::Mail];

    fn name(self) -> &'static str {
        match self {
            Self::Function => "`reminder-due`, killed",
            Self::Daprd => "its daprd, killed",
            Self::Scheduler => "the scheduler, killed",
            Self::Kafka => "Kafka, killed",
            Self::Postgres => "PostgreSQL, killed",
            Self::Mail => "the mail server, away for 12 s",
        }
    }

    /// What tells that it is back.
    fn is_back_when(self) -> &'static str {
        match self {
            Self::Function => "it answers `/readyz`",
            Self::Scheduler => "the latest bare job has arrived",
            Self::Daprd => "a bare event gets through its like",
            Self::Kafka => "a bare event gets through",
            Self::Postgres => "it answers a statement",
            Self::Mail => "it takes connections",
        }
    }

    /// Kills it, has it started again, and says after how long it was back as far as it tells itself.
    fn strike(self, topology: &Topology, bare: &Bare) -> anyhow::Result<Duration> {
        let began = Instant::now();
        let function = topology.function("reminder-due");
        let smtp = topology.smtp.as_ref().context("mail goes by SMTP")?;
        let kafka = topology.kafka.as_ref().context("events go by Kafka")?;
        let process = match self {
            Self::Function => &function.process,
            Self::Daprd => &function.daprd.process,
            Self::Scheduler => &topology.scheduler.process,
            Self::Kafka => &kafka.process,
            Self::Postgres => &topology.postgres.process,
            Self::Mail => &smtp.process,
        };
        process.kill9();
        if self == Self::Daprd {
            bare.daprd.kill9();
        }
        thread::sleep(if self == Self::Mail { MAIL_IS_AWAY } else { DOWN });
        if self == Self::Daprd {
            bare.daprd.start()?;
            bare.daprd.wait_ready(LIMIT)?;
        }
        match self {
            Self::Postgres => topology.postgres.start()?,
            _ => process.start()?,
        }
        process.wait_ready(LIMIT)?;
        if matches!(self, Self::Kafka | Self::Daprd) {
            // A consumer that was killed is missed by Kafka only after 10 s; what is published meanwhile waits for that.
            bare.until_an_event_arrives(&format!("{self:?}-is-back"))?;
        }
        Ok(began.elapsed())
    }
}

struct Row {
    victim: Victim,
    recovery_ms: f64,
    ours: Ours,
    bare: Sample,
}

pub(super) fn measure(arguments: &Arguments, setting: &Setting<'_>) -> anyhow::Result<Outcome> {
    let chosen = Victim::ALL.into_iter().filter(|victim| arguments.only.is_empty() || arguments.only.contains(victim));
    let rows = chosen.map(|victim| under(victim, arguments, setting)).collect::<anyhow::Result<Vec<_>>>()?;
    let mut table = "| milliseconds | back after | told by | latest fired | latest accepted | beyond its recovery | latest bare job | \
                     accepted twice |\n|---|--:|---|--:|--:|--:|--:|--:|\n"
        .to_owned();
    let mut missed = Vec::new();
    for Row { victim, recovery_ms, ours, bare } in &rows {
        let beyond = ours.sent.max() - recovery_ms;
        let _ = writeln!(
            table,
            "| {} | {recovery_ms:.0} | {} | {:.0} | {:.0} | {:.0} | {:.0} | {} of {} |",
            victim.name(),
            victim.is_back_when(),
            ours.fired.max(),
            ours.sent.max(),
            beyond.max(0.0),
            bare.max(),
            ours.twice,
            ours.sent.len(),
        );
        if beyond > GRACE_MS {
            missed.push(format!("{}: a reminder was {beyond:.0} ms later than its recovery", victim.name()));
        }
        if ours.early() + bare.early() > 0 {
            missed.push(format!("{}: reminders or bare jobs were early", victim.name()));
        }
        // By SMTP a message may come twice where the connection or the process died between its end and the reply.
        if ours.twice > 0 && !matches!(victim, Victim::Function | Victim::Mail) {
            missed.push(format!("{}: {} reminders came twice", victim.name(), ours.twice));
        }
    }
    Ok(Outcome { notes: String::new(), table, missed })
}

fn under(victim: Victim, arguments: &Arguments, setting: &Setting<'_>) -> anyhow::Result<Row> {
    let Setting { product, bare } = setting;
    say(format!("reminders due, and {}", victim.name()));
    let title = format!("bench fault {victim:?}").to_lowercase();
    let count = usize::from(arguments.seconds) * 10;
    let lead = PREPARE * u32::try_from(count)? + Duration::from_secs(6);
    let all = Planned::spread(&product.topology.postgres, count * 2, lead, EVERY / 2)?;
    let ours: Vec<Planned> = all.iter().step_by(2).cloned().collect();
    let theirs: Vec<Planned> = all.into_iter().skip(1).step_by(2).collect();
    let (back, bare) = thread::scope(|scope| {
        let jobs = scope.spawn(|| bare.jobs(&format!("beside-{victim:?}").to_lowercase(), &theirs, PREPARE));
        reminders::arm(product, &title, &ours, PREPARE)?;
        thread::sleep(ours.first().map(Planned::ahead).unwrap_or_default() + STRIKES_AFTER);
        let back = victim.strike(product.topology, bare)?;
        reminders::wait_until_sent(product, &title, &ours, LIMIT)?;
        anyhow::Ok((back, jobs.join().unwrap_or_else(|_| bail!("the bare arm panicked"))?))
    })?;
    let recovery_ms = match victim {
        Victim::Scheduler => bare.max(),
        _ => back.as_secs_f64() * 1000.0,
    };
    let ours = reminders::collect(product, &title, &ours)?;
    Ok(Row { victim, recovery_ms, ours, bare })
}
