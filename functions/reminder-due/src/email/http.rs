//! The clients of providers that speak HTTP, and the meaning of their answers.

use std::time::Duration;

use chrono::{DateTime, Utc};
use reqwest::{
    Client, ClientBuilder, Response, StatusCode,
    header::{HeaderMap, RETRY_AFTER},
    redirect,
};
use serde::de::DeserializeOwned;

use super::SendError;

/// Wait after a 429 without `Retry-After`.
const UNSTATED_WAIT: Duration = Duration::from_secs(30);

/// Maximum bytes to read of an answer. The answers of the providers have a few hundred.
const ANSWER_LIMIT: usize = 256 << 10;

/// A client without redirects and retries, because either could send a message twice.
///
/// Connecting may take half of the deadline. So an unreachable provider differs from one that does not answer.
pub(crate) fn builder(deadline: Duration) -> ClientBuilder {
    Client::builder()
        .connect_timeout(deadline / 2)
        .redirect(redirect::Policy::none())
        .retry(reqwest::retry::never())
        .user_agent(concat!("punctual/", env!("CARGO_PKG_VERSION")))
}

/// Classifies an answer that is not 2xx. `name` is the provider's name of the error, if it is a known one.
pub(crate) fn refusal(provider: &str, status: StatusCode, headers: &HeaderMap, name: Option<&str>) -> SendError {
    let reason = match name {
        Some(name) => format!("{provider} {} {name}", status.as_u16()),
        None => format!("{provider} {}", status.as_u16()),
    };
    match (status.as_u16(), retry_after(headers)) {
        (429, wait) => SendError::throttled(wait.unwrap_or(UNSTATED_WAIT), reason),
        (503, Some(wait)) => SendError::throttled(wait, reason),
        // A gateway that timed out does not know the outcome either.
        (504, _) => SendError::unknown(reason),
        // These concern our account, our URL or the moment, not the message. Once an operator has fixed it, the mail goes out late, which
        // is better than never.
        (401 | 402 | 404 | 405 | 407 | 408 | 409 | 425, _) => SendError::transient(reason),
        (400..=499, _) => SendError::permanent(reason),
        _ => SendError::transient(reason),
    }
}

/// Parses `Retry-After`, in seconds or as a date.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let value = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    if let Ok(seconds) = value.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let at = DateTime::parse_from_rfc2822(value).ok()?;
    // A date that has passed means now.
    Some((at.with_timezone(&Utc) - Utc::now()).to_std().unwrap_or_default())
}

/// Classifies a failure without an answer. The reason contains no address.
pub(crate) fn no_answer(provider: &str, error: &reqwest::Error) -> SendError {
    if error.is_connect() {
        SendError::transient(format!("{provider} could not be reached"))
    } else if error.is_builder() {
        SendError::transient(format!("{provider} could not be asked: the key or URL is not usable"))
    } else if error.is_timeout() {
        SendError::unknown(format!("{provider} did not answer in time"))
    } else {
        SendError::unknown(format!("{provider} closed the connection without an answer"))
    }
}

/// Parses the JSON of an answer. `None` if it is invalid or longer than `ANSWER_LIMIT`.
pub(super) async fn json<T: DeserializeOwned>(mut response: Response) -> Option<T> {
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.ok()? {
        body.extend_from_slice(&chunk);
        if body.len() > ANSWER_LIMIT {
            return None;
        }
    }
    serde_json::from_slice(&body).ok()
}
