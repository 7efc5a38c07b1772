//! A Lambda Runtime API for one process: <https://docs.aws.amazon.com/lambda/latest/dg/runtimes-api.html>.
//!
//! The process asks for the next invocation, during which Lambda may freeze it, and posts a response or an error. The test decides
//! when the post is answered. Until then the process is at the point where Lambda may freeze or kill it.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, SystemTime},
};

use axum::{
    Router,
    body::Bytes,
    extract::{Path, State},
    http::{HeaderMap, StatusCode},
    response::{IntoResponse as _, Response},
    routing::{get, post},
};
use serde_json::Value;
use tokio::{
    net::TcpListener,
    sync::{Notify, mpsc, oneshot},
    time::timeout,
};
use uuid::Uuid;

/// The function timeout in `infra/lambda/template.yaml`.
pub(crate) const TIMEOUT: Duration = Duration::from_secs(70);

/// A running Runtime API.
pub(crate) struct RuntimeApi {
    /// The value of `AWS_LAMBDA_RUNTIME_API`.
    pub(crate) address: String,
    api: Arc<Api>,
    send: mpsc::UnboundedSender<(String, Value)>,
}

struct Api {
    next: tokio::sync::Mutex<mpsc::UnboundedReceiver<(String, Value)>>,
    invoked: Mutex<HashMap<String, oneshot::Sender<Outcome>>>,
    asked: Notify,
}

/// The result of an invocation.
#[derive(Debug)]
pub(crate) struct Outcome {
    /// Whether the function posted a response. An error does not acknowledge.
    pub(crate) acknowledged: bool,
    /// The response, or the error.
    pub(crate) body: Value,
    /// The post is answered when this is dropped.
    pub(crate) release: oneshot::Sender<()>,
}

impl RuntimeApi {
    pub(crate) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address").to_string();
        let (send, next) = mpsc::unbounded_channel();
        let api = Arc::new(Api { next: next.into(), invoked: Mutex::default(), asked: Notify::new() });
        let routes = Router::new()
            .route("/2018-06-01/runtime/invocation/next", get(next_invocation))
            .route("/2018-06-01/runtime/invocation/{id}/response", post(response))
            .route("/2018-06-01/runtime/invocation/{id}/error", post(error))
            .route("/2018-06-01/runtime/init/error", post(init_error))
            .with_state(api.clone());
        tokio::spawn(async move { axum::serve(listener, routes).await });
        Self { address, api, send }
    }

    /// Waits until the process asks for an invocation, which ends its start.
    pub(crate) async fn asked(&self) {
        timeout(Duration::from_secs(20), self.api.asked.notified()).await.expect("the process asks for an invocation");
    }

    /// Invokes the function and waits for its post.
    pub(crate) async fn invoke(&self, event: Value) -> Outcome {
        let (outcome, posted) = oneshot::channel();
        let id = Uuid::new_v4().to_string();
        self.api.invoked.lock().unwrap_or_else(PoisonError::into_inner).insert(id.clone(), outcome);
        self.send.send((id, event)).expect("the API listens");
        timeout(TIMEOUT, posted).await.expect("an answer before the function's timeout").expect("an answer")
    }
}

async fn next_invocation(State(api): State<Arc<Api>>) -> Response {
    api.asked.notify_one();
    let Some((id, event)) = api.next.lock().await.recv().await else {
        return StatusCode::GONE.into_response(); // the test is over
    };
    let deadline = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).expect("a clock") + TIMEOUT;
    let headers = [
        ("content-type", "application/json".to_owned()),
        ("lambda-runtime-aws-request-id", id),
        ("lambda-runtime-deadline-ms", deadline.as_millis().to_string()),
        (
            "lambda-runtime-invoked-function-arn",
            "arn:aws:lambda:eu-central-1:123456789012:function:punctual".to_owned(),
        ),
        (
            "lambda-runtime-trace-id",
            "Root=1-5759e988-bd862e3fe1be46a994272793;Parent=53995c3f42cd8ad8;Sampled=1".to_owned(),
        ),
    ];
    (headers, event.to_string()).into_response()
}

async fn response(api: State<Arc<Api>>, id: Path<String>, body: Bytes) -> StatusCode {
    posted(api, id, true, &body).await
}

async fn error(api: State<Arc<Api>>, id: Path<String>, headers: HeaderMap, body: Bytes) -> StatusCode {
    assert!(headers.contains_key("lambda-runtime-function-error-type"), "{headers:?}");
    posted(api, id, false, &body).await
}

async fn posted(State(api): State<Arc<Api>>, Path(id): Path<String>, acknowledged: bool, body: &[u8]) -> StatusCode {
    let Some(invoked) = api.invoked.lock().unwrap_or_else(PoisonError::into_inner).remove(&id) else {
        return StatusCode::GONE;
    };
    let body = serde_json::from_slice(body).expect("JSON");
    let (release, released) = oneshot::channel();
    let _ = invoked.send(Outcome { acknowledged, body, release });
    let _ = released.await;
    StatusCode::ACCEPTED
}

async fn init_error(body: Bytes) -> StatusCode {
    eprintln!("the process could not start: {}", String::from_utf8_lossy(&body));
    StatusCode::ACCEPTED
}
