//! The process of a function: it reads its configuration, connects lazily, listens, and stops cleanly on SIGTERM.
//!
//! The same router runs under axum on `$PORT` (Knative, plain Kubernetes, a laptop) and, when `AWS_LAMBDA_RUNTIME_API` is set,
//! under `lambda_http` (see [`lambda`]).
//!
//! [`run`] serves a function with a database and a daprd. Another function prepares its process, builds its state itself, and [`listen`]s.

pub mod connections;
pub mod lambda;
mod streams;

use std::{
    net::Ipv4Addr,
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::Context as _;
use axum::{
    Router,
    extract::{MatchedPath, Request, State},
    http::StatusCode,
    middleware::{self, Next},
    response::{IntoResponse as _, Response},
    routing::{get, post},
};
use tokio::{
    signal::unix::{SignalKind, signal},
    sync::Mutex,
    time::timeout,
};
use tokio_util::sync::CancellationToken;

use self::connections::Limits;
use crate::{App, Config, config, db::Db, deadlines::Deadlines, outbox::Outbox, problem::Problem, telemetry};

/// Limit for requests in flight after SIGTERM. Knative and Dapr kill a process after 30 s.
const DRAIN: Duration = Duration::from_secs(25);
/// Limit for publishing committed events after SIGTERM.
const FLUSH: Duration = Duration::from_secs(2);

/// The process of a function, as far as every function has one.
#[derive(Clone, Default)]
pub struct Host {
    /// Cancelled at SIGTERM. A handler that gives an answer without an end ends it then.
    pub stop: CancellationToken,
    /// The limits of its server.
    pub limits: Limits,
    /// The database, if the function has one: the probes ask it.
    pub db: Option<Db>,
    /// The relay, if the function has a daprd. A handler that was ended may have committed events.
    pub outbox: Option<Outbox>,
}

impl From<App> for Host {
    fn from(app: App) -> Self {
        Self { stop: app.stop, limits: Limits::default(), db: Some(app.db), outbox: Some(app.outbox) }
    }
}

/// Runs a function with a database and a daprd until SIGTERM, or until Lambda ends the process.
///
/// # Errors
/// When the configuration is invalid or the port is taken.
pub async fn run(router: fn(App) -> Router) -> anyhow::Result<()> {
    let app = start()?;
    let routes = router(app.clone());
    if std::env::var_os("AWS_LAMBDA_RUNTIME_API").is_some() {
        return lambda::run(complete(routes, app.clone()), app).await;
    }
    tokio::spawn(app.outbox.clone().relay());
    listen(routes, app.clone(), app.config.host.port).await?;
    if let Err(error) = app.outbox.flush(FLUSH).await {
        tracing::warn!(
            error = format!("{error:#}"),
            "outbox: not everything was published before the stop; the next process publishes it"
        );
    }
    Ok(())
}

/// Builds the state of a process from its environment, also of one that serves nothing (`upkeep --repair`).
///
/// # Errors
/// When the configuration is invalid.
pub fn start() -> anyhow::Result<App> {
    prepare();
    let config: Config = config::from_env();
    let db = config.database.open()?;
    App::new(config, db)
}

/// What a process does before anything else: it chooses how to encrypt, and begins to log.
pub fn prepare() {
    // Without a process-wide choice the first crate that needs a provider chooses, and a second choice panics.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    telemetry::init();
}

/// Serves `routes`, with those that every function has, until SIGTERM.
///
/// # Errors
/// When the port is taken.
pub async fn listen(routes: Router, host: impl Into<Host>, port: u16) -> anyhow::Result<()> {
    let host = host.into();
    let (stop, limits) = (host.stop.clone(), host.limits);
    let listener = tokio::net::TcpListener::bind((Ipv4Addr::UNSPECIFIED, port))
        .await
        .with_context(|| format!("cannot listen on port {port}: set PORT to a free port"))?;
    tracing::info!(port, "listening on port {port}");
    let server = connections::serve(limits, listener, complete(routes, host), async {
        terminated().await;
        stop.cancel();
    });
    tokio::select! {
        () = server => {}
        () = async { stop.cancelled().await; tokio::time::sleep(DRAIN).await } => {
            tracing::warn!("aborted the requests still in flight {DRAIN:?} after SIGTERM");
        }
    }
    tracing::info!("stopped");
    Ok(())
}

async fn terminated() {
    let mut terminate = signal(SignalKind::terminate()).expect("installing a signal handler never fails on Linux");
    let mut interrupt = signal(SignalKind::interrupt()).expect("installing a signal handler never fails on Linux");
    tokio::select! { _ = terminate.recv() => {}, _ = interrupt.recv() => {} }
}

/// Adds the routes and layers that every function has.
pub fn complete(routes: Router, host: impl Into<Host>) -> Router {
    let host = host.into();
    let probes = Arc::new(Probes { db: host.db.clone(), useless: Kept::default(), ready: Kept::default() });
    let common = Router::new()
        .route("/healthz", get(healthy))
        .route("/readyz", get(ready))
        .route("/events/_ignore", post(async || StatusCode::OK))
        .with_state(probes);
    // In this order the fallback of `routes` is kept, with its layers.
    common
        .merge(routes)
        .method_not_allowed_fallback(async || Problem::MethodNotAllowed)
        .layer(middleware::from_fn(unknown))
        .layer(middleware::from_fn(log))
        .layer(middleware::from_fn_with_state(host, detached))
}

/// Runs a request in a task of its own, so that it completes even when the caller disconnects. Ends it at its deadline.
///
/// Clients hang up, and daprd drops its job calls when it loses the scheduler (dapr
/// `pkg/runtime/scheduler/internal/cluster/streamer.go`). A handler that was cancelled between its commit and its end would not publish
/// what it committed. A handler without a deadline would keep its connection and its places in the limits for as long as a peer is silent.
async fn detached(State(Host { db, outbox, .. }): State<Host>, request: Request, next: Next) -> Response {
    let Deadlines { call, request: of_api, .. } = db.map(|db| db.deadlines).unwrap_or_default();
    let limit = if is_from_daprd(request.uri().path()) { call } else { of_api };
    let work = tokio::spawn(async move {
        timeout(limit, next.run(request)).await.unwrap_or_else(|_| {
            // It may have committed, or be about to.
            if let Some(outbox) = outbox {
                outbox.wake();
                outbox.wake_late();
            }
            Problem::Unavailable(format!("a handler took longer than {limit:?}").into()).into_response()
        })
    });
    work.await.unwrap_or_else(|_| Problem::Internal("a handler panicked".into()).into_response())
}

fn is_from_daprd(path: &str) -> bool {
    path.starts_with("/events/") || path.starts_with("/job/")
}

/// The answers to probes. Anybody may ask, and a question costs a connection.
struct Probes {
    db: Option<Db>,
    useless: Kept,
    ready: Kept,
}

/// An answer that one caller at a time asks for, and that is kept for a second.
#[derive(Default)]
struct Kept(Mutex<Option<(Instant, bool)>>);

impl Kept {
    async fn or_ask(&self, question: impl Future<Output = bool>) -> bool {
        let mut kept = self.0.lock().await;
        match *kept {
            Some((asked, answer)) if asked.elapsed() < Duration::from_secs(1) => answer,
            _ => {
                let answer = question.await;
                *kept = Some((Instant::now(), answer));
                answer
            }
        }
    }
}

/// Answers 503 when a new process would help, see [`Db::is_useless`].
async fn healthy(State(probes): State<Arc<Probes>>) -> StatusCode {
    let Some(db) = &probes.db else { return StatusCode::OK };
    let useless = probes.useless.or_ask(db.is_useless()).await;
    if useless { StatusCode::SERVICE_UNAVAILABLE } else { StatusCode::OK }
}

/// Answers 200 when the database, if there is one, answers within 2 s, else 503.
async fn ready(State(probes): State<Arc<Probes>>) -> StatusCode {
    let Some(db) = &probes.db else { return StatusCode::OK };
    let question = timeout(Duration::from_secs(2), sqlx::query("select 1").execute(db));
    let ready = probes.ready.or_ask(async { matches!(question.await, Ok(Ok(_))) }).await;
    if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE }
}

/// Answers a path without a route. For event and job paths that is a 500, because Dapr takes a 404 as done and would drop the
/// event or job; a later deployment may have the route.
///
/// A layer, not a fallback: a fallback that is set last replaces that of the function together with its layers, and a web page could not read
/// the answer without the headers of CORS.
async fn unknown(request: Request, next: Next) -> Response {
    if request.extensions().get::<MatchedPath>().is_some() {
        return next.run(request).await;
    }
    let path = request.uri().path();
    if is_from_daprd(path) {
        let reason = format!("no route for {path}: answered 500, so that Dapr retries");
        return Problem::Internal(reason.into()).into_response();
    }
    let answer = next.run(request).await;
    if answer.status() != StatusCode::NOT_FOUND {
        return answer; // to a preflight request
    }
    let mut problem = Problem::NotFound.into_response();
    problem.headers_mut().extend(answer.into_parts().0.headers);
    problem
}

/// Logs one line for each request of the HTTP API. Event and job handlers log their own outcome.
async fn log(request: Request, next: Next) -> Response {
    let route = request.extensions().get::<MatchedPath>().map(|path| path.as_str().to_owned());
    let Some(route) = route.filter(|route| route.starts_with("/v1/")) else {
        return next.run(request).await;
    };
    let (method, began) = (request.method().clone(), std::time::Instant::now());
    let response = next.run(request).await;
    let (status, took) = (response.status().as_u16(), began.elapsed().as_millis());
    tracing::info!(http.method = %method, http.route = route, http.status = status, took_ms = took, "{method} {route} {status}");
    response
}
