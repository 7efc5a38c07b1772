//! A user of the API, who reaches it through Knative's gateway as the rest of the world does.

use std::time::Duration;

use anyhow::ensure;
use lab::secrets;
use reqwest::{Method, header::HOST};
use serde_json::{Value, json};
use uuid::Uuid;

/// Longer than a cold start, and than the activator waits for one.
const ANSWER: Duration = Duration::from_secs(60);

/// The user and the way to the API.
#[derive(Clone)]
pub(crate) struct User {
    pub(crate) address: String,
    url: String,
    namespace: String,
    jwt_secret: String,
    token: String,
    http: reqwest::Client,
}

impl User {
    /// Someone nobody has heard of.
    pub(crate) fn new(gateway: &str, namespace: &str, jwt_secret: &str) -> anyhow::Result<Self> {
        let (address, token) = stranger(jwt_secret);
        Ok(Self {
            address,
            token,
            jwt_secret: jwt_secret.to_owned(),
            url: format!("http://{gateway}"),
            namespace: namespace.to_owned(),
            http: reqwest::Client::builder().no_proxy().timeout(ANSWER).build()?,
        })
    }

    /// Someone else, who comes the same way.
    pub(crate) fn another(&self) -> Self {
        let (address, token) = stranger(&self.jwt_secret);
        Self { address, token, ..self.clone() }
    }

    /// Calls a function by its host name, as the gateway tells them apart. Status 0 where no answer came.
    pub(crate) async fn call(
        &self,
        function: &str,
        method: Method,
        path: &str,
        body: Option<&Value>,
        key: Option<&str>,
    ) -> (u16, Value) {
        let host = format!("{function}.{}.svc.cluster.local", self.namespace);
        let mut request = self.http.request(method, format!("{}{path}", self.url)).header(HOST, host);
        request = request.bearer_auth(&self.token);
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
        match answered.await {
            Ok((status, text)) => (status, serde_json::from_str(&text).unwrap_or(Value::String(text))),
            Err(error) => (0, Value::String(error.to_string())),
        }
    }

    /// A command that must succeed; gives the task.
    pub(crate) async fn command(&self, method: Method, path: &str, body: Option<Value>) -> anyhow::Result<Value> {
        let (status, answer) = self.call("tasks", method.clone(), path, body.as_ref(), None).await;
        ensure!((200..300).contains(&status), "{method} {path}: {status} {answer}");
        Ok(answer)
    }

    /// A task with nothing but a title.
    pub(crate) async fn create(&self, title: &str) -> anyhow::Result<Uuid> {
        id(&self.command(Method::POST, "/v1/tasks", Some(json!({ "title": title }))).await?)
    }
}

/// The address and the token of a new user.
fn stranger(jwt_secret: &str) -> (String, String) {
    let id = Uuid::now_v7();
    let address = format!("{}@punctual.test", &id.simple().to_string()[20..]);
    let token = secrets::token(jwt_secret, &id.to_string(), &address, false);
    (address, token)
}

/// The id in an answer.
pub(crate) fn id(answer: &Value) -> anyhow::Result<Uuid> {
    Ok(serde_json::from_value(answer["id"].clone())?)
}
