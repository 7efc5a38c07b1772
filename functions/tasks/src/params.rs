//! Query parameters and headers: how they are read, and how the OpenAPI document describes them.

use std::fmt::Display;

use axum::{
    extract::{FromRequestParts, Query},
    http::request::Parts,
};
use chrono::{DateTime, Utc};
use percent_encoding::percent_decode_str;
use shared::problem::{InvalidField, InvalidFields, Problem, Result};
use utoipa::{
    IntoParams,
    openapi::{
        Object, ObjectBuilder, Required,
        path::{Parameter, ParameterBuilder, ParameterIn},
        schema::Type,
    },
};

use crate::{
    command::{IDEMPOTENCY_KEY, KEY_LIMIT},
    task::Priority,
};

/// Items on a page: where the request does not say, and at most. `bodies::tests` holds the document against them.
const PAGE: usize = 50;
const PAGE_LIMIT: usize = 100;

/// A query that is being read. Collects every invalid parameter.
pub(crate) struct Params {
    given: Vec<(String, String)>,
    invalid: InvalidFields,
}

impl Params {
    pub(crate) fn new(given: Vec<(String, String)>) -> Result<Self> {
        let nul = given.iter().find(|(name, value)| name.contains('\0') || value.contains('\0'));
        match nul {
            Some((name, _)) => Err(InvalidField::in_query(&name.replace('\0', ""), "must not contain NUL").into()),
            None => Ok(Self { given, invalid: InvalidFields::default() }),
        }
    }

    /// Reads a parameter by `parse`, whose error says what is wrong with it.
    pub(crate) fn take<T, E: Display>(&mut self, name: &str, parse: impl FnOnce(&str) -> Result<T, E>) -> Option<T> {
        let at = self.given.iter().position(|(given, _)| given == name)?;
        let (_, value) = self.given.remove(at);
        if self.given.iter().any(|(given, _)| given == name) {
            self.given.retain(|(given, _)| given != name);
            self.invalid.push(InvalidField::in_query(name, "must be given only once"));
            return None;
        }
        match parse(&value) {
            Ok(value) => Some(value),
            Err(wrong) => {
                self.invalid.push(InvalidField::in_query(name, wrong));
                None
            }
        }
    }

    /// Reads `limit`, the size of a page.
    pub(crate) fn limit(&mut self) -> usize {
        let limit = self.take("limit", |text| {
            // Rust also parses a sign.
            let digits = Some(text).filter(|text| !text.starts_with('+'));
            let limit = digits.and_then(|digits| digits.parse().ok()).filter(|limit| (1..=PAGE_LIMIT).contains(limit));
            limit.ok_or(format!("must be a whole number from 1 to {PAGE_LIMIT}"))
        });
        limit.unwrap_or(PAGE)
    }

    /// Ends the reading. A parameter that was not read is unknown.
    pub(crate) fn finish(mut self) -> Result<()> {
        for (name, _) in self.given {
            self.invalid.push(InvalidField::in_query(&name, "is not a parameter of this operation"));
        }
        if self.invalid.is_empty() { Ok(()) } else { Err(Problem::Invalid(self.invalid)) }
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Params {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self> {
        // Decoding replaces what is not UTF-8 by U+FFFD, so that a search would look for another word.
        if percent_decode_str(parts.uri.query().unwrap_or_default()).decode_utf8().is_err() {
            return Err(Problem::Malformed("the query cannot be read: it is not UTF-8".into()));
        }
        let Query(given) = Query::try_from_uri(&parts.uri)
            .map_err(|error| Problem::Malformed(format!("the query cannot be read: {error}").into()))?;
        Self::new(given)
    }
}

/// Filters, order and page of a list of tasks.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
#[expect(dead_code, reason = "describes a query")]
pub(crate) struct ListParams {
    /// Only these tasks: at most 50 ids, separated by commas. No other parameter but `cursor` goes with it.
    id: Option<String>,
    /// `open`, `completed` or `all`.
    #[param(default = "all")]
    status: Option<String>,
    priority: Option<Priority>,
    /// Only tasks with this tag, in the same case.
    tag: Option<String>,
    /// Only tasks due before this instant.
    due_before: Option<DateTime<Utc>>,
    /// Only tasks due after this instant.
    due_after: Option<DateTime<Utc>>,
    /// Words, at most 20 and 500 characters. Each must occur in title or description, as a word or as a part of one, in upper or lower
    /// case. Tags are not searched: use `tag`.
    #[param(max_length = 500)]
    q: Option<String>,
    /// `created_at`, `due_at` or `priority`; descending with a `-` before it. Tasks without a due time come last.
    #[param(default = "created_at")]
    sort: Option<String>,
    /// The `next_cursor` of the page before, with the same sort.
    cursor: Option<String>,
    #[param(minimum = 1, maximum = 100, default = 50)]
    limit: Option<u32>,
}

/// A page of a list.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
#[expect(dead_code, reason = "describes a query")]
pub(crate) struct PageParams {
    /// The `next_cursor` of the page before.
    cursor: Option<String>,
    #[param(minimum = 1, maximum = 100, default = 50)]
    limit: Option<u32>,
}

/// The header `Idempotency-Key`.
pub(crate) struct IdempotencyKey;

impl IntoParams for IdempotencyKey {
    fn into_params(_: impl Fn() -> Option<ParameterIn>) -> Vec<Parameter> {
        // Visible ASCII, as it arrives: white space around a header's value is not part of it.
        let key = ObjectBuilder::new().schema_type(Type::String).min_length(Some(1)).max_length(Some(KEY_LIMIT));
        let key = key.pattern(Some("^[!-~]([ -~]*[!-~])?$")).build();
        header(
            IDEMPOTENCY_KEY,
            "A value that the client chooses for one intended effect. The same request with the same key takes effect once and gets \
             the first answer again (with `Idempotency-Replayed: true`); if that was larger than 4 KB, the task as it is now. A different request with the same key is refused.",
            key,
        )
    }
}

/// The headers `If-Match` and `If-None-Match`.
pub(crate) struct Conditions;

impl IntoParams for Conditions {
    fn into_params(_: impl Fn() -> Option<ParameterIn>) -> Vec<Parameter> {
        let text = || ObjectBuilder::new().schema_type(Type::String).build();
        let only_if = header("If-Match", "Only if the task is at this version: its `ETag`, or `*`.", text());
        let only_unless = "Only if the task is at none of these versions: `ETag`s, or `*` for any.";
        [only_if, header("If-None-Match", only_unless, text())].concat()
    }
}

fn header(name: &str, description: &str, text: Object) -> Vec<Parameter> {
    let parameter = ParameterBuilder::new()
        .name(name)
        .parameter_in(ParameterIn::Header)
        .required(Required::False)
        .description(Some(description))
        .schema(Some(text));
    vec![parameter.build()]
}
