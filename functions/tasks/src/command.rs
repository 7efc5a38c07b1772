//! A write request, read completely before anything is done.

use axum::{
    body::Bytes,
    extract::{FromRef, FromRequest, FromRequestParts, Path, Request},
    http::{HeaderMap, HeaderName, header, request::Parts},
};
use sha2::{Digest as _, Sha256};
use shared::{
    cloud_event::Trace,
    faults::crash,
    problem::{InvalidField, Problem, Result},
};
use uuid::Uuid;

use crate::{
    Quotas,
    answer::Answer,
    body::{self, Form},
    input::Fields,
    preconditions::Preconditions,
    user_tx::UserTx,
};

pub(crate) const IDEMPOTENCY_KEY: &str = "Idempotency-Key";
pub(crate) const KEY_LIMIT: usize = 255;

/// A write request, without its user.
pub(crate) struct Command {
    /// The trace that its events continue.
    pub(crate) trace: Trace,
    /// `Idempotency-Key`.
    pub(crate) key: Option<String>,
    /// Hash of method, path and body: tells different requests with the same key apart.
    pub(crate) fingerprint: Vec<u8>,
    pub(crate) preconditions: Preconditions,
    /// The quotas of its user.
    pub(crate) quotas: Quotas,
    form: Form,
    body: Bytes,
}

impl<S: Send + Sync> FromRequest<S> for Command
where
    Quotas: FromRef<S>,
{
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self> {
        let (parts, body) = request.into_parts();
        let key = key(&parts.headers)?;
        if parts.headers.contains_key(header::CONTENT_RANGE) {
            // RFC 9110, section 14.5.
            return Err(Problem::Malformed("`Content-Range` is not supported: send the whole body without it".into()));
        }
        // `limits` has received the body, within limits below those of this extractor.
        let body = Bytes::from_request(Request::new(body), state).await;
        let body = body.map_err(|error| Problem::Internal(error.into()))?;
        let mut hash = Sha256::new();
        for part in [parts.method.as_str().as_bytes(), parts.uri.path().as_bytes(), &body] {
            hash.update(part.len().to_be_bytes());
            hash.update(part);
        }
        let trace = parts.headers.get(HeaderName::from_static("traceparent")).and_then(|value| value.to_str().ok());
        Ok(Self {
            trace: Trace::from_header(trace),
            key,
            fingerprint: hash.finalize().to_vec(),
            preconditions: Preconditions::of(&parts.headers),
            quotas: Quotas::from_ref(state),
            form: Form::of(&parts.headers),
            body,
        })
    }
}

pub(crate) fn key(headers: &HeaderMap) -> Result<Option<String>> {
    let mut given = headers.get_all(IDEMPOTENCY_KEY).iter();
    let Some(key) = given.next() else { return Ok(None) };
    match key.to_str() {
        Ok(key) if (1..=KEY_LIMIT).contains(&key.len()) && !key.contains('\t') && given.next().is_none() => {
            Ok(Some(key.to_owned()))
        }
        _ => Err(InvalidField::in_header(
            IDEMPOTENCY_KEY,
            format_args!("must be given once, with 1 to {KEY_LIMIT} visible ASCII characters"),
        )
        .into()),
    }
}

impl Command {
    /// The body, which must be a JSON object.
    pub(crate) fn object(&self) -> Result<Fields> {
        match self.form {
            Form::Json => body::object(&self.body).map(Fields::new),
            Form::OtherType => Err(Problem::UnsupportedMediaType),
            Form::Encoded => Err(Problem::UnsupportedEncoding),
        }
    }

    /// Refuses a body with fields: the command has none. An absent body and `{}` pass.
    pub(crate) fn no_fields(&self) -> Result<()> {
        if self.body.is_empty() { Ok(()) } else { self.object()?.read(|_| Some(())) }
    }

    /// The same request without `Idempotency-Key` and preconditions.
    pub(crate) fn without_conditions(self) -> Self {
        Self { key: None, preconditions: Preconditions::of(&HeaderMap::new()), ..self }
    }

    /// Keeps the answer for a repetition and commits. A refused command drops its transaction instead, which rolls it back.
    pub(crate) async fn commit(&self, mut tx: UserTx, user_id: Uuid, answer: Answer) -> Result<Answer> {
        self.keep(&mut tx, user_id, &answer).await?;
        crash("command-before-commit");
        tx.commit().await?;
        crash("command-committed");
        Ok(answer)
    }
}

/// The id in the path. A text that is no UUID identifies nothing: the same 404.
pub(crate) struct Id(pub(crate) Uuid);

impl<S: Send + Sync> FromRequestParts<S> for Id {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self> {
        let Path(id) = Path::<Uuid>::from_request_parts(parts, state).await.map_err(|_| Problem::NotFound)?;
        Ok(Self(id))
    }
}
