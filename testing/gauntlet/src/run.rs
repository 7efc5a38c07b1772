//! One run: start the product, apply load and faults, heal, wait until it settles, check.

use std::{
    collections::BTreeMap,
    fs,
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use anyhow::Context as _;
use chrono::TimeDelta;
use lab::{
    api::Api,
    dev,
    process::Process,
    settled, tools,
    topology::{Mail, Options, Topology},
};
use sqlx::{PgPool, postgres::PgPoolOptions};

use crate::{
    Arguments, Provider,
    check::{self, Evidence, Verdict},
    clock,
    doubles::Doubles,
    facts::Facts,
    faults::Faults,
    history::History,
    jobs,
    listen::Listeners,
    load::Load,
    report,
    routes::Routes,
    setting::Setting,
    user::Users,
};

/// The interval of repair, and the age at which repair republishes an unclaimed event.
const REPAIR: Duration = Duration::from_secs(20);
/// Limit for settling after the last fault, in addition to one repair. It begins again while a backlog becomes smaller.
const HEALED: Duration = Duration::from_secs(60);
/// Limit for a backlog, however large: users do not wait until the product has done what they ask.
const BACKLOG: Duration = Duration::from_secs(900);
/// The jobs that a reminder may need one after another while nothing fails: its own, and one for each attempt that failed before.
const LAGGING_JOBS: u32 = 3;
/// Size of each limited disk in megabytes.
const DISKS: u32 = 1_000;
/// Users set reminders at most this far ahead, or for the year 9999.
const AHEAD: Duration = Duration::from_secs(30);

/// Runs the gauntlet once and returns the checker's verdict. Fails if the product does not start or does not recover.
pub(crate) async fn run(arguments: Arguments) -> anyhow::Result<Verdict> {
    let seed = arguments.seed.unwrap_or_else(|| fastrand::u64(..1_000_000));
    println!("gauntlet: seed {seed}, {} minutes, mail by {:?}", arguments.minutes, arguments.provider);
    let setting = Setting::draw(seed, &arguments);
    println!("{}", setting.describe());
    clock::follow(setting.clocks.database);
    let repairs = arguments.repair_every().is_some();
    let doubles = Doubles::start().await?;
    let options = options(&arguments, &setting, &doubles)?;
    let topology = tokio::task::spawn_blocking(|| Topology::start(options)).await??;
    fs::create_dir_all(dev().join(&arguments.name).join("crash"))?;
    let (seconds, urls) = seconds(&topology)?;
    let db = PgPoolOptions::new().max_connections(4).connect_lazy(&topology.database_url)?;
    setting.verify(&db, &topology, &urls).await?;

    let history = Arc::new(History::default());
    let api = Api::at([topology.url.clone(), urls["tasks"].clone()], &topology.jwt_secret);
    let load = Load::new(Users::new(&api, arguments.users, history.clone()), history.clone());
    let streams = [format!("http://127.0.0.1:{}", topology.function("updates").port), urls["updates"].clone()];
    let listeners = Listeners::start(&load.users, &Api::at(streams, &topology.jwt_secret), seed, &history);
    let routes = Routes::serve(&topology.routes, &urls).await?;
    let faults = Faults::new(topology, seconds, doubles, routes, &arguments);

    let started = Instant::now();
    let over = started + arguments.length();
    let supervisor = thread::spawn({
        let faults = faults.clone();
        move || faults.supervise()
    });
    let director = tokio::task::spawn_blocking({
        let faults = faults.clone();
        move || faults.rage(seed, over)
    });
    let workers: Vec<_> = (0..arguments.users).map(|user| tokio::spawn(load.clone().work(user, seed, over))).collect();
    while Instant::now() < over {
        tokio::time::sleep(Duration::from_secs(30).min(over.saturating_duration_since(Instant::now()))).await;
        let (asked, struck) = (history.commands().len(), faults.log().len());
        println!("{:>4} s: {asked} commands, {struck} faults", started.elapsed().as_secs());
    }
    director.await.context("the faults")?;
    for worker in workers {
        worker.await.context("a user")?;
    }

    println!("healing");
    faults.over();
    let _ = supervisor.join();
    let healing = faults.clone();
    tokio::task::spawn_blocking(move || healing.heal()).await??;
    let healed = Instant::now();
    let repair = if repairs { REPAIR } else { Duration::ZERO };
    let unsettled = rest(&db, healed, AHEAD + HEALED + repair + LAGGING_JOBS * setting.lag()).await;
    println!("at rest {} s after the last fault", healed.elapsed().as_secs());

    let heard = listeners.finish(&db).await?;
    let facts = Facts::gather(&db, &faults.topology, &faults.doubles).await?;
    let orphans = jobs::orphans(&faults.topology, &facts).await?;
    let evidence = Evidence {
        commands: history.commands(),
        heard,
        leaks: history.leaks(),
        faults: faults.log(),
        poison: faults.poison(),
        facts,
        unsettled,
        orphans,
        canaries: load.users.canaries.clone(),
        checked_at: clock::now(),
        lag: TimeDelta::from_std(setting.lag())?,
    };
    let verdict = check::check(&evidence);
    report::report(&db, &evidence, &verdict, &dev().join(&arguments.name)).await?;
    let held = verdict.findings.is_empty();
    println!("\ngauntlet: {}, seed {seed}", if held { "every promise held" } else { "BROKEN" });
    Ok(verdict)
}

/// Starts a second process of every function, and returns them with their URLs by function.
fn seconds(topology: &Topology) -> anyhow::Result<(Vec<Process>, BTreeMap<String, String>)> {
    let (mut processes, mut urls) = (Vec::new(), BTreeMap::new());
    for function in &topology.functions {
        let (process, url) = topology.second(&function.name)?;
        processes.push(process);
        urls.insert(function.name.clone(), url);
    }
    for process in &processes {
        process.wait_ready(Duration::from_secs(30))?;
    }
    Ok((processes, urls))
}

fn options(arguments: &Arguments, setting: &Setting, doubles: &Doubles) -> anyhow::Result<Options> {
    let dir = dev().join(&arguments.name);
    let crash = dir.join("crash");
    let mut options = Options {
        repair_every: arguments.repair_every(),
        bin_dir: arguments.bin_dir.clone(),
        links: true,
        doors: !arguments.no_doors,
        pooler: setting.pooler,
        clocks: setting.clocks.clone(),
        small_disks: arguments.disks.or(tools::is_root().then_some(DISKS)),
        ..Options::distributed(&arguments.name)
    };
    options = options.env("REPAIR_AFTER_SECONDS", REPAIR.as_secs().to_string());
    options = options.env("CRASH_POINTS", crash.display().to_string());
    // A user of the gauntlet sends thousands of messages in an hour. The load has no tags but in commands that must be refused.
    for quota in ["USER_MESSAGES_PER_HOUR", "USER_REMINDERS_PER_HOUR", "USER_REMINDERS", "USER_KEYS_PER_DAY"] {
        options = options.env(quota, "1000000");
    }
    options = options.env("USER_TAGS", "1");
    options = match arguments.provider {
        Provider::Smtp => options,
        Provider::Resend => options.env("EMAIL_PROVIDER", "resend").env("RESEND_BASE_URL", &doubles.url),
        Provider::Mailgun => options
            .env("EMAIL_PROVIDER", "mailgun")
            .env("MAILGUN_BASE_URL", &doubles.url)
            .env("MAILGUN_DOMAIN", "punctual.test"),
    };
    if arguments.provider != Provider::Smtp {
        options.mail = Mail::Files;
        for key in ["resend-api-key", "mailgun-api-key"] {
            options.secrets.insert(key.to_owned(), "a key".to_owned());
        }
    }
    Ok(options)
}

/// Waits until no work is left, as long as it becomes less within each `limit`. Returns the work that is left.
async fn rest(db: &PgPool, healed: Instant, limit: Duration) -> Vec<String> {
    let (mut quiet, mut least, mut progress) = (0, i64::MAX, healed);
    loop {
        let left = settled::amount(db).await.unwrap_or(i64::MAX);
        quiet = if left == 0 { quiet + 1 } else { 0 };
        // All pending reminders must first become due.
        if healed.elapsed() > AHEAD && quiet > 4 {
            return Vec::new();
        }
        if left < least {
            (least, progress) = (left, Instant::now());
        }
        if progress.elapsed() > limit || healed.elapsed() > BACKLOG {
            return settled::left(db, None).await.unwrap_or_else(|error| vec![error.to_string()]);
        }
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
}
