//! One process of a function: reads its configuration, connects to nothing, listens, and stops cleanly.
//!
//! The same router runs under axum on `$PORT` (Knative, plain Kubernetes, a laptop) or, where AWS Lambda's runtime is there,
//! under `lambda_http` (see [`lambda`]).

pub mod connections;
pub mod lambda;

use std::{net::Ipv4Addr, time::Duration};

use anyhow::Context as _;
use axum::{
    Router,
    extract::{MatchedPath, Request, State},
    http::{StatusCode, Uri},
    middleware::{self, Next},
    response::{IntoResponse as _, Response},
    routing::{get, post},
};
use tokio::signal::unix::{SignalKind, signal};

use crate::{App, Config, config, problem::Problem, telemetry};

/// How long requests in flight may take after SIGTERM; Knative's and Dapr's own grace is 30 s.
const DRAIN: Duration = Duration::from_secs(25);
/// How long a process that stops goes on publishing what it wrote.
const FLUSH: Duration = Duration::from_secs(2);

/// Runs a function until SIGTERM, or for as long as Lambda's runtime keeps it.
///
/// # Errors
/// When the configuration is wrong or the port is taken.
pub async fn run(router: fn(App) -> Router) -> anyhow::Result<()> {
    let app = start()?;
    let routes = complete(router(app.clone()), app.clone());
    if std::env::var_os("AWS_LAMBDA_RUNTIME_API").is_some() {
        return lambda::run(routes, app).await;
    }
    tokio::spawn(app.outbox.clone().relay());
    listen(routes, &app).await?;
    if let Err(error) = app.outbox.flush(FLUSH).await {
        tracing::warn!(error = format!("{error:#}"), "outbox: the next process publishes what this one could not");
    }
    Ok(())
}

/// The state of this process, from its environment: also for one that serves nothing (`upkeep --repair`).
///
/// # Errors
/// When the configuration is wrong.
pub fn start() -> anyhow::Result<App> {
    // Whichever crate asks first would choose it otherwise, and two would panic.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    telemetry::init();
    let config: Config = config::from_env();
    let db = config.pool()?;
    App::new(config, db)
}

async fn listen(routes: Router, app: &App) -> anyhow::Result<()> {
    let port = app.config.port;
    let listener = tokio::net::TcpListener::bind((Ipv4Addr::UNSPECIFIED, port))
        .await
        .with_context(|| format!("port {port} cannot be had; set PORT to a free one"))?;
    tracing::info!(port, "listening on port {port}");
    let (stop, stopped) = tokio::sync::oneshot::channel();
    let server = connections::serve(listener, routes, async {
        terminated().await;
        let _ = stop.send(());
    });
    tokio::select! {
        () = server => {}
        () = async { let _ = stopped.await; tokio::time::sleep(DRAIN).await } => {
            tracing::warn!("requests in flight took longer than {DRAIN:?} and were cut");
        }
    }
    tracing::info!("stopped");
    Ok(())
}

async fn terminated() {
    let mut terminate = signal(SignalKind::terminate()).expect("a signal handler can be installed");
    let mut interrupt = signal(SignalKind::interrupt()).expect("a signal handler can be installed");
    tokio::select! { _ = terminate.recv() => {}, _ = interrupt.recv() => {} }
}

/// What every function answers beside its own routes.
pub fn complete(routes: Router, app: App) -> Router {
    let common = Router::new()
        .route("/healthz", get(async || StatusCode::OK))
        .route("/readyz", get(ready))
        .route("/events/_ignore", post(async || StatusCode::OK))
        .with_state(app);
    routes.merge(common).fallback(unknown).layer(middleware::from_fn(log)).layer(middleware::from_fn(to_its_end))
}

/// Works on a request in a task of its own, to its end, also when who asked goes away: daprd gives up the calls of jobs when its
/// scheduler does (dapr `pkg/runtime/scheduler/internal/cluster/streamer.go`), and a client hangs up. Cut off in the middle, what
/// was committed would not be published, and a message that was accepted not be known to be.
async fn to_its_end(request: Request, next: Next) -> Response {
    let work = tokio::spawn(next.run(request));
    work.await.unwrap_or_else(|_| Problem::Internal("a handler panicked".into()).into_response())
}

/// Whether the database answers, in 2 s.
async fn ready(State(app): State<App>) -> StatusCode {
    let asked = tokio::time::timeout(Duration::from_secs(2), sqlx::query("select 1").execute(&app.db)).await;
    if matches!(asked, Ok(Ok(_))) { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE }
}

/// A missing event or job route is a fault of ours that a retry may meet mended; a 404 would tell Dapr that all is done.
async fn unknown(uri: Uri) -> Response {
    if uri.path().starts_with("/events/") || uri.path().starts_with("/job/") {
        tracing::error!("no route for {}: answered 500 so that nothing is lost", uri.path());
        return StatusCode::INTERNAL_SERVER_ERROR.into_response();
    }
    Problem::NotFound.into_response()
}

/// One line a request of the HTTP API; events and jobs write their own.
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
