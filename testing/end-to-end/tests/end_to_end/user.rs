//! A user of the API in a test, where every request must succeed, and the user's rows.

use std::ops::Deref;

use chrono::{DateTime, TimeDelta, Utc};
use lab::api::{self, Answer, Method, text};
pub(crate) use lab::api::{id, instant};
use serde_json::{Value, json};
use sqlx::PgPool;
use uuid::Uuid;

use crate::product::HEALED;

/// A user and the database. Cheap to clone.
#[derive(Clone)]
pub(crate) struct User {
    user: api::User,
    db: PgPool,
}

impl Deref for User {
    type Target = api::User;

    fn deref(&self) -> &api::User {
        &self.user
    }
}

impl User {
    pub(crate) fn new(user: api::User, db: PgPool) -> Self {
        Self { user, db }
    }

    /// Makes a request that is answered, whatever the status.
    pub(crate) async fn send(&self, method: Method, path: &str, body: Option<&Value>) -> Answer {
        let answer = self.user.send(method.clone(), path, body).await;
        answer.unwrap_or_else(|error| panic!("{method} {path} was not answered: {error}"))
    }

    async fn done(&self, method: Method, path: &str, body: Option<&Value>) -> Answer {
        self.command(method, path, body).await.unwrap_or_else(|error| panic!("{error:#}"))
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

    /// Creates a task with one reminder.
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

    pub(crate) async fn restore(&self, task: &Value, version: i64) -> Answer {
        self.post(&format!("/v1/tasks/{}/restore", id(&task["id"])), json!({"version": version})).await
    }

    pub(crate) async fn snooze(&self, reminder: &Value, until: DateTime<Utc>) -> Answer {
        self.post(&format!("/v1/reminders/{}/snooze", id(&reminder["id"])), json!({"until": text(until)})).await
    }

    /// The current state of a task.
    pub(crate) async fn task(&self, task: &Value) -> Value {
        self.get(&format!("/v1/tasks/{}", id(&task["id"]))).await
    }

    /// The first 100 tasks, completed ones included.
    pub(crate) async fn tasks(&self) -> Vec<Value> {
        let page = self.get("/v1/tasks?status=all&limit=100").await;
        page["items"].as_array().unwrap_or_else(|| panic!("{page} is not a page")).clone()
    }

    /// A reminder's timeline: the name of each step, and the whole entry.
    pub(crate) async fn timeline(&self, reminder: &Value) -> Vec<(String, Value)> {
        let timeline = self.get(&format!("/v1/reminders/{}/timeline", id(&reminder["id"]))).await;
        let entries = timeline["entries"].as_array().unwrap_or_else(|| panic!("{timeline} is not a timeline"));
        entries.iter().map(|entry| (entry["what"].as_str().unwrap_or_default().to_owned(), entry.clone())).collect()
    }

    /// The actions in a task's history, oldest first.
    pub(crate) async fn history(&self, task: &Value) -> Vec<String> {
        let history = self.get(&format!("/v1/tasks/{}/history?limit=100", id(&task["id"]))).await;
        let items = history["items"].as_array().unwrap_or_else(|| panic!("{history} is not a history"));
        items.iter().map(|item| item["action"].as_str().unwrap_or_default().to_owned()).collect()
    }

    /// This many milliseconds from now, by the database's clock.
    pub(crate) async fn in_ms(&self, milliseconds: i64) -> DateTime<Utc> {
        let now: DateTime<Utc> =
            sqlx::query_scalar("select clock_timestamp()").fetch_one(&self.db).await.expect("the database answers");
        now + TimeDelta::milliseconds(milliseconds)
    }

    /// Waits until everything this user did has had its effect.
    pub(crate) async fn settled(&self) {
        lab::settled::settled(&self.db, Some(self.id), HEALED).await.unwrap_or_else(|error| panic!("{error}"));
    }

    /// The result of a counting statement in which `$1` is this user.
    pub(crate) async fn count(&self, statement: &'static str) -> i64 {
        sqlx::query_scalar(statement).bind(self.id).fetch_one(&self.db).await.expect("the database answers")
    }

    /// The number of this user's events of a type.
    pub(crate) async fn events(&self, kind: &str) -> i64 {
        sqlx::query_scalar("select count(*) from task_events where user_id = $1 and type = $2")
            .bind(self.id)
            .bind(kind)
            .fetch_one(&self.db)
            .await
            .expect("the database answers")
    }

    /// This user's deliveries, oldest first.
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
