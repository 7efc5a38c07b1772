//! `cargo xtask bench load`: how an abusive client and a stalling dependency slow down well-behaved clients.
//!
//! Clients at a steady rate are measured alone and then, with everything else the same, next to an abuser. Excess requests must
//! be refused with 429 or 503 and `Retry-After`. Every request of a well-behaved client must be served, and memory must stay
//! within the limits of the deployment.

use std::{
    fmt::Write as _,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use anyhow::{Context as _, ensure};
use clap::Args;
use lab::{
    api::{self, Answer, Method},
    progress::say,
    settled::settled,
    spawn,
    topology::Topology,
};
use serde_json::json;
use tokio::{
    task::JoinSet,
    time::{Instant, sleep, sleep_until},
};

use crate::{
    Outcome, Setting,
    machine::Cpu,
    pace,
    product::{Product, USERS},
    sample::Sample,
    work,
};

/// Bound for the p99 next to the abuser, as a multiple of the p99 alone.
const RATIO: f64 = 2.0;
/// The limits in `knative/chart/values.yaml`, in megabytes.
const FUNCTION_LIMIT: f64 = 134.2;
const DAPRD_LIMIT: f64 = 268.4;
/// The abuser's rate, as a multiple of the rate of all others together.
const ABUSE: u16 = 10;
/// Concurrent clients of the abuser.
const CLIENTS: u32 = 32;
/// The abuser's user; no well-behaved client uses it.
const ABUSER: usize = USERS - 1;
/// How long a dependency stalls in each second.
const STALL: Duration = Duration::from_millis(300);

#[derive(Args, Clone, Debug)]
#[group(skip)]
pub(super) struct Arguments {
    /// Tasks per second by well-behaved clients
    #[arg(long, default_value_t = 30, value_parser = clap::value_parser!(u16).range(1..=200))]
    rate: u16,
    /// Duration in seconds, without and with each abuse; in a short run p99 is only a handful of requests
    #[arg(long, default_value_t = 60, value_parser = clap::value_parser!(u16).range(2..=120))]
    seconds: u16,
}

/// What the abuser does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Abuse {
    Flood,
    HotTask,
}

/// The dependency that stalls, with and without the abuser.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stalls {
    Nothing,
    Postgres,
    Daprd,
}

const SCENES: [(&str, Abuse, Stalls); 4] = [
    ("one user floods: ten times the rate of all others", Abuse::Flood, Stalls::Nothing),
    ("32 clients of one user change the same task at that rate", Abuse::HotTask, Stalls::Nothing),
    ("the flood, while PostgreSQL stalls 0.3 s of each second", Abuse::Flood, Stalls::Postgres),
    ("the flood, while the daprd of `tasks` does", Abuse::Flood, Stalls::Daprd),
];

pub(super) async fn measure(arguments: &Arguments, setting: &Setting) -> anyhow::Result<Outcome> {
    let mut table = "| milliseconds, request → answer | p50 alone | p99 alone | p50 with abuser | p99 with abuser | ÷ alone (p99) | \
                     abuser: 2xx, 429, 503 | busy alone, with abuser |\n|---|--:|--:|--:|--:|--:|---|--:|\n"
        .to_owned();
    let mut missed = Vec::new();
    for (name, abuse, stalls) in SCENES {
        say(name);
        let (alone, busy_alone, _) = scene(setting, arguments, None, stalls).await?;
        let (with, busy_with, abuser) = scene(setting, arguments, Some(abuse), stalls).await?;
        let ratio = with.quantile(0.99) / alone.quantile(0.99);
        let answered = |status: fn(u16) -> bool| abuser.iter().filter(|answer| status(answer.status)).count();
        let [served, limited, unavailable] =
            [answered(|status| status < 300), answered(|status| status == 429), answered(|status| status == 503)];
        let _ = writeln!(
            table,
            "| {name} | {:.1} | {:.1} | {:.1} | {:.1} | {ratio:.2} | {served}, {limited}, {unavailable} | \
             {busy_alone} %, {busy_with} % |",
            alone.median(),
            alone.quantile(0.99),
            with.median(),
            with.quantile(0.99),
        );
        if ratio > RATIO {
            missed.push(format!(
                "{name}: p99 of the other clients is {ratio:.2} times its value alone, more than {RATIO}"
            ));
        }
        let others = abuser.len() - served - limited - unavailable;
        if others > 0 {
            missed.push(format!("{name}: {others} answers are neither 2xx nor 429 nor 503"));
        }
        if abuser.iter().any(|answer| !answer.is_success() && !answer.headers.contains_key("retry-after")) {
            missed.push(format!("{name}: a refusal has no Retry-After"));
        }
    }
    missed.extend(memory(&setting.topology, &mut table)?);
    Ok(Outcome { notes: String::new(), table, missed })
}

/// Adds the peak memory of every part, and returns the limits that were exceeded.
fn memory(topology: &Topology, table: &mut String) -> anyhow::Result<Vec<String>> {
    table.push_str("\n| peak memory, megabytes | |\n|---|--:|\n");
    let (mut servers, mut missed) = (String::new(), Vec::new());
    for (name, peak) in work::peaks(topology)? {
        let is_function = topology.functions.iter().any(|function| function.name == name);
        if !is_function && !name.starts_with("daprd-") {
            let _ = writeln!(servers, "| {name} | {peak:.0} |");
            continue;
        }
        let limit = if is_function { FUNCTION_LIMIT } else { DAPRD_LIMIT };
        if peak > limit {
            missed.push(format!("{name} used {peak:.0} MB, more than its limit of {limit:.0} MB"));
        }
        if ["tasks", "alarm", "reminder-due", "task-created", "task-changed"].iter().any(|shown| name.ends_with(shown))
        {
            let _ = writeln!(table, "| `{name}`, of {limit:.0} | {peak:.0} |");
        }
    }
    table.push_str(&servers);
    Ok(missed)
}

/// How long well-behaved clients wait, how busy the processor is, and what the abuser is answered.
async fn scene(
    setting: &Setting,
    arguments: &Arguments,
    abuse: Option<Abuse>,
    stalls: Stalls,
) -> anyhow::Result<(Sample, u64, Vec<Answer>)> {
    let product = &setting.product;
    settled(&product.db, None, Duration::from_secs(60)).await?;
    sleep(Duration::from_secs(2)).await;
    let hot = product.create("bench hot", ABUSER, None).await?;
    let hot = format!("/v1/tasks/{}", api::id(&hot.body["id"]));
    let every = Duration::from_secs(1) / u32::from(arguments.rate);
    let count = usize::from(arguments.rate) * usize::from(arguments.seconds);
    let ended = Arc::new(AtomicBool::new(false));
    let cpu = Cpu::now()?;
    let behaved = async {
        let answers = pace::steadily(count, every, |index| product.create("bench load", index % ABUSER, None)).await;
        ended.store(true, Ordering::Relaxed);
        answers
    };
    let abuser = async {
        match abuse {
            None => Ok(Vec::new()),
            Some(Abuse::Flood) => hammer(product, Method::POST, "/v1/tasks", every / u32::from(ABUSE), &ended).await,
            Some(Abuse::HotTask) => hammer(product, Method::PATCH, &hot, every / u32::from(ABUSE), &ended).await,
        }
    };
    let (answers, abused, ()) = tokio::try_join!(behaved, abuser, stall(&setting.topology, stalls, &ended))?;
    let waits = answers.iter().map(|answer| answer.took().as_secs_f64() * 1000.0).collect();
    Ok((waits, cpu.busy_since()?, abused))
}

/// Sends requests of one user from many clients, one per `every`. A client waits for its answer before it sends again.
async fn hammer(
    product: &Product,
    method: Method,
    path: &str,
    every: Duration,
    ended: &Arc<AtomicBool>,
) -> anyhow::Result<Vec<Answer>> {
    let mut clients = JoinSet::new();
    for index in 0..CLIENTS {
        let (user, method, path, ended) =
            (product.users[ABUSER].clone(), method.clone(), path.to_owned(), Arc::clone(ended));
        clients.spawn(async move {
            let mut next = Instant::now() + every * index;
            let mut answers = Vec::new();
            loop {
                sleep_until(next).await;
                if ended.load(Ordering::Relaxed) {
                    return anyhow::Ok(answers);
                }
                let title = json!({ "title": format!("bench abuse {index} {}", answers.len()) });
                answers.push(user.send(method.clone(), &path, Some(&title)).await?);
                next += every * CLIENTS;
            }
        });
    }
    let mut answers = Vec::new();
    while let Some(client) = clients.join_next().await {
        answers.extend(client??);
    }
    ensure!(!answers.is_empty(), "the abuser received no answer");
    Ok(answers)
}

/// Stalls a dependency for a part of each second.
async fn stall(topology: &Topology, stalls: Stalls, ended: &AtomicBool) -> anyhow::Result<()> {
    while !ended.load(Ordering::Relaxed) {
        sleep(Duration::from_secs(1) - STALL).await;
        let pids = match stalls {
            Stalls::Nothing => continue,
            Stalls::Postgres => work::children(topology.postgres.process.pid().context("PostgreSQL does not run")?)?,
            Stalls::Daprd => topology.daprd("tasks").process.pid().into_iter().collect(),
        };
        let signal = |signal| pids.iter().for_each(|pid| spawn::send(pid.cast_signed(), signal));
        signal(libc::SIGSTOP);
        sleep(STALL).await;
        signal(libc::SIGCONT);
    }
    Ok(())
}
