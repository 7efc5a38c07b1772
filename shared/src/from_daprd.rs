//! The check that a call comes from our daprd: every route for events, jobs and invocations needs it.

use axum::{
    extract::{FromRef, FromRequestParts},
    http::{StatusCode, request::Parts},
};
use secrecy::ExposeSecret as _;
use subtle::ConstantTimeEq as _;

use crate::App;

/// Proof that a call has the app API token, which only our daprd knows.
///
/// As the first extractor of a route it rejects a call before its body is read. The rejection is a 5xx, so that daprd retries: after a
/// rotation of the token, the caller may be our own daprd with the old one.
#[derive(Clone, Copy, Debug)]
pub struct FromDaprd;

impl<S: Send + Sync> FromRequestParts<S> for FromDaprd
where
    App: FromRef<S>,
{
    type Rejection = StatusCode;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, StatusCode> {
        let app = App::from_ref(state);
        let expected = app.config.app_api_token.expose_secret().as_bytes();
        match parts.headers.get("dapr-api-token") {
            Some(token) if token.as_bytes().ct_eq(expected).into() => Ok(Self),
            _ => {
                tracing::warn!("rejected a call without the application's token");
                Err(StatusCode::SERVICE_UNAVAILABLE)
            }
        }
    }
}
