//! From the callback of a job to the message, on a real PostgreSQL and through the door. `alarm` is in the same process. Most tests have no
//! daprd: arming a job and the state store fail, which answers 503 and must lose nothing.

mod deaths;
mod erasure;
mod former_jobs;
mod push;
mod refusals;
mod send;
#[expect(dead_code, reason = "the tests of email use all of it")]
#[path = "../email/smtp_server.rs"]
mod smtp_server;

use std::{path::PathBuf, time::Duration};

use axum::{Router, http::StatusCode};
use chrono::Utc;
use clap::Parser as _;
use reminder_due::{
    email::{EmailConfig, ProviderName},
    push::PushConfig,
};
use serde_json::Value;
use shared::{
    App,
    capability::CapabilityConfig,
    schema::TaskRef,
    serve::complete,
    testing::{Dapr, app, app_with, call_job, due, handed_over},
};
use sqlx::PgPool;
use uuid::Uuid;

/// A folder of the test's own that goes with it.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Self {
        Self(std::env::temp_dir().join(format!("punctual-reminder-{}", Uuid::new_v4())))
    }

    /// The messages in it.
    fn messages(&self) -> Vec<String> {
        let Ok(entries) = std::fs::read_dir(&self.0) else { return Vec::new() };
        let paths =
            entries.map(|entry| entry.unwrap().path()).filter(|path| path.extension().is_some_and(|e| e == "eml"));
        paths.map(|path| std::fs::read_to_string(path).unwrap()).collect()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn email(email_provider: ProviderName) -> EmailConfig {
    EmailConfig {
        email_provider,
        email_from: "Punctual <reminders@punctual.example>".to_owned(),
        smtp_url: None,
        mail_dir: None,
        resend_base_url: "http://127.0.0.1:9".to_owned(),
        mailgun_base_url: "http://127.0.0.1:9".to_owned(),
        mailgun_domain: None,
        page_url: None,
        capabilities: CapabilityConfig::default(),
        user_messages_per_hour: 1_000.try_into().unwrap(),
        deadline: Duration::from_secs(2),
        record_limit: Duration::from_millis(200),
    }
}

/// A process of the function that writes its mail into a folder: repeats overwrite, which is as good as a key.
fn with_files(db: &PgPool, folder: &Folder) -> Router {
    routes(app(db), EmailConfig { mail_dir: Some(folder.0.clone()), ..email(ProviderName::Files) })
}

/// A process of the function that sends its mail by SMTP, which knows no key.
fn with_smtp(db: &PgPool, url: &str) -> Router {
    let config = EmailConfig { smtp_url: Some(url.to_owned()), ..email(ProviderName::Smtp) };
    routes(app(db), config)
}

/// As [`with_smtp`], with a daprd that arms jobs, and patience to record what was accepted.
fn with_smtp_and_jobs(db: &PgPool, url: &str, dapr: &Dapr) -> Router {
    smtp_process(app_with(db, dapr, dapr, dapr), url)
}

fn smtp_process(app: App, url: &str) -> Router {
    let record_limit = Duration::from_secs(20);
    routes(app, EmailConfig { smtp_url: Some(url.to_owned()), record_limit, ..email(ProviderName::Smtp) })
}

fn routes(app: App, email: EmailConfig) -> Router {
    routes_with_push(app, email, PushConfig::parse_from(["test"]))
}

fn routes_with_push(app: App, email: EmailConfig, push: PushConfig) -> Router {
    complete(reminder_due::routes(app.clone(), email, push).merge(alarm::router(app.clone())), app)
}

/// A reminder that has just fired, and its `reminder.due` as daprd hands it over.
async fn fired(db: &PgPool, routes: &Router) -> (Uuid, TaskRef, Value) {
    let (id, task) = due(db, Utc::now()).await;
    assert_eq!(call_job(routes, id, 1).await, StatusCode::OK);
    let event =
        sqlx::query_scalar("select id from task_events where type = 'reminder.due' and data->>'reminder_id' = $1");
    let event: Uuid = event.bind(id.to_string()).fetch_one(db).await.unwrap();
    (id, task, handed_over(db, event).await)
}

/// The delivery: state, attempts, whether it was repeated, and why it is not sent.
async fn delivery(db: &PgPool) -> (String, i32, bool, Option<String>) {
    sqlx::query_as("select state, attempts, repeated, reason from notification_deliveries").fetch_one(db).await.unwrap()
}

async fn reminder_state(db: &PgPool) -> String {
    sqlx::query_scalar("select state from task_reminders").fetch_one(db).await.unwrap()
}

/// How many times the world was told that it was sent.
async fn sent_events(db: &PgPool) -> i64 {
    shared::testing::count(db, "select count(*) from task_events where type = 'reminder.sent'").await
}
