//! The users of a run. Every answer is searched for other users' data.

use std::{sync::Arc, time::Duration};

use lab::api::{Answer, Api, Method, User};
use serde_json::Value;
use uuid::Uuid;

use crate::history::History;

/// Longer than a command waits for the database.
const TIMEOUT: Duration = Duration::from_secs(20);

/// Age of the users' tokens: a process whose clock is behind refuses a token from its future.
const HOUR: Duration = Duration::from_secs(60 * 60);

/// Numbered users. The titles of a user's tasks contain the user's canary.
#[derive(Debug)]
pub(crate) struct Users {
    pub(crate) canaries: Vec<String>,
    users: Vec<User>,
    history: Arc<History>,
}

impl Users {
    pub(crate) fn new(api: &Api, count: usize, history: Arc<History>) -> Self {
        let canary = |number| format!("canary{number:02}x{}", &Uuid::now_v7().simple().to_string()[24..]);
        let canaries: Vec<String> = (0..count).map(canary).collect();
        let user = |canary: &String| api.user_since(Uuid::now_v7(), &address(canary), HOUR);
        Self { users: canaries.iter().map(user).collect(), canaries, history }
    }

    /// The users as clients of another function.
    pub(crate) fn at(&self, api: &Api) -> Vec<User> {
        self.users.iter().map(|user| User { api: api.clone(), ..user.clone() }).collect()
    }

    /// Sends a request as a user. Returns the status (0 without an answer) and the body.
    pub(crate) async fn ask(
        &self,
        user: usize,
        method: Method,
        path: &str,
        body: Option<&Value>,
        key: Option<&str>,
    ) -> (u16, Value) {
        let mut request = self.users[user].request(method.clone(), path).timeout(TIMEOUT);
        if let Some(body) = body {
            request = request.json(body);
        }
        if let Some(key) = key {
            request = request.header("idempotency-key", key);
        }
        let Ok(answer) = Answer::to(request).await else { return (0, Value::Null) };
        let text = answer.body.to_string();
        let leaked =
            self.canaries.iter().enumerate().filter(|(other, canary)| *other != user && text.contains(*canary));
        for (other, _) in leaked {
            self.history.leak(format!("user {user} read data of user {other} in the answer to {method} {path}"));
        }
        (answer.status, answer.body)
    }
}

pub(crate) fn address(canary: &str) -> String {
    format!("{canary}@example.test")
}
