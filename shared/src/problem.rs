//! What went wrong, as HTTP tells it: `application/problem+json` (RFC 9457).
//!
//! One enum reaches the edge. Whatever is not the caller's doing becomes [`Problem::Unavailable`] or [`Problem::Internal`]:
//! logged once, here, with the whole chain, while the answer says nothing of what is inside. A missing object and another
//! user's are one variant without data, so their answers cannot differ.

use std::{borrow::Cow, error::Error, fmt, time::Duration};

use axum::{
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use serde::Serialize;
use utoipa::ToSchema;

/// Why a request was refused or failed.
#[derive(Debug, thiserror::Error)]
pub enum Problem {
    /// 400: not HTTP or JSON as it should be.
    #[error("{0}")]
    Malformed(Cow<'static, str>),
    /// 401: no token.
    #[error("a bearer token is needed: Authorization: Bearer …")]
    NoToken,
    /// 401: a token that proves nothing.
    #[error("{0}")]
    BadToken(&'static str),
    /// 403: the token is good and does not allow this.
    #[error("the token does not have the scope operator")]
    Forbidden,
    /// 404: missing, or another user's.
    #[error("there is no such object")]
    NotFound,
    /// 405.
    #[error("this path does not know this method")]
    MethodNotAllowed,
    /// 409: not in the state the object is in.
    #[error("{0}")]
    Conflict(&'static str),
    /// 412: `If-Match` names another version.
    #[error("the task is at version {0}, not at the one that If-Match names")]
    PreconditionFailed(i64),
    /// 413.
    #[error("the body is larger than 1 MB")]
    TooLarge,
    /// 415.
    #[error("the body must be JSON, with Content-Type: application/json")]
    UnsupportedMediaType,
    /// 422: readable, and wrong in every field listed.
    #[error("{} of the request cannot be used", if .0.len() == 1 { "one part" } else { "several parts" })]
    Invalid(Vec<Fault>),
    /// 422: the same `Idempotency-Key` came with another request before.
    #[error("this Idempotency-Key was used for another request")]
    KeyReused,
    /// 429: more than one user may ask for; nothing was done.
    #[error("more than one user may ask for at a time or a second; try again later")]
    TooMany(Duration),
    /// 503: this process has all it can take; nothing was done.
    #[error("there is too much to do; try again in a moment")]
    Overloaded,
    /// 503: something this function needs is away.
    #[error("try again in a moment")]
    Unavailable(#[source] Box<dyn Error + Send + Sync>),
    /// 500: our fault.
    #[error("the request failed for a reason of ours; it had no effect")]
    Internal(#[source] Box<dyn Error + Send + Sync>),
}

/// The answer of one of the functions' HTTP handlers that may fail.
pub type Result<T, E = Problem> = std::result::Result<T, E>;

/// One part of a request that cannot be used: where it is, and what is wrong with it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct Fault {
    /// Where in the body: a JSON pointer as a URI fragment (RFC 6901, section 6).
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = "#/recurrence/interval")]
    pub pointer: Option<String>,
    /// Which parameter of the query.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub parameter: Option<String>,
    /// Which header.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub header: Option<&'static str>,
    /// What is wrong with it.
    #[schema(example = "the interval must be between 1 and 999")]
    pub detail: String,
}

impl Fault {
    /// A fault in the body.
    pub fn at(pointer: impl fmt::Display, detail: impl fmt::Display) -> Self {
        Self { pointer: Some(format!("#{pointer}")), parameter: None, header: None, detail: detail.to_string() }
    }

    /// A fault in the query.
    pub fn in_query(parameter: impl Into<String>, detail: impl fmt::Display) -> Self {
        Self { pointer: None, parameter: Some(parameter.into()), header: None, detail: detail.to_string() }
    }

    /// A fault in a header.
    pub fn in_header(header: &'static str, detail: impl fmt::Display) -> Self {
        Self { pointer: None, parameter: None, header: Some(header), detail: detail.to_string() }
    }
}

impl From<Fault> for Problem {
    fn from(fault: Fault) -> Self {
        Self::Invalid(vec![fault])
    }
}

/// The body of every answer that is not 2xx (RFC 9457).
#[derive(Serialize, ToSchema)]
#[schema(as = Problem)]
pub struct ProblemBody {
    /// Names the kind of problem; compare it whole, there is nothing to fetch.
    #[serde(rename = "type")]
    #[schema(example = "urn:punctual:problem:invalid")]
    kind: &'static str,
    /// The kind, for people.
    title: &'static str,
    /// The HTTP status.
    status: u16,
    /// This case of it, for people.
    detail: String,
    /// Every part of the request at fault.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schema(required = false)]
    errors: Vec<Fault>,
}

impl Problem {
    /// A `Conflict` where the caller raced with itself or another.
    const BUSY: Self = Self::Conflict("another request was changing this at the same time; try again");

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
            Self::PreconditionFailed(_) => {
                (StatusCode::PRECONDITION_FAILED, "urn:punctual:problem:changed-since", "Changed since")
            }
            Self::TooLarge => (StatusCode::PAYLOAD_TOO_LARGE, "urn:punctual:problem:too-large", "Too large"),
            Self::UnsupportedMediaType => {
                (StatusCode::UNSUPPORTED_MEDIA_TYPE, "urn:punctual:problem:not-json", "Not JSON")
            }
            Self::Invalid(_) => (StatusCode::UNPROCESSABLE_ENTITY, "urn:punctual:problem:invalid", "Invalid request"),
            Self::KeyReused => {
                (StatusCode::UNPROCESSABLE_ENTITY, "urn:punctual:problem:key-reused", "Idempotency-Key reused")
            }
            Self::TooMany(_) => {
                (StatusCode::TOO_MANY_REQUESTS, "urn:punctual:problem:too-many-requests", "Too many requests")
            }
            Self::Overloaded => (StatusCode::SERVICE_UNAVAILABLE, "urn:punctual:problem:overloaded", "Overloaded"),
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
                tracing::warn!(error = chain(&**source), "a dependency is away: {}", chain(&**source));
            }
            _ => {}
        }
        let extra = match &self {
            Self::NoToken => Some((header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"))),
            Self::BadToken(_) => {
                Some((header::WWW_AUTHENTICATE, HeaderValue::from_static(r#"Bearer error="invalid_token""#)))
            }
            Self::Forbidden => Some((
                header::WWW_AUTHENTICATE,
                HeaderValue::from_static(r#"Bearer error="insufficient_scope", scope="operator""#),
            )),
            // In whole seconds, and never sooner than is of use.
            Self::TooMany(wait) => Some((header::RETRY_AFTER, HeaderValue::from(wait.as_secs() + 1))),
            Self::Overloaded => Some((header::RETRY_AFTER, HeaderValue::from_static("1"))),
            Self::Unavailable(_) => Some((header::RETRY_AFTER, HeaderValue::from_static("2"))),
            _ => None,
        };
        let detail = self.to_string();
        let errors = if let Self::Invalid(faults) = self { faults } else { Vec::new() };
        let body = ProblemBody { kind, title, status: status.as_u16(), detail, errors };
        let body = serde_json::to_vec(&body).expect("a problem is plain data");
        let mut response =
            (status, [(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"))], body)
                .into_response();
        response.headers_mut().extend(extra);
        response
    }
}

/// What the database said, as an answer.
impl From<sqlx::Error> for Problem {
    fn from(error: sqlx::Error) -> Self {
        let code = error.as_database_error().and_then(|said| said.code()).unwrap_or_default().into_owned();
        match (&error, &*code) {
            (sqlx::Error::RowNotFound, _) => Self::NotFound,
            // lock_not_available, deadlock_detected, serialization_failure: a function tries again by itself, a caller is told to.
            (_, "55P03" | "40P01" | "40001") => Self::BUSY,
            // insufficient_privilege: the second wall stopped us. That is a fault of ours, whoever it keeps waiting.
            (_, "42501") => Self::Internal(error.into()),
            _ if is_outage(&error) => Self::Unavailable(error.into()),
            _ => Self::Internal(error.into()),
        }
    }
}

/// Whether an error of the database says that it is away, overloaded or not as it should be, rather than that a statement is wrong:
/// a request is answered 503 then, and an event comes again, however often.
///
/// The classes are those of PostgreSQL's appendix A. 28 (the password was changed, the role is not there), 3D (the database is not
/// there) and 55 (it takes no connections) are what a server says to whoever connects while it is restored or a secret is
/// renewed. 42 is here because a schema that is not there yet is an outage of the deployment: statements are checked when compiled.
#[must_use]
pub fn is_outage(error: &sqlx::Error) -> bool {
    match error {
        sqlx::Error::Database(error) => error.code().is_none_or(|code| {
            matches!(code.get(..2), Some("08" | "25" | "28" | "3D" | "40" | "42" | "53" | "55" | "57" | "58" | "XX"))
        }),
        sqlx::Error::Io(_)
        | sqlx::Error::Tls(_)
        | sqlx::Error::Protocol(_)
        | sqlx::Error::PoolTimedOut
        | sqlx::Error::PoolClosed
        | sqlx::Error::WorkerCrashed => true,
        _ => false,
    }
}

/// An error and everything behind it, in one line.
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
        let bytes = to_bytes(response.into_body(), 10_000).await.unwrap();
        (status, serde_json::from_slice(&bytes).unwrap())
    }

    #[tokio::test]
    async fn every_fault_is_listed_with_its_place() {
        let faults = vec![Fault::at("/title", "is required"), Fault::in_query("limit", "must be between 1 and 100")];
        let (status, body) = body(Problem::Invalid(faults)).await;
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

    #[tokio::test]
    async fn an_internal_fault_says_nothing_of_what_is_inside() {
        let secret = || "select secret from users at 10.0.0.7".to_owned();
        for (inside, wanted) in [(sqlx::Error::ColumnNotFound(secret()), 500), (sqlx::Error::Protocol(secret()), 503)] {
            let (status, body) = body(inside.into()).await;
            assert_eq!(status, wanted);
            assert!(!body.to_string().contains("10.0.0.7"), "{body}");
            assert!(body.get("errors").is_none());
        }
    }

    #[tokio::test]
    async fn a_database_that_is_away_asks_to_come_again() {
        let away = || Problem::from(sqlx::Error::Io(std::io::ErrorKind::ConnectionRefused.into()));
        assert_eq!(away().into_response().headers()[header::RETRY_AFTER], "2");
        assert_eq!(body(away()).await.0, 503);
        assert_eq!(body(sqlx::Error::PoolTimedOut.into()).await.0, 503);
    }
}
