//! The routes that doors call. On a cluster a door calls its function's Knative route, which wakes the function, and which briefly
//! answers 404 or 503 while it changes. Here each function has a forwarder that divides the calls between the function's two processes, and
//! can be set to answer with such a status.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU16, AtomicUsize, Ordering},
    },
};

use axum::{
    Router,
    body::{Body, to_bytes},
    extract::{Request, State},
    http::StatusCode,
    response::{IntoResponse as _, Response},
};
use lab::topology::Route;

/// One forwarder per function.
#[derive(Debug)]
pub(crate) struct Routes {
    /// The status with which each forwarder answers, or 0 if it forwards.
    answers: BTreeMap<String, Arc<AtomicU16>>,
}

#[derive(Clone)]
struct Forwarder {
    processes: [String; 2],
    calls: Arc<AtomicUsize>,
    answer: Arc<AtomicU16>,
    http: reqwest::Client,
}

impl Routes {
    /// Starts the forwarders. `seconds` has the URL of each function's second process.
    pub(crate) async fn serve(routes: &[Route], seconds: &BTreeMap<String, String>) -> anyhow::Result<Self> {
        let http = reqwest::Client::builder().no_proxy().redirect(reqwest::redirect::Policy::none()).build()?;
        let mut answers = BTreeMap::new();
        for route in routes {
            let answer: Arc<AtomicU16> = Arc::default();
            let processes = [format!("http://127.0.0.1:{}", route.function), seconds[&route.name].clone()];
            let forwarder = Forwarder { processes, calls: Arc::default(), answer: answer.clone(), http: http.clone() };
            let listener = tokio::net::TcpListener::bind(SocketAddr::from(([127, 0, 0, 1], route.port))).await?;
            let serve = axum::serve(listener, Router::new().fallback(forward).with_state(forwarder));
            tokio::spawn(async move { serve.await });
            answers.insert(route.name.clone(), answer);
        }
        Ok(Self { answers })
    }

    pub(crate) fn names(&self) -> Vec<String> {
        self.answers.keys().cloned().collect()
    }

    /// Makes a forwarder answer with a status.
    pub(crate) fn answer(&self, name: &str, status: u16) {
        if let Some(answer) = self.answers.get(name) {
            answer.store(status, Ordering::Relaxed);
        }
    }

    /// Makes it forward again.
    pub(crate) fn forward(&self, name: &str) {
        self.answer(name, 0);
    }
}

async fn forward(State(forwarder): State<Forwarder>, request: Request) -> Response {
    match forwarder.answer.load(Ordering::Relaxed) {
        0 => pass(&forwarder, request).await.unwrap_or_else(|_| StatusCode::BAD_GATEWAY.into_response()),
        status => StatusCode::from_u16(status).unwrap_or(StatusCode::NOT_FOUND).into_response(),
    }
}

async fn pass(forwarder: &Forwarder, request: Request) -> anyhow::Result<Response> {
    let (parts, body) = request.into_parts();
    let path = parts.uri.path_and_query().map_or("/", |path| path.as_str());
    let mut headers = parts.headers;
    for of_the_connection in ["host", "content-length", "transfer-encoding", "connection"] {
        headers.remove(of_the_connection);
    }
    let to = &forwarder.processes[forwarder.calls.fetch_add(1, Ordering::Relaxed) % 2];
    let answer = forwarder
        .http
        .request(parts.method, format!("{to}{path}"))
        .headers(headers)
        .body(to_bytes(body, usize::MAX).await?)
        .send()
        .await?;
    let status = answer.status();
    Ok((status, Body::from(answer.bytes().await?)).into_response())
}
