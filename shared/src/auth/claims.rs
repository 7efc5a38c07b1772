//! The claims of a token, as identity providers write them, and the user they describe.
//!
//! A claim that cannot be used is refused with the reason. So claims that providers write in several ways are parsed here, not by the
//! deserializer, which would only say that the token is not valid.

use chrono::{DateTime, Utc};
use serde::{Deserialize, de::IgnoredAny};
use uuid::{Uuid, uuid};

use super::{LEEWAY, User};
use crate::{address::Address, problem::Problem};

/// The longest subject: OpenID Connect Core, section 2.
const SUBJECT_LIMIT: usize = 255;
/// The namespace of subjects in tokens without an issuer.
const NO_ISSUER: Uuid = uuid!("5d2a7c0e-6a53-4f0b-9c58-2f4f0f6f8d11");

/// What is configured about claims that are not verified with the signature.
pub(super) struct Rules {
    /// The word in `scope`, `scp` or `roles` that makes an operator. `None`: nobody is one.
    pub(super) operator_scope: Option<String>,
    /// Whether a token without `email_verified` is refused.
    pub(super) email_verified_required: bool,
    /// Whether ID tokens are accepted.
    pub(super) id_tokens: bool,
}

/// The claims that are read. `exp`, `nbf`, `iss` and `aud` are verified with the signature.
#[derive(Deserialize)]
pub(super) struct Claims {
    sub: String,
    iss: Option<String>,
    exp: Option<Seconds>,
    iat: Option<f64>,
    email: Option<String>,
    email_verified: Option<Flag>,
    scope: Option<Words>,
    scp: Option<Words>,
    roles: Option<Words>,
    /// The kind of token at Keycloak.
    typ: Option<Kind>,
    /// The kind of token at Cognito.
    token_use: Option<Kind>,
    nonce: Option<IgnoredAny>,
    at_hash: Option<IgnoredAny>,
    c_hash: Option<IgnoredAny>,
}

/// A time. What is none was refused with the signature.
#[derive(Deserialize)]
#[serde(untagged)]
enum Seconds {
    Number(f64),
    Other(IgnoredAny),
}

/// A truth value, which some providers write as a string.
#[derive(Deserialize)]
#[serde(untagged)]
enum Flag {
    Bool(bool),
    Text(String),
    Other(IgnoredAny),
}

/// Words in one string, separated by spaces (RFC 8693, section 4.2), or a list of strings, as Spring, Duende and Okta write them.
#[derive(Deserialize)]
#[serde(untagged)]
enum Words {
    Text(String),
    List(Vec<String>),
    Other(IgnoredAny),
}

/// The name of a kind of token; other services may use the claim for something else.
#[derive(Deserialize)]
#[serde(untagged)]
enum Kind {
    Text(String),
    Other(IgnoredAny),
}

impl Claims {
    /// When the token ends.
    pub(super) fn expires_at(&self) -> DateTime<Utc> {
        let seconds = if let Some(Seconds::Number(seconds)) = self.exp { seconds.round() } else { 0.0 };
        #[expect(clippy::cast_possible_truncation, reason = "a time that is out of range is the last one")]
        let seconds = seconds as i64;
        DateTime::from_timestamp(seconds, 0).unwrap_or(DateTime::<Utc>::MAX_UTC)
    }

    /// The user whom the token describes. `now` bounds the time of issue.
    pub(super) fn user(self, rules: &Rules, now: DateTime<Utc>) -> Result<User, Problem> {
        if self.is_id_token() && !rules.id_tokens {
            return Err(Problem::BadToken("this is an ID token: send an access token for this API"));
        }
        let id = subject(&self.sub, self.iss.as_deref())?;
        let issued_at = self.iat.map(|seconds| issued_at(seconds, now)).transpose()?;
        let email = self.email.ok_or(Problem::BadToken("the token has no email"))?;
        let email = Address::parse(&email).ok_or(Problem::BadToken("the token's email is not an address"))?;
        match self.email_verified.map(|flag| flag.is_true()) {
            Some(true) => {}
            Some(false) => {
                return Err(Problem::BadToken("the token's email is not verified: email_verified is not true"));
            }
            None if rules.email_verified_required => {
                return Err(Problem::BadToken("the token does not say that its email is verified: no email_verified"));
            }
            None => {}
        }
        let mut operator = false;
        for words in [self.scope, self.scp, self.roles].into_iter().flatten() {
            let is_named = words.contain(rules.operator_scope.as_deref()).ok_or(Problem::BadToken(
                "the token's scope, scp or roles is neither a string nor a list of strings",
            ))?;
            operator |= is_named;
        }
        Ok(User { id, email, issued_at, operator })
    }

    /// Whether the provider says, or the claims show, that this is an ID token: it tells a client who signed in, and is not meant for an
    /// API. An access token that looks the same cannot be told apart; then only its audience differs.
    fn is_id_token(&self) -> bool {
        let named = [&self.typ, &self.token_use].into_iter().find_map(|kind| match kind {
            Some(Kind::Text(name)) if name.eq_ignore_ascii_case("id") => Some(true),
            Some(Kind::Text(name)) if ["bearer", "access"].iter().any(|other| name.eq_ignore_ascii_case(other)) => {
                Some(false)
            }
            _ => None,
        });
        // Only the endpoint that issues ID tokens adds these (OpenID Connect Core, sections 2 and 3.3.2.11).
        named.unwrap_or(self.nonce.is_some() || self.at_hash.is_some() || self.c_hash.is_some())
    }
}

impl Flag {
    fn is_true(&self) -> bool {
        match self {
            Self::Bool(value) => *value,
            Self::Text(text) => text == "true",
            Self::Other(_) => false,
        }
    }
}

impl Words {
    /// Whether `wanted` is one of the words. `None` if these are not words.
    fn contain(&self, wanted: Option<&str>) -> Option<bool> {
        let is_in = |text: &str| wanted.is_some_and(|wanted| text.split(' ').any(|word| word == wanted));
        match self {
            Self::Text(text) => Some(is_in(text)),
            Self::List(list) => Some(list.iter().any(|text| is_in(text))),
            Self::Other(_) => None,
        }
    }
}

/// The user's id: the subject itself if it is a canonical UUID in lower case, otherwise a UUIDv5 of issuer and subject.
///
/// A UUIDv5 is derived as well. Otherwise a subject could be chosen that equals the id of another one.
pub(super) fn subject(text: &str, issuer: Option<&str>) -> Result<Uuid, Problem> {
    if text.is_empty() || text.len() > SUBJECT_LIMIT {
        return Err(Problem::BadToken("the token's sub must have 1 to 255 bytes"));
    }
    let canonical = Uuid::try_parse(text).ok().filter(|id| id.get_version_num() != 5 && id.to_string() == text);
    Ok(canonical.unwrap_or_else(|| {
        let namespace = issuer.map_or(NO_ISSUER, |issuer| Uuid::new_v5(&Uuid::NAMESPACE_URL, issuer.as_bytes()));
        Uuid::new_v5(&namespace, text.as_bytes())
    }))
}

/// The time of issue. A later token replaces the address of an earlier one, so none may come from the future.
fn issued_at(seconds: f64, now: DateTime<Utc>) -> Result<DateTime<Utc>, Problem> {
    #[expect(clippy::cast_precision_loss, reason = "exact until the year 287396")]
    let latest = (now.timestamp() + LEEWAY.cast_signed()) as f64;
    if !(0.0..=latest).contains(&seconds) {
        return Err(Problem::BadToken("the token's iat is in the future, or is not a time"));
    }
    #[expect(clippy::cast_possible_truncation, reason = "it is at most `latest`")]
    let micros = (seconds * 1e6) as i64;
    DateTime::from_timestamp_micros(micros).ok_or(Problem::BadToken("the token's iat is not a time"))
}
