//! `cargo xtask up`, `down` and `token`: the product on this machine, for a person or a script.
//!
//! Only one instance runs at a time. `.dev/up.json` describes it while it runs. `.dev/up/` holds its data, which the next `up`
//! reuses.

use std::{
    collections::BTreeSet,
    env,
    fs::{self, File},
    os::unix::process::CommandExt as _,
    path::PathBuf,
    process::Command,
    thread,
    time::Duration,
};

use anyhow::{Context as _, bail, ensure};
use serde_json::{Value, json};

use lab::{
    dev,
    identity::{self, Identity},
    mail, ports,
    progress::{self, say},
    root, secrets, signals,
    topology::{self, Mode, Options, Topology},
};

const RUN: &str = "up";
/// The port of the page, where it is free: a browser keeps a sign-in, subscriptions and the offline page for an origin.
const PORT: u16 = 8420;
/// How long the link that `up` prints signs in.
const SIGNED_IN: Duration = Duration::from_secs(12 * 60 * 60);
/// The user of the token that `up` prints. Constant, so that yesterday's tasks belong to today's user.
const USER: &str = "0198c0de-0000-7000-8000-000000000001";
const EMAIL: &str = "dev@punctual.test";

/// Starts the product and prints its mail until Ctrl-C. With `detached`, returns once every part is ready.
pub(crate) fn up(distributed: bool, detached: bool, port: Option<u16>, fresh: bool) -> anyhow::Result<()> {
    if distributed && !cfg!(feature = "kafka") {
        // The Kafka client triples the time to compile this program, so a plain `up` does without.
        let run = ["run", "--locked", "--quiet", "--package", "xtask", "--features", "kafka", "--"];
        return Err(Command::new("cargo").args(run).args(env::args_os().skip(1)).current_dir(root()).exec().into());
    }
    refuse_a_second()?;
    let mut options = if distributed { Options::distributed(RUN) } else { Options::embedded(RUN) };
    let usual = if ports::is_free(PORT) { PORT } else { ports::free() };
    (options.port, options.page_port) = if distributed { (port, Some(usual)) } else { (port.or(Some(usual)), None) };
    options.detached = detached;
    options.fresh = fresh;
    let keys = keys(fresh)?;
    let page_port = options.page_port.or(options.port).unwrap_or(usual);
    options = with_page(options, page_port, &keys);
    // On a fresh machine, Go builds Dapr while cargo builds Punctual. Each leaves a core idle where it has nothing to do at once.
    progress::both(|| topology::prerequisites(&options), || build(options.mode))?;

    // Held until every part runs: two instances would share a data directory.
    let lock = File::create(dev().join("up.lock"))?;
    ensure!(
        lock.try_lock().is_ok(),
        "Punctual is being started by another `cargo xtask up`; wait for it, or stop it first"
    );
    refuse_a_second()?;
    signals::catch();
    let topology = Topology::start(options)?;
    fs::write(keys_file(), serde_json::to_vec_pretty(&keys)?)?;
    let token = topology.token(USER, EMAIL, true);
    let signed_in = secrets::token_for(SIGNED_IN, &topology.jwt_secret, USER, EMAIL, true);
    let link = format!("{}/#token={signed_in}", topology.page_url);
    let supervisor = (!detached).then(|| Identity::of(std::process::id())).flatten();
    let state = json!({
        "url": topology.url,
        "page_url": topology.page_url,
        "link": link,
        "token": token,
        "database_url": topology.database_url,
        "mail_dir": topology.mail_dir,
        "kafka_brokers": topology.kafka_brokers(),
        "jwt_secret": topology.jwt_secret,
        "supervisor": supervisor.map(|identity| json!({ "pid": identity.pid, "started": identity.started })),
    });
    fs::write(state_file(), serde_json::to_vec_pretty(&state)?)?;
    introduce(&topology, &link, &token);
    drop(lock);
    if detached {
        println!("Punctual keeps running; `cargo xtask down` stops it.");
        topology.leave_running();
        return Ok(());
    }
    println!("Mail appears here as it arrives. Ctrl-C stops everything.\n");
    follow(&topology);
    say("stopping");
    topology.stop();
    fs::remove_file(state_file())?;
    Ok(())
}

/// Stops the processes that `up` started, and no others.
pub(crate) fn down() -> anyhow::Result<()> {
    let supervisor = state().and_then(|state| {
        let field = |name| state["supervisor"][name].as_u64();
        Some(Identity { pid: field("pid")?.try_into().ok()?, started: field("started")? })
    });
    let mut stopped = 0;
    if let Some(supervisor) = supervisor.filter(|supervisor| supervisor.is_alive()) {
        supervisor.stop(libc::SIGTERM, Duration::from_secs(60)); // it stops its processes in order
        stopped += 1;
    }
    // Sidecars first, servers last: the reverse of the start.
    let left = identity::running(&run_dir());
    let (servers, others): (Vec<_>, Vec<_>) =
        left.iter().partition(|(_, name)| ["postgres", "kafka", "redis", "scheduler", "smtp"].contains(&name.as_str()));
    let (functions, daprds): (Vec<_>, Vec<_>) =
        others.into_iter().partition(|(_, name)| !name.starts_with("daprd-") && name != "repair");
    for group in [daprds, functions, servers] {
        thread::scope(|scope| {
            for (identity, name) in group {
                let signal = if name == "postgres" { libc::SIGINT } else { libc::SIGTERM };
                scope.spawn(move || identity.stop(signal, Duration::from_secs(15)));
            }
        });
    }
    stopped += left.len();
    for file in [state_file(), run_dir().join("pids")] {
        if file.exists() {
            fs::remove_file(file)?;
        }
    }
    say(if stopped == 0 { "Punctual was not running".to_owned() } else { "Punctual is stopped".to_owned() });
    Ok(())
}

/// A bearer token for the running instance.
pub(crate) fn token(user: &str, email: &str, operator: bool) -> anyhow::Result<String> {
    let state =
        state().filter(|_| running().is_some()).context("Punctual is not running: start it by `cargo xtask up`")?;
    ensure!(is_uuid(user), "{user} is not a UUID: pass one like {USER}");
    let secret = state["jwt_secret"].as_str().context(".dev/up.json is damaged: cargo xtask down, then up")?;
    Ok(secrets::token(secret, user, email, operator))
}

fn refuse_a_second() -> anyhow::Result<()> {
    match running() {
        Some(url) => bail!("Punctual is already running{url}; `cargo xtask down` stops it"),
        None => Ok(()),
    }
}

/// ` at <url>` if an instance is running.
fn running() -> Option<String> {
    if identity::running(&run_dir()).is_empty() {
        return None;
    }
    let url = state().and_then(|state| Some(state["url"].as_str()?.to_owned()));
    Some(url.map_or_else(String::new, |url| format!(" at {url}")))
}

fn run_dir() -> PathBuf {
    dev().join(RUN)
}

fn state_file() -> PathBuf {
    dev().join("up.json")
}

fn keys_file() -> PathBuf {
    run_dir().join("keys.json")
}

/// The keys of links in mail and of Web Push. They are kept, so that links and subscriptions outlast a restart.
fn keys(fresh: bool) -> anyhow::Result<Value> {
    let kept = fs::read(keys_file()).ok().and_then(|kept| serde_json::from_slice(&kept).ok());
    if let Some(kept) = kept.filter(|_| !fresh) {
        return Ok(kept);
    }
    let vapid = secrets::vapid_key();
    if let Err(error) = &vapid {
        say(format!("Web Push is off: {error:#}"));
    }
    let (private, public) = vapid.unwrap_or_default();
    Ok(json!({ "action": secrets::random()?, "vapid_private": private, "vapid_public": public }))
}

/// The variables of the page: its address for links in mail, the keys of push, and the permission to sign in by a link.
fn with_page(options: Options, port: u16, keys: &Value) -> Options {
    let key = |name: &str| keys[name].as_str().unwrap_or_default().to_owned();
    let mut options = options
        .env("PAGE_URL", format!("http://127.0.0.1:{port}"))
        .env("PAGE_ACCEPT_TOKEN_LINK", "true")
        .env("ACTION_KEY", key("action"))
        .env("VAPID_PUBLIC_KEYS", key("vapid_public"));
    options.secrets.insert("vapid-private-keys".to_owned(), key("vapid_private"));
    options
}

fn state() -> Option<Value> {
    serde_json::from_slice(&fs::read(state_file()).ok()?).ok()
}

fn build(mode: Mode) -> anyhow::Result<()> {
    let what: &[&str] = match mode {
        Mode::Embedded => &["--package", "embedded", "--package", "migrations"],
        Mode::Distributed => &[],
    };
    let mut build = Command::new("cargo");
    build.args(["build", "--locked", "--bins"]).args(what).current_dir(root());
    progress::run("building Punctual", &mut build)
}

fn introduce(topology: &Topology, link: &str, token: &str) {
    let (url, page) = (&topology.url, &topology.page_url);
    println!();
    println!("Open      {link}\n");
    println!("API       {url}   (described at {page}/docs/)");
    println!("Mail      {}", topology.mail_dir.display());
    println!("Logs      {}", run_dir().join("log").display());
    println!("Database  {}", topology.database_url);
    if let Some(brokers) = topology.kafka_brokers() {
        println!("Kafka     {brokers}");
    }
    println!("\nToken (user {USER}, {EMAIL}, operator, 30 days)\n{token}\n");
    println!("A task with a reminder in five seconds:\n{}\n", curl(url, token));
}

/// A command line to paste; the shell computes the instant when it runs.
fn curl(url: &str, token: &str) -> String {
    format!(
        "curl -sS {url}/v1/tasks -H 'authorization: Bearer {token}' -H 'content-type: application/json' \
         -d '{{\"title\": \"call the dentist\", \"remind_at\": \"'$(date -u -d '+5 seconds' +%FT%TZ)'\"}}'"
    )
}

/// Until asked to stop, prints each message as it arrives and reports processes that ended unexpectedly.
fn follow(topology: &Topology) {
    let mut seen = BTreeSet::new();
    let _ = mail::arrived(&topology.mail_dir, &mut seen); // what an earlier run received
    let mut ended = BTreeSet::new();
    while !signals::asked_to_stop() {
        for message in mail::arrived(&topology.mail_dir, &mut seen) {
            let header = |name| message.header(name).unwrap_or_default();
            println!("── mail to {} ── {} ──", header("to"), header("subject"));
            println!("{}\n", message.text().unwrap_or_default());
        }
        for process in topology.processes() {
            if process.pid().is_none() && ended.insert(process.name().to_owned()) {
                say(format!("{} ended unexpectedly, see {}", process.name(), process.log().display()));
            }
        }
        thread::sleep(Duration::from_millis(200));
    }
}

fn is_uuid(text: &str) -> bool {
    let groups: Vec<&str> = text.split('-').collect();
    groups.iter().map(|group| group.len()).eq([8, 4, 4, 4, 12])
        && groups.iter().all(|group| group.chars().all(|c| c.is_ascii_hexdigit()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_printed_command_is_one_line_and_its_body_is_json() {
        let line = curl("http://127.0.0.1:1", "t");
        assert!(!line.contains('\n'));
        let body =
            Command::new("sh").args(["-c", &line.replacen("curl", "printf '%s\\n'", 1)]).output().unwrap().stdout;
        let body = String::from_utf8(body).unwrap();
        let body: Value = serde_json::from_str(body.lines().last().unwrap()).unwrap();
        assert_eq!(body["title"], "call the dentist");
        assert_eq!(body["remind_at"].as_str().unwrap().len(), "2026-01-01T00:00:00Z".len());
    }

    #[test]
    fn the_user_of_a_token_is_a_uuid() {
        assert!(is_uuid(USER));
        assert!(!is_uuid("me"));
        assert!(!is_uuid("0198c0de-0000-7000-8000-00000000000g"));
    }
}
