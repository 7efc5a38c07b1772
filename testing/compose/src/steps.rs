//! The steps. Each begins with what the previous one left, and fails with what it observed.

use std::{
    collections::BTreeSet,
    process::Command,
    time::{Duration, Instant},
};

use anyhow::{Context as _, ensure};
use chrono::Utc;
use lab::{
    api::{Method, User, id, text},
    browser::Visit,
    dev, http,
    progress::quietly,
    root, wait,
};
use serde_json::json;
use uuid::Uuid;

use crate::run::ComposeTest;

/// The documented command, after `docker compose -f compose/docker-compose.dev.yaml`.
pub(crate) const UP: [&str; 3] = ["up", "--build", "--wait"];
/// The services that read the keys of mail providers and of Web Push.
const KEY_READERS: [&str; 2] = ["reminder-due", "reminder-due-daprd"];
const HEALED: Duration = Duration::from_secs(180);
const DOWN: Duration = Duration::from_secs(120);
/// Longer than the scheduler is away (about 25 s), and shorter than the minute between a repair that succeeded and the next.
const REPEATED: Duration = Duration::from_secs(50);

/// Runs every step.
pub(crate) async fn all(test: &ComposeTest) -> anyhow::Result<()> {
    new_keys_recreate_their_readers(test).await?;
    up(test, &[]).await?;
    let containers = test.docker.well(HEALED).await?;
    test.say(format!("{} containers are healthy, or ended successfully", containers.len()));
    as_documented(test).await?;

    let mut sent = vec![Reminder::create(test, 5).await?];
    sent[0].arrives(test).await?;
    test.say("the mail of a reminder arrived");
    for (part, service) in [
        ("function", "reminder-due"),
        ("daprd", "alarm-daprd"),
        ("broker", "redpanda"),
        ("database", "postgres"),
        ("scheduler", "scheduler"),
    ] {
        sent.push(crash(test, part, service).await?);
    }
    a_failed_repair_is_repeated_soon(test).await?;
    sent.push(a_new_key_is_used(test).await?);
    for reminder in &sent {
        let messages = test.mailpit.messages(&reminder.user.email).await?;
        ensure!(messages.len() == 1, "a reminder was sent {} times", messages.len());
    }
    test.say(format!("each of {} reminders was sent once", sent.len()));
    data_survives_down_and_up(test, &sent[0]).await?;

    remove(test).await?;
    let left = (test.docker.containers().await?, test.docker.volumes().await?);
    ensure!(left.0.is_empty() && left.1.is_empty(), "`down --volumes` leaves {left:?}");
    test.say("`down --volumes` leaves nothing");
    Ok(())
}

/// Removes the containers and their data.
pub(crate) async fn remove(test: &ComposeTest) -> anyhow::Result<()> {
    test.docker.compose(&["down", "--volumes", "--remove-orphans", "--timeout", "5"], DOWN).await.map(drop)
}

/// Runs the documented command, with variables before it.
async fn up(test: &ComposeTest, variables: &[(&str, &str)]) -> anyhow::Result<()> {
    let began = Instant::now();
    test.docker.compose_with(&UP, test.up, variables).await?;
    test.say(format!("`{}` returned 0 after {} s", UP.join(" "), began.elapsed().as_secs()));
    Ok(())
}

/// Compose recreates the containers of exactly those services whose hash changed.
async fn new_keys_recreate_their_readers(test: &ComposeTest) -> anyhow::Result<()> {
    for variable in ["RESEND_API_KEY", "MAILGUN_API_KEY", "SMTP_PASSWORD", "VAPID_PRIVATE_KEYS"] {
        let (old, new) =
            (test.docker.hashes(&[(variable, "old")]).await?, test.docker.hashes(&[(variable, "new")]).await?);
        let differing: Vec<&String> = old.keys().filter(|service| old.get(*service) != new.get(*service)).collect();
        ensure!(differing == KEY_READERS, "a new {variable} recreates {differing:?}, not {KEY_READERS:?}");
    }
    test.say(format!("a new key of a mail provider or of Web Push recreates {}", KEY_READERS.join(" and ")));
    Ok(())
}

/// The commands and addresses of the quickstart.
async fn as_documented(test: &ComposeTest) -> anyhow::Result<()> {
    let token = quietly(Command::new(root().join("compose/token.sh")).env_remove("JWT_SECRET"))?;
    let developer = User { token: token.trim().to_owned(), ..test.api.user() };
    let me = developer.command(Method::GET, "/v1/me", None).await?.body;
    ensure!(me["email"] == "dev@punctual.test", "/v1/me with the token of compose/token.sh: {me}");
    let pages =
        [("mail", 8025, "/"), ("Dapr Dashboard", 9999, "/"), ("updates", 8081, "/healthz"), ("the page", 8420, "/")];
    for (name, port, path) in pages {
        // Docker accepts connections before the program in the container does.
        wait::poll(&format!("{name} at http://localhost:{port}"), HEALED, async || match http::status(port, path) {
            Ok(status) if status < 400 => Ok(()),
            other => Err(format!("{other:?}")),
        })
        .await?;
    }
    test.say("the addresses and the token of the quickstart work");
    visit(test, &developer).await
}

/// The page in a browser, which calls the API and the stream at ports of their own.
async fn visit(test: &ComposeTest, user: &User) -> anyhow::Result<()> {
    let Some(parts) = &test.browser else { return Ok(()) };
    let title = "shown in a browser";
    // Today lists what is due, also what is overdue.
    let due = text(Utc::now() - chrono::Duration::minutes(1));
    user.command(Method::POST, "/v1/tasks", Some(&json!({ "title": title, "due_at": due }))).await?;
    let (link, pasted) = ("http://localhost:8420/".to_owned(), Some(user.token.clone()));
    let visit = Visit { link, pasted, title: title.to_owned(), routes: Vec::new() };
    let visited = visit.make(parts, &dev().join("compose-test/browser"))?;
    test.say(format!(
        "the page in a browser: first paint after {:.0} ms; a task of another window is shown {:.0} ms after Enter",
        visited.paint, visited.seen
    ));
    Ok(())
}

/// A reminder of a user of its own.
struct Reminder {
    user: User,
    task: Uuid,
    title: String,
}

impl Reminder {
    /// Creates a task with a reminder that is due in some seconds.
    async fn create(test: &ComposeTest, seconds: i64) -> anyhow::Result<Self> {
        let user = test.api.user();
        let title = format!("compose {}", user.id.simple());
        let due = text(Utc::now() + chrono::Duration::seconds(seconds));
        let task = user.command(Method::POST, "/v1/tasks", Some(&json!({ "title": title, "remind_at": due }))).await?;
        Ok(Self { task: id(&task.body["id"]), user, title })
    }

    /// Waits for its mail; returns Mailpit's summary.
    async fn arrives(&self, test: &ComposeTest) -> anyhow::Result<serde_json::Value> {
        test.mailpit.message(&self.user.email, HEALED).await
    }
}

/// Kills a container before a reminder is due. Docker starts it again, the mail arrives, and everything becomes healthy.
async fn crash(test: &ComposeTest, part: &str, service: &str) -> anyhow::Result<Reminder> {
    let container = test.docker.containers().await?.remove(service).with_context(|| format!("{service} is missing"))?;
    let before = test.docker.started(&container.id).await?;
    let reminder = Reminder::create(test, 6).await?;
    let began = Instant::now();
    test.docker.crash(&container.id).await?;
    wait::poll(&format!("Docker starts {service} again"), HEALED, async || {
        match test.docker.started(&container.id).await {
            Ok(now) if now != before && now.starts_with("true") => Ok(()),
            other => Err(format!("{other:?}")),
        }
    })
    .await?;
    reminder.arrives(test).await.with_context(|| format!("after {service} was killed"))?;
    let mail = began.elapsed().as_secs();
    test.docker.well(HEALED).await.with_context(|| format!("after {service} was killed"))?;
    let healthy = began.elapsed().as_secs();
    test.say(format!("{part} ({service}) killed: the mail arrived after {mail} s, all healthy after {healthy} s"));
    Ok(reminder)
}

/// Starts a repair while the scheduler is away. `up --wait` fails as long as the last repair has failed, even when the scheduler is back.
async fn a_failed_repair_is_repeated_soon(test: &ComposeTest) -> anyhow::Result<()> {
    let scheduler = test.docker.containers().await?.remove("scheduler").context("scheduler is missing")?;
    let began = Instant::now();
    test.docker.crash(&scheduler.id).await?;
    test.docker.compose(&["restart", "repair"], DOWN).await?;
    test.docker.well(REPEATED).await.context("after a repair that failed")?;
    test.say(format!("a repair that failed was repeated: all healthy after {} s", began.elapsed().as_secs()));
    Ok(())
}

/// Gives a password to the running stack. Mailpit takes any, but `reminder-due` sends nothing without one.
async fn a_new_key_is_used(test: &ComposeTest) -> anyhow::Result<Reminder> {
    let before = test.docker.containers().await?;
    let url = "smtp://punctual@mailpit:1025?tls=none";
    up(test, &[("SMTP_URL", url), ("SMTP_PASSWORD", "secret")]).await?;
    let after = test.docker.containers().await?;
    let recreated: BTreeSet<&str> = after
        .iter()
        .filter(|(service, container)| before.get(*service).is_none_or(|before| before.id != container.id))
        .map(|(service, _)| service.as_str())
        .collect();
    ensure!(recreated.is_superset(&KEY_READERS.into()), "a new password recreated {recreated:?}, not {KEY_READERS:?}");
    let reminder = Reminder::create(test, 5).await?;
    let message = reminder.arrives(test).await?;
    ensure!(message["Username"] == "punctual", "sent without logging in: {message}");
    test.say("SMTP_PASSWORD given to the running stack takes effect");
    Ok(reminder)
}

/// Takes everything down and up again while a reminder is pending.
async fn data_survives_down_and_up(test: &ComposeTest, sent: &Reminder) -> anyhow::Result<()> {
    let pending = Reminder::create(test, 30).await?;
    let down = Instant::now();
    test.docker.compose(&["down"], DOWN).await?;
    test.say(format!("`down` took {} s", down.elapsed().as_secs()));
    up(test, &[]).await?;
    for reminder in [sent, &pending] {
        let found = reminder.user.command(Method::GET, &format!("/v1/tasks/{}", reminder.task), None).await?.body;
        ensure!(found["title"] == reminder.title.as_str(), "after `down` and `up` the task is {found}");
    }
    pending.arrives(test).await.context("a reminder that was pending at `down`")?;
    let again = test.mailpit.messages(&sent.user.email).await?;
    ensure!(again.is_empty(), "a reminder that was sent before `down` was sent again: {again:?}");
    test.say("after `down` and `up` the tasks are there, and a pending reminder was sent");
    Ok(())
}
