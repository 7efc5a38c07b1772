//! A write as it arrives, read whole before anything is done, and the answer it gets.

use std::{collections::BTreeMap, time::Duration};

use axum::{
    body::{Bytes, to_bytes},
    extract::{FromRequest, FromRequestParts, Path, Request},
    http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header, request::Parts},
    response::{IntoResponse, Response},
};
use serde::Serialize;
use serde_json::Value;
use sha2::{Digest as _, Sha256};
use shared::{
    App,
    cloud_event::Trace,
    faults::crash,
    outbox,
    problem::{Fault, Problem, Result},
    schema::TaskUpdated,
};
use uuid::Uuid;

use crate::{
    input::Fields,
    task::{self, Task},
    user_tx::UserTx,
};

const BODY_LIMIT: usize = 1024 * 1024;
/// A client that is slower than this for so little is none to wait for.
const BODY_DEADLINE: Duration = Duration::from_secs(20);
const KEY_LIMIT: usize = 255;
pub(crate) const IDEMPOTENCY_KEY: &str = "Idempotency-Key";

/// Everything of a write but who sent it.
pub(crate) struct Command {
    /// The trace its events belong to.
    pub(crate) trace: Trace,
    /// `Idempotency-Key`.
    pub(crate) key: Option<String>,
    /// Tells two requests with one key apart.
    pub(crate) fingerprint: Vec<u8>,
    if_match: Option<String>,
    is_json: bool,
    body: Bytes,
}

impl<S: Send + Sync> FromRequest<S> for Command {
    type Rejection = Problem;

    async fn from_request(request: Request, _: &S) -> Result<Self> {
        let (parts, body) = request.into_parts();
        let key = key(&parts.headers)?;
        let text = |name| parts.headers.get(name).and_then(|value: &HeaderValue| value.to_str().ok());
        if text(header::CONTENT_LENGTH)
            .and_then(|length| length.parse().ok())
            .is_some_and(|length: usize| length > BODY_LIMIT)
        {
            return Err(Problem::TooLarge);
        }
        let body = tokio::time::timeout(BODY_DEADLINE, to_bytes(body, BODY_LIMIT));
        let body =
            body.await.map_err(|_| Problem::Malformed("the body did not arrive in 20 s".into()))?.map_err(|error| {
                let source = std::error::Error::source(&error);
                if source.is_some_and(|source| source.is::<http_body_util::LengthLimitError>()) {
                    Problem::TooLarge
                } else {
                    Problem::Malformed("the body did not arrive whole".into())
                }
            })?;
        let kind = text(header::CONTENT_TYPE).unwrap_or_default();
        let kind = kind.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
        let mut hash = Sha256::new();
        for part in [parts.method.as_str().as_bytes(), parts.uri.path().as_bytes(), &body] {
            hash.update(part.len().to_be_bytes());
            hash.update(part);
        }
        Ok(Self {
            trace: Trace::from_header(text(HeaderName::from_static("traceparent"))),
            key,
            fingerprint: hash.finalize().to_vec(),
            if_match: if_match(&parts.headers),
            is_json: matches!(&*kind, "application/json" | "application/merge-patch+json"),
            body,
        })
    }
}

fn key(headers: &HeaderMap) -> Result<Option<String>> {
    let mut given = headers.get_all(IDEMPOTENCY_KEY).iter();
    let Some(key) = given.next() else { return Ok(None) };
    match key.to_str() {
        Ok(key) if (1..=KEY_LIMIT).contains(&key.len()) && !key.contains('\t') && given.next().is_none() => {
            Ok(Some(key.to_owned()))
        }
        _ => Err(Fault::in_header(IDEMPOTENCY_KEY, "must be one value of 1 to 255 visible ASCII characters").into()),
    }
}

fn if_match(headers: &HeaderMap) -> Option<String> {
    let given: Vec<_> =
        headers.get_all(header::IF_MATCH).iter().map(|value| value.to_str().unwrap_or_default()).collect();
    (!given.is_empty()).then(|| given.join(","))
}

impl Command {
    /// The body as an object, to be read field by field.
    pub(crate) fn object(&self) -> Result<Fields> {
        if !self.is_json {
            return Err(Problem::UnsupportedMediaType);
        }
        match serde_json::from_slice(&self.body) {
            Ok(Value::Object(object)) => Ok(Fields::new(object)),
            Ok(_) => Err(Fault::at("", "must be an object").into()),
            Err(error) => Err(Problem::Malformed(format!("the body is not JSON: {error}").into())),
        }
    }

    /// Holds a command that has nothing to say to an empty body, or `{}`.
    pub(crate) fn nothing(&self) -> Result<()> {
        if self.body.is_empty() { Ok(()) } else { self.object()?.finish() }
    }

    /// Holds the task to `If-Match` (RFC 9110, section 13.1.1; the comparison is strong, so `W/"1"` matches nothing).
    pub(crate) fn expects(&self, version: i64) -> Result<()> {
        let tag = etag(version);
        match &self.if_match {
            Some(given) if !given.split(',').map(str::trim).any(|given| given == "*" || given == tag) => {
                Err(Problem::PreconditionFailed(version))
            }
            _ => Ok(()),
        }
    }
}

/// How a command ends. Each of these commits; a command that was refused leaves its transaction to roll back.
impl Command {
    /// It found nothing to change.
    pub(crate) async fn unchanged(&self, mut tx: UserTx, user_id: Uuid, answer: Answer) -> Result<Answer> {
        self.keep(&mut tx, user_id, &answer).await?;
        crash("command-before-commit");
        tx.commit().await?;
        crash("command-committed");
        Ok(answer)
    }

    /// It changed something, and has written its event.
    pub(crate) async fn done(&self, app: &App, tx: UserTx, user_id: Uuid, answer: Answer) -> Result<Answer> {
        app.outbox.wake_after(self.unchanged(tx, user_id, answer).await)
    }

    /// It changed a task or its reminders and has raised the task's version: `task.updated`, and the task as it now is.
    pub(crate) async fn updated(
        &self,
        app: &App,
        mut tx: UserTx,
        user_id: Uuid,
        task_id: Uuid,
        status: StatusCode,
    ) -> Result<Answer> {
        let task = task::load(&mut tx, user_id, task_id).await?;
        outbox::emit(&mut tx, &TaskUpdated { task: task.reference() }, &self.trace).await?;
        self.done(app, tx, user_id, Answer::task(status, &task)).await
    }
}

fn etag(version: i64) -> String {
    format!("\"{version}\"")
}

/// What a write answers, in a form that can be kept for its repetition.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: BTreeMap<String, String>,
    /// JSON text; kept as text, so that a repetition is the same to the byte.
    pub(crate) body: Option<String>,
}

impl Answer {
    /// The task as it now is.
    pub(crate) fn task(status: StatusCode, task: &Task) -> Self {
        let mut answer = Self::json(status, task);
        answer.headers.insert("etag".to_owned(), etag(task.version));
        answer
    }

    /// The new task, and where it is.
    pub(crate) fn created(task: &Task) -> Self {
        let mut answer = Self::task(StatusCode::CREATED, task);
        answer.headers.insert("location".to_owned(), format!("/v1/tasks/{}", task.id));
        answer
    }

    pub(crate) fn json(status: StatusCode, body: &impl Serialize) -> Self {
        let body = serde_json::to_string(body).expect("an answer is plain data");
        Self { status, headers: BTreeMap::new(), body: Some(body) }
    }

    pub(crate) fn empty() -> Self {
        Self { status: StatusCode::NO_CONTENT, headers: BTreeMap::new(), body: None }
    }
}

impl IntoResponse for Answer {
    fn into_response(self) -> Response {
        let mut response = match self.body {
            Some(body) => (self.status, [(header::CONTENT_TYPE, "application/json")], body).into_response(),
            None => self.status.into_response(),
        };
        for (name, value) in self.headers {
            if let (Ok(name), Ok(value)) = (HeaderName::try_from(name), HeaderValue::try_from(value)) {
                response.headers_mut().insert(name, value);
            }
        }
        response
    }
}

/// The id in the path. What is no UUID is the id of nothing: the same 404.
pub(crate) struct Id(pub(crate) Uuid);

impl<S: Send + Sync> FromRequestParts<S> for Id {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self> {
        let Path(id) = Path::<Uuid>::from_request_parts(parts, state).await.map_err(|_| Problem::NotFound)?;
        Ok(Self(id))
    }
}
