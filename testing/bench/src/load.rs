//! `cargo xtask bench load`: what clients that behave feel of one that does not, and of a dependency that falters.
//!
//! Clients at a steady rate are measured by themselves and then, with everything else the same, beside an abuser. Whatever is too much
//! must be refused in words that say when to come again (429, 503); everything that behaves must be served; memory must stay within
//! what the deployment allows.

use std::{
    fmt::Write as _,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, bail, ensure};
use clap::Args;
use serde_json::{Value, json};

use crate::{
    Outcome, Setting,
    client::{self, Answer},
    machine::Cpu,
    product::{Product, USERS},
    sample::{Sample, milliseconds},
    work,
};
use lab::{progress::say, spawn};

/// How many times as long as without the abuser.
const RATIO: f64 = 2.0;
/// The limits in `knative/chart/values.yaml`, in megabytes.
const FUNCTION_LIMIT: f64 = 134.2;
const DAPRD_LIMIT: f64 = 268.4;
/// How many times the rate of all the others together.
const ABUSE: u16 = 10;
/// Clients of the abuser.
const CLIENTS: usize = 32;
/// A user none of the others is.
const ABUSER: usize = USERS - 1;
/// Of each second, how long a dependency does nothing.
const PAUSE: Duration = Duration::from_millis(300);

/// How much is measured.
#[derive(Args, Clone, Debug)]
#[group(skip)]
pub(super) struct Arguments {
    /// Tasks a second by clients that behave
    #[arg(long, default_value_t = 30, value_parser = clap::value_parser!(u16).range(1..=200))]
    rate: u16,
    /// For how many seconds, without and with each abuse; of few, 99 of 100 is a handful of requests
    #[arg(long, default_value_t = 60, value_parser = clap::value_parser!(u16).range(2..=120))]
    seconds: u16,
}

impl Arguments {
    pub(super) fn command(&self) -> String {
        format!("--rate {} --seconds {}", self.rate, self.seconds)
    }
}

/// What the abuser does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Abuse {
    Flood,
    HotTask,
}

/// What falters meanwhile, with and without the abuser.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Falters {
    Nothing,
    Postgres,
    Daprd,
}

const SCENES: [(&str, Abuse, Falters); 4] = [
    ("a user floods: ten times the rate of all others", Abuse::Flood, Falters::Nothing),
    ("32 clients of a user change one task, as often", Abuse::HotTask, Falters::Nothing),
    ("PostgreSQL stands still 0.3 s of each second, and the flood", Abuse::Flood, Falters::Postgres),
    ("the daprd of `tasks` does, and the flood", Abuse::Flood, Falters::Daprd),
];

pub(super) fn measure(arguments: &Arguments, setting: &Setting<'_>) -> anyhow::Result<Outcome> {
    let product = &setting.product;
    let mut table =
        "| milliseconds, request → answer | p50 without | p99 without | p50 with | p99 with | ÷ without (p99) | \
                     abuser: served, 429, 503 | busy without, with |\n|---|--:|--:|--:|--:|--:|---|--:|\n"
            .to_owned();
    let mut missed = Vec::new();
    for (name, abuse, falters) in SCENES {
        say(name);
        let (without, busy_without, _) = scene(product, arguments, None, falters)?;
        let (with, busy_with, abuser) = scene(product, arguments, Some(abuse), falters)?;
        let ratio = with.quantile(0.99) / without.quantile(0.99);
        let answered = |status: fn(u16) -> bool| abuser.iter().filter(|answer| status(answer.status)).count();
        let (served, refused, turned_away) =
            (answered(|status| status < 300), answered(|status| status == 429), answered(|status| status == 503));
        let _ = writeln!(
            table,
            "| {name} | {:.1} | {:.1} | {:.1} | {:.1} | {ratio:.2} | {served}, {refused}, {turned_away} | {busy_without} %, {busy_with} % |",
            without.quantile(0.5),
            without.quantile(0.99),
            with.quantile(0.5),
            with.quantile(0.99),
        );
        if ratio > RATIO {
            missed.push(format!("{name}: p99 of the others is {ratio:.2} times what it is without, and not {RATIO}"));
        }
        if served + refused + turned_away < abuser.len() {
            missed.push(format!(
                "{name}: {} answers are neither 2xx nor 429 nor 503",
                abuser.len() - served - refused - turned_away
            ));
        }
        if abuser.iter().any(|answer| !answer.is_success() && !answer.has_retry_after) {
            missed.push(format!("{name}: a refusal does not say when to come again"));
        }
    }
    table.push_str("\n| the most memory at a time, megabytes | |\n|---|--:|\n");
    let mut others = Vec::new();
    for (name, peak) in work::peaks(product.topology)? {
        let is_function = product.topology.functions.iter().any(|function| function.name == name);
        let limit = if is_function { FUNCTION_LIMIT } else { DAPRD_LIMIT };
        if !is_function && !name.starts_with("daprd-") {
            others.push(format!("| {name} | {peak:.0} |\n"));
            continue;
        }
        if peak > limit {
            missed.push(format!("{name} held {peak:.0} MB, and its limit is {limit:.0}"));
        }
        if ["tasks", "reminder-due", "task-created", "task-changed"].iter().any(|shown| name.ends_with(shown)) {
            let _ = writeln!(table, "| `{name}`, of {limit:.0} | {peak:.0} |");
        }
    }
    table.extend(others);
    Ok(Outcome { notes: String::new(), table, missed })
}

/// How long those that behave wait, how busy the processor was, and what the abuser was answered.
fn scene(
    product: &Product<'_>,
    arguments: &Arguments,
    abuse: Option<Abuse>,
    falters: Falters,
) -> anyhow::Result<(Sample, u64, Vec<Answer>)> {
    // What the scene before has left to do is done.
    let waiting = "select count(*) from task_events where published_at is null";
    product.wait_for("events published", waiting, 0, Duration::from_secs(60))?;
    thread::sleep(Duration::from_secs(2));
    let hot = product.create("bench hot", ABUSER, None)?;
    let hot: Value = serde_json::from_str(&hot.body)?;
    let hot = hot["id"].as_str().context("a task has an id")?.to_owned();
    let every = Duration::from_secs(1) / u32::from(arguments.rate);
    let count = usize::from(arguments.rate) * usize::from(arguments.seconds);
    let ended = AtomicBool::new(false);
    let cpu = Cpu::now()?;
    let (answers, abused) = thread::scope(|scope| {
        let abuser = scope.spawn(|| match abuse {
            None => Ok(Vec::new()),
            Some(abuse) => hammer(product, abuse, &hot, every / u32::from(ABUSE), &ended),
        });
        let pulses = scope.spawn(|| pulse(product, falters, &ended));
        let answers = client::steadily(count, every, |index| {
            // Nobody of them is the abuser.
            product.create("bench load", index % ABUSER, None)
        });
        ended.store(true, Ordering::Relaxed);
        pulses.join().unwrap_or_else(|_| bail!("the pulses panicked"))?;
        let abused = abuser.join().unwrap_or_else(|_| bail!("the abuser panicked"))?;
        anyhow::Ok((answers?, abused))
    })?;
    let took = answers.iter().map(|answer| milliseconds(answer.sent, answer.received)).collect();
    Ok((took, cpu.busy_since()?, abused))
}

/// Requests of one user by many clients, one each `every` as far as they are answered in time, whatever is answered.
fn hammer(
    product: &Product<'_>,
    abuse: Abuse,
    hot: &str,
    every: Duration,
    ended: &AtomicBool,
) -> anyhow::Result<Vec<Answer>> {
    let answers = Mutex::new(Vec::new());
    let each = every * u32::try_from(CLIENTS)?;
    let client = |index: u32| {
        let began = Instant::now() + every * index;
        for turn in 0_u32.. {
            thread::sleep((began + each * turn).saturating_duration_since(Instant::now()));
            if ended.load(Ordering::Relaxed) {
                return Ok(());
            }
            let title = json!({ "title": format!("bench abuse {index} {turn}") }).to_string();
            let (method, path) = match abuse {
                Abuse::Flood => ("POST", "/v1/tasks".to_owned()),
                Abuse::HotTask => ("PATCH", format!("/v1/tasks/{hot}")),
            };
            let answer = client::send(product.port(), method, &path, Some(product.token(ABUSER)), &title)?;
            answers.lock().unwrap_or_else(PoisonError::into_inner).push(answer);
        }
        anyhow::Ok(())
    };
    thread::scope(|scope| {
        let client = &client;
        let clients: Vec<_> = (0..u32::try_from(CLIENTS)?).map(|index| scope.spawn(move || client(index))).collect();
        for client in clients {
            client.join().unwrap_or_else(|_| bail!("a client panicked"))?;
        }
        anyhow::Ok(())
    })?;
    let answers = answers.into_inner().unwrap_or_else(PoisonError::into_inner);
    ensure!(!answers.is_empty(), "the abuser was never answered");
    Ok(answers)
}

/// Lets a dependency stand still for a part of each second.
fn pulse(product: &Product<'_>, falters: Falters, ended: &AtomicBool) -> anyhow::Result<()> {
    while !ended.load(Ordering::Relaxed) {
        thread::sleep(Duration::from_secs(1) - PAUSE);
        let stopped = match falters {
            Falters::Nothing => continue,
            Falters::Postgres => {
                let postmaster = product.topology.postgres.process.pid().context("PostgreSQL does not run")?;
                work::children(postmaster)?
            }
            Falters::Daprd => product.topology.daprd("tasks").process.pid().into_iter().collect(),
        };
        for signal in [libc::SIGSTOP, libc::SIGCONT] {
            for pid in &stopped {
                spawn::send((*pid).cast_signed(), signal);
            }
            if signal == libc::SIGSTOP {
                thread::sleep(PAUSE);
            }
        }
    }
    Ok(())
}
