//! All functions in one router, as in the embedded process.

mod doors;
mod pooler;
#[expect(dead_code, reason = "the tests of email use all of it")]
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

/// The product with these settings of email.
fn product_with(app: &App, email: &[&str]) -> Router {
    let auth = auth::AuthConfig::try_parse_from(["test", "--jwt-secret", SECRET]).unwrap();
    let email = ["test", "--email-from", "a@example.org"].iter().chain(email);
    let email = reminder_due::email::EmailConfig::try_parse_from(email).unwrap();
    let tasks = tasks::routes(app.clone(), auth::Auth::new(auth).unwrap());
    let page = page::router(page::Page::new(&page::PageConfig::default()).unwrap());
    let push = reminder_due::push::PushConfig::parse_from(["test"]);
    shared::serve::complete(embedded::routes(app, tasks.merge(page), email, push), app.clone())
}

#[sqlx::test(migrator = "migrations::MIGRATOR")]
async fn the_page_and_the_api_have_one_origin(db: PgPool) {
    let product = product(&testing::app(&db));
    for (path, status, kind) in [
        ("/", 200, "text/html; charset=utf-8"),
        ("/sw.js", 200, "text/javascript; charset=utf-8"),
        ("/openapi.json", 200, "application/json"),
        ("/v1/tasks", 401, "application/problem+json"),
        ("/v1/nothing", 404, "application/problem+json"),
        ("/nothing", 404, "application/problem+json"),
    ] {
        let answer = product.clone().oneshot(Request::get(path).body(Body::empty()).unwrap()).await.unwrap();
        assert_eq!(
            (answer.status().as_u16(), answer.headers()["content-type"].to_str().unwrap()),
            (status, kind),
            "{path}"
        );
    }
    for path in ["/healthz", "/readyz"] {
        let answer = product.clone().oneshot(Request::get(path).body(Body::empty()).unwrap()).await.unwrap();
        assert_eq!(answer.status(), StatusCode::OK, "{path}");
    }
}
