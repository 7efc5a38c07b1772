//! The answer to a write request, in a form that can be kept for a repetition.

use std::collections::BTreeMap;

use axum::{
    http::{HeaderName, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::{dead_letters::DeadLetter, task::Task};

#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: BTreeMap<String, String>,
    /// JSON, kept as text so that a repetition gets the same bytes.
    pub(crate) body: Option<String>,
    /// The row that the body shows.
    pub(crate) shows: Option<Shown>,
}

/// A row whose answer need not be kept for a repetition, because it can be read again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Shown {
    Task(Uuid),
    /// A dead letter, with data of a user who is not the one who asked.
    Letter(Uuid),
}

impl Answer {
    /// A task with its `ETag`.
    pub(crate) fn task(status: StatusCode, task: &Task) -> Self {
        let mut answer = Self::json(status, task);
        answer.headers.insert("etag".to_owned(), etag(task.version));
        answer.shows = Some(Shown::Task(task.id));
        answer
    }

    /// A new task with its address.
    pub(crate) fn created(task: &Task) -> Self {
        let mut answer = Self::task(StatusCode::CREATED, task);
        answer.headers.insert("location".to_owned(), format!("/v1/tasks/{}", task.id));
        answer
    }

    /// A dead letter.
    pub(crate) fn letter(letter: &DeadLetter) -> Self {
        Self { shows: Some(Shown::Letter(letter.id)), ..Self::json(StatusCode::OK, letter) }
    }

    pub(crate) fn json(status: StatusCode, body: &impl Serialize) -> Self {
        let body = serde_json::to_string(body).expect("an answer is plain data");
        Self { status, headers: BTreeMap::new(), body: Some(body), shows: None }
    }

    /// The task is at the version that the client has.
    pub(crate) fn not_modified(version: i64) -> Self {
        let headers = BTreeMap::from([("etag".to_owned(), etag(version))]);
        Self { status: StatusCode::NOT_MODIFIED, headers, body: None, shows: None }
    }

    pub(crate) fn empty() -> Self {
        Self { status: StatusCode::NO_CONTENT, headers: BTreeMap::new(), body: None, shows: None }
    }
}

/// The `ETag` of a task at a version.
pub(crate) fn etag(version: i64) -> String {
    format!("\"{version}\"")
}

impl IntoResponse for Answer {
    fn into_response(self) -> Response {
        let mut response = match self.body {
            Some(body) => (self.status, [(header::CONTENT_TYPE, "application/json")], body).into_response(),
            None => self.status.into_response(),
        };
        for (name, value) in self.headers {
            if let (Ok(name), Ok(value)) = (HeaderName::try_from(name), HeaderValue::try_from(value)) {
                response.headers_mut().insert(name, value);
            }
        }
        response
    }
}
