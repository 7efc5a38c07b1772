//! The hot user, whose load must not delay other users. It replaces the reminders of one task again and again, which leaves a backlog of cancelled
//! ones, and changes another task from several connections at once.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use lab::api::{Method, text};
use serde_json::{Value, json};
use tokio::task::JoinSet;

use super::{Load, Worker, in_ms};
use crate::history::Kind;

/// The number of the hot user.
pub(crate) const HOT: usize = 0;
/// Replacements of a storm, with twenty reminders each.
const REPLACEMENTS: usize = 40;
/// Connections that change the hot task at the same time: more than a user may have at a time and waiting.
const CONNECTIONS: usize = 10;
/// Changes of a storm by each connection.
const CHANGES: usize = 12;
const PAUSE: Duration = Duration::from_secs(15);

impl Load {
    /// Works as the hot user until a deadline.
    pub(crate) async fn work_hot(self: Arc<Self>, seed: u64, until: Instant) {
        let mut replacing = Worker::new(self.clone(), HOT, seed, 0);
        let mut changing = Worker::new(self, HOT, seed ^ 1, 50_000);
        tokio::join!(replacing.replace_in_storms(until), changing.change_in_storms(until));
    }
}

impl Worker {
    /// Replaces the reminders of one task by fresh ones, as fast as the product answers. One of each storm stays.
    async fn replace_in_storms(&mut self, until: Instant) {
        while Instant::now() < until {
            if self.held.is_empty() {
                self.create().await;
                continue;
            }
            for left in (0..REPLACEMENTS).rev().take_while(|_| Instant::now() < until) {
                self.replace_once(0, left).await;
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    /// Changes one task from several connections at a time. Each storm has a new task, whose reminders become due during it.
    async fn change_in_storms(&mut self, until: Instant) {
        while Instant::now() < until {
            self.held.clear();
            self.create().await;
            let mut storm = JoinSet::new();
            for _ in 0..if self.held.is_empty() { 0 } else { CONNECTIONS } {
                let mut connection = self.fork();
                storm.spawn(async move {
                    for _ in 0..CHANGES {
                        connection.change(0, "title").await;
                    }
                });
            }
            storm.join_all().await;
            tokio::time::sleep(PAUSE).await;
        }
    }

    /// Replaces all reminders of a task: by one if `left` is 0, else by twenty.
    pub(super) async fn replace_once(&mut self, at: usize, left: usize) {
        let held = &mut self.held[at];
        // The bodies name no due time.
        held.due = false;
        let (id, title) = (held.id, format!("{} replaced", held.marker));
        let reminders: Vec<Value> = match left {
            0 => vec![json!({"remind_at": text(in_ms(self.rng.i64(5_000..25_000)))})],
            _ => (0..20).map(|nth| json!({"remind_at": text(in_ms(10_000 + nth * 750))})).collect(),
        };
        let body = json!({"title": title, "reminders": reminders});
        self.on(at, Kind::Change, Method::PUT, &format!("/v1/tasks/{id}"), Some(body)).await;
    }

    fn fork(&mut self) -> Self {
        Self {
            load: self.load.clone(),
            user: self.user,
            rng: self.rng.fork(),
            made: self.made,
            held: self.held.clone(),
        }
    }
}
