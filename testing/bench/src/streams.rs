//! `cargo xtask bench streams`: the memory of `updates` with many idle streams, and how soon a thousand listeners hear of changes.

use std::{collections::HashMap, time::Duration};

use anyhow::{Context as _, ensure};
use chrono::{DateTime, Utc};
use clap::Args;
use lab::{
    api::{Api, Method, User, id},
    progress::say,
};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use serde_json::json;
use sqlx::PgPool;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel},
    task::JoinSet,
    time::{sleep, timeout},
};
use uuid::Uuid;

use crate::{
    Outcome, Setting,
    footprint::resident,
    report::{HEAD, row},
    sample::{Sample, milliseconds},
};

/// Streams of each user: the most that one may have.
const STREAMS: usize = 20;
/// Bound of the memory of `updates` with its idle streams, in bytes.
const MEMORY: u64 = 128 << 20;
/// Bound in milliseconds from a change's row in the feed to its client, p99.
const TOLD: f64 = 50.0;
const LIMIT: Duration = Duration::from_secs(30);

#[derive(Args, Clone, Debug)]
#[group(skip)]
pub(super) struct Arguments {
    /// Idle streams
    #[arg(long, default_value_t = 10_000)]
    idle: usize,
    /// Listeners that hear of changes
    #[arg(long, default_value_t = 1_000)]
    listeners: usize,
    /// Changes that each of them hears of
    #[arg(long, default_value_t = 20)]
    changes: usize,
}

/// A change, as a client heard of it.
struct Heard {
    task: Uuid,
    at: DateTime<Utc>,
}

pub(super) async fn measure(arguments: &Arguments, setting: &Setting) -> anyhow::Result<Outcome> {
    raise_open_files()?;
    let (topology, db) = (&setting.topology, &setting.product.db);
    let updates = topology.function("updates");
    let api = Api::of(topology);
    let users: Vec<User> = (0..arguments.idle.max(arguments.listeners).div_ceil(STREAMS)).map(|_| api.user()).collect();
    let before = resident(&updates.process)?;
    say(format!("opening {} streams", arguments.idle));
    let mut streams = Vec::new();
    for (index, user) in users.iter().cycle().take(arguments.idle).enumerate() {
        streams.push(open(updates.port, user).await.with_context(|| format!("stream {index}"))?);
    }
    // Two comments each.
    sleep(Duration::from_secs(35)).await;
    let memory = resident(&updates.process)?;

    let listening = &users[..arguments.listeners.div_ceil(STREAMS)];
    drop(streams);
    // Until the process has seen the end of each, its place is taken.
    sleep(Duration::from_secs(5)).await;
    let (heard, mut told) = unbounded_channel();
    let mut listeners = JoinSet::new();
    for user in listening.iter().cycle().take(arguments.listeners) {
        listeners.spawn(listen(open(updates.port, user).await?, heard.clone()));
    }
    say(format!("{} changes for {} listeners", arguments.changes, arguments.listeners));
    let (mut of_answer, mut of_feed) = (Vec::new(), Vec::new());
    for _ in 0..=arguments.changes {
        let (answers, feeds) = round(db, listening, arguments.listeners, &mut told).await?;
        of_answer.push(answers);
        of_feed.push(feeds);
    }
    // Connections, plans and functions are awake after the first round.
    let sample = |rounds: Vec<Vec<f64>>| rounds.into_iter().skip(1).flatten().collect::<Sample>();
    let (of_answer, of_feed) = (sample(of_answer), sample(of_feed));

    let megabytes = |bytes: u64| bytes as f64 / f64::from(1 << 20);
    let mut table = format!(
        "`updates` with {} idle streams: {:.0} MiB ({:.0} MiB without any)\n\n{HEAD}",
        arguments.idle,
        megabytes(memory),
        megabytes(before)
    );
    row(&mut table, "row of the feed → client", &of_feed, None);
    row(&mut table, "answer of the command → client", &of_answer, None);
    let mut missed = Vec::new();
    if memory > MEMORY {
        missed.push(format!("memory: {:.0} MiB, more than {:.0}", megabytes(memory), megabytes(MEMORY)));
    }
    let late = of_feed.quantile(0.99);
    if late > TOLD {
        missed.push(format!("row of the feed → client, p99: {late:.1} ms, more than {TOLD} ms"));
    }
    Ok(Outcome { notes: String::new(), table, missed })
}

/// Every user creates a task at once. Returns the milliseconds until each listener heard of it, from the answer and from the row of the feed.
async fn round(
    db: &PgPool,
    users: &[User],
    listeners: usize,
    told: &mut UnboundedReceiver<Heard>,
) -> anyhow::Result<(Vec<f64>, Vec<f64>)> {
    let mut commands = JoinSet::new();
    for user in users {
        let user = user.clone();
        commands
            .spawn(async move { user.command(Method::POST, "/v1/tasks", Some(&json!({"title": "a change"}))).await });
    }
    let mut answered = HashMap::new();
    while let Some(answer) = commands.join_next().await {
        let answer = answer??;
        answered.insert(id(&answer.body["id"]), answer.received_at);
    }
    let mut heard = Vec::new();
    while heard.len() < listeners {
        let next = timeout(LIMIT, told.recv()).await;
        heard.extend(next.with_context(|| format!("{} of {listeners} listeners heard", heard.len()))?);
    }
    let tasks: Vec<Uuid> = answered.keys().copied().collect();
    let fed =
        sqlx::query_as::<_, (Uuid, DateTime<Utc>)>("select task_id, created_at from feed where task_id = any($1)");
    let fed: HashMap<Uuid, DateTime<Utc>> = fed.bind(&tasks).fetch_all(db).await?.into_iter().collect();
    let since = |began: &HashMap<Uuid, DateTime<Utc>>| {
        heard.iter().map(|heard| milliseconds(began[&heard.task], heard.at)).collect()
    };
    Ok((since(&answered), since(&fed)))
}

/// Opens a stream, and reads its beginning.
async fn open(port: u16, user: &User) -> anyhow::Result<TcpStream> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).await?;
    let request = format!("GET /v1/updates HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {}\r\n\r\n", user.token);
    stream.write_all(request.as_bytes()).await?;
    let mut begin = String::new();
    while !begin.contains("\n\n") {
        let mut bytes = [0; 1_024];
        let count = timeout(LIMIT, stream.read(&mut bytes)).await??;
        begin += str::from_utf8(&bytes[..count])?;
        ensure!(count > 0 && begin.starts_with("HTTP/1.1 200"), "refused: {begin}");
    }
    Ok(stream)
}

/// Tells of each change in a stream.
async fn listen(mut stream: TcpStream, heard: UnboundedSender<Heard>) {
    const TASK: &str = r#""task_id":""#;
    let mut text = String::new();
    let mut bytes = [0; 4_096];
    while let Ok(count @ 1..) = stream.read(&mut bytes).await {
        text += &String::from_utf8_lossy(&bytes[..count]);
        let at = Utc::now();
        while let Some((task, rest)) = text.split_once(TASK).and_then(|(_, rest)| rest.split_once('"')) {
            if let Ok(task) = task.parse() {
                let _ = heard.send(Heard { task, at });
            }
            text = rest.to_owned();
        }
    }
}

/// Each stream has one end here.
fn raise_open_files() -> anyhow::Result<()> {
    let limit = getrlimit(Resource::Nofile);
    Ok(setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit })?)
}
