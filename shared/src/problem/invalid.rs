//! The invalid fields, parameters and headers of a request.

use std::fmt;

use serde::Serialize;
use utoipa::ToSchema;

/// Maximum invalid fields that an answer names.
const FIELDS_LIMIT: usize = 20;
/// Maximum characters of the name of one.
const NAME_LIMIT: usize = 100;

/// A field of the body, a query parameter or a header that cannot be used, and why.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct InvalidField {
    /// Where in the body: a JSON pointer as a URI fragment (RFC 6901, section 6).
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = "#/recurrence/interval")]
    pub pointer: Option<String>,
    /// The name of the query parameter.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub parameter: Option<String>,
    /// The name of the header.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub header: Option<&'static str>,
    /// Why it cannot be used.
    #[schema(example = "must be a whole number from 1 to 999")]
    pub detail: String,
}

impl InvalidField {
    /// A field of the body, by its JSON pointer.
    pub fn in_body(pointer: impl fmt::Display, detail: impl fmt::Display) -> Self {
        let pointer = shortened(&format!("#{pointer}"));
        Self { pointer: Some(pointer), parameter: None, header: None, detail: detail.to_string() }
    }

    /// A query parameter.
    pub fn in_query(parameter: &str, detail: impl fmt::Display) -> Self {
        Self { pointer: None, parameter: Some(shortened(parameter)), header: None, detail: detail.to_string() }
    }

    /// A header.
    pub fn in_header(header: &'static str, detail: impl fmt::Display) -> Self {
        Self { pointer: None, parameter: None, header: Some(header), detail: detail.to_string() }
    }
}

/// The first characters of a name that the client chose.
fn shortened(name: &str) -> String {
    match name.char_indices().nth(NAME_LIMIT) {
        Some((end, _)) => format!("{}…", &name[..end]),
        None => name.to_owned(),
    }
}

/// The invalid parts of a request: the first ones, and the number of the others. The request decides how many there are, so an answer
/// that names each of them could be many times as large as the request.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct InvalidFields {
    named: Vec<InvalidField>,
    others: usize,
}

impl InvalidFields {
    /// Adds one.
    pub fn push(&mut self, field: InvalidField) {
        if self.named.len() < FIELDS_LIMIT { self.named.push(field) } else { self.others += 1 }
    }

    /// Adds those of another part of the request.
    pub fn append(&mut self, more: Self) {
        more.named.into_iter().for_each(|field| self.push(field));
        self.others += more.others;
    }

    /// The fields that the answer names.
    #[must_use]
    pub fn named(&self) -> &[InvalidField] {
        &self.named
    }

    pub(super) fn into_named(self) -> Vec<InvalidField> {
        self.named
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.named.len() + self.others
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.named.is_empty()
    }
}

impl fmt::Display for InvalidFields {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.len(), self.others) {
            (1, _) => f.write_str("a field is invalid: see `errors`"),
            (all, 0) => write!(f, "{all} fields are invalid: see `errors`"),
            (all, others) => {
                write!(f, "{all} fields are invalid: see `errors` for the first {FIELDS_LIMIT}, and {others} more")
            }
        }
    }
}
