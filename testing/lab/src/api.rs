//! The HTTP API as a client sees it: [`Api`] knows the address and signs tokens, [`User`] makes requests.
//!
//! ```no_run
//! # async fn example(topology: &lab::topology::Topology) -> anyhow::Result<()> {
//! use lab::api::{Api, Method};
//! use serde_json::json;
//!
//! let user = Api::of(topology).user();
//! // Any answer:
//! let answer = user.send(Method::GET, "/v1/tasks/0198c0de-0000-7000-8000-000000000001", None).await?;
//! assert_eq!(answer.status, 404);
//! // An error unless the answer is 2xx:
//! let task = user.command(Method::POST, "/v1/tasks", Some(&json!({"title": "call the dentist"}))).await?.body;
//! // More headers:
//! let request = user.request(Method::POST, "/v1/tasks").header("idempotency-key", "once").json(&task);
//! let latency = lab::api::Answer::to(request).await?.took();
//! # Ok(()) }
//! ```

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use anyhow::{Context as _, ensure};
use chrono::{DateTime, SecondsFormat, Utc};
pub use reqwest::Method;
use reqwest::{
    RequestBuilder,
    header::{HOST, HeaderMap},
};
use serde_json::Value;
use uuid::Uuid;

use crate::{secrets, topology::Topology};

/// Longer than a cold start, and longer than a command waits for the database.
const TIMEOUT: Duration = Duration::from_secs(60);

/// The address of the API, its host name, and the secret of its tokens. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Api {
    urls: Arc<[String]>,
    requests: Arc<AtomicUsize>,
    host: Option<String>,
    jwt_secret: String,
    http: reqwest::Client,
}

impl Api {
    /// The API of a running topology.
    #[must_use]
    pub fn of(topology: &Topology) -> Self {
        Self::at([topology.url.clone()], &topology.jwt_secret)
    }

    /// The API at these URLs, which take requests in turn.
    ///
    /// # Panics
    /// Without a URL.
    pub fn at(urls: impl IntoIterator<Item = String>, jwt_secret: &str) -> Self {
        let urls: Arc<[String]> = urls.into_iter().collect();
        assert!(!urls.is_empty(), "an API has a URL");
        let http = reqwest::Client::builder().no_proxy().timeout(TIMEOUT).build().expect("a client without settings");
        Self { urls, requests: Arc::default(), host: None, jwt_secret: jwt_secret.to_owned(), http }
    }

    /// The same addresses under this `Host`, by which a gateway chooses the function.
    #[must_use]
    pub fn host(&self, host: impl Into<String>) -> Self {
        Self { host: Some(host.into()), ..self.clone() }
    }

    /// A new user.
    #[must_use]
    pub fn user(&self) -> User {
        let id = Uuid::now_v7();
        self.user_with(id, &format!("{}@example.test", id.simple()), false)
    }

    /// A new user with the operator's scope, who may list and replay dead letters.
    #[must_use]
    pub fn operator(&self) -> User {
        let id = Uuid::now_v7();
        self.user_with(id, &format!("{}@example.test", id.simple()), true)
    }

    /// A user with this id and email address.
    #[must_use]
    pub fn user_with(&self, id: Uuid, email: &str, operator: bool) -> User {
        let token = secrets::token(&self.jwt_secret, &id.to_string(), email, operator);
        User { id, email: email.to_owned(), token, api: self.clone() }
    }

    /// A user whose token was issued a while ago, also by the clock of a process that is behind.
    #[must_use]
    pub fn user_since(&self, id: Uuid, email: &str, age: Duration) -> User {
        let token = secrets::older_token(&self.jwt_secret, &id.to_string(), email, false, age);
        User { token, ..self.user_with(id, email, false) }
    }

    fn request(&self, method: Method, path: &str) -> RequestBuilder {
        let turn = self.requests.fetch_add(1, Ordering::Relaxed);
        let request = self.http.request(method, format!("{}{path}", self.urls[turn % self.urls.len()]));
        match &self.host {
            Some(host) => request.header(HOST, host),
            None => request,
        }
    }
}

/// A user of the API. Cheap to clone.
#[derive(Clone, Debug)]
pub struct User {
    /// The `sub` of the token.
    pub id: Uuid,
    /// Where reminders are sent.
    pub email: String,
    /// The bearer token.
    pub token: String,
    /// Where requests go.
    pub api: Api,
}

impl User {
    /// An authorized request, to which headers and a body can be added. [`Answer::to`] sends it.
    pub fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.api.request(method, path).bearer_auth(&self.token)
    }

    /// Sends a request with a JSON body.
    ///
    /// # Errors
    /// When no complete answer came. A refusal is an answer.
    pub async fn send(&self, method: Method, path: &str, body: Option<&Value>) -> reqwest::Result<Answer> {
        let request = self.request(method, path);
        Answer::to(match body {
            Some(body) => request.json(body),
            None => request,
        })
        .await
    }

    /// Sends a request that must be answered 2xx.
    ///
    /// # Errors
    /// When no answer came or its status is not 2xx; the message holds the answer.
    pub async fn command(&self, method: Method, path: &str, body: Option<&Value>) -> anyhow::Result<Answer> {
        let answer = self.send(method.clone(), path, body).await;
        let answer = answer.with_context(|| format!("{method} {path} was not answered"))?;
        ensure!(answer.is_success(), "{method} {path} was answered {}: {}", answer.status, answer.body);
        Ok(answer)
    }
}

/// An answer of the API.
#[derive(Clone, Debug)]
pub struct Answer {
    /// The status.
    pub status: u16,
    /// The headers.
    pub headers: HeaderMap,
    /// The body: a string unless it is JSON, null when it is empty.
    pub body: Value,
    /// When the request was sent, by this machine's clock, which is also the database's.
    pub sent_at: DateTime<Utc>,
    /// When the head of the answer was received.
    pub received_at: DateTime<Utc>,
}

impl Answer {
    /// Sends a request and reads the whole answer.
    ///
    /// # Errors
    /// When no complete answer came.
    pub async fn to(request: RequestBuilder) -> reqwest::Result<Self> {
        let sent_at = Utc::now();
        let answer = request.send().await?;
        let received_at = Utc::now();
        let (status, headers) = (answer.status().as_u16(), answer.headers().clone());
        let text = answer.text().await?;
        let body = match serde_json::from_str(&text) {
            Ok(json) => json,
            Err(_) if text.is_empty() => Value::Null,
            Err(_) => Value::String(text),
        };
        Ok(Self { status, headers, body, sent_at, received_at })
    }

    /// Whether the status is 2xx.
    #[must_use]
    pub fn is_success(&self) -> bool {
        (200..300).contains(&self.status)
    }

    /// From sending the request to receiving the head of the answer.
    #[must_use]
    pub fn took(&self) -> Duration {
        (self.received_at - self.sent_at).to_std().unwrap_or_default()
    }
}

/// An instant in the form the API takes.
#[must_use]
pub fn text(instant: DateTime<Utc>) -> String {
    instant.to_rfc3339_opts(SecondsFormat::Micros, true)
}

/// The instant in a field of an answer.
///
/// # Panics
/// When the field holds something else.
#[must_use]
pub fn instant(value: &Value) -> DateTime<Utc> {
    value.as_str().and_then(|text| text.parse().ok()).unwrap_or_else(|| panic!("{value} is not an instant"))
}

/// The id in a field of an answer.
///
/// # Panics
/// When the field holds something else.
#[must_use]
pub fn id(value: &Value) -> Uuid {
    value.as_str().and_then(|text| text.parse().ok()).unwrap_or_else(|| panic!("{value} is not an id"))
}
