//! Calls by daprd: events, jobs, dead letters and an invocation, with the app API token. The first byte chooses the route, the first
//! line is the name of the job or function, more lines are headers, and the body follows after an empty line.
//!
//! The answer is never 404, which daprd treats as success. Without a database, only calls that are dropped may succeed.

use axum::{
    body::Body,
    http::{Request, Uri},
};
use serde_json::json;
use shared::catalogue::EventType;

use super::envelope;
use crate::{
    Target,
    offline::{self, APP_TOKEN, ID},
};

pub(crate) const TARGET: Target = Target { name: "delivered", seeds, words: WORDS, run };

const WORDS: &[&str] = &[
    "__topic: ",
    "__partition: ",
    "__offset: ",
    "content-type: ",
    "application/json",
    "application/cloudevents+json",
    "data_base64",
    "e30=",
    "reminder-",
    "delivery-",
    "task-updated",
    "reminder_id",
    "version",
    "due_at",
    ID,
    "-1",
    "2031-01-01T00:00:00Z",
    "id",
    "type",
    "data",
    "2147483648",
    "\\u0000",
    "null",
    "%00",
    "%ff",
];

fn path(byte: u8, name: &str) -> String {
    match route(byte) {
        Route::Event(kind) => format!("/events/{}", kind.consumer()),
        Route::DeadLetters => format!("/events/dead-letters/{name}"),
        Route::Job => format!("/job/{name}"),
        Route::SendNow => "/send-now".to_owned(),
    }
}

enum Route {
    Event(EventType),
    DeadLetters,
    Job,
    SendNow,
}

const DEAD_LETTERS: u8 = EventType::ALL.len() as u8;
const JOB: u8 = DEAD_LETTERS + 1;
const SEND_NOW: u8 = JOB + 1;

/// The route that the first byte of an input chooses.
fn route(byte: u8) -> Route {
    match byte % (SEND_NOW + 1) {
        DEAD_LETTERS => Route::DeadLetters,
        JOB => Route::Job,
        SEND_NOW => Route::SendNow,
        event => Route::Event(EventType::ALL[usize::from(event)]),
    }
}

fn seeds() -> Vec<Vec<u8>> {
    const HEAD: &str = "\ncontent-type: application/json\n__topic: task-events\n__partition: 0\n__offset: 17\n\n";
    let of = |byte: u8, name: &str, body: &[u8]| [&[byte], name.as_bytes(), HEAD.as_bytes(), body].concat();
    let events = (0..).zip(envelope::seeds()).map(|(byte, event)| of(byte, "", &event));
    let job = json!({"reminder_id": ID, "version": 1, "due_at": "2031-01-01T00:00:00Z"}).to_string();
    let others = [
        of(DEAD_LETTERS, "task-updated", json!({"data_base64": "eyJpZCI6IjEifQ=="}).to_string().as_bytes()),
        of(DEAD_LETTERS, "task-updated", b"{}"),
        of(JOB, &format!("reminder-{ID}-1"), job.as_bytes()),
        of(JOB, &format!("delivery-{ID}-1"), b"null"),
        of(SEND_NOW, "", job.as_bytes()),
    ];
    events.chain(others).collect()
}

fn run(input: &[u8]) {
    let Some((byte, input)) = input.split_first() else { return };
    let (mut head, body) = offline::head_and_body(input);
    let Some(Ok(name)) = head.next().map(std::str::from_utf8) else { return };
    let path = path(*byte, name);
    let Ok(uri) = path.parse::<Uri>() else { return };
    // Such a name would match another route. Our names contain none of these characters.
    if name.is_empty() && path.ends_with('/') || name.contains(['/', '?', '#']) {
        return;
    }
    let mut request = Request::post(uri).body(Body::from(body.to_vec())).expect("a request");
    for (name, value) in head.filter_map(offline::header_of) {
        request.headers_mut().append(name, value);
    }
    request.headers_mut().insert("dapr-api-token", APP_TOKEN.parse().expect("a header"));
    let status = offline::call(request).status.as_u16();
    match (route(*byte), status) {
        // A malformed job of a known kind is dropped. A name that is not UTF-8 is refused.
        (Route::Job, 200 | 400 | 503) | (_, 503) => {}
        // A job of an unknown kind is retried: a newer release may know it. A name that ends after its kind is of none.
        (Route::Job, 500) => {
            let is_known = |kind| name.strip_prefix(kind).is_some_and(|key| !key.is_empty());
            assert!(!["reminder-", "delivery-"].into_iter().any(is_known), "{path}");
        }
        (Route::DeadLetters, 400) => assert!(path.contains('%')),
        // `send-now` is called by a command, which tolerates a failure.
        (Route::SendNow, 400 | 413 | 415 | 422) => {}
        _ => panic!("{path} answered {status}"),
    }
}
