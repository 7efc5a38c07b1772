//! Authentication: a bearer JWT, as an extractor. A handler without a [`User`] in its signature is public at a glance.
//!
//! Tokens are checked with either one HS256 secret or the public keys of an identity provider (JWKS), never both. So no token can choose
//! the kind of key it is checked with: a public key is never used as an HMAC secret, and `alg: none` is not an algorithm here.
//!
//! A provider signs tokens for many applications with the same keys. So a JWKS comes with the issuer and the audience that a token must
//! name. Which tokens of the well-known providers fit is a table in `docs/security.md`.

mod claims;
mod keys;

use std::sync::Arc;

use anyhow::Context as _;
use axum::{
    extract::{FromRef, FromRequestParts},
    http::{header, request::Parts},
};
use chrono::{DateTime, Utc};
use clap::{ArgAction, Parser, builder::NonEmptyStringValueParser};
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation, errors::ErrorKind};
use secrecy::{ExposeSecret as _, SecretString};
use uuid::Uuid;

use self::{
    claims::{Claims, Rules},
    keys::KeySet,
};
use crate::{address::Address, config, problem::Problem};

/// The longest token looked at.
const TOKEN_LIMIT: usize = 8 * 1024;
/// How far clocks may be apart, in seconds.
const LEEWAY: u64 = 30;
/// The shortest HS256 secret: RFC 7518, section 3.2 wants as many bits as the hash has.
const SECRET_BYTES: usize = 32;
/// Kinds of tokens (`typ` in the header): access tokens of RFC 9068, and any JWT. A logout token or a DPoP proof is neither.
const KINDS: [&str; 2] = ["JWT", "at+jwt"];

/// How tokens are checked: exactly one of `JWT_SECRET` and `JWKS_URL`.
#[derive(Parser, Clone, Debug)]
#[group(skip)]
pub struct AuthConfig {
    /// Secret of HS256 tokens, at least 32 bytes. Exactly one of `JWT_SECRET` and `JWKS_URL` is required.
    #[arg(long, env, hide_env_values = true, conflicts_with = "jwks_url", required_unless_present = "jwks_url")]
    pub jwt_secret: Option<SecretString>,
    /// URL of the identity provider's public keys (JWKS). Requires `JWT_ISSUER` and `JWT_AUDIENCE`.
    #[arg(long, env)]
    pub jwks_url: Option<String>,
    /// `iss` that a token must have. Default with `JWT_SECRET`: any.
    #[arg(long, env, value_parser = NonEmptyStringValueParser::new())]
    pub jwt_issuer: Option<String>,
    /// `aud` that a token must have, alone or in a list. Default with `JWT_SECRET`: any.
    #[arg(long, env, value_parser = NonEmptyStringValueParser::new())]
    pub jwt_audience: Option<String>,
    /// Word in a token's `scope`, `scp` or `roles` that makes its user an operator, who reads the dead letters of all users. Default:
    /// `operator` with `JWT_SECRET`; with `JWKS_URL` nobody is an operator.
    #[arg(long, env, value_parser = NonEmptyStringValueParser::new())]
    pub jwt_operator_scope: Option<String>,
    /// Whether a token without `email_verified` is refused; `email_verified: false` always is. Default: `true` with `JWKS_URL`, `false` with
    /// `JWT_SECRET`.
    #[arg(long, env)]
    pub jwt_email_verified_required: Option<bool>,
    /// Whether ID tokens are accepted, for providers whose access tokens are no JWTs or lack the address.
    #[arg(long, env, action = ArgAction::Set, default_value_t = false)]
    pub jwt_id_tokens: bool,
}

/// Checks tokens. Cheap to clone.
#[derive(Clone)]
pub struct Auth(Arc<Inner>);

struct Inner {
    key: Key,
    issuer: Option<String>,
    audience: Option<String>,
    rules: Rules,
}

enum Key {
    Secret(DecodingKey),
    Published(KeySet),
}

/// The user who sent a request, as the token proves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct User {
    /// The token's `sub`, or an id derived from it.
    pub id: Uuid,
    /// Where reminders go.
    pub email: Address,
    /// When the token was issued: its `iat`. The address of a later token replaces that of an earlier one.
    pub issued_at: Option<DateTime<Utc>>,
    /// Whether the token names the operator's scope.
    pub operator: bool,
}

/// A user, and how long the token proves it. For a handler whose answer may outlast the token.
#[derive(Clone, Debug)]
pub struct Session {
    /// The user.
    pub user: User,
    /// The token's `exp`.
    pub expires_at: DateTime<Utc>,
}

impl Auth {
    /// Reads the configuration from the environment. If it is invalid, ends the process with one line.
    #[must_use]
    pub fn from_env() -> Self {
        config::or_exit(Self::new(config::from_env()))
    }

    /// As `config` says.
    ///
    /// # Errors
    /// When the secret is too short, the URL is not one, or a JWKS comes without issuer or audience.
    pub fn new(config: AuthConfig) -> anyhow::Result<Self> {
        let (key, default_scope) = match (&config.jwt_secret, &config.jwks_url) {
            (Some(secret), None) => {
                let secret = secret.expose_secret().as_bytes();
                anyhow::ensure!(secret.len() >= SECRET_BYTES, "JWT_SECRET must have {SECRET_BYTES} bytes or more");
                (Key::Secret(DecodingKey::from_secret(secret)), Some("operator"))
            }
            (None, Some(url)) => {
                anyhow::ensure!(
                    config.jwt_issuer.is_some() && config.jwt_audience.is_some(),
                    "JWKS_URL requires JWT_ISSUER and JWT_AUDIENCE, because its keys also sign tokens for other applications"
                );
                (Key::Published(KeySet::new(url).context("JWKS_URL")?), None)
            }
            _ => anyhow::bail!("exactly one of JWT_SECRET and JWKS_URL must be set"),
        };
        let rules = Rules {
            operator_scope: config.jwt_operator_scope.or_else(|| default_scope.map(str::to_owned)),
            email_verified_required: config.jwt_email_verified_required.unwrap_or(matches!(key, Key::Published(_))),
            id_tokens: config.jwt_id_tokens,
        };
        Ok(Self(Arc::new(Inner { key, issuer: config.jwt_issuer, audience: config.jwt_audience, rules })))
    }

    async fn check(&self, token: &str) -> Result<User, Problem> {
        Ok(self.session(token).await?.user)
    }

    async fn session(&self, token: &str) -> Result<Session, Problem> {
        if token.len() > TOKEN_LIMIT {
            return Err(Problem::BadToken("the token is larger than 8 KB"));
        }
        let header = jsonwebtoken::decode_header(token).map_err(|_| Problem::BadToken("the token is not a JWT"))?;
        if header.crit.is_some() {
            return Err(Problem::BadToken("the token has critical extensions that are not known here"));
        }
        if !header.typ.as_deref().is_none_or(is_access_token) {
            return Err(Problem::BadToken("this is not an access token: its typ is neither JWT nor at+jwt"));
        }
        let claims = match &self.0.key {
            Key::Secret(key) => self.decode(token, key, vec![Algorithm::HS256])?,
            Key::Published(keys) => {
                let found = keys.find(header.kid.as_deref()).await?;
                let (key, algorithms) = found.ok_or(Problem::BadToken("the token names a key that is not known"))?;
                self.decode(token, &key, algorithms)?
            }
        };
        let expires_at = claims.expires_at();
        Ok(Session { user: claims.user(&self.0.rules, Utc::now())?, expires_at })
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
                ErrorKind::Json(_) => "a claim of the token is missing, twice there, or of the wrong type",
                _ => "the token is not valid",
            })
        })
    }
}

/// Whether `typ` in the header is one of [`KINDS`], with or without the prefix that RFC 7515 allows to omit.
fn is_access_token(kind: &str) -> bool {
    const PREFIX: &str = "application/";
    let prefix = kind.get(..PREFIX.len()).filter(|prefix| prefix.eq_ignore_ascii_case(PREFIX));
    let kind = &kind[prefix.map_or(0, str::len)..];
    KINDS.iter().any(|known| kind.eq_ignore_ascii_case(known))
}

impl<S: Send + Sync> FromRequestParts<S> for User
where
    Auth: FromRef<S>,
{
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        Auth::from_ref(state).check(bearer(parts)?).await
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Session
where
    Auth: FromRef<S>,
{
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        Auth::from_ref(state).session(bearer(parts)?).await
    }
}

/// The token of a request.
fn bearer(parts: &Parts) -> Result<&str, Problem> {
    let mut given = parts.headers.get_all(header::AUTHORIZATION).iter();
    let header = given.next().ok_or(Problem::NoToken)?;
    let (scheme, token) = header.to_str().ok().and_then(|text| text.split_once(' ')).ok_or(Problem::NoToken)?;
    if !scheme.eq_ignore_ascii_case("bearer") || given.next().is_some() {
        return Err(Problem::NoToken);
    }
    Ok(token.trim())
}

/// A token of `user` that `JWT_SECRET` proves: for development (`cargo xtask token`) and tests.
///
/// # Errors
/// Never with the crypto provider this workspace builds with.
pub fn sign(secret: &SecretString, user: &User, expires_at: DateTime<Utc>) -> anyhow::Result<String> {
    let mut claims = serde_json::json!({"sub": user.id, "email": user.email.as_str(), "exp": expires_at.timestamp()});
    if let Some(at) = user.issued_at {
        claims["iat"] = at.timestamp().into();
    }
    if user.operator {
        claims["scope"] = "operator".into();
    }
    let key = EncodingKey::from_secret(secret.expose_secret().as_bytes());
    Ok(jsonwebtoken::encode(&Header::new(Algorithm::HS256), &claims, &key)?)
}

#[cfg(test)]
mod tests;
