//! Random secrets and the bearer tokens of a local run.
//!
//! Tokens are signed by the crate hmac, not by jsonwebtoken: that needs aws-lc, whose C code takes longer to compile than all
//! of `cargo xtask up`.

use std::{
    fs::File,
    io::{Read as _, Write as _},
    process::{Command, Stdio},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use anyhow::{Context as _, ensure};
use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD};
use hmac::{Hmac, KeyInit as _, Mac as _};
use serde_json::json;
use sha2::Sha256;

use crate::tools;

const DAYS_30: Duration = Duration::from_secs(30 * 24 * 60 * 60);

/// 32 random bytes in base64.
pub fn random() -> anyhow::Result<String> {
    let mut bytes = [0; 32];
    File::open("/dev/urandom").and_then(|mut file| file.read_exact(&mut bytes)).context("cannot read /dev/urandom")?;
    Ok(BASE64_URL_SAFE_NO_PAD.encode(bytes))
}

/// A key that signs push messages: the private key as PEM (PKCS #8), and the public key in base64url.
///
/// # Errors
/// When there is no OpenSSL. A crate would take longer to compile than all of `cargo xtask up`.
pub fn vapid_key() -> anyhow::Result<(String, String)> {
    let openssl = tools::require("openssl", "OpenSSL (Debian: apt-get install openssl)")?;
    let run = |arguments: &str, input: &[u8]| -> anyhow::Result<Vec<u8>> {
        let mut command = Command::new(&openssl);
        command.args(arguments.split(' ')).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = command.spawn().context("cannot start openssl")?;
        child.stdin.take().context("openssl has no input")?.write_all(input)?;
        let output = child.wait_with_output()?;
        ensure!(output.status.success(), "openssl {arguments} failed");
        Ok(output.stdout)
    };
    let private = run("genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256", b"")?;
    let public = run("pkey -pubout -outform DER", &private)?;
    // The end of the structure is the point: 65 bytes.
    let point = public.last_chunk::<65>().context("openssl printed no key of P-256")?;
    Ok((String::from_utf8(private)?, BASE64_URL_SAFE_NO_PAD.encode(point)))
}

/// A bearer token that is valid for 30 days, signed with HS256.
#[must_use]
pub fn token(secret: &str, user: &str, email: &str, operator: bool) -> String {
    older_token(secret, user, email, operator, Duration::ZERO)
}

/// A [`token`] that was issued a while ago. A process whose clock is behind refuses a token from its future.
#[must_use]
pub fn older_token(secret: &str, user: &str, email: &str, operator: bool, age: Duration) -> String {
    issued_token(secret, (user, email, operator), age, DAYS_30)
}

/// A [`token`] that is valid for this long.
#[must_use]
pub fn token_for(life: Duration, secret: &str, user: &str, email: &str, operator: bool) -> String {
    issued_token(secret, (user, email, operator), Duration::ZERO, life)
}

fn issued_token(secret: &str, (user, email, operator): (&str, &str, bool), age: Duration, life: Duration) -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    let mut claims = json!({ "sub": user, "email": email, "iat": now - age.as_secs(), "exp": now + life.as_secs() });
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
    fn a_token_is_valid_as_long_as_it_says() {
        let token = token_for(
            Duration::from_secs(60),
            "secret",
            "0198c0de-0000-7000-8000-000000000001",
            "a@example.com",
            false,
        );
        let claims = BASE64_URL_SAFE_NO_PAD.decode(token.split('.').nth(1).unwrap()).unwrap();
        let claims: serde_json::Value = serde_json::from_slice(&claims).unwrap();
        assert_eq!(claims["exp"].as_u64().unwrap() - claims["iat"].as_u64().unwrap(), 60);
    }

    #[test]
    fn a_vapid_key_is_a_pair() {
        let (private, public) = vapid_key().unwrap();
        assert!(private.starts_with("-----BEGIN PRIVATE KEY-----\n"), "{private}");
        // An uncompressed point begins with 4.
        assert!(public.starts_with('B') && public.len() == 87, "{public}");
        assert_ne!(vapid_key().unwrap().1, public);
    }

    #[test]
    fn two_random_secrets_differ() {
        assert_ne!(random().unwrap(), random().unwrap());
    }
}
