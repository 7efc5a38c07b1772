//! The product without a database: the routes of every function in this process.
//!
//! The pool is closed, so every database access fails immediately, as in an outage.

use std::future::Future;

use axum::{
    Router,
    body::{Body, to_bytes},
    http::{Request, StatusCode, header},
};
use chrono::{TimeDelta, Utc};
use clap::Parser as _;
use reminder_due::{email::EmailConfig, push::PushConfig};
use secrecy::SecretString;
use serde_json::Value;
use shared::{
    App, Config,
    address::Address,
    auth::{Auth, AuthConfig, User, sign},
};
use sqlx::postgres::PgPoolOptions;
use tasks::TasksConfig;
use tokio::runtime::{Builder, Runtime};
use tower::ServiceExt as _;
use uuid::Uuid;

/// The JWT secret.
pub(crate) const SECRET: &str = "an HS256 secret of 32 bytes or more";
/// The app API token, which daprd sends with every call.
pub(crate) const APP_TOKEN: &str = "token-of-the-application";
/// A valid id.
pub(crate) const ID: &str = "0198c0de-0000-7000-8000-000000000001";

thread_local! {
    static PRODUCT: OfflineProduct = OfflineProduct::new();
}

struct OfflineProduct {
    runtime: Runtime,
    routes: Router,
    token: String,
}

impl OfflineProduct {
    fn new() -> Self {
        let runtime = Builder::new_current_thread().enable_all().build().expect("a runtime");
        let routes = runtime.block_on(async {
            let db = PgPoolOptions::new().connect_lazy("postgres://nobody@127.0.0.1:9/nowhere").expect("a pool");
            db.close().await;
            let config = ["fuzz", "--database-url", "postgres://nowhere", "--app-api-token", APP_TOKEN];
            product(&App::new(Config::try_parse_from(config).expect("arguments"), &db).expect("an address"))
        });
        let email = Address::parse("ada@example.org").expect("an address");
        let user = User { id: Uuid::from_u128(7), email, issued_at: None, operator: true };
        let token = sign(&SecretString::from(SECRET), &user, Utc::now() + TimeDelta::days(1)).expect("a token");
        Self { runtime, routes, token }
    }
}

/// The authentication of users.
pub(crate) fn auth() -> Auth {
    Auth::new(AuthConfig::try_parse_from(["fuzz", "--jwt-secret", SECRET]).expect("arguments")).expect("a secret")
}

fn product(app: &App) -> Router {
    let email = ["fuzz", "--email-provider", "files", "--email-from", "a@example.org", "--mail-dir", "/nowhere"];
    let email = EmailConfig::try_parse_from(email).expect("arguments");
    // No rate limit.
    let settings = ["fuzz", "--user-requests-per-second", "1000000", "--action-key", SECRET];
    let settings = TasksConfig::try_parse_from(settings).expect("arguments");
    let tasks = tasks::configured(app.clone(), auth(), &settings);
    let push = PushConfig::try_parse_from(["fuzz"]).expect("arguments");
    shared::serve::complete(embedded::routes(app, tasks, email, push), app.clone())
}

/// Runs a future to completion.
pub(crate) fn run<T>(work: impl Future<Output = T>) -> T {
    PRODUCT.with(|product| product.runtime.block_on(work))
}

/// Spawns a future. It makes progress only while [`run`] or [`call`] runs.
pub(crate) fn spawn(work: impl Future<Output = ()> + Send + 'static) {
    PRODUCT.with(|product| drop(product.runtime.spawn(work)));
}

/// An answer of the product.
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) kind: String,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    /// Whether the request was valid, so that only the database was missing.
    pub(crate) fn was_good(&self) -> bool {
        self.status == StatusCode::SERVICE_UNAVAILABLE
    }

    /// The body as JSON.
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).expect("an answer is JSON")
    }
}

/// Calls a route of the product.
pub(crate) fn call(request: Request<Body>) -> Answer {
    PRODUCT.with(|product| {
        product.runtime.block_on(async {
            let Ok(response) = product.routes.clone().oneshot(request).await;
            let (parts, body) = response.into_parts();
            let kind = parts.headers.get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
            let body = to_bytes(body, usize::MAX).await.expect("an answer in memory").to_vec();
            Answer { status: parts.status, kind: kind.to_owned(), body }
        })
    })
}

/// The `Authorization` of a user who is also an operator.
pub(crate) fn bearer() -> String {
    PRODUCT.with(|product| format!("Bearer {}", product.token))
}

/// Splits an input at its first empty line into the lines of a head and a body, as in HTTP.
pub(crate) fn head_and_body(input: &[u8]) -> (impl Iterator<Item = &[u8]>, &[u8]) {
    let end = input.windows(2).position(|pair| pair == b"\n\n");
    let (head, body) = end.map_or((input, &[][..]), |end| (&input[..end], &input[end + 2..]));
    (head.split(|byte| *byte == b'\n'), body)
}

/// The header in a line `name: value`, if it is valid.
pub(crate) fn header_of(line: &[u8]) -> Option<(header::HeaderName, header::HeaderValue)> {
    let colon = line.iter().position(|byte| *byte == b':')?;
    let name = header::HeaderName::from_bytes(&line[..colon]).ok()?;
    Some((name, header::HeaderValue::from_bytes(line[colon + 1..].trim_ascii()).ok()?))
}
