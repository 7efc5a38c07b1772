//! Who asks: a bearer JWT, as an extractor. A handler without a [`User`] in its signature is public at a glance.
//!
//! Either one HS256 secret, or the public keys of an identity provider (JWKS), never both, so that no token can choose which
//! kind of key it is checked with: a public key is never used as an HMAC secret, and `alg: none` is not an algorithm here.
//! Keys are fetched when first needed and kept; a key id nobody knows makes them be fetched again, once a minute at most.

mod keys;

use std::sync::Arc;

use anyhow::Context as _;
use axum::{
    extract::{FromRef, FromRequestParts},
    http::{header, request::Parts},
};
use clap::Parser;
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation, errors::ErrorKind};
use secrecy::{ExposeSecret as _, SecretString};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use self::keys::KeySet;
use crate::{config, problem::Problem};

/// The longest token looked at.
const TOKEN_LIMIT: usize = 8 * 1024;
/// How far clocks may be apart, in seconds.
const LEEWAY: u64 = 30;
/// The shortest HS256 secret: RFC 7518, section 3.2 wants as many bits as the hash has.
const SECRET_BYTES: usize = 32;

/// How tokens are checked: exactly one of `JWT_SECRET` and `JWKS_URL`.
#[derive(Parser, Clone, Debug)]
#[group(skip)]
pub struct AuthConfig {
    /// Secret of HS256 tokens, at least 32 bytes. Exactly one of `JWT_SECRET` and `JWKS_URL` is required.
    #[arg(long, env, hide_env_values = true, conflicts_with = "jwks_url", required_unless_present = "jwks_url")]
    pub jwt_secret: Option<SecretString>,
    /// URL of the identity provider's public keys (JWKS).
    #[arg(long, env)]
    pub jwks_url: Option<String>,
    /// `iss` that a token must have. Default: any.
    #[arg(long, env)]
    pub jwt_issuer: Option<String>,
    /// `aud` that a token must have. Default: any.
    #[arg(long, env)]
    pub jwt_audience: Option<String>,
}

/// Checks tokens. Cheap to clone.
#[derive(Clone)]
pub struct Auth(Arc<Inner>);

struct Inner {
    key: Key,
    issuer: Option<String>,
    audience: Option<String>,
}

enum Key {
    Secret(DecodingKey),
    Published(KeySet),
}

/// Whoever sent the request, as a token proves it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct User {
    /// The `sub` of the token.
    pub id: Uuid,
    /// Where reminders go.
    pub email: String,
    /// Whether `scope` contains `operator`.
    pub operator: bool,
}

#[derive(Serialize, Deserialize)]
struct Claims {
    sub: String,
    email: Option<String>,
    exp: u64,
    #[serde(default)]
    scope: Option<String>,
}

impl Auth {
    /// As the environment says; ends the process with one line where that is wrong.
    #[must_use]
    pub fn from_env() -> Self {
        Self::new(config::from_env()).unwrap_or_else(|error| {
            eprintln!("error: {error:#}");
            std::process::exit(2)
        })
    }

    /// As `config` says.
    ///
    /// # Errors
    /// When the secret is too short, or the URL is not one.
    pub fn new(config: AuthConfig) -> anyhow::Result<Self> {
        let key = match (&config.jwt_secret, &config.jwks_url) {
            (Some(secret), None) => {
                let secret = secret.expose_secret().as_bytes();
                anyhow::ensure!(secret.len() >= SECRET_BYTES, "JWT_SECRET must have {SECRET_BYTES} bytes or more");
                Key::Secret(DecodingKey::from_secret(secret))
            }
            (None, Some(url)) => Key::Published(KeySet::new(url).context("JWKS_URL")?),
            _ => anyhow::bail!("exactly one of JWT_SECRET and JWKS_URL must be set"),
        };
        Ok(Self(Arc::new(Inner { key, issuer: config.jwt_issuer, audience: config.jwt_audience })))
    }

    async fn check(&self, token: &str) -> Result<User, Problem> {
        if token.len() > TOKEN_LIMIT {
            return Err(Problem::BadToken("the token is larger than 8 KB"));
        }
        let header = jsonwebtoken::decode_header(token).map_err(|_| Problem::BadToken("the token is not a JWT"))?;
        if header.crit.is_some() {
            return Err(Problem::BadToken("the token has critical extensions that are not known here"));
        }
        let claims: Claims = match &self.0.key {
            Key::Secret(key) => self.decode(token, key, vec![Algorithm::HS256])?,
            Key::Published(keys) => {
                let found = keys.find(header.kid.as_deref()).await?;
                let (key, algorithms) = found.ok_or(Problem::BadToken("the token names a key that is not known"))?;
                self.decode(token, &key, algorithms)?
            }
        };
        claims.user()
    }

    fn decode(&self, token: &str, key: &DecodingKey, algorithms: Vec<Algorithm>) -> Result<Claims, Problem> {
        let mut validation = Validation {
            algorithms,
            leeway: LEEWAY,
            validate_nbf: true,
            validate_aud: self.0.audience.is_some(),
            ..Validation::default()
        };
        let mut required = vec!["exp", "sub"];
        if let Some(issuer) = &self.0.issuer {
            validation.set_issuer(&[issuer]);
            required.push("iss");
        }
        if let Some(audience) = &self.0.audience {
            validation.set_audience(&[audience]);
            required.push("aud");
        }
        validation.set_required_spec_claims(&required);
        jsonwebtoken::decode(token, key, &validation).map(|data| data.claims).map_err(|error| {
            Problem::BadToken(match error.kind() {
                ErrorKind::ExpiredSignature => "the token has expired",
                ErrorKind::ImmatureSignature => "the token is not valid yet",
                ErrorKind::InvalidIssuer => "the token is from another issuer",
                ErrorKind::InvalidAudience => "the token is for another audience",
                ErrorKind::MissingRequiredClaim(_) => {
                    "the token lacks a claim: exp and sub, and iss and aud where configured"
                }
                _ => "the token is not valid",
            })
        })
    }
}

impl Claims {
    fn user(self) -> Result<User, Problem> {
        let id = self.sub.parse().map_err(|_| Problem::BadToken("the token's sub is not a UUID"))?;
        let email = self.email.ok_or(Problem::BadToken("the token has no email"))?;
        // What the mail server makes of it is its business; here it must be fit for a header and a column.
        let fit = (3..=254).contains(&email.len()) && email.contains('@') && !email.contains(char::is_control);
        if !fit {
            return Err(Problem::BadToken("the token's email is not an address"));
        }
        let operator = self.scope.is_some_and(|scope| scope.split(' ').any(|word| word == "operator"));
        Ok(User { id, email, operator })
    }
}

impl<S: Send + Sync> FromRequestParts<S> for User
where
    Auth: FromRef<S>,
{
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let mut given = parts.headers.get_all(header::AUTHORIZATION).iter();
        let header = given.next().ok_or(Problem::NoToken)?;
        let (scheme, token) = header.to_str().ok().and_then(|text| text.split_once(' ')).ok_or(Problem::NoToken)?;
        if !scheme.eq_ignore_ascii_case("bearer") || given.next().is_some() {
            return Err(Problem::NoToken);
        }
        Auth::from_ref(state).check(token.trim()).await
    }
}

/// A token of `user` that `JWT_SECRET` proves: for development (`cargo xtask token`) and tests.
///
/// # Errors
/// Never with the crypto provider this workspace builds with.
pub fn sign(secret: &SecretString, user: &User, expires_at: chrono::DateTime<chrono::Utc>) -> anyhow::Result<String> {
    let claims = Claims {
        sub: user.id.to_string(),
        email: Some(user.email.clone()),
        exp: u64::try_from(expires_at.timestamp())?,
        scope: user.operator.then(|| "operator".to_owned()),
    };
    let key = EncodingKey::from_secret(secret.expose_secret().as_bytes());
    Ok(jsonwebtoken::encode(&Header::new(Algorithm::HS256), &claims, &key)?)
}

#[cfg(test)]
mod tests;
