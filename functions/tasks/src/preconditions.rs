//! `If-Match` and `If-None-Match` (RFC 9110, section 13).
//!
//! They are evaluated in that order (section 13.2.2), after everything else that decides about the request but its effect. Conditions
//! by date are ignored, as sections 13.1.3 and 13.1.4 have it, because no answer has a `Last-Modified`.

use axum::http::{HeaderMap, HeaderName, header};
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
        let none = |_: &str| false;
        let if_match_holds = self.if_match.as_ref().is_none_or(|given| contains(given, none));
        let if_none_match_holds = self.if_none_match.as_ref().is_none_or(|given| !contains(given, none));
        if if_match_holds && if_none_match_holds { Ok(()) } else { Err(Problem::NoEtag) }
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

/// The lines of a header as one list. A line that is not ASCII names no tag of ours.
fn list(headers: &HeaderMap, name: &HeaderName) -> Option<String> {
    let lines: Vec<_> = headers.get_all(name).iter().map(|value| value.to_str().unwrap_or_default()).collect();
    (!lines.is_empty()).then(|| lines.join(","))
}

/// Whether a list of tags is `*`, or has a tag. Our tags contain no comma.
fn contains(list: &str, is_tag: impl FnMut(&str) -> bool) -> bool {
    list.trim() == "*" || list.split(',').map(str::trim).any(is_tag)
}
