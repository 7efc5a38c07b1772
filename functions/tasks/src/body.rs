//! The body of a request: received before its user's turn, within limits of size and time, then parsed as JSON within limits of its own.

use std::{fmt, time::Duration};

use axum::{
    body::{Body, to_bytes},
    extract::Request,
    http::{HeaderMap, HeaderValue, Method, header},
};
use serde::de::{self, DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value};
use shared::problem::{InvalidField, Problem, Result};

/// Maximum size of a body. The largest that a route accepts, with every character written as an escape of twelve bytes, has about 150 KB.
const SIZE_LIMIT: usize = 256 * 1024;
/// How long a body may take. Its request holds one of its user's few places meanwhile.
const DEADLINE: Duration = Duration::from_secs(5);
/// Maximum fields and items of a body, at all depths together. The largest body that a route accepts has about 350.
const VALUES_LIMIT: usize = 1000;

/// Receives the body of a request. A read request keeps its body, which no handler looks at.
pub(crate) async fn receive(request: Request) -> Result<Request> {
    let (parts, body) = request.into_parts();
    if matches!(parts.method, Method::GET | Method::HEAD) {
        return Ok(Request::from_parts(parts, body));
    }
    let declared = parts.headers.get(header::CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse().ok());
    if declared.is_some_and(|length: usize| length > SIZE_LIMIT) {
        return Err(Problem::TooLarge);
    }
    let received = tokio::time::timeout(DEADLINE, to_bytes(body, SIZE_LIMIT)).await;
    let bytes = received
        .map_err(|_| Problem::Malformed("the body did not arrive within 5 s; send it again".into()))?
        .map_err(|error| {
        let source = std::error::Error::source(&error);
        if source.is_some_and(|source| source.is::<http_body_util::LengthLimitError>()) {
            Problem::TooLarge
        } else {
            Problem::Malformed("the connection broke before the whole body arrived".into())
        }
    })?;
    Ok(Request::from_parts(parts, Body::from(bytes)))
}

/// What the headers say about the form of a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    Json,
    OtherType,
    /// JSON or not: it must be decoded first.
    Encoded,
}

impl Form {
    pub(crate) fn of(headers: &HeaderMap) -> Self {
        let is_identity = |coding: &str| coding.is_empty() || coding.eq_ignore_ascii_case("identity");
        let all_identity = |value: &HeaderValue| {
            value.to_str().is_ok_and(|codings| codings.split(',').map(str::trim).all(is_identity))
        };
        if !headers.get_all(header::CONTENT_ENCODING).iter().all(all_identity) {
            return Self::Encoded;
        }
        let mut types = headers.get_all(header::CONTENT_TYPE).iter();
        let (Some(kind), None) = (types.next().and_then(|kind| kind.to_str().ok()), types.next()) else {
            return Self::OtherType;
        };
        let mut parts = kind.split(';').map(|part| part.trim().to_ascii_lowercase());
        let is_json =
            parts.next().is_some_and(|kind| matches!(&*kind, "application/json" | "application/merge-patch+json"));
        // JSON has no such parameter (RFC 8259, section 11), but a client that sends one has encoded its text accordingly.
        let is_utf8 = parts.all(|parameter| match parameter.strip_prefix("charset=") {
            Some(charset) => matches!(charset.trim_matches('"'), "utf-8" | "utf8" | "us-ascii"),
            None => true,
        });
        if is_json && is_utf8 { Self::Json } else { Self::OtherType }
    }
}

/// Parses a body, which must be a JSON object.
///
/// `serde_json::Value` takes any number of fields, and the last of several with one name. Here too many are refused before they take
/// memory, and a field that is given twice is named.
pub(crate) fn object(body: &[u8]) -> Result<Map<String, Value>> {
    let mut reading = Reading { left: VALUES_LIMIT, pointer: String::new(), refusal: None };
    let mut json = serde_json::Deserializer::from_slice(body);
    let read = reading.deserialize(&mut json).and_then(|value| json.end().map(|()| value));
    match read {
        Ok(Value::Object(object)) => Ok(object),
        Ok(_) => Err(InvalidField::in_body("", "must be an object").into()),
        Err(error) => match reading.refusal.or_else(|| not_representable(&error)) {
            Some(wrong) => Err(InvalidField::in_body(reading.pointer, wrong).into()),
            None => Err(Problem::Malformed(format!("the body cannot be read as JSON: {error}").into())),
        },
    }
}

/// Why `serde_json` refuses a value that JSON's grammar allows. It tells these errors apart only in their text.
fn not_representable(error: &serde_json::Error) -> Option<&'static str> {
    let text = error.to_string();
    let has = |part| text.starts_with(part);
    if has("lone leading surrogate in hex escape") || has("unexpected end of hex escape") {
        Some("contains half of a surrogate pair, such as \\ud800, which is no character")
    } else if has("number out of range") {
        Some("is a number out of range")
    } else {
        None
    }
}

/// A body that is being parsed.
struct Reading {
    /// How many more fields and items it may have.
    left: usize,
    /// JSON pointer of the value that is being read; after an error, of the value with the error.
    pointer: String,
    /// Why the body is refused although it is JSON.
    refusal: Option<&'static str>,
}

impl Reading {
    fn refuse<E: de::Error>(&mut self, reason: &'static str) -> E {
        self.refusal = Some(reason);
        E::custom("refused")
    }

    /// Counts a field or an item.
    fn count<E: de::Error>(&mut self) -> Result<(), E> {
        match self.left.checked_sub(1) {
            Some(left) => {
                self.left = left;
                Ok(())
            }
            None => {
                self.pointer.clear();
                Err(self.refuse("has more than 1000 fields and items"))
            }
        }
    }
}

impl<'de> DeserializeSeed<'de> for &mut Reading {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, json: D) -> Result<Value, D::Error> {
        json.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for &mut Reading {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let outside = self.pointer.len();
        let mut list = Vec::new();
        loop {
            self.pointer.push_str(&format!("/{}", list.len()));
            let Some(item) = items.next_element_seed(&mut *self)? else { break };
            self.count()?;
            list.push(item);
            self.pointer.truncate(outside);
        }
        self.pointer.truncate(outside);
        Ok(list.into())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut fields: A) -> Result<Value, A::Error> {
        let outside = self.pointer.len();
        let mut object = Map::new();
        while let Some(name) = fields.next_key::<String>()? {
            self.count()?;
            self.pointer.push('/');
            self.pointer.push_str(&pointer_token(&name));
            if object.contains_key(&name) {
                return Err(self.refuse("is given more than once"));
            }
            let value = fields.next_value_seed(&mut *self)?;
            object.insert(name, value);
            self.pointer.truncate(outside);
        }
        Ok(object.into())
    }
}

/// The name of a field as a part of a JSON pointer (RFC 6901, section 3).
pub(crate) fn pointer_token(name: &str) -> String {
    let name: String = name.chars().take(100).collect();
    name.replace('~', "~0").replace('/', "~1")
}
