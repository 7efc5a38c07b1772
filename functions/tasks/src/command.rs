//! A write request, read completely before anything is done.

use std::time::Duration;

use axum::{
    body::{Bytes, to_bytes},
    extract::{FromRequest, FromRequestParts, Path, Request},
    http::{HeaderMap, HeaderName, HeaderValue, header, request::Parts},
};
use serde_json::Value;
use sha2::{Digest as _, Sha256};
use shared::{
    cloud_event::Trace,
    faults::crash,
    problem::{InvalidField, Problem, Result},
};
use uuid::Uuid;

use crate::{
    answer::{Answer, etag},
    input::Fields,
    user_tx::UserTx,
};

const BODY_LIMIT: usize = 1024 * 1024;
/// Give up on a body of at most 1 MB that takes longer than this.
const BODY_DEADLINE: Duration = Duration::from_secs(20);
pub(crate) const IDEMPOTENCY_KEY: &str = "Idempotency-Key";
pub(crate) const KEY_LIMIT: usize = 255;

/// A write request, without its user.
pub(crate) struct Command {
    /// The trace that its events continue.
    pub(crate) trace: Trace,
    /// `Idempotency-Key`.
    pub(crate) key: Option<String>,
    /// Hash of method, path and body: tells different requests with the same key apart.
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
        let body = body
            .await
            .map_err(|_| Problem::Malformed("the body did not arrive within 20 s; send it again".into()))?
            .map_err(|error| {
                let source = std::error::Error::source(&error);
                if source.is_some_and(|source| source.is::<http_body_util::LengthLimitError>()) {
                    Problem::TooLarge
                } else {
                    Problem::Malformed("the connection broke before the whole body arrived".into())
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
        _ => Err(InvalidField::in_header(
            IDEMPOTENCY_KEY,
            format_args!("must be given once, with 1 to {KEY_LIMIT} visible ASCII characters"),
        )
        .into()),
    }
}

fn if_match(headers: &HeaderMap) -> Option<String> {
    let given: Vec<_> =
        headers.get_all(header::IF_MATCH).iter().map(|value| value.to_str().unwrap_or_default()).collect();
    (!given.is_empty()).then(|| given.join(","))
}

impl Command {
    /// The body, which must be a JSON object.
    pub(crate) fn object(&self) -> Result<Fields> {
        if !self.is_json {
            return Err(Problem::UnsupportedMediaType);
        }
        match serde_json::from_slice(&self.body) {
            Ok(Value::Object(object)) => Ok(Fields::new(object)),
            Ok(_) => Err(InvalidField::in_body("", "must be an object").into()),
            Err(error) => Err(Problem::Malformed(format!("the body is not JSON: {error}").into())),
        }
    }

    /// Refuses a body with fields: the command has none. An absent body and `{}` pass.
    pub(crate) fn no_fields(&self) -> Result<()> {
        if self.body.is_empty() { Ok(()) } else { self.object()?.read(|_| Some(())) }
    }

    /// Checks `If-Match` (RFC 9110, section 13.1.1). The comparison is strong, so `W/"1"` never matches.
    pub(crate) fn check_if_match(&self, version: i64) -> Result<()> {
        let tag = etag(version);
        match &self.if_match {
            Some(given) if !given.split(',').map(str::trim).any(|given| given == "*" || given == tag) => {
                Err(Problem::PreconditionFailed(version))
            }
            _ => Ok(()),
        }
    }

    /// Keeps the answer for a repetition and commits. A refused command drops its transaction instead, which rolls it back.
    pub(crate) async fn commit(&self, mut tx: UserTx, user_id: Uuid, answer: Answer) -> Result<Answer> {
        self.keep(&mut tx, user_id, &answer).await?;
        crash("command-before-commit");
        tx.commit().await?;
        crash("command-committed");
        Ok(answer)
    }
}

/// The id in the path. A text that is no UUID identifies nothing: the same 404.
pub(crate) struct Id(pub(crate) Uuid);

impl<S: Send + Sync> FromRequestParts<S> for Id {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self> {
        let Path(id) = Path::<Uuid>::from_request_parts(parts, state).await.map_err(|_| Problem::NotFound)?;
        Ok(Self(id))
    }
}
