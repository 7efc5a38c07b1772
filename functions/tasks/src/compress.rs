//! Compresses long answers to reads: a page of 100 tasks is 60 KB, which takes a phone half a second, and a tenth of that compressed.
//!
//! Not by tower-http's layer: the length of its answers is unknown, so each would count as a stream and end its connection (`serve/streams.rs`).
//!
//! An answer with an `ETag` stays as it is, because a compressed one would need another tag. An export stays too: it is made while it is read.

use std::io::Write as _;

use axum::{
    body::{Body, HttpBody as _, to_bytes},
    extract::Request,
    http::{HeaderValue, Method, header},
    middleware::Next,
    response::{IntoResponse as _, Response},
};
use flate2::{Compression, write::GzEncoder};
use shared::{encoding, problem::Problem};

/// A shorter answer fits into the packet or two that its head begins.
const LEAST: u64 = 1_400;

/// Middleware of every operation.
pub(crate) async fn compress(request: Request, next: Next) -> Response {
    let is_read = request.method() == Method::GET;
    let is_accepted = encoding::accepts(request.headers(), "gzip");
    let mut response = next.run(request).await;
    let is_long = response.body().size_hint().exact().is_some_and(|size| size >= LEAST);
    if !is_read || !is_long || response.headers().contains_key(header::ETAG) {
        return response;
    }
    response.headers_mut().append(header::VARY, HeaderValue::from_static("accept-encoding"));
    if !is_accepted {
        return response;
    }
    let (mut head, body) = response.into_parts();
    // The handlers answer with bytes in memory, so this neither waits nor copies.
    let body = match to_bytes(body, usize::MAX).await {
        Ok(body) => body,
        Err(error) => return Problem::Internal(error.into()).into_response(),
    };
    let mut encoder = GzEncoder::new(Vec::with_capacity(body.len() / 4), Compression::fast());
    let compressed = encoder.write_all(&body).and_then(|()| encoder.finish()).expect("memory can be written");
    head.headers.remove(header::CONTENT_LENGTH);
    head.headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    Response::from_parts(head, Body::from(compressed))
}
