//! HTTP problems: `application/problem+json` (RFC 9457).
//!
//! Every handler fails with one enum. An error that the caller did not cause becomes [`Problem::Unavailable`] or
//! [`Problem::Internal`]. It is logged once, here, with all its sources, and the answer reveals nothing of it. A missing object and
//! another user's object are one variant without data, so their answers cannot differ.

mod invalid;

use std::{borrow::Cow, error::Error, time::Duration};

use axum::{
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use serde::Serialize;
use utoipa::ToSchema;

pub use self::invalid::{InvalidField, InvalidFields};
use crate::db::is_outage;

/// Why a token of an erased user is refused.
const ERASED: &str =
    "the user was erased, and the token was not issued after that (iat): sign in again for a new, empty account";

/// Why a request was refused or failed.
#[derive(Debug, thiserror::Error)]
pub enum Problem {
    /// 400: the body is not JSON, or did not arrive completely.
    #[error("{0}")]
    Malformed(Cow<'static, str>),
    /// 401: no token.
    #[error("a bearer token is required: send `Authorization: Bearer <token>`")]
    NoToken,
    /// 401: an invalid token.
    #[error("{0}")]
    BadToken(&'static str),
    /// 403: the token is valid but is not an operator's.
    #[error("this operation requires an operator's token: its scope must name the configured operator scope")]
    Forbidden,
    /// 404: missing, or another user's.
    #[error("not found: check the path, and that the object is yours and still exists")]
    NotFound,
    /// 405.
    #[error("method not allowed for this path")]
    MethodNotAllowed,
    /// 409: the object's state does not allow this.
    #[error("{0}")]
    Conflict(&'static str),
    /// 410: the version of the task is not kept any more.
    #[error(
        "the content of this version is not kept any more: it was replaced more than 30 days ago, or more than 1,000 versions ago"
    )]
    Gone,
    /// 412: `If-Match` names another version.
    #[error("the task is at version {0}, and `If-Match` names another one: read the task again before you change it")]
    PreconditionFailed(i64),
    /// 412: `If-None-Match` rules out the version that is there.
    #[error("the task exists at version {0}, which `If-None-Match` rules out")]
    Exists(i64),
    /// 412: a condition that an object without versions never meets.
    #[error("this object has no `ETag`: send the request without `If-Match` and `If-None-Match`")]
    NoEtag,
    /// 413.
    #[error("the body is larger than 256 KB")]
    TooLarge,
    /// 415.
    #[error("the body must be JSON in UTF-8: send it with `Content-Type: application/json`")]
    UnsupportedMediaType,
    /// 415: the body is encoded.
    #[error("the body must not be compressed or encoded: send it without `Content-Encoding`")]
    UnsupportedEncoding,
    /// 422: readable, but with invalid fields.
    #[error("{0}")]
    Invalid(InvalidFields),
    /// 422: the user would have more of something than allowed. The request had no effect.
    #[error("{0}")]
    QuotaExceeded(String),
    /// 422: the `Idempotency-Key` belongs to a different request.
    #[error("this Idempotency-Key was used for a different request: choose a new key")]
    KeyReused,
    /// 429: the user has reached a limit. The request had no effect.
    #[error("too many requests: you reached the per-user limit; retry after the time in `Retry-After`")]
    TooMany(Duration),
    /// 503: this process has reached a limit. The request had no effect.
    #[error("the server is at its limit; retry after the time in `Retry-After`")]
    Overloaded,
    /// 503: the user was erased, and the last rows are not deleted yet.
    #[error("the former data of this user are still being erased; retry after the time in `Retry-After`")]
    Erasing,
    /// 503: the texts and the words take too long to compare.
    #[error(
        "the search took longer than a second: search for fewer or shorter words, or retry after the time in `Retry-After`"
    )]
    SearchTimeout,
    /// 503: a dependency of this function is unavailable.
    #[error("a service behind this one is unavailable; retry after the time in `Retry-After`")]
    Unavailable(#[source] Box<dyn Error + Send + Sync>),
    /// 500: a bug. It may have struck after the commit, so the answer must not promise that nothing happened.
    #[error("internal error: the request may or may not have taken effect; check before you send it again")]
    Internal(#[source] Box<dyn Error + Send + Sync>),
}

/// The result of an HTTP handler.
pub type Result<T, E = Problem> = std::result::Result<T, E>;

impl From<InvalidField> for Problem {
    fn from(field: InvalidField) -> Self {
        let mut fields = InvalidFields::default();
        fields.push(field);
        Self::Invalid(fields)
    }
}

/// The body of every answer that is not 2xx (RFC 9457).
#[derive(Serialize, ToSchema)]
#[schema(as = Problem)]
pub struct ProblemBody {
    /// Identifies the kind of problem. Compare the whole string; it is not an address to fetch.
    #[serde(rename = "type")]
    #[schema(example = "urn:punctual:problem:invalid")]
    kind: &'static str,
    /// The kind of problem, for people.
    title: &'static str,
    /// The HTTP status.
    status: u16,
    /// What is wrong with this request, for people.
    detail: String,
    /// The invalid parts of the request; of more than 20 only the first.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schema(required = false)]
    errors: Vec<InvalidField>,
}

impl Problem {
    /// Two requests changed the same rows at the same time, and this one lost.
    const BUSY: Self = Self::Conflict("another request is changing the same object; retry");

    fn kind(&self) -> (StatusCode, &'static str, &'static str) {
        match self {
            Self::Malformed(_) => (StatusCode::BAD_REQUEST, "urn:punctual:problem:malformed", "Malformed request"),
            Self::NoToken | Self::BadToken(_) => {
                (StatusCode::UNAUTHORIZED, "urn:punctual:problem:unauthorized", "Unauthorized")
            }
            Self::Forbidden => (StatusCode::FORBIDDEN, "urn:punctual:problem:forbidden", "Forbidden"),
            Self::NotFound => (StatusCode::NOT_FOUND, "urn:punctual:problem:not-found", "Not found"),
            Self::MethodNotAllowed => {
                (StatusCode::METHOD_NOT_ALLOWED, "urn:punctual:problem:method-not-allowed", "Method not allowed")
            }
            Self::Conflict(_) => (StatusCode::CONFLICT, "urn:punctual:problem:conflict", "Conflict"),
            Self::Gone => (StatusCode::GONE, "urn:punctual:problem:gone", "Gone"),
            Self::PreconditionFailed(_) => {
                (StatusCode::PRECONDITION_FAILED, "urn:punctual:problem:changed-since", "Changed since")
            }
            Self::Exists(_) => (StatusCode::PRECONDITION_FAILED, "urn:punctual:problem:exists", "Exists"),
            Self::NoEtag => (StatusCode::PRECONDITION_FAILED, "urn:punctual:problem:no-etag", "No ETag"),
            Self::TooLarge => (StatusCode::PAYLOAD_TOO_LARGE, "urn:punctual:problem:too-large", "Too large"),
            Self::UnsupportedMediaType => {
                (StatusCode::UNSUPPORTED_MEDIA_TYPE, "urn:punctual:problem:not-json", "Not JSON")
            }
            Self::UnsupportedEncoding => {
                (StatusCode::UNSUPPORTED_MEDIA_TYPE, "urn:punctual:problem:encoded", "Encoded body")
            }
            Self::Invalid(_) => (StatusCode::UNPROCESSABLE_ENTITY, "urn:punctual:problem:invalid", "Invalid request"),
            Self::QuotaExceeded(_) => {
                (StatusCode::UNPROCESSABLE_ENTITY, "urn:punctual:problem:quota-exceeded", "Quota exceeded")
            }
            Self::KeyReused => {
                (StatusCode::UNPROCESSABLE_ENTITY, "urn:punctual:problem:key-reused", "Idempotency-Key reused")
            }
            Self::TooMany(_) => {
                (StatusCode::TOO_MANY_REQUESTS, "urn:punctual:problem:too-many-requests", "Too many requests")
            }
            Self::Erasing => (StatusCode::SERVICE_UNAVAILABLE, "urn:punctual:problem:erasing", "Erasing"),
            Self::Overloaded => (StatusCode::SERVICE_UNAVAILABLE, "urn:punctual:problem:overloaded", "Overloaded"),
            Self::SearchTimeout => {
                (StatusCode::SERVICE_UNAVAILABLE, "urn:punctual:problem:search-timeout", "Search stopped")
            }
            Self::Unavailable(_) => {
                (StatusCode::SERVICE_UNAVAILABLE, "urn:punctual:problem:unavailable", "Unavailable")
            }
            Self::Internal(_) => (StatusCode::INTERNAL_SERVER_ERROR, "urn:punctual:problem:internal", "Internal error"),
        }
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let (status, kind, title) = self.kind();
        match &self {
            Self::Internal(source) => tracing::error!(error = chain(&**source), "request failed: {}", chain(&**source)),
            Self::Unavailable(source) => {
                tracing::warn!(error = chain(&**source), "a dependency is unavailable: {}", chain(&**source));
            }
            _ => {}
        }
        let extra = match &self {
            Self::NoToken => Some((header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"))),
            Self::BadToken(_) => {
                Some((header::WWW_AUTHENTICATE, HeaderValue::from_static(r#"Bearer error="invalid_token""#)))
            }
            Self::Forbidden => {
                Some((header::WWW_AUTHENTICATE, HeaderValue::from_static(r#"Bearer error="insufficient_scope""#)))
            }
            // RFC 9110, section 12.5.3.
            Self::UnsupportedEncoding => Some((header::ACCEPT_ENCODING, HeaderValue::from_static("identity"))),
            // In whole seconds, rounded up: a client that comes earlier is refused again.
            Self::TooMany(wait) => Some((header::RETRY_AFTER, HeaderValue::from(wait.as_secs() + 1))),
            Self::Overloaded => Some((header::RETRY_AFTER, HeaderValue::from_static("1"))),
            // Repair continues an erasure that its command could not finish.
            Self::Erasing => Some((header::RETRY_AFTER, HeaderValue::from_static("60"))),
            Self::SearchTimeout | Self::Unavailable(_) => Some((header::RETRY_AFTER, HeaderValue::from_static("2"))),
            _ => None,
        };
        let detail = self.to_string();
        let errors = if let Self::Invalid(fields) = self { fields.into_named() } else { Vec::new() };
        let body = ProblemBody { kind, title, status: status.as_u16(), detail, errors };
        let body = serde_json::to_vec(&body).expect("a problem is plain data");
        let mut response =
            (status, [(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"))], body)
                .into_response();
        response.headers_mut().extend(extra);
        response
    }
}

impl From<sqlx::Error> for Problem {
    fn from(error: sqlx::Error) -> Self {
        let database = error.as_database_error();
        let code = database.and_then(|error| error.code()).unwrap_or_default().into_owned();
        match (&error, &*code) {
            (sqlx::Error::RowNotFound, _) => Self::NotFound,
            // The SQL function `admit_token` raises these two.
            (_, "23514") if violated(&error) == Some("token_from_before_erasure") => Self::BadToken(ERASED),
            (_, "23514") if violated(&error) == Some("erasure_not_done") => Self::Erasing,
            // lock_not_available, deadlock_detected, serialization_failure: a function retries by itself, a caller is told to.
            (_, "55P03" | "40P01" | "40001") => Self::BUSY,
            // insufficient_privilege: the second wall stopped a statement of ours. Retrying does not help.
            (_, "42501") => Self::Internal(error.into()),
            _ if is_outage(&error) => Self::Unavailable(error.into()),
            _ => Self::Internal(error.into()),
        }
    }
}

/// Answers the violation of a named constraint.
pub trait OnConstraint<T> {
    /// Answers a violation of the constraint `name` with `problem`, and leaves every other error as it is.
    ///
    /// # Errors
    /// With `problem`, or with the problem that the error was.
    fn on_constraint(self, name: &str, problem: Problem) -> Result<T>;
}

impl<T, E: Into<Problem>> OnConstraint<T> for Result<T, E> {
    fn on_constraint(self, name: &str, problem: Problem) -> Result<T> {
        self.map_err(|error| match error.into() {
            Problem::Internal(source) if violated(&*source) == Some(name) => problem,
            other => other,
        })
    }
}

/// The constraint whose violation an error tells of.
fn violated<'a>(error: &'a (dyn Error + Send + Sync + 'static)) -> Option<&'a str> {
    error.downcast_ref::<sqlx::Error>()?.as_database_error()?.constraint()
}

/// An error with all its sources, in one line.
fn chain(error: &dyn Error) -> String {
    let sources = std::iter::successors(error.source(), |source| (*source).source());
    sources.fold(error.to_string(), |text, source| format!("{text}: {source}"))
}

#[cfg(test)]
mod tests {
    use axum::body::to_bytes;

    use super::*;

    async fn body(problem: Problem) -> (StatusCode, serde_json::Value) {
        let response = problem.into_response();
        assert_eq!(response.headers()[header::CONTENT_TYPE], "application/problem+json");
        let status = response.status();
        let bytes = to_bytes(response.into_body(), 16 << 10).await.unwrap();
        (status, serde_json::from_slice(&bytes).unwrap())
    }

    #[tokio::test]
    async fn a_problem_lists_every_invalid_field() {
        let mut fields = InvalidFields::default();
        fields.push(InvalidField::in_body("/title", "is required"));
        fields.push(InvalidField::in_query("limit", "must be between 1 and 100"));
        let (status, body) = body(Problem::Invalid(fields)).await;
        assert_eq!(status, 422);
        assert_eq!(body["status"], 422);
        assert_eq!(
            body["errors"],
            serde_json::json!([
                {"pointer": "#/title", "detail": "is required"},
                {"parameter": "limit", "detail": "must be between 1 and 100"},
            ])
        );
    }

    /// The longest names, of characters that JSON escapes.
    #[tokio::test]
    async fn a_problem_has_a_bounded_size() {
        let mut part = InvalidFields::default();
        for n in 0..1000 {
            part.push(InvalidField::in_body(
                format_args!("/{n}{}", "\u{1}".repeat(200 + n)),
                "is not a field of this body",
            ));
        }
        let mut fields = InvalidFields::default();
        fields.push(InvalidField::in_query(&"\u{1}".repeat(1000), "must be given only once"));
        fields.append(part);
        let (status, body) = body(Problem::Invalid(fields)).await;
        assert_eq!(status, 422);
        assert_eq!(body["errors"].as_array().unwrap().len(), 20);
        assert_eq!(body["detail"], "1001 fields are invalid: see `errors` for the first 20, and 981 more");
    }

    #[tokio::test]
    async fn a_problem_does_not_reveal_its_source() {
        let secret = || "select secret from users at 10.0.0.7".to_owned();
        for (inside, wanted) in [(sqlx::Error::ColumnNotFound(secret()), 500), (sqlx::Error::Protocol(secret()), 503)] {
            let (status, body) = body(inside.into()).await;
            assert_eq!(status, wanted);
            assert!(!body.to_string().contains("10.0.0.7"), "{body}");
            assert!(body.get("errors").is_none());
        }
    }

    #[tokio::test]
    async fn a_database_outage_is_a_503_with_retry_after() {
        let outage = || Problem::from(sqlx::Error::Io(std::io::ErrorKind::ConnectionRefused.into()));
        assert_eq!(outage().into_response().headers()[header::RETRY_AFTER], "2");
        assert_eq!(body(outage()).await.0, 503);
        assert_eq!(body(sqlx::Error::PoolTimedOut.into()).await.0, 503);
    }
}
