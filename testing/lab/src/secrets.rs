//! Random secrets and the bearer tokens of a local run.
//!
//! Tokens are signed by the crate hmac, not by jsonwebtoken: that needs aws-lc, whose C code takes longer to compile than all
//! of `cargo xtask up`.

use std::{
    fs::File,
    io::Read as _,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use anyhow::Context as _;
use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD};
use hmac::{Hmac, KeyInit as _, Mac as _};
use serde_json::json;
use sha2::Sha256;

const DAYS_30: u64 = 30 * 24 * 60 * 60;

/// 32 random bytes in base64.
pub fn random() -> anyhow::Result<String> {
    let mut bytes = [0; 32];
    File::open("/dev/urandom").and_then(|mut file| file.read_exact(&mut bytes)).context("cannot read /dev/urandom")?;
    Ok(BASE64_URL_SAFE_NO_PAD.encode(bytes))
}

/// A bearer token that is valid for 30 days, signed with HS256.
#[must_use]
pub fn token(secret: &str, user: &str, email: &str, operator: bool) -> String {
    older_token(secret, user, email, operator, Duration::ZERO)
}

/// A [`token`] that was issued a while ago. A process whose clock is behind refuses a token from its future.
#[must_use]
pub fn older_token(secret: &str, user: &str, email: &str, operator: bool, age: Duration) -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    let mut claims = json!({ "sub": user, "email": email, "iat": now - age.as_secs(), "exp": now + DAYS_30 });
    if operator {
        claims["scope"] = "operator".into();
    }
    sign(secret, r#"{"alg":"HS256","typ":"JWT"}"#, &claims.to_string())
}

fn sign(secret: &str, header: &str, claims: &str) -> String {
    let signed = format!("{}.{}", BASE64_URL_SAFE_NO_PAD.encode(header), BASE64_URL_SAFE_NO_PAD.encode(claims));
    let mut mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).expect("HMAC takes a key of any length");
    mac.update(signed.as_bytes());
    format!("{signed}.{}", BASE64_URL_SAFE_NO_PAD.encode(mac.finalize().into_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example on jwt.io.
    #[test]
    fn the_signature_of_a_token_is_that_of_jwt_io() {
        let token = sign(
            "your-256-bit-secret",
            r#"{"alg":"HS256","typ":"JWT"}"#,
            r#"{"sub":"1234567890","name":"John Doe","iat":1516239022}"#,
        );
        assert_eq!(
            token,
            "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.\
             eyJzdWIiOiIxMjM0NTY3ODkwIiwibmFtZSI6IkpvaG4gRG9lIiwiaWF0IjoxNTE2MjM5MDIyfQ.\
             SflKxwRJSMeKKF2QT4fwpMeJf36POk6yJV_adQssw5c"
        );
    }

    #[test]
    fn only_an_operators_token_has_the_scope() {
        let claims = |operator| {
            let token = token("secret", "0198c0de-0000-7000-8000-000000000001", "a@example.com", operator);
            let claims = BASE64_URL_SAFE_NO_PAD.decode(token.split('.').nth(1).unwrap()).unwrap();
            serde_json::from_slice::<serde_json::Value>(&claims).unwrap()
        };
        assert_eq!(claims(true)["scope"], "operator");
        assert!(claims(false).get("scope").is_none());
    }

    #[test]
    fn two_random_secrets_differ() {
        assert_ne!(random().unwrap(), random().unwrap());
    }
}
