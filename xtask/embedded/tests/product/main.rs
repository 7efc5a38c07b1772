//! All functions in one router, as in the embedded process.

mod doors;
mod pooler;

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
    let auth = auth::AuthConfig::try_parse_from(["test", "--jwt-secret", SECRET]).unwrap();
    let email = ["test", "--email-provider", "files", "--email-from", "a@example.org", "--mail-dir", "/nowhere"];
    let email = reminder_due::email::EmailConfig::try_parse_from(email).unwrap();
    let tasks = tasks::routes(app.clone(), auth::Auth::new(auth).unwrap());
    shared::serve::complete(embedded::routes(app, tasks, email), app.clone())
}
