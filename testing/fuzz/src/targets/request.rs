//! Authorized requests to every operation of the OpenAPI document. The first byte chooses the operation, the first line is the id in the
//! path and the query, more lines are headers, and the body follows after an empty line.
//!
//! The answer is a problem about the request, or 503 for the missing database, and never another server error. An accepted task is
//! checked against an independent, simple version of the rules.

use std::cell::OnceCell;

use axum::{
    body::Body,
    extract::Query,
    http::{HeaderValue, Method, Request, StatusCode, Uri, header},
};
use chrono::{DateTime, Datelike as _};
use serde_json::Value;
use unicode_normalization::UnicodeNormalization as _;

use crate::{
    Target,
    offline::{self, ID},
};

pub(crate) const TARGET: Target = Target { name: "request", seeds, words: WORDS, run };

const WORDS: &[&str] = &[
    "if-match: ",
    "if-none-match: ",
    "content-encoding: ",
    "idempotency-key: ",
    "content-type: ",
    "content-length: ",
    "traceparent: ",
    "transfer-encoding: ",
    "application/json",
    "application/merge-patch+json",
    "; charset=utf-8",
    "\"1\"",
    "W/\"1\"",
    "*",
    "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
    ID,
    "?",
    "%00",
    "%ff",
    "status=",
    "sort=",
    "cursor=",
    "priority=",
    "tag=",
    "due_before=",
    "due_after=",
    "q=",
    "limit=",
    "open",
    "completed",
    "all",
    "-due_at",
    "created_at",
    "100",
    "title",
    "description",
    "due_at",
    "time_zone",
    "tags",
    "reminders",
    "remind_at",
    "before_due",
    "channels",
    "recurrence",
    "scope",
    "following",
    "type",
    "interval",
    "rule",
    "anchor",
    "until",
    "minutes",
    "count",
    "capability",
    "default_reminder",
    "hide_titles",
    "endpoint",
    "https://fcm.googleapis.com/x",
    "p256dh",
    "auth",
    "vapid_key",
    "version",
    "user_id",
    "daily",
    "custom",
    "completion",
    "urgent",
    "email",
    "push",
    "Europe/Berlin",
    "PT15M",
    "P1D",
    "FREQ=MONTHLY;BYMONTHDAY=-1",
    "2031-01-31T09:00:00+02:00",
    "9999-12-31T23:59:59Z",
    "1969-12-31T23:59:60Z",
    "\\u0000",
    "\\ud800",
    "null",
    "1e400",
    "-1",
    "{\"",
    "[[[[[[[[",
];

/// The fields of a new task.
const FIELDS: [&str; 9] =
    ["title", "description", "priority", "due_at", "time_zone", "tags", "reminders", "remind_at", "recurrence"];

/// The operations that read `limit`.
const LISTS: [&str; 6] = [
    "/v1/tasks",
    "/v1/tags",
    "/v1/deliveries",
    "/v1/tasks/{id}/history",
    "/v1/reminders/{id}/timeline",
    "/v1/dead-letters",
];

thread_local! {
    static OPERATIONS: OnceCell<Vec<(Method, String)>> = const { OnceCell::new() };
}

/// The operation that a byte chooses.
fn operation(byte: u8) -> (Method, String) {
    OPERATIONS.with(|all| {
        let all = all.get_or_init(operations);
        all[usize::from(byte) % all.len()].clone()
    })
}

fn operations() -> Vec<(Method, String)> {
    let document = serde_json::to_value(tasks::document()).expect("a document");
    let paths = document["paths"].as_object().expect("paths");
    let mut all = Vec::new();
    for (path, methods) in paths {
        for method in methods.as_object().expect("methods").keys() {
            all.extend(Method::from_bytes(method.to_ascii_uppercase().as_bytes()).map(|method| (method, path.clone())));
        }
    }
    assert!(all.len() > 15 && all.contains(&new_task()), "{all:?}");
    all
}

fn new_task() -> (Method, String) {
    (Method::POST, "/v1/tasks".to_owned())
}

fn seeds() -> Vec<Vec<u8>> {
    const LIST: &str =
        "?status=open&priority=high&tag=home&due_before=2031-01-01T00:00:00Z&q=milk&sort=-due_at&limit=10";
    const TASK: &str = r#"{"title":"call","description":"d","priority":"high","due_at":"2031-01-31T09:00:00+02:00","time_zone":"Europe/Berlin","tags":["a","b"],"reminders":[{"before_due":"P1DT15M","channels":["email"]},{"remind_at":"2031-01-30T09:00:00Z"}],"recurrence":{"type":"custom","rule":"FREQ=MONTHLY;BYMONTHDAY=-1","anchor":"due"}}"#;
    const HEAD: &str = "\ncontent-type: application/json\nidempotency-key: once\nif-match: \"1\", \"2\"\n\n";
    const PREVIEW: &str = r#"{"recurrence":{"type":"custom","rule":"FREQ=MONTHLY;BYMONTHDAY=31"},"due_at":"2031-01-31T09:00:00+02:00","count":20}"#;
    let bodies = [
        TASK,
        PREVIEW,
        r#"{"capability":"AgAA"}"#,
        r#"{"minutes":15}"#,
        r#"{"until":"2031-01-01T00:00:00Z"}"#,
        r#"{"before_due":"PT15M"}"#,
        "{}",
        "",
    ];
    let of = |byte: usize, query: &str, body: &str| {
        let byte = u8::try_from(byte).expect("few operations");
        [&[byte], query.as_bytes(), HEAD.as_bytes(), body.as_bytes()].concat()
    };
    let mut seeds = Vec::new();
    for (number, (method, path)) in operations().into_iter().enumerate() {
        if method == Method::GET {
            seeds.push(of(number, if path == "/v1/tasks" { LIST } else { "?limit=10&cursor=1" }, ""));
            continue;
        }
        let fitting = bodies
            .iter()
            .map(|body| of(number, "", body))
            .filter(|seed| send(seed).is_some_and(|(_, answer)| answer.was_good()));
        seeds.extend(fitting.take(2));
    }
    seeds.push(of(0, "x", "["));
    seeds
}

fn run(input: &[u8]) {
    let Some((sent, answer)) = send(input) else { return };
    // An id with a slash matches another route, hence 404 and 405.
    let known = [400, 404, 405, 413, 415, 422, 503];
    assert!(known.contains(&answer.status.as_u16()), "{} to {:?}", answer.status, sent.operation);
    assert_eq!(answer.kind, "application/problem+json", "{:?}", sent.operation);
    let problem = answer.json();
    assert_eq!(problem["status"], answer.status.as_u16(), "{problem}");
    assert!(
        answer.body.len() < 2_000 * (1 + invalid_fields(&problem).len()) + 8 * input.len(),
        "{} bytes",
        answer.body.len()
    );
    if answer.status == StatusCode::UNPROCESSABLE_ENTITY {
        assert!(!invalid_fields(&problem).is_empty(), "{problem}");
        for field in invalid_fields(&problem) {
            let places = ["pointer", "parameter", "header"].iter().filter(|place| field[**place].is_string()).count();
            assert!(places == 1 && field["detail"].as_str().is_some_and(|detail| !detail.is_empty()), "{problem}");
        }
    }
    if answer.was_good() {
        check_accepted(&sent);
    }
    if answer.was_good() && sent.operation == new_task() {
        is_a_task(&serde_json::from_slice(sent.body).expect("a body that was read is JSON"));
    }
}

fn invalid_fields(problem: &Value) -> &[Value] {
    problem["errors"].as_array().map_or(&[], Vec::as_slice)
}

/// Checks the limits of the page and of the key in an accepted request.
fn check_accepted(sent: &Sent<'_>) {
    if LISTS.contains(&&*sent.operation.1) && sent.operation.0 == Method::GET {
        let limits = sent.query.iter().filter(|(name, _)| name == "limit");
        let limits: Vec<u32> = limits.map(|(_, limit)| limit.parse().expect("a number")).collect();
        assert!(limits.len() <= 1 && limits.iter().all(|limit| (1..=100).contains(limit)), "{limits:?}");
    }
    if let Some(key) = sent.key.as_ref().filter(|_| sent.operation.0 != Method::GET) {
        let key = key.to_str().expect("ASCII");
        assert!((1..=255).contains(&key.len()) && key.bytes().all(|byte| (b' '..=b'~').contains(&byte)), "{key:?}");
    }
}

struct Sent<'a> {
    operation: (Method, String),
    query: Vec<(String, String)>,
    key: Option<HeaderValue>,
    body: &'a [u8],
}

/// Sends the request of an input, if it is valid HTTP.
fn send(input: &[u8]) -> Option<(Sent<'_>, offline::Answer)> {
    let (byte, input) = input.split_first()?;
    let operation = operation(*byte);
    let (mut head, body) = offline::head_and_body(input);
    let line = std::str::from_utf8(head.next()?).ok()?;
    let (id, query) = line.split_once('?').map_or((line, None), |(id, query)| (id, Some(query)));
    let mut uri = operation.1.replace("{id}", if id.is_empty() { ID } else { id });
    query.inspect(|query| uri.extend(["?", query]));
    let uri: Uri = uri.parse().ok()?;
    let query = Query::try_from_uri(&uri).map_or_else(|_| Vec::new(), |Query(query)| query);
    let mut request = Request::builder().method(&operation.0).uri(uri).body(Body::from(body.to_vec())).ok()?;
    for (name, value) in head.filter_map(offline::header_of) {
        request.headers_mut().append(name, value);
    }
    request.headers_mut().insert(header::AUTHORIZATION, offline::bearer().parse().ok()?);
    let key = request.headers().get("idempotency-key").cloned();
    Some((Sent { operation, query, key, body }, offline::call(request)))
}

fn is_a_task(task: &Value) {
    let task = task.as_object().expect("an object");
    assert!(task.keys().all(|name| FIELDS.contains(&name.as_str())), "{task:?}");
    let title: String = task["title"].as_str().expect("a title").trim().nfc().collect();
    assert!((1..=500).contains(&title.chars().count()) && !title.contains('\0'), "{title:?}");
    let description = task.get("description").and_then(Value::as_str).unwrap_or_default();
    let description: String = description.nfc().collect();
    assert!(description.chars().count() <= 10_000 && !description.contains('\0'));
    let count = |name: &str| task.get(name).and_then(Value::as_array).map_or(0, Vec::len);
    let has = |name: &str| task.get(name).is_some_and(|value| !value.is_null());
    assert!(count("tags") <= 20 && count("reminders") + usize::from(has("remind_at")) <= 20, "{task:?}");
    assert!(!has("recurrence") || has("due_at"), "{task:?}");
    for name in ["due_at", "remind_at"].into_iter().filter(|name| has(name)) {
        let at = DateTime::parse_from_rfc3339(task[name].as_str().expect("a time")).expect("a time with its offset");
        assert!((1970..=9999).contains(&at.to_utc().year()), "{at}");
    }
    if has("time_zone") {
        let zone = task["time_zone"].as_str().expect("a name");
        assert!(zone.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"/_+-".contains(&byte)), "{zone}");
    }
}
