//! Shared test helpers: an app state without a daprd, initial rows, and events as daprd delivers them.
//!
//! Only dev-dependencies enable the feature `testing`.

#![expect(clippy::missing_panics_doc, reason = "a test that cannot set up its rows has failed")]

use std::{
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use axum::{
    Router,
    body::Body,
    http::{Request, StatusCode, header},
};
use chrono::{DateTime, Utc};
use clap::Parser as _;
use serde_json::{Value, json};
use sqlx::{PgPool, Row as _};
use tower::ServiceExt as _;
use uuid::Uuid;

use crate::{
    App, Config,
    catalogue::EventType,
    cloud_event::Trace,
    db::Db,
    deadlines::Deadlines,
    erasure::Eraser,
    outbox,
    schema::{Payload, TaskRef},
};

mod dapr;

pub use dapr::{Dapr, Job, Published};

/// The token that daprd sends with every call.
pub const TOKEN: &str = "token-of-the-application";

/// The state of a function whose daprd is unreachable.
#[must_use]
pub fn app(db: impl Into<Db>) -> App {
    let arguments = ["test", "--database-url", "postgres://unused", "--app-api-token", TOKEN];
    let nobody = ["--dapr-grpc-endpoint", "http://127.0.0.1:9"];
    let config = Config::try_parse_from(arguments.into_iter().chain(nobody)).unwrap();
    App::new(config, db).unwrap()
}

/// The state of a function with these daprds: its own, `alarm`'s and `reminder-due`'s.
#[must_use]
pub fn app_with(db: impl Into<Db>, own: &Dapr, alarm: &Dapr, reminder_due: &Dapr) -> App {
    let arguments = ["test", "--database-url", "postgres://unused", "--app-api-token", TOKEN];
    let endpoints = [
        ("--dapr-grpc-endpoint", own),
        ("--alarm-dapr-endpoint", alarm),
        ("--reminder-due-dapr-endpoint", reminder_due),
    ];
    let endpoints = endpoints.into_iter().flat_map(|(name, dapr)| [name.to_owned(), dapr.endpoint.clone()]);
    let config = Config::try_parse_from(arguments.map(str::to_owned).into_iter().chain(endpoints)).unwrap();
    App::new(config, db).unwrap()
}

/// The resident memory of this process at some time, in bytes. One test of a process measures at a time; other tests run meanwhile.
#[derive(Debug)]
pub struct Memory {
    before: u64,
    _alone: MutexGuard<'static, ()>,
}

impl Memory {
    /// The memory now. Also resets the peak, see proc(5).
    #[must_use]
    pub fn now() -> Self {
        static MEASURING: Mutex<()> = Mutex::new(());
        let alone = MEASURING.lock().unwrap_or_else(PoisonError::into_inner);
        std::fs::write("/proc/self/clear_refs", "5").unwrap();
        Self { before: Self::read("VmRSS:"), _alone: alone }
    }

    /// How far the peak since then is above.
    #[must_use]
    pub fn growth(&self) -> u64 {
        Self::read("VmHWM:").saturating_sub(self.before)
    }

    fn read(name: &str) -> u64 {
        let status = std::fs::read_to_string("/proc/self/status").unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap();
        line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() * 1024
    }
}

/// Whether the relay of this process was woken, or is woken within ten seconds.
pub async fn relay_was_woken(app: &App) -> bool {
    tokio::time::timeout(Duration::from_secs(10), app.outbox.woken.notified()).await.is_ok()
}

/// Makes every transaction that writes an event take a second to commit.
pub async fn commits_take_a_second(db: &PgPool) {
    sqlx::raw_sql(
        "create function takes_long() returns trigger language plpgsql as $$ begin perform pg_sleep(1); return null; end $$;
         create constraint trigger takes_long after insert on task_events deferrable initially deferred
             for each row execute function takes_long()",
    )
    .execute(db)
    .await
    .unwrap();
}

/// The database at another port, for example that of a forwarder, with the pool of a process.
#[must_use]
pub fn at_port(db: &PgPool, port: u16, deadlines: Deadlines) -> Db {
    let options = db.connect_options().as_ref().clone().host("127.0.0.1").port(port);
    Db::lazy(options, 3, deadlines)
}

/// Inserts a user.
pub async fn user(db: &PgPool) -> Uuid {
    let id = Uuid::now_v7();
    sqlx::query("insert into users (id, email) values ($1, 'ada@example.com')").bind(id).execute(db).await.unwrap();
    id
}

/// Inserts an open task of a user.
pub async fn task(db: &PgPool, user_id: Uuid) -> TaskRef {
    let task = TaskRef { task_id: Uuid::now_v7(), user_id, title: "call the dentist".to_owned(), version: 1 };
    sqlx::query("insert into tasks (id, user_id, title) values ($1, $2, $3)")
        .bind(task.task_id)
        .bind(user_id)
        .bind(&task.title)
        .execute(db)
        .await
        .unwrap();
    task
}

/// Inserts a live reminder of a task.
pub async fn reminder(db: &PgPool, task: &TaskRef, at: DateTime<Utc>) -> Uuid {
    let id = Uuid::now_v7();
    sqlx::query("insert into task_reminders (id, task_id, user_id, remind_at) values ($1, $2, $3, $4)")
        .bind(id)
        .bind(task.task_id)
        .bind(task.user_id)
        .bind(at)
        .execute(db)
        .await
        .unwrap();
    id
}

/// Emits an event and returns it as daprd delivers it, with the attributes that daprd adds.
pub async fn emitted<T: Payload>(db: &PgPool, payload: &T) -> Value {
    let mut conn = db.acquire().await.unwrap();
    let id = outbox::emit(&mut conn, payload, &Trace::from_header(None)).await.unwrap();
    handed_over(db, id).await
}

/// Reads an event from the outbox, as daprd delivers it.
pub async fn handed_over(db: &PgPool, id: Uuid) -> Value {
    let row = sqlx::query("select * from task_events where id = $1").bind(id).fetch_one(db).await.unwrap();
    let row = outbox::Unpublished {
        id,
        kind: EventType::parse(row.get("type")).unwrap(),
        task_id: row.get("task_id"),
        sequence: row.get("sequence"),
        data: row.get("data"),
        traceparent: row.get("traceparent"),
        occurred_at: row.get("occurred_at"),
    };
    let mut event: Value = serde_json::from_slice(&row.cloud_event().unwrap()).unwrap();
    for (name, value) in [("topic", row.kind.topic()), ("pubsubname", "pubsub"), ("tracestate", "")] {
        event[name] = json!(value);
    }
    event
}

/// Delivers an event to the route of its type.
pub async fn deliver(routes: &Router, event: &Value) -> StatusCode {
    let kind = EventType::parse(event["type"].as_str().unwrap()).unwrap();
    post(routes, &format!("/events/{}", kind.consumer()), event.to_string()).await
}

/// Posts a body with daprd's token.
pub async fn post(routes: &Router, path: &str, body: impl Into<Body>) -> StatusCode {
    let request = Request::post(path)
        .header("dapr-api-token", TOKEN)
        .header(header::CONTENT_TYPE, "application/cloudevents+json")
        .body(body.into())
        .unwrap();
    routes.clone().oneshot(request).await.unwrap().status()
}

/// Delivers an event `times` times concurrently. Returns the number of deliveries that were answered 200.
pub async fn deliver_at_once(routes: &Router, event: &Value, times: usize) -> usize {
    let mut deliveries = tokio::task::JoinSet::new();
    for _ in 0..times {
        let (routes, event) = (routes.clone(), event.clone());
        deliveries.spawn(async move { deliver(&routes, &event).await });
    }
    deliveries.join_all().await.into_iter().filter(|status| *status == StatusCode::OK).count()
}

/// Returns the number that a query selects.
pub async fn count(db: &PgPool, query: &'static str) -> i64 {
    sqlx::query_scalar(query).fetch_one(db).await.unwrap()
}

/// A reminder of an open task that is due at `at`.
pub async fn due(db: &PgPool, at: DateTime<Utc>) -> (Uuid, TaskRef) {
    let user = user(db).await;
    let task = task(db, user).await;
    (reminder(db, &task, at).await, task)
}

/// Calls the job of a version of a reminder, as the scheduler does.
pub async fn call_job(routes: &Router, id: Uuid, version: i32) -> StatusCode {
    let job = json!({"reminder_id": id, "version": version, "due_at": Utc::now()});
    post(routes, &format!("/job/reminder-{id}-{version}"), job.to_string()).await
}

/// The tables with a row that contains a text anywhere, in upper or lower case.
pub async fn tables_with(db: &PgPool, text: &str) -> Vec<String> {
    let tables: Vec<String> = sqlx::query_scalar(
        "select table_name::text from information_schema.tables
         where table_schema = 'public' and table_type = 'BASE TABLE' order by 1",
    )
    .fetch_all(db)
    .await
    .unwrap();
    let mut found = Vec::new();
    for table in tables {
        let query = format!("select exists (select from {table} t where strpos(lower(t::text), lower($1)) > 0)");
        let query = sqlx::query_scalar::<_, bool>(sqlx::AssertSqlSafe(query)).bind(text);
        if query.fetch_one(db).await.unwrap() {
            found.push(table);
        }
    }
    found
}

/// Returns when a statement waits for a lock, or when `work` has ended without that.
pub async fn waits_for_lock<T>(db: &PgPool, work: &tokio::task::JoinHandle<T>) {
    let waiting =
        "select count(*) from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'";
    while !work.is_finished() && count(db, waiting).await == 0 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// Has every insert into a table wait until the transaction that is returned ends.
pub async fn pause_inserts(db: &PgPool, table: &str) -> sqlx::Transaction<'static, sqlx::Postgres> {
    let pause = format!(
        "create function pause() returns trigger language plpgsql as $$ begin perform pg_advisory_xact_lock(1); return new; end $$;
         create trigger pause before insert on {table} for each row execute function pause()"
    );
    execute(db, &pause).await;
    let mut open = db.begin().await.unwrap();
    sqlx::query("select pg_advisory_xact_lock(1)").execute(&mut *open).await.unwrap();
    open
}

/// Orders a user's erasure, as a command does.
pub async fn order_erasure(db: &PgPool, user: Uuid) {
    let order = sqlx::query("insert into erased_users (user_id) values ($1)");
    order.bind(user).execute(db).await.unwrap();
}

/// Erases a user.
pub async fn erase(db: &PgPool, user: Uuid) {
    order_erasure(db, user).await;
    let db = Db::from(db);
    assert!(Eraser::new(&db, Duration::from_secs(30)).erase(user).await.unwrap());
}

/// Runs SQL.
pub async fn execute(db: &PgPool, statement: &str) {
    sqlx::raw_sql(sqlx::AssertSqlSafe(statement)).execute(db).await.unwrap();
}

/// The audit log: each action, with its reason if it has one.
pub async fn audit_steps(db: &PgPool) -> Vec<(String, Option<String>)> {
    sqlx::query_as("select action, detail->>'reason' from audit_logs order by id").fetch_all(db).await.unwrap()
}

/// An entry of [`audit_steps`].
#[must_use]
pub fn step(action: &str, reason: Option<&str>) -> (String, Option<String>) {
    (action.to_owned(), reason.map(str::to_owned))
}
