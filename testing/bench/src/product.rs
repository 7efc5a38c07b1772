//! The product as a client of its HTTP API sees it.

use std::{
    thread,
    time::{Duration, Instant},
};

use anyhow::bail;
use serde_json::json;

use crate::client::{self, Answer};
use lab::topology::Topology;

/// So many that no row of a user, and no limit of one, is what everything waits for.
pub(super) const USERS: usize = 100;

/// A running product, and users of it.
pub(super) struct Product<'a> {
    pub(super) topology: &'a Topology,
    tokens: Vec<String>,
}

impl<'a> Product<'a> {
    pub(super) fn new(topology: &'a Topology) -> Self {
        let token = |user| {
            topology.token(&format!("0198c0de-0000-7000-8000-{user:012x}"), &format!("user-{user}@bench.test"), false)
        };
        Self { topology, tokens: (0..USERS).map(token).collect() }
    }

    /// A user's token.
    pub(super) fn token(&self, user: usize) -> &str {
        &self.tokens[user % self.tokens.len()]
    }

    /// Creates the task `<title> <index>`.
    pub(super) fn create(&self, title: &str, index: usize, remind_at: Option<&str>) -> anyhow::Result<Answer> {
        let mut task = json!({ "title": format!("{title} {index}") });
        if let Some(remind_at) = remind_at {
            task["remind_at"] = json!(remind_at);
        }
        client::post(self.port(), "/v1/tasks", Some(self.token(index)), &task.to_string())
    }

    /// Where its HTTP API is.
    pub(super) fn port(&self) -> u16 {
        self.topology.function("tasks").port
    }

    /// Waits until a statement that counts says `count`.
    pub(super) fn wait_for(&self, what: &str, statement: &str, count: usize, limit: Duration) -> anyhow::Result<()> {
        let began = Instant::now();
        loop {
            let found = self.sql(statement)?;
            if found.trim() == count.to_string() {
                return Ok(());
            }
            if began.elapsed() > limit {
                bail!("{what}: {} of {count} after {} s", found.trim(), limit.as_secs());
            }
            // A question costs a process and a connection, and some come while what is measured goes on.
            thread::sleep(Duration::from_secs(1));
        }
    }

    pub(super) fn sql(&self, statement: &str) -> anyhow::Result<String> {
        self.topology.postgres.sql("punctual", statement)
    }
}
