//! The users' clients listen. Each has one stream of `updates` after the other: it breaks after some bytes or seconds, or with its process, and the next
//! one is at either process and names the last change that was seen.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use fastrand::Rng;
use lab::api::{Api, Method, User};
use serde_json::Value;
use sqlx::PgPool;
use tokio::task::JoinSet;
use uuid::Uuid;

use crate::{
    history::{History, id},
    user::Users,
};

/// How long the clients may need to hear everything once the product is at rest: a look, and the pauses between streams.
const LATE: Duration = Duration::from_secs(40);

/// An event of a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Heard {
    /// Its number in the feed.
    pub(crate) seq: i64,
    /// The task and its version; none for a reset.
    pub(crate) task: Option<(Uuid, i64)>,
}

/// What each user's client has heard, over all its streams.
pub(crate) type Streams = BTreeMap<Uuid, Vec<Heard>>;

/// The clients. Dropping them ends their streams.
pub(crate) struct Listeners {
    heard: Arc<Mutex<Streams>>,
    _clients: JoinSet<()>,
}

impl Listeners {
    /// Starts a client of each user, at these processes of `updates`.
    pub(crate) fn start(users: &Users, api: &Api, seed: u64, history: &Arc<History>) -> Self {
        let heard: Arc<Mutex<Streams>> = Arc::default();
        let mut clients = JoinSet::new();
        for (number, user) in users.at(api).into_iter().enumerate() {
            heard.lock().unwrap_or_else(PoisonError::into_inner).insert(user.id, Vec::new());
            let rng = Rng::with_seed(seed.wrapping_mul(7_919).wrapping_add(number as u64));
            let others = users.canaries.iter().enumerate().filter(|(other, _)| *other != number);
            let others = others.map(|(_, canary)| canary.clone()).collect();
            let client = Client { user, rng, others, heard: heard.clone(), history: history.clone() };
            clients.spawn(client.listen());
        }
        Self { heard, _clients: clients }
    }

    /// Waits until every client has heard the last change, or until it should have.
    pub(crate) async fn finish(self, db: &PgPool) -> anyhow::Result<Streams> {
        let began = Instant::now();
        let last = sqlx::query_as::<_, (Uuid, i64)>("select id, feed_seq from users").fetch_all(db).await?;
        let last: BTreeMap<Uuid, i64> = last.into_iter().collect();
        loop {
            let heard = self.heard.lock().unwrap_or_else(PoisonError::into_inner).clone();
            let is_behind = |(user, events): (&Uuid, &Vec<Heard>)| {
                events.last().map_or(0, |event| event.seq) < last.get(user).copied().unwrap_or_default()
            };
            if began.elapsed() > LATE || !heard.iter().any(is_behind) {
                return Ok(heard);
            }
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    }
}

struct Client {
    user: User,
    rng: Rng,
    /// Words of other users.
    others: Vec<String>,
    heard: Arc<Mutex<Streams>>,
    history: Arc<History>,
}

impl Client {
    async fn listen(mut self) {
        loop {
            let _ = self.one_stream().await;
            tokio::time::sleep(Duration::from_millis(self.rng.u64(50..1_000))).await;
        }
    }

    /// Reads a stream until it breaks. An event that is not whole is forgotten, as a browser forgets it.
    async fn one_stream(&mut self) -> reqwest::Result<()> {
        let last = self.with_heard(|heard| heard.last().map_or(0, |event| event.seq));
        let length = Duration::from_millis(self.rng.u64(100..20_000));
        let mut bytes = if self.rng.bool() { self.rng.usize(..2_000) } else { usize::MAX };
        let request = self.user.request(Method::GET, "/v1/updates").header("last-event-id", last).timeout(length);
        let mut answer = request.send().await?.error_for_status()?;
        let mut text = String::new();
        while let Some(piece) = answer.chunk().await? {
            let piece = &piece[..piece.len().min(bytes)];
            bytes -= piece.len();
            text += &String::from_utf8_lossy(piece);
            while let Some((block, rest)) = text.split_once("\n\n") {
                let (event, rest) = (self.event(block), rest.to_owned());
                self.with_heard(|heard| heard.extend(event));
                text = rest;
            }
            if bytes == 0 {
                break;
            }
        }
        Ok(())
    }

    fn event(&self, block: &str) -> Option<Heard> {
        if let Some(other) = self.others.iter().find(|other| block.contains(*other)) {
            self.history.leak(format!("the stream of {} has {other}", self.user.id));
        }
        let field = |name: &str| block.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "));
        let data: Value = serde_json::from_str(field("data")?).ok()?;
        let task = id(&data["task_id"]).zip(data["version"].as_i64());
        Some(Heard { seq: field("id")?.parse().ok()?, task })
    }

    fn with_heard<T>(&self, work: impl FnOnce(&mut Vec<Heard>) -> T) -> T {
        let mut heard = self.heard.lock().unwrap_or_else(PoisonError::into_inner);
        work(heard.entry(self.user.id).or_default())
    }
}
