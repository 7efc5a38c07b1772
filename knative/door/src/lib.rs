//! `door`: daprd's application, in daprd's pod, for a function that may be at zero.
//!
//! daprd calls it at 127.0.0.1; it hands each call to the function's Knative Service, whose route wakes the function. It stands
//! there because daprd misunderstands a route: a 404 is "done" to it, and a route that is being changed answers 404.
//!
//! - `/events/_ignore` is answered here: an event of another type wakes nobody.
//! - A 404 becomes a 503. No function answers 404 on purpose (see CONTRIBUTING.md).
//! - A connection that is refused or breaks, and a 404, 502 or 503 of the route, are tried again for 20 s.
//!
//! A call may therefore reach the function twice. So it may without the door: events and jobs are delivered at least once, and the
//! function's inbox and job versions make them take effect once.

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
    routing::any,
};
use http_body_util::Full;
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::{TokioExecutor, TokioTimer},
};
use tokio::{
    net::TcpListener,
    signal::unix::{SignalKind, signal},
};

/// How long a route that is not there, or not yet, is tried again. Together with the slowest handler it stays below the inbound
/// timeout of `dapr/resiliency`.
pub const PATIENCE: Duration = Duration::from_secs(20);
/// How long calls are still accepted after SIGTERM. Above `dapr.io/block-shutdown-duration`, which is how long daprd goes on
/// calling after its own.
const LINGER: Duration = Duration::from_secs(5);
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(2);
/// Above what a broker carries and a dead letter's encoding makes of it.
const LARGEST_BODY: usize = 32 << 20;
/// Of one connection, or added by the sender's side of it (RFC 9110, section 7.6.1): never handed on.
const OF_THE_CONNECTION: [header::HeaderName; 8] = [
    header::CONNECTION,
    header::CONTENT_LENGTH,
    header::EXPECT,
    header::HOST,
    header::TE,
    header::TRAILER,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
];

#[derive(Clone)]
struct Door {
    target: Uri,
    patience: Duration,
    client: Client<HttpConnector, Full<Bytes>>,
}

/// The door to `target`, `http://<host>[:<port>]`, which waits for it as long as `patience`.
///
/// # Errors
/// When `target` is not such an address.
pub fn router(target: &Uri, patience: Duration) -> anyhow::Result<Router> {
    let plain = target.scheme_str() == Some("http") && target.path() == "/" && target.query().is_none();
    anyhow::ensure!(plain, "TARGET must be http://<host> or http://<host>:<port>");
    let mut connector = HttpConnector::new();
    connector.set_connect_timeout(Some(Duration::from_secs(5)));
    connector.set_nodelay(true);
    // A function may think for long; a node that died must be noticed all the same.
    connector.set_keepalive(Some(Duration::from_secs(15)));
    connector.set_keepalive_interval(Some(Duration::from_secs(5)));
    connector.set_keepalive_retries(Some(3));
    let client = Client::builder(TokioExecutor::new())
        .pool_timer(TokioTimer::new())
        .pool_idle_timeout(Duration::from_secs(30))
        .build(connector);
    let door = Door { target: target.clone(), patience, client };
    Ok(Router::new().route("/events/_ignore", any(async || StatusCode::OK)).fallback(forward).with_state(door))
}

/// Serves until SIGTERM, then for `LINGER` more and until every call has its answer: the end is daprd's to choose, whose calls
/// end with it.
///
/// # Errors
/// When the port is taken.
pub async fn run(routes: Router, port: u16) -> anyhow::Result<()> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port))
        .await
        .with_context(|| format!("port {port} cannot be had; set PORT to a free one"))?;
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
        tracing::warn!("door: a call broke off, or is larger than {LARGEST_BODY} bytes");
        return StatusCode::SERVICE_UNAVAILABLE.into_response();
    };
    let began = Instant::now();
    let mut pause = FIRST_PAUSE;
    loop {
        let answer = door.once(&parts, body.clone()).await;
        let given_up = began.elapsed() + pause > door.patience;
        let refusal = match answer {
            Ok(answer) if !is_of_the_route(&answer) => return answer,
            Ok(answer) if given_up => {
                tracing::warn!(http.status = answer.status().as_u16(), "door: no function behind {}", door.target);
                return answer;
            }
            Ok(answer) => answer.status().to_string(),
            Err(error) if given_up => {
                tracing::warn!(error, "door: no function behind {}", door.target);
                return StatusCode::SERVICE_UNAVAILABLE.into_response();
            }
            Err(error) => error,
        };
        tracing::debug!(refusal, "door: trying {} again", door.target);
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

impl Door {
    /// One attempt; the answer's body is not waited for but handed on as it comes.
    async fn once(&self, call: &Parts, body: Bytes) -> Result<Response, String> {
        let mut target = self.target.clone().into_parts();
        target.path_and_query = call.uri.path_and_query().cloned().or(Some(PathAndQuery::from_static("/")));
        let mut request = Request::new(Full::new(body));
        *request.method_mut() = call.method.clone();
        *request.uri_mut() = Uri::from_parts(target).map_err(|error| error.to_string())?;
        *request.headers_mut() = without_the_connection(call.headers.clone());
        let answer = self.client.request(request).await.map_err(|error| chain(&error))?;
        let (mut parts, body) = answer.into_parts();
        parts.headers = without_the_connection(parts.headers);
        if parts.status == StatusCode::NOT_FOUND {
            parts.status = StatusCode::SERVICE_UNAVAILABLE;
        }
        Ok(Response::from_parts(parts, Body::new(body)))
    }
}

/// Whether an answer, its 404 turned into 503, is of the route rather than the function: a gateway and the activator answer with
/// plain text or nothing, a function that has something to say with JSON. A function's bare 503 is tried again too: it means that
/// something it needs is away.
fn is_of_the_route(answer: &Response) -> bool {
    let json = answer.headers().get(header::CONTENT_TYPE).is_some_and(|kind| {
        let kind = kind.as_bytes();
        kind.starts_with(b"application/json") || kind.starts_with(b"application/problem+json")
    });
    matches!(answer.status(), StatusCode::BAD_GATEWAY | StatusCode::SERVICE_UNAVAILABLE) && !json
}

fn without_the_connection(mut headers: HeaderMap) -> HeaderMap {
    for name in OF_THE_CONNECTION {
        headers.remove(name);
    }
    headers
}

/// The error with its causes: the outermost says only that the client failed.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        text = format!("{text}: {cause}");
        next = cause.source();
    }
    text
}
