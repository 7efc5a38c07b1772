//! Someone who uses the HTTP API.

use chrono::{DateTime, SecondsFormat, TimeDelta, Utc};
use reqwest::Method;
use serde_json::{Value, json};
use sqlx::PgPool;
use uuid::Uuid;

use crate::{
    wait,
    world::{HEALED, World},
};

/// A user, with a token; cheap to clone.
#[derive(Clone)]
pub(crate) struct User {
    pub(crate) id: Uuid,
    pub(crate) email: String,
    pub(crate) token: String,
    url: String,
    http: reqwest::Client,
    db: PgPool,
}

/// What the API answered.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) body: Value,
    /// When it was there, by this machine's clock, which is the database's.
    pub(crate) at: DateTime<Utc>,
}

/// An instant as the API takes it.
pub(crate) fn text(instant: DateTime<Utc>) -> String {
    instant.to_rfc3339_opts(SecondsFormat::Micros, true)
}

/// The instant in a field of an answer.
pub(crate) fn instant(value: &Value) -> DateTime<Utc> {
    value.as_str().and_then(|text| text.parse().ok()).unwrap_or_else(|| panic!("{value} is no instant"))
}

/// The id in a field of an answer.
pub(crate) fn id(value: &Value) -> Uuid {
    value.as_str().and_then(|text| text.parse().ok()).unwrap_or_else(|| panic!("{value} is no id"))
}

impl User {
    pub(crate) fn new(world: &World, operator: bool) -> Self {
        let id = Uuid::now_v7();
        let email = format!("{}@example.test", id.simple());
        let token = world.topology.token(&id.to_string(), &email, operator);
        Self { id, email, token, url: world.topology.url.clone(), http: world.http.clone(), db: world.db.clone() }
    }

    /// Makes a request; `None` when no answer came.
    pub(crate) async fn try_send(&self, method: Method, path: &str, body: Option<&Value>) -> Option<Answer> {
        let mut request = self.http.request(method, format!("{}{path}", self.url)).bearer_auth(&self.token);
        if let Some(body) = body {
            request = request.json(body);
        }
        let answer = request.send().await.ok()?;
        let (status, at) = (answer.status().as_u16(), Utc::now());
        let body = answer.bytes().await.ok()?;
        Some(Answer { status, body: serde_json::from_slice(&body).unwrap_or_default(), at })
    }

    /// Makes a request that is answered.
    pub(crate) async fn send(&self, method: Method, path: &str, body: Option<&Value>) -> Answer {
        let answer = self.try_send(method.clone(), path, body).await;
        answer.unwrap_or_else(|| panic!("{method} {path} was not answered"))
    }

    async fn done(&self, method: Method, path: &str, body: Option<&Value>) -> Answer {
        let answer = self.send(method.clone(), path, body).await;
        assert!((200..300).contains(&answer.status), "{method} {path} answered {answer:?}");
        answer
    }

    pub(crate) async fn get(&self, path: &str) -> Value {
        self.done(Method::GET, path, None).await.body
    }

    pub(crate) async fn post(&self, path: &str, body: Value) -> Answer {
        self.done(Method::POST, path, Some(&body)).await
    }

    pub(crate) async fn patch(&self, path: &str, body: Value) -> Value {
        self.done(Method::PATCH, path, Some(&body)).await.body
    }

    pub(crate) async fn create(&self, task: Value) -> Value {
        self.post("/v1/tasks", task).await.body
    }

    /// A task with one reminder at an instant.
    pub(crate) async fn remind(&self, title: &str, at: DateTime<Utc>) -> Value {
        self.create(json!({"title": title, "remind_at": text(at)})).await
    }

    pub(crate) async fn complete(&self, task: &Value) -> Answer {
        self.post(&format!("/v1/tasks/{}/complete", id(&task["id"])), json!({})).await
    }

    pub(crate) async fn reopen(&self, task: &Value) -> Answer {
        self.post(&format!("/v1/tasks/{}/reopen", id(&task["id"])), json!({})).await
    }

    pub(crate) async fn delete(&self, task: &Value) -> Answer {
        self.done(Method::DELETE, &format!("/v1/tasks/{}", id(&task["id"])), None).await
    }

    /// Moves a reminder.
    pub(crate) async fn snooze(&self, reminder: &Value, until: DateTime<Utc>) -> Answer {
        self.post(&format!("/v1/reminders/{}/snooze", id(&reminder["id"])), json!({"until": text(until)})).await
    }

    /// A task as it now is.
    pub(crate) async fn task(&self, task: &Value) -> Value {
        self.get(&format!("/v1/tasks/{}", id(&task["id"]))).await
    }

    /// Every task, in one page.
    pub(crate) async fn tasks(&self) -> Vec<Value> {
        let page = self.get("/v1/tasks?status=all&limit=100").await;
        page["items"].as_array().unwrap_or_else(|| panic!("{page} is no page")).clone()
    }

    /// The steps of a reminder's timeline: what happened, and the whole entry.
    pub(crate) async fn timeline(&self, reminder: &Value) -> Vec<(String, Value)> {
        let told = self.get(&format!("/v1/reminders/{}/timeline", id(&reminder["id"]))).await;
        let entries = told["entries"].as_array().unwrap_or_else(|| panic!("{told} is no timeline")).clone();
        entries.into_iter().map(|entry| (entry["what"].as_str().unwrap_or_default().to_owned(), entry)).collect()
    }

    /// What the history of a task names, in order.
    pub(crate) async fn history(&self, task: &Value) -> Vec<String> {
        let told = self.get(&format!("/v1/tasks/{}/history?limit=100", id(&task["id"]))).await;
        let items = told["items"].as_array().unwrap_or_else(|| panic!("{told} is no history"));
        items.iter().map(|item| item["action"].as_str().unwrap_or_default().to_owned()).collect()
    }

    /// The time by the database's clock in some milliseconds.
    pub(crate) async fn in_ms(&self, milliseconds: i64) -> DateTime<Utc> {
        let now: DateTime<Utc> =
            sqlx::query_scalar("select clock_timestamp()").fetch_one(&self.db).await.expect("the database answers");
        now + TimeDelta::milliseconds(milliseconds)
    }

    /// Events of this user that wait to be published or handled, and deliveries that are not over.
    async fn left(&self) -> sqlx::Result<Vec<String>> {
        sqlx::query_scalar(
            "select concat_ws(' ', type, event.id, 'published', published_at) from task_events event
             where user_id = $1 and (published_at is null or not exists (
                 select from processed_events where consumer = replace(type, '.', '-') and event_id = event.id))
             union all
             select concat_ws(' ', 'delivery', id, state) from notification_deliveries
             where user_id = $1 and state in ('pending', 'sending', 'retrying')",
        )
        .bind(self.id)
        .fetch_all(&self.db)
        .await
    }

    /// Waits until everything this user did has taken its effect.
    pub(crate) async fn settled(&self) {
        wait::until("everything the user did takes effect", HEALED, async || match self.left().await {
            Ok(left) if left.is_empty() => Ok(()),
            left => Err(format!("{left:?}")),
        })
        .await;
    }

    /// How many rows of this user a statement counts; `$1` is the user.
    pub(crate) async fn count(&self, statement: &'static str) -> i64 {
        sqlx::query_scalar(statement).bind(self.id).fetch_one(&self.db).await.expect("the database answers")
    }

    /// How many events of a type tell of this user's tasks.
    pub(crate) async fn events(&self, kind: &str) -> i64 {
        sqlx::query_scalar("select count(*) from task_events where user_id = $1 and type = $2")
            .bind(self.id)
            .bind(kind)
            .fetch_one(&self.db)
            .await
            .expect("the database answers")
    }

    /// The deliveries of this user.
    pub(crate) async fn deliveries(&self) -> Vec<Delivery> {
        sqlx::query_as(
            "select reminder_id, reminder_version, state, attempts, started_at, at_dot, repeated
             from notification_deliveries where user_id = $1 order by created_at",
        )
        .bind(self.id)
        .fetch_all(&self.db)
        .await
        .expect("the database answers")
    }
}

/// A row of `notification_deliveries`.
#[derive(Debug, sqlx::FromRow)]
pub(crate) struct Delivery {
    pub(crate) reminder_id: Uuid,
    pub(crate) reminder_version: i32,
    pub(crate) state: String,
    pub(crate) attempts: i32,
    pub(crate) started_at: Option<DateTime<Utc>>,
    pub(crate) at_dot: Option<DateTime<Utc>>,
    pub(crate) repeated: bool,
}
