//! `If-Match` and `If-None-Match` (RFC 9110, section 13).
//!
//! They are evaluated in that order (section 13.2.2), after everything else that decides about the request but its effect. Conditions
//! by date are ignored, as sections 13.1.3 and 13.1.4 have it, because no answer has a `Last-Modified`.

use axum::{
    extract::Request,
    http::{HeaderMap, HeaderName, Method, StatusCode, header},
    middleware::Next,
    response::{IntoResponse as _, Response},
};
use shared::problem::{Problem, Result};

use crate::answer::etag;

/// The conditions of a request. A request to create a task selects no representation, so its conditions are ignored.
pub(crate) struct Preconditions {
    if_match: Option<String>,
    if_none_match: Option<String>,
}

impl Preconditions {
    pub(crate) fn of(headers: &HeaderMap) -> Self {
        Self { if_match: list(headers, &header::IF_MATCH), if_none_match: list(headers, &header::IF_NONE_MATCH) }
    }

    /// Checks the conditions of a command on a task at this version.
    pub(crate) fn check(&self, version: i64) -> Result<()> {
        self.check_if_match(version)?;
        if self.none_match(version) { Ok(()) } else { Err(Problem::Exists(version)) }
    }

    /// Checks the conditions of a command on an object that exists and has no `ETag`: no tag matches it, and `*` does.
    pub(crate) fn check_without_etag(&self) -> Result<()> {
        if self.allows_tagless() && self.none_match_tagless() { Ok(()) } else { Err(Problem::NoEtag) }
    }

    /// Whether `If-Match` allows an object that has no `ETag`.
    fn allows_tagless(&self) -> bool {
        self.if_match.as_ref().is_none_or(|given| contains(given, |_| false))
    }

    /// Whether `If-None-Match` does not name an object that has no `ETag`.
    fn none_match_tagless(&self) -> bool {
        self.if_none_match.as_ref().is_none_or(|given| !contains(given, |_| false))
    }

    /// Checks `If-Match`. The comparison is strong, so `W/"1"` never matches.
    pub(crate) fn check_if_match(&self, version: i64) -> Result<()> {
        let tag = etag(version);
        match &self.if_match {
            Some(given) if !contains(given, |given| given == tag) => Err(Problem::PreconditionFailed(version)),
            _ => Ok(()),
        }
    }

    /// Whether `If-None-Match` does not name the version. The comparison is weak, so `W/"1"` is `"1"`.
    pub(crate) fn none_match(&self, version: i64) -> bool {
        let tag = etag(version);
        let is_tag = |given: &str| given.strip_prefix("W/").unwrap_or(given) == tag;
        self.if_none_match.as_ref().is_none_or(|given| !contains(given, is_tag))
    }
}

/// Middleware of all reads. An answer without an `ETag` shows an object that has none: no tag matches it, and `*` does. Only a read that
/// succeeds evaluates its conditions (section 13.2.1).
pub(crate) async fn of_reads(request: Request, next: Next) -> Response {
    let is_read = matches!(*request.method(), Method::GET | Method::HEAD);
    let preconditions = is_read.then(|| Preconditions::of(request.headers()));
    let response = next.run(request).await;
    match preconditions {
        Some(given) if response.status().is_success() && !response.headers().contains_key(header::ETAG) => {
            if !given.allows_tagless() {
                Problem::NoEtag.into_response()
            } else if !given.none_match_tagless() {
                StatusCode::NOT_MODIFIED.into_response()
            } else {
                response
            }
        }
        _ => response,
    }
}

/// The lines of a header as one list. A line that is not ASCII names no tag of ours.
fn list(headers: &HeaderMap, name: &HeaderName) -> Option<String> {
    let lines: Vec<_> = headers.get_all(name).iter().map(|value| value.to_str().unwrap_or_default()).collect();
    (!lines.is_empty()).then(|| lines.join(","))
}

/// Whether a list of tags is `*`, or has a tag. Our tags contain no comma.
fn contains(list: &str, is_tag: impl FnMut(&str) -> bool) -> bool {
    list.trim() == "*" || list.split(',').map(str::trim).any(is_tag)
}
