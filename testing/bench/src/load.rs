//! `cargo xtask bench load`: how an abusive client and a stalling dependency slow down well-behaved clients.
//!
//! Clients at a steady rate are measured alone and then, with everything else the same, next to an abuser. Excess requests must
//! be refused with 429 or 503 and `Retry-After`. Every request of a well-behaved client must be served, and memory must stay
//! within the limits of the deployment.
//!
//! Hostile users are measured in one run: they act in every other slice of it, so that a change of the machine affects both halves.

use std::{
    fmt::Write as _,
    fs,
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
    root,
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
    hostile::{Answers, Hostile, Switch},
    machine::Cpu,
    pace,
    product::{Product, USERS},
    sample::Sample,
    work,
};

/// Bound for the p99 next to the abuser, as a multiple of the p99 alone.
const RATIO: f64 = 2.0;
/// The settings of the chart, which have the memory limits.
const VALUES: &str = "knative/chart/values.yaml";
/// The abuser's rate, as a multiple of the rate of all others together.
const ABUSE: u16 = 10;
/// Concurrent clients of the abuser.
const CLIENTS: u32 = 32;
/// The abuser's user; no well-behaved client uses it.
const ABUSER: usize = USERS - 1;
/// How long a dependency stalls in each second.
const STALL: Duration = Duration::from_millis(300);
/// The slices of the measurement with hostile users: in every other one they act.
const SLICES: usize = 8;
/// How long after a slice with hostile users others may still wait for what they began.
const AFTERMATH: Duration = Duration::from_secs(2);

#[derive(Args, Clone, Debug)]
#[group(skip)]
pub(super) struct Arguments {
    /// Tasks per second by well-behaved clients
    #[arg(long, default_value_t = 30, value_parser = clap::value_parser!(u16).range(1..=200))]
    rate: u16,
    /// Duration in seconds, without and with each abuse; in a short run p99 is only a handful of requests
    #[arg(long, default_value_t = 60, value_parser = clap::value_parser!(u16).range(2..=120))]
    seconds: u16,
    /// Hostile users beside the well-behaved clients, in a measurement of its own
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u16).range(0..=50))]
    hostile: u16,
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
    if arguments.hostile > 0 {
        missed.extend(beside_hostile_users(setting, arguments, &mut table).await?);
    }
    missed.extend(memory(&setting.topology, &mut table)?);
    Ok(Outcome { notes: String::new(), table, missed })
}

/// Measures well-behaved clients while hostile users act in every other slice. Returns the bounds that were missed.
async fn beside_hostile_users(
    setting: &Setting,
    arguments: &Arguments,
    table: &mut String,
) -> anyhow::Result<Vec<String>> {
    let product = &setting.product;
    let name = format!("{} hostile users, in every other slice of this run", arguments.hostile);
    say(&name);
    let address = setting.topology.url.strip_prefix("http://").context("the API has no TLS here")?;
    let mut hostile = Vec::new();
    for _ in 0..arguments.hostile {
        hostile.push(Hostile::new(&product.users[ABUSER].api.user(), address).await?);
    }
    settled(&product.db, None, Duration::from_secs(60)).await?;
    sleep(Duration::from_secs(2)).await;

    let every = Duration::from_secs(1) / u32::from(arguments.rate);
    let slice = Duration::from_secs(u64::from(arguments.seconds)) * 2 / u32::try_from(SLICES)?;
    let count = usize::from(arguments.rate) * usize::from(arguments.seconds) * 2;
    let switch = Arc::new(Switch::default());
    let (began, cpu) = (Instant::now(), Cpu::now()?);
    let behaved = async {
        let answers = pace::steadily(count, every, |index| product.create("bench load", index % ABUSER, None)).await;
        switch.ended.store(true, Ordering::Relaxed);
        switch.on.store(false, Ordering::Relaxed);
        answers
    };
    let acting = async {
        let mut users: JoinSet<_> = hostile.into_iter().map(|hostile| hostile.act(Arc::clone(&switch))).collect();
        for number in 1..SLICES {
            sleep_until(began + slice * u32::try_from(number)?).await;
            switch.on.store(acts_in(number), Ordering::Relaxed);
        }
        let mut all = Answers::new();
        while let Some(answers) = users.join_next().await {
            for (status, count) in answers?? {
                *all.entry(status).or_default() += count;
            }
        }
        anyhow::Ok(all)
    };
    let (answers, hostile) = tokio::try_join!(behaved, acting)?;
    let busy = cpu.busy_since()?;
    let [without, with] = [false, true].map(|acting| -> Sample {
        let planned = answers.iter().enumerate().map(|(index, answer)| (every * index as u32, answer));
        let chosen = planned.filter(|(at, _)| slice_of(*at, slice) == Some(acting));
        chosen.map(|(_, answer)| answer.took().as_secs_f64() * 1000.0).collect()
    });
    let ratio = with.quantile(0.99) / without.quantile(0.99);
    let statuses: Vec<String> = hostile
        .iter()
        .map(|(status, count)| if *status == 0 { format!("{count} closed") } else { format!("{count} × {status}") })
        .collect();
    let _ = writeln!(
        table,
        "\n| milliseconds, request → answer | p50 without | p99 without | p50 with | p99 with | ÷ without (p99) | answers to them | busy |\n\
         |---|--:|--:|--:|--:|--:|---|--:|\n| {name} | {:.1} | {:.1} | {:.1} | {:.1} | {ratio:.2} | {} | {busy} % |",
        without.median(),
        without.quantile(0.99),
        with.median(),
        with.quantile(0.99),
        statuses.join(", "),
    );
    let mut missed = Vec::new();
    if ratio > RATIO {
        missed.push(format!("{name}: p99 of the others is {ratio:.2} times its value without them, more than {RATIO}"));
    }
    // 503 is the limit of the process.
    let failures: usize =
        hostile.iter().filter(|(status, _)| **status >= 500 && **status != 503).map(|(_, count)| count).sum();
    if failures > 0 {
        missed.push(format!("{name}: {failures} of their requests were answered 5xx"));
    }
    Ok(missed)
}

/// Whether hostile users act in a slice.
fn acts_in(slice: usize) -> bool {
    slice % 2 == 1
}

/// Whether hostile users act at a moment of the run. `None` if they ended just before.
fn slice_of(at: Duration, slice: Duration) -> Option<bool> {
    let number = (at.as_micros() / slice.as_micros()) as usize;
    let into = at - slice * number as u32;
    if number > 0 && !acts_in(number) && into < AFTERMATH { None } else { Some(acts_in(number)) }
}

/// Adds the peak memory of every part, and returns the limits that were exceeded.
fn memory(topology: &Topology, table: &mut String) -> anyhow::Result<Vec<String>> {
    let values = fs::read_to_string(root().join(VALUES))?;
    let limit = |of: &str| {
        let function =
            of.strip_prefix("daprd-").map_or_else(|| function_limit(&values, of), |_| limit_in(&values, "dapr"));
        function.with_context(|| format!("{VALUES} has no memory limit for {of}"))
    };
    let peaks = work::peaks(topology)?;
    let peak_of = |name: &str| peaks.iter().find(|(found, _)| found == name).map(|(_, peak)| *peak);
    let mut missed = Vec::new();
    table.push_str("\n| peak memory, megabytes | itself | limit | its daprd | limit |\n|---|--:|--:|--:|--:|\n");
    for function in &topology.functions {
        let mut cells = String::new();
        let daprd = function.daprd.as_ref().map(|daprd| daprd.process.name().to_owned());
        for name in [Some(function.name.clone()), daprd].into_iter().flatten() {
            let (peak, limit) = (peak_of(&name).with_context(|| format!("{name} does not run"))?, limit(&name)?);
            let _ = write!(cells, " {peak:.0} | {limit:.0} |");
            if peak > limit {
                missed.push(format!("{name} used {peak:.0} MB, more than its limit of {limit:.0} MB"));
            }
        }
        if function.daprd.is_none() {
            cells.push_str("  |  |");
        }
        let _ = writeln!(table, "| `{}` |{cells}", function.name);
    }
    table.push_str("\n| peak memory of servers, megabytes | |\n|---|--:|\n");
    for (name, peak) in &peaks {
        let name_of_function = name.strip_prefix("daprd-").unwrap_or(name);
        if !topology.functions.iter().any(|function| function.name == name_of_function) {
            let _ = writeln!(table, "| {name} | {peak:.0} |");
        }
    }
    Ok(missed)
}

/// The memory limit of a function, in megabytes.
fn function_limit(values: &str, function: &str) -> Option<f64> {
    let own = below(values, "functions").and_then(|functions| limit_in(&functions, function));
    own.or_else(|| limit_in(values, "defaults"))
}

/// The memory limit below a key of the chart's values, in megabytes.
fn limit_in(values: &str, key: &str) -> Option<f64> {
    let below = below(values, key)?;
    let (_, limit) = below.split_once("limits: { memory: ")?;
    Some(limit.split_once("Mi ")?.0.parse::<f64>().ok()? * 1.048_576)
}

/// The lines that are indented below a key of a YAML mapping, without their first indentation.
fn below(values: &str, key: &str) -> Option<String> {
    let mut lines = values.lines().skip_while(|line| *line != format!("{key}:"));
    lines.next()?;
    let block = lines.take_while(|line| line.is_empty() || line.starts_with("  "));
    Some(block.map(|line| line.get(2..).unwrap_or_default()).collect::<Vec<_>>().join("\n"))
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_limits_are_read_from_the_chart() {
        let values = fs::read_to_string(root().join(VALUES)).unwrap();
        assert_eq!(
            [function_limit(&values, "alarm"), limit_in(&values, "dapr")],
            [Some(128.0 * 1.048_576), Some(256.0 * 1.048_576)]
        );
        let own = "functions:\n  tasks:\n    resources:\n      limits: { memory: 200Mi }\n\n  alarm:\n    concurrency: 5\n\n\
                   defaults:\n  resources:\n    limits: { memory: 100Mi }\n";
        assert_eq!(
            ["tasks", "alarm", "upkeep"].map(|name| function_limit(own, name).unwrap().round()),
            [210.0, 105.0, 105.0]
        );
    }

    #[test]
    fn the_first_seconds_after_hostile_users_count_for_neither_half() {
        let slice = Duration::from_secs(15);
        let at = [0, 14, 15, 29, 30, 31, 32, 44, 45].map(Duration::from_secs);
        let expected =
            [Some(false), Some(false), Some(true), Some(true), None, None, Some(false), Some(false), Some(true)];
        assert_eq!(at.map(|at| slice_of(at, slice)), expected);
    }
}
