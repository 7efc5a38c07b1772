//! All functions in one router, as in the embedded process.

mod doors;
mod pooler;
#[expect(dead_code, reason = "the tests of e-mail use all of it")]
#[path = "../../../../functions/reminder-due/tests/email/smtp_server.rs"]
mod smtp_server;

use axum::{
    Router,
    body::Body,
    http::{Request, StatusCode},
};
use clap::Parser as _;
use serde_json::{Value, json};
use shared::{App, auth, testing};
use sqlx::PgPool;
use tower::ServiceExt as _;

const SECRET: &str = "an HS256 secret of 32 bytes or more";

fn product(app: &App) -> Router {
    product_with(app, &["--email-provider", "files", "--mail-dir", "/nowhere"])
}

/// The product with these settings of e-mail.
fn product_with(app: &App, email: &[&str]) -> Router {
    let auth = auth::AuthConfig::try_parse_from(["test", "--jwt-secret", SECRET]).unwrap();
    let email = ["test", "--email-from", "a@example.org"].iter().chain(email);
    let email = reminder_due::email::EmailConfig::try_parse_from(email).unwrap();
    let tasks = tasks::routes(app.clone(), auth::Auth::new(auth).unwrap());
    let push = reminder_due::push::PushConfig::parse_from(["test"]);
    shared::serve::complete(embedded::routes(app, tasks, email, push), app.clone())
}
