//! `tasks` through its router, with a new database on a real PostgreSQL for each test. Tests check the answers and the rows.

mod actions;
mod bad_input;
mod commands;
mod constraints;
mod cors;
mod dead_letters;
mod deliveries;
mod edge;
mod erasure;
mod export;
mod idempotency;
mod limits;
mod lists;
mod me;
mod openapi;
mod operations;
mod push;
mod quotas;
mod recurrence;
mod reminders;
mod search;
mod second_wall;
mod secrets;
mod series;
mod slow;
mod snapshots;
mod stories;
mod system;
mod undo;
mod walls;

use axum::{
    Router,
    body::{Body, to_bytes},
    http::{HeaderMap, Method, Request, StatusCode},
};
use chrono::{DateTime, TimeDelta, Utc};
use clap::Parser as _;
use serde_json::{Value, json};
use shared::{
    App,
    address::Address,
    auth::{self, Auth, AuthConfig, User},
    testing::app,
};
use sqlx::PgPool;
use tasks::TasksConfig;
use tower::ServiceExt as _;
use uuid::Uuid;

const SECRET: &str = "an HS256 secret of 32 bytes or more";

/// A key that devices subscribe with.
const VAPID_KEY: &str = "BAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";

/// One user of the API.
#[derive(Clone)]
struct Client {
    router: Router,
    db: PgPool,
    user: User,
    token: Option<String>,
    headers: Vec<(&'static str, String)>,
}

/// An answer with its body.
#[derive(Debug, PartialEq)]
struct Reply {
    status: StatusCode,
    headers: HeaderMap,
    body: Value,
}

fn router(db: &PgPool) -> Router {
    router_of(app(db))
}

/// Tests send more requests than a user may; `limits` tests the rate.
fn router_of(app: App) -> Router {
    router_with(app, &["--user-requests-per-second", "1000", "--vapid-public-keys", VAPID_KEY])
}

fn router_with(app: App, settings: &[&str]) -> Router {
    let auth = Auth::new(AuthConfig::try_parse_from(["test", "--jwt-secret", SECRET]).unwrap()).unwrap();
    tasks::configured(app, auth, &TasksConfig::try_parse_from(["test"].iter().chain(settings)).unwrap())
}

fn user(email: &str, operator: bool) -> User {
    User { id: Uuid::new_v4(), email: Address::parse(email).unwrap(), issued_at: None, operator }
}

fn token(user: &User, lifetime: TimeDelta) -> String {
    auth::sign(&SECRET.into(), user, Utc::now() + lifetime).unwrap()
}

impl Client {
    fn new(db: &PgPool) -> Self {
        Self::of(db, user("ada@example.org", false))
    }

    fn operator(db: &PgPool) -> Self {
        Self::of(db, user("op@example.org", true))
    }

    fn of(db: &PgPool, user: User) -> Self {
        let token = Some(token(&user, TimeDelta::hours(1)));
        Self { router: router(db), db: db.clone(), user, token, headers: Vec::new() }
    }

    /// The same user, at another process.
    fn at(&self, app: App) -> Self {
        Self { router: router_of(app), ..self.clone() }
    }

    fn with(&self, name: &'static str, value: impl ToString) -> Self {
        let mut client = self.clone();
        client.headers.push((name, value.to_string()));
        client
    }

    async fn send(&self, method: Method, path: &str, body: impl Into<Body>) -> Reply {
        let mut request = Request::builder().method(method).uri(path);
        if let Some(token) = &self.token {
            request = request.header("authorization", format!("Bearer {token}"));
        }
        if !self.headers.iter().any(|(name, _)| *name == "content-type") {
            request = request.header("content-type", "application/json");
        }
        for (name, value) in &self.headers {
            request = request.header(*name, value);
        }
        let response = self.router.clone().oneshot(request.body(body.into()).unwrap()).await.unwrap();
        let (parts, body) = response.into_parts();
        let bytes = to_bytes(body, 10 << 20).await.unwrap();
        let body = if bytes.is_empty() {
            Value::Null
        } else if parts.headers.get("content-type").is_some_and(|kind| kind == "application/x-ndjson") {
            serde_json::Deserializer::from_slice(&bytes).into_iter().map(Result::<Value, _>::unwrap).collect()
        } else {
            serde_json::from_slice(&bytes).unwrap()
        };
        if parts.status.is_client_error() || parts.status.is_server_error() {
            assert_eq!(parts.headers["content-type"], "application/problem+json", "{} {body}", parts.status);
            assert_eq!(body["status"], parts.status.as_u16());
        }
        Reply { status: parts.status, headers: parts.headers, body }
    }

    async fn get(&self, path: &str) -> Reply {
        self.send(Method::GET, path, Body::empty()).await
    }

    async fn post(&self, path: &str, body: Value) -> Reply {
        self.send(Method::POST, path, if body.is_null() { Body::empty() } else { body.to_string().into() }).await
    }

    async fn put(&self, path: &str, body: Value) -> Reply {
        self.send(Method::PUT, path, body.to_string()).await
    }

    async fn patch(&self, path: &str, body: Value) -> Reply {
        self.send(Method::PATCH, path, body.to_string()).await
    }

    async fn delete(&self, path: &str) -> Reply {
        self.send(Method::DELETE, path, Body::empty()).await
    }

    /// Creates a task and returns it.
    async fn task(&self, body: Value) -> Value {
        self.post("/v1/tasks", body).await.expect(201)
    }

    /// The types and versions of a task's events, in order.
    async fn events(&self, task: &Value) -> Vec<(String, i64)> {
        sqlx::query_as("select type, sequence from task_events where task_id = $1 and user_id = $2 order by id")
            .bind(id(task))
            .bind(self.user.id)
            .fetch_all(&self.db)
            .await
            .unwrap()
    }

    /// Everything that a command can write. A refused command must not change it.
    async fn footprint(&self) -> Value {
        sqlx::query_scalar(
            "select jsonb_build_object(
                 'users', (select count(*) from users), 'tasks', (select jsonb_agg(t order by id) from tasks t),
                 'reminders', (select jsonb_agg(r order by id) from task_reminders r),
                 'events', (select count(*) from task_events), 'tags', (select count(*) from task_tag_associations),
                 'occurrences', (select count(*) from task_occurrences),
                 'versions', (select count(*) from task_versions), 'audit', (select count(*) from audit_logs),
                 'devices', (select jsonb_agg(d order by id) from push_subscriptions d),
                 'keys', (select count(*) from idempotency_keys))",
        )
        .fetch_one(&self.db)
        .await
        .unwrap()
    }
}

impl Reply {
    #[track_caller]
    fn expect(self, status: u16) -> Value {
        assert_eq!(self.status, status, "{}", self.body);
        self.body
    }

    /// The pointers, parameters and headers that the problem names.
    #[track_caller]
    fn invalid_fields(self) -> Vec<String> {
        let body = self.expect(422);
        let place = |invalid: &Value| {
            let places = [&invalid["pointer"], &invalid["parameter"], &invalid["header"]];
            places.iter().find_map(|place| place.as_str()).expect("a place").to_owned()
        };
        body["errors"].as_array().expect("a list").iter().map(place).collect()
    }
}

/// From now on the connection of a transaction that inserts into a table ends, as if its process died.
async fn dies_at(db: &PgPool, table: &str) {
    let dies = format!(
        "create function dies() returns trigger language plpgsql security definer as
             $$ begin perform pg_terminate_backend(pg_backend_pid()); return new; end $$;
         create trigger dies before insert on {table} for each row execute function dies()"
    );
    shared::testing::execute(db, &dies).await;
}

async fn lives(db: &PgPool) {
    shared::testing::execute(db, "drop function dies() cascade").await;
}

fn id(of: &Value) -> Uuid {
    of["id"].as_str().expect("an id").parse().unwrap()
}

fn path(task: &Value) -> String {
    format!("/v1/tasks/{}", id(task))
}

fn instant(of: &Value) -> DateTime<Utc> {
    of.as_str().expect("an instant").parse().unwrap()
}

fn ahead(hours: i64) -> String {
    (Utc::now() + TimeDelta::hours(hours)).to_rfc3339_opts(chrono::SecondsFormat::Secs, true)
}

fn event(kind: &str, version: i64) -> (String, i64) {
    (kind.to_owned(), version)
}

/// The parts of a reminder that tests look at.
fn reminder(task: &Value, index: usize) -> (String, i64, Value) {
    let reminder = &task["reminders"][index];
    (
        reminder["state"].as_str().unwrap().to_owned(),
        reminder["version"].as_i64().unwrap(),
        reminder["cancel_reason"].clone(),
    )
}

fn scheduled(version: i64) -> (String, i64, Value) {
    ("scheduled".to_owned(), version, Value::Null)
}

fn cancelled(version: i64, reason: &str) -> (String, i64, Value) {
    ("cancelled".to_owned(), version, json!(reason))
}
