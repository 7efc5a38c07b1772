//! `updates` through its router, on a real PostgreSQL. The feed is written as `task-changed` writes it, or by `task-changed` itself.

mod life;
mod listener;
mod resume;

use std::{num::NonZeroU32, time::Duration};

use axum::{
    Router,
    body::{Body, BodyDataStream},
    http::{HeaderMap, HeaderValue, Method, Request, StatusCode},
    response::Response,
};
use chrono::{DateTime, TimeDelta, Utc};
use clap::Parser as _;
use futures_util::StreamExt as _;
use serde_json::{Value, json};
use shared::{
    address::Address,
    auth::{self, Auth, AuthConfig, User},
    cors::CorsConfig,
    db::Db,
    serve::{Host, complete},
    testing::user,
};
use sqlx::{PgPool, postgres::PgConnectOptions};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt as _;
use updates::{Settings, Updates};
use uuid::Uuid;

const SECRET: &str = "an HS256 secret of 32 bytes or more";
const PAGE: &str = "https://punctual.example";
/// Longer than anything here takes.
const LONG: Duration = Duration::from_secs(10);

/// Only a notification is noticed: nobody looks.
fn deaf() -> Settings {
    let never = Duration::from_secs(3_600);
    Settings { look: never, echo: never, burst: NonZeroU32::MAX, ..Settings::default() }
}

/// A process of the function.
#[derive(Clone)]
struct Process {
    routes: Router,
    stop: CancellationToken,
}

impl Process {
    fn new(db: &PgPool, settings: Settings) -> Self {
        Self::listening_at(db, db.connect_options().as_ref().clone(), settings)
    }

    fn listening_at(db: &PgPool, listen: PgConnectOptions, settings: Settings) -> Self {
        let auth = Auth::new(AuthConfig::try_parse_from(["test", "--jwt-secret", SECRET]).unwrap()).unwrap();
        let host = Host { db: Some(Db::from(db)), ..Host::default() };
        let stop = host.stop.clone();
        let pages = CorsConfig { cors_origins: vec![HeaderValue::from_static(PAGE)] };
        let updates = Updates::new(auth, Db::from(db), listen, settings, stop.clone()).for_pages(pages);
        Self { routes: complete(updates::router(updates), host), stop }
    }

    async fn ask(&self, token: &str, last_event_id: Option<&str>) -> Response {
        let mut request = Request::get("/v1/updates").header("authorization", format!("Bearer {token}"));
        if let Some(id) = last_event_id {
            request = request.header("last-event-id", id);
        }
        self.routes.clone().oneshot(request.body(Body::empty()).unwrap()).await.unwrap()
    }

    /// Opens a stream of a user.
    async fn open(&self, user: Uuid, last_event_id: Option<&str>) -> Events {
        let answer = self.ask(&token(user), last_event_id).await;
        assert_eq!(answer.status(), StatusCode::OK);
        Events { headers: answer.headers().clone(), body: answer.into_body().into_data_stream(), unread: String::new() }
    }

    /// Opens a stream of a user, and waits until the process listens.
    async fn listen(&self, db: &PgPool, user: Uuid) -> Events {
        let mut events = self.open(user, None).await;
        assert_eq!(events.next().await.unwrap().name, "ready");
        // If it does not listen yet, it looks when it does.
        let seq = change(db, user, 1).await;
        notify(db, user).await;
        assert_eq!(events.next().await.unwrap().id, Some(seq));
        events
    }
}

fn token(user: Uuid) -> String {
    token_until(user, Utc::now() + TimeDelta::hours(1))
}

fn token_until(id: Uuid, expires_at: DateTime<Utc>) -> String {
    let email = Address::parse("ada@example.org").unwrap();
    auth::sign(&SECRET.into(), &User { id, email, issued_at: None, operator: false }, expires_at).unwrap()
}

/// A stream, as a client reads it.
struct Events {
    headers: HeaderMap,
    body: BodyDataStream,
    unread: String,
}

/// An event of a stream.
#[derive(Clone, Debug, Default, PartialEq)]
struct Event {
    name: String,
    id: Option<i64>,
    retry: Option<u64>,
    data: Value,
}

impl Events {
    /// The next event or comment, none at the end. Waits for at most ten seconds.
    async fn next_block(&mut self) -> Option<String> {
        loop {
            if let Some((block, rest)) = self.unread.split_once("\n\n") {
                let (block, rest) = (block.to_owned(), rest.to_owned());
                self.unread = rest;
                return Some(block);
            }
            let bytes = timeout(LONG, self.body.next()).await.expect("something within ten seconds")?;
            self.unread += str::from_utf8(&bytes.unwrap()).unwrap();
        }
    }

    /// The next event with a name, none at the end.
    async fn next(&mut self) -> Option<Event> {
        loop {
            let event = Event::parse(&self.next_block().await?);
            if !event.name.is_empty() {
                return Some(event);
            }
        }
    }

    /// The numbers of the next changes.
    async fn changes(&mut self, count: usize) -> Vec<i64> {
        let mut numbers = Vec::new();
        while numbers.len() < count {
            let event = self.next().await.expect("another change");
            assert_eq!(event.name, "changed");
            numbers.extend(event.id);
        }
        numbers
    }

    /// Whether nothing arrives for a while.
    async fn is_silent(&mut self) -> bool {
        timeout(Duration::from_millis(300), self.next_block()).await.is_err()
    }

    /// Reads to the end.
    async fn end(&mut self) {
        while self.next_block().await.is_some() {}
    }
}

impl Event {
    /// Reads an event as a browser does.
    fn parse(block: &str) -> Self {
        let mut event = Self::default();
        for (name, value) in block.lines().filter_map(|line| line.split_once(':')) {
            let value = value.trim_start();
            match name {
                "event" => value.clone_into(&mut event.name),
                "id" => event.id = Some(value.parse().unwrap()),
                "retry" => event.retry = Some(value.parse().unwrap()),
                "data" => event.data = serde_json::from_str(value).unwrap(),
                _ => {}
            }
        }
        event
    }
}

/// Adds changes to a user's feed, and notifies nobody: a process died between its commit and its notification. Returns the last number.
async fn change(db: &PgPool, user: Uuid, count: i64) -> i64 {
    sqlx::query_scalar(
        "with numbered as (update users set feed_seq = feed_seq + $2 where id = $1 returning feed_seq),
              fed as (
                  insert into feed (user_id, seq, event_id, task_id, data)
                  select $1, seq, gen_random_uuid(), gen_random_uuid(), jsonb_build_object('version', seq, 'title', 'secret')
                  from numbered, generate_series(feed_seq - $2 + 1, feed_seq) as seq
              )
         select feed_seq from numbered",
    )
    .bind(user)
    .bind(count)
    .fetch_one(db)
    .await
    .unwrap()
}

async fn notify(db: &PgPool, user: Uuid) {
    sqlx::query("select pg_notify('feed', $1)").bind(user.to_string()).execute(db).await.unwrap();
}

#[sqlx::test(migrator = "migrations::MIGRATOR")]
async fn a_stream_begins_with_the_last_number_and_names_each_change_by_id_and_version(db: PgPool) {
    let ada = user(&db).await;
    change(&db, ada, 3).await;
    let process = Process::new(&db, deaf());
    let mut events = process.open(ada, None).await;
    for (name, value) in [
        ("content-type", "text/event-stream"),
        ("cache-control", "no-store, no-transform"),
        ("x-accel-buffering", "no"),
    ] {
        assert_eq!(events.headers[name], value);
    }
    assert!(!events.headers.contains_key("content-encoding"));
    let ready = events.next().await.unwrap();
    assert!((1_000..5_000).contains(&ready.retry.unwrap()), "{ready:?}");
    assert_eq!(ready, Event { name: "ready".to_owned(), id: Some(3), retry: ready.retry, data: json!({"seq": 3}) });

    assert_eq!(change(&db, ada, 1).await, 4);
    let (task, version): (Uuid, i64) =
        sqlx::query_as("select task_id, (data->>'version')::bigint from feed where seq = 4")
            .fetch_one(&db)
            .await
            .unwrap();
    notify(&db, ada).await;
    let data = json!({"task_id": task, "version": version});
    assert_eq!(events.next().await.unwrap(), Event { name: "changed".to_owned(), id: Some(4), retry: None, data });
}

/// A user without a row has sent no command yet.
#[sqlx::test(migrator = "migrations::MIGRATOR")]
async fn a_new_user_may_listen(db: PgPool) {
    let ada = Uuid::now_v7();
    let mut events = Process::new(&db, deaf()).open(ada, None).await;
    assert_eq!(events.next().await.unwrap().id, Some(0));
    sqlx::query("insert into users (id, email) values ($1, 'ada@example.org')").bind(ada).execute(&db).await.unwrap();
    change(&db, ada, 1).await;
    notify(&db, ada).await;
    assert_eq!(events.changes(1).await, [1]);
}

#[sqlx::test(migrator = "migrations::MIGRATOR")]
async fn nobody_hears_of_another_user(db: PgPool) {
    let (ada, ben) = (user(&db).await, user(&db).await);
    let process = Process::new(&db, deaf());
    let (mut of_ada, mut of_ben) = (process.listen(&db, ada).await, process.listen(&db, ben).await);
    change(&db, ada, 2).await;
    notify(&db, ada).await;
    assert_eq!(of_ada.changes(2).await, [2, 3]);
    assert!(of_ben.is_silent().await);
    for token in ["", "x", &token(ada)[1..]] {
        assert_eq!(process.ask(token, None).await.status(), StatusCode::UNAUTHORIZED);
    }
}

#[sqlx::test(migrator = "migrations::MIGRATOR")]
async fn only_a_page_of_a_configured_origin_may_listen(db: PgPool) {
    let process = Process::new(&db, deaf());
    for (origin, allowed) in [(PAGE, true), ("https://elsewhere.example", false)] {
        let asking = Request::builder().method(Method::OPTIONS).uri("/v1/updates").header("origin", origin);
        let asking = asking
            .header("access-control-request-method", "GET")
            .header("access-control-request-headers", "authorization,last-event-id");
        let answer = process.routes.clone().oneshot(asking.body(Body::empty()).unwrap()).await.unwrap();
        let allows = answer.headers().get("access-control-allow-origin").map(HeaderValue::as_bytes);
        assert_eq!(allows, allowed.then_some(PAGE.as_bytes()), "{origin}");
    }
}

/// The page reads the document; `tasks` serves it.
#[test]
fn the_document_of_the_api_describes_the_stream() {
    let document = include_str!("../../../tasks/openapi.json");
    let document: Value = serde_json::from_str(document).unwrap();
    let operation = &document["paths"]["/v1/updates"]["get"];
    assert_eq!(operation["parameters"][0]["name"], "Last-Event-ID");
    assert!(operation["responses"]["200"]["content"]["text/event-stream"].is_object());
    let statuses: Vec<&String> = operation["responses"].as_object().unwrap().keys().collect();
    assert_eq!(statuses, ["200", "401", "429", "500", "503"]);
}
