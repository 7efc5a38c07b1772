//! `door`: the application of an always-on daprd, for a function that may be scaled to zero.
//!
//! daprd calls the door at 127.0.0.1. The door forwards each call to the function's Knative Service, whose route wakes the
//! function. daprd must not call that route directly: it takes a 404 as done, and a Knative route that is changing answers 404.
//!
//! - The door answers `/events/_ignore` itself: an event of another type wakes no function.
//! - It turns a 404 into a 503. No function answers 404 on purpose (see CONTRIBUTING.md).
//! - It retries a refused or broken connection, and a 404, 502 or 503 of the route, for 20 s.
//!
//! A call may therefore reach the function twice. That is allowed without the door too: Dapr delivers events and jobs at least
//! once, and the function's inbox and job versions make them take effect once.

use std::{
    net::Ipv4Addr,
    time::{Duration, Instant},
};

use anyhow::Context as _;
use axum::{
    Router,
    body::{Body, Bytes},
    extract::{Request, State},
    http::{HeaderMap, StatusCode, Uri, header, request::Parts, uri::PathAndQuery},
    response::{IntoResponse as _, Response},
    routing::{any, get},
};
use clap::Parser;
use http_body_util::Full;
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::{TokioExecutor, TokioTimer},
};
use tokio::{
    net::TcpListener,
    signal::unix::{SignalKind, signal},
    time::timeout,
};

/// How long the door retries a route that does not answer. Together with the slowest handler this stays below the inbound timeout
/// of `dapr/resiliency`.
pub const PATIENCE: Duration = Duration::from_secs(20);
/// Limit for an attempt, a start from zero included. daprd has none for a job: behind a pod that vanished, a reminder would wait forever. Longer than
/// the function's own limit (`shared::deadlines`), shorter than the inbound timeout of `dapr/resiliency`.
pub const ATTEMPT: Duration = Duration::from_secs(85);
/// How long the door still accepts calls after SIGTERM: longer than `dapr.io/block-shutdown-duration`, for which daprd goes on
/// calling after its own SIGTERM.
const LINGER: Duration = Duration::from_secs(5);
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(2);
/// Limit of a body in bytes: larger than any message of a broker after a dead letter's base64 encoding.
const LARGEST_BODY: usize = 32 << 20;
/// Headers of a single connection (RFC 9110, section 7.6.1), which are never forwarded.
const HOP_BY_HOP: [header::HeaderName; 8] = [
    header::CONNECTION,
    header::CONTENT_LENGTH,
    header::EXPECT,
    header::HOST,
    header::TE,
    header::TRAILER,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
];

/// The configuration of the door, read from its environment.
#[derive(Parser, Clone, Debug)]
pub struct Settings {
    /// URL of the function's Knative Service: `http://<function>.<namespace>.svc.cluster.local`.
    #[arg(long, env)]
    pub target: Uri,
    /// TCP port on 127.0.0.1 that daprd calls.
    #[arg(long, env, default_value_t = 8080)]
    pub port: u16,
    /// TCP port on all addresses that answers `/healthz` to the kubelet's probes, and nothing else. Without it nothing does.
    #[arg(long, env)]
    pub health_port: Option<u16>,
}

#[derive(Clone)]
struct Door {
    target: Uri,
    patience: Duration,
    attempt: Duration,
    client: Client<HttpConnector, Full<Bytes>>,
}

/// Forwards to `target`, which is `http://<host>[:<port>]`, and retries for at most `patience`. An attempt ends after `attempt`.
///
/// # Errors
/// When `target` has another form.
pub fn router(target: &Uri, patience: Duration, attempt: Duration) -> anyhow::Result<Router> {
    let plain = target.scheme_str() == Some("http") && target.path() == "/" && target.query().is_none();
    anyhow::ensure!(plain, "TARGET must be http://<host> or http://<host>:<port>");
    let mut connector = HttpConnector::new();
    connector.set_connect_timeout(Some(Duration::from_secs(5)));
    connector.set_nodelay(true);
    // A dead node acknowledges neither the probes of an idle connection nor what was sent: then no probes are sent.
    connector.set_keepalive(Some(Duration::from_secs(10)));
    connector.set_keepalive_interval(Some(Duration::from_secs(5)));
    connector.set_keepalive_retries(Some(2));
    #[cfg(target_os = "linux")] // macOS has no such option
    connector.set_tcp_user_timeout(Some(Duration::from_secs(15)));
    let client = Client::builder(TokioExecutor::new())
        .pool_timer(TokioTimer::new())
        .pool_idle_timeout(Duration::from_secs(30))
        .build(connector);
    let door = Door { target: target.clone(), patience, attempt, client };
    Ok(Router::new().route("/events/_ignore", any(async || StatusCode::OK)).fallback(forward).with_state(door))
}

/// Serves until SIGTERM, then for `LINGER` more, then until every call is answered. There is no deadline: daprd ends before the
/// door, and its calls end with it.
///
/// # Errors
/// When a port is taken.
pub async fn run(routes: Router, port: u16, health_port: Option<u16>) -> anyhow::Result<()> {
    if let Some(port) = health_port {
        let listener = TcpListener::bind((Ipv4Addr::UNSPECIFIED, port))
            .await
            .with_context(|| format!("cannot listen on port {port}: set HEALTH_PORT to a free port"))?;
        let health = Router::new().route("/healthz", get(async || StatusCode::OK));
        tokio::spawn(async move { axum::serve(listener, health).await });
    }
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port))
        .await
        .with_context(|| format!("cannot listen on port {port}: set PORT to a free port"))?;
    let mut terminate = signal(SignalKind::terminate())?;
    tracing::info!(port, "door: listening on port {port}");
    axum::serve(listener, routes)
        .with_graceful_shutdown(async move {
            terminate.recv().await;
            tokio::time::sleep(LINGER).await;
        })
        .await?;
    tracing::info!("door: stopped");
    Ok(())
}

async fn forward(State(door): State<Door>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let Ok(body) = axum::body::to_bytes(body, LARGEST_BODY).await else {
        tracing::warn!("door: daprd aborted a call, or its body is larger than {LARGEST_BODY} bytes");
        return StatusCode::SERVICE_UNAVAILABLE.into_response();
    };
    let began = Instant::now();
    let mut pause = FIRST_PAUSE;
    loop {
        let answer = timeout(door.attempt, door.once(&parts, body.clone())).await;
        let answer = answer.unwrap_or_else(|_| Err(format!("no answer within {:?}", door.attempt)));
        let given_up = began.elapsed() + pause > door.patience;
        let refusal = match answer {
            Ok(answer) if !is_from_route(&answer) => return answer,
            Ok(answer) if given_up => {
                tracing::warn!(http.status = answer.status().as_u16(), "door: no answer from {}", door.target);
                return answer;
            }
            Ok(answer) => answer.status().to_string(),
            Err(error) if given_up => {
                tracing::warn!(error, "door: no answer from {}", door.target);
                return StatusCode::SERVICE_UNAVAILABLE.into_response();
            }
            Err(error) => error,
        };
        tracing::debug!(refusal, "door: retrying {}", door.target);
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

impl Door {
    /// Makes one attempt. The answer's body is streamed.
    async fn once(&self, call: &Parts, body: Bytes) -> Result<Response, String> {
        let mut target = self.target.clone().into_parts();
        target.path_and_query = call.uri.path_and_query().cloned().or(Some(PathAndQuery::from_static("/")));
        let mut request = Request::new(Full::new(body));
        *request.method_mut() = call.method.clone();
        *request.uri_mut() = Uri::from_parts(target).map_err(|error| error.to_string())?;
        *request.headers_mut() = without_hop_by_hop(call.headers.clone());
        let answer = self.client.request(request).await.map_err(|error| chain(&error))?;
        let (mut parts, body) = answer.into_parts();
        parts.headers = without_hop_by_hop(parts.headers);
        if parts.status == StatusCode::NOT_FOUND {
            parts.status = StatusCode::SERVICE_UNAVAILABLE;
        }
        Ok(Response::from_parts(parts, Body::new(body)))
    }
}

/// Whether an answer comes from the route and not from the function, so that a retry may reach the function.
///
/// The gateway and the activator answer with plain text or nothing; a function answers a final 503 with JSON. The door also
/// retries a function's bare 503, which means that a dependency is down.
fn is_from_route(answer: &Response) -> bool {
    let json = answer.headers().get(header::CONTENT_TYPE).is_some_and(|kind| {
        let kind = kind.as_bytes();
        kind.starts_with(b"application/json") || kind.starts_with(b"application/problem+json")
    });
    matches!(answer.status(), StatusCode::BAD_GATEWAY | StatusCode::SERVICE_UNAVAILABLE) && !json
}

fn without_hop_by_hop(mut headers: HeaderMap) -> HeaderMap {
    for name in HOP_BY_HOP {
        headers.remove(name);
    }
    headers
}

/// The error and its causes in one line: the outermost says only that the client failed.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        text = format!("{text}: {cause}");
        next = cause.source();
    }
    text
}
