//! A user: the requests, and what must never be in an answer.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use chrono::{DateTime, SecondsFormat, TimeDelta, Utc};
use lab::topology::Topology;
use reqwest::Method;
use serde_json::Value;
use uuid::Uuid;

use crate::history::History;

/// Longer than a command waits for the database.
const ANSWER: Duration = Duration::from_secs(20);

/// What the load knows of the users: numbered, each with a word of its own that is in all its titles.
#[derive(Debug)]
pub(crate) struct Users {
    pub(crate) canaries: Vec<String>,
    urls: Vec<String>,
    tokens: Vec<String>,
    http: reqwest::Client,
    history: Arc<History>,
}

/// An answer; status 0 where none came.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) body: Value,
}

impl Users {
    pub(crate) fn new(
        topology: &Topology,
        urls: Vec<String>,
        count: usize,
        history: Arc<History>,
    ) -> anyhow::Result<Self> {
        let mut canaries = Vec::new();
        let mut tokens = Vec::new();
        for number in 0..count {
            let id = Uuid::now_v7();
            let canary = format!("canary{number:02}x{}", &id.simple().to_string()[24..]);
            tokens.push(topology.token(&id.to_string(), &address(&canary), false));
            canaries.push(canary);
        }
        let http = reqwest::Client::builder().no_proxy().timeout(ANSWER).build()?;
        Ok(Self { canaries, urls, tokens, http, history })
    }

    /// Asks one of the processes of `tasks`.
    pub(crate) async fn ask(
        &self,
        user: usize,
        method: Method,
        path: &str,
        body: Option<&Value>,
        key: Option<&str>,
    ) -> Answer {
        let url = &self.urls[fastrand::usize(..self.urls.len())];
        let mut request = self.http.request(method.clone(), format!("{url}{path}")).bearer_auth(&self.tokens[user]);
        if let Some(body) = body {
            request = request.json(body);
        }
        if let Some(key) = key {
            request = request.header("idempotency-key", key);
        }
        let answered = async {
            let answer = request.send().await?;
            let status = answer.status().as_u16();
            answer.text().await.map(|text| (status, text))
        };
        let Ok((status, text)) = answered.await else { return Answer { status: 0, body: Value::Null } };
        let others = self.canaries.iter().enumerate().filter(|(number, _)| *number != user);
        for (other, canary) in others {
            if text.contains(canary.as_str()) {
                self.history.leak(format!("user {user} read of user {other} in the answer to {method} {path}"));
            }
        }
        Answer { status, body: serde_json::from_str(&text).unwrap_or_default() }
    }

    /// Whether both processes answer.
    pub(crate) async fn ready(&self, limit: Duration) -> bool {
        let started = Instant::now();
        while started.elapsed() < limit {
            let mut ready = true;
            for url in &self.urls {
                let answer = self.http.get(format!("{url}/readyz")).send().await;
                ready &= answer.is_ok_and(|answer| answer.status().is_success());
            }
            if ready {
                return true;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        false
    }
}

pub(crate) fn address(canary: &str) -> String {
    format!("{canary}@example.test")
}

pub(crate) fn in_ms(milliseconds: i64) -> DateTime<Utc> {
    Utc::now() + TimeDelta::milliseconds(milliseconds)
}

pub(crate) fn text(instant: DateTime<Utc>) -> String {
    instant.to_rfc3339_opts(SecondsFormat::Micros, true)
}
