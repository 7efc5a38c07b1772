//! Voluntary application server identification (RFC 8292): tells a push service who sends.
//!
//! A browser subscribes with one of our public keys, and its push service takes only messages that are signed with the private key of it. So
//! while keys are exchanged, two of them sign, each for its subscriptions.

use anyhow::Context as _;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _};
use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD};
use chrono::{DateTime, TimeDelta, Utc};
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use reqwest::Url;
use rustls::pki_types::{PrivatePkcs8KeyDer, pem::PemObject as _};
use serde_json::json;

/// How long a signature is valid. At most a day is allowed, and the clock of the push service may differ from ours.
const VALID: TimeDelta = TimeDelta::hours(12);

/// The keys that sign, each with its public key.
pub(super) struct VapidKeys {
    keys: Vec<(String, EncodingKey)>,
    contact: String,
}

impl VapidKeys {
    /// Parses private keys: PEM (PKCS #8), one after the other.
    pub(super) fn parse(pem: &str, contact: &str) -> anyhow::Result<Self> {
        let keys = PrivatePkcs8KeyDer::pem_slice_iter(pem.as_bytes()).map(|key| -> anyhow::Result<_> {
            let key = key?;
            let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, key.secret_pkcs8_der())?;
            let public = BASE64_URL_SAFE_NO_PAD.encode(pair.public_key());
            Ok((public, EncodingKey::from_ec_der(key.secret_pkcs8_der())))
        });
        let wrong = "vapid-private-keys in the secret store has something else than keys of P-256 as PEM (PKCS #8)";
        let keys: Vec<_> = keys.collect::<anyhow::Result<_>>().context(wrong)?;
        anyhow::ensure!(!keys.is_empty(), "vapid-private-keys in the secret store has no key");
        Ok(Self { keys, contact: contact.to_owned() })
    }

    /// The header `Authorization` of a message to a device that subscribed with the key `public`. `None` if we do not have it.
    pub(super) fn authorization(&self, public: &str, endpoint: &Url, now: DateTime<Utc>) -> Option<String> {
        let (public, key) = self.keys.iter().find(|(known, _)| known == public)?;
        let claims = json!({
            "aud": endpoint.origin().ascii_serialization(),
            "exp": (now + VALID).timestamp(),
            "sub": format!("mailto:{}", self.contact),
        });
        let token = encode(&Header::new(Algorithm::ES256), &claims, key).ok()?;
        Some(format!("vapid t={token}, k={public}"))
    }
}

#[cfg(test)]
mod tests {
    use jsonwebtoken::{DecodingKey, Validation, decode};
    use serde_json::Value;
    use shared::push::point;

    use super::*;

    fn pem() -> String {
        lab::push::VapidKey::new().pem
    }

    #[test]
    fn each_of_two_keys_signs_for_its_subscriptions() {
        let keys = VapidKeys::parse(&(pem() + &pem()), "reminders@punctual.example").unwrap();
        assert_eq!(keys.keys.len(), 2);
        let endpoint = "https://fcm.googleapis.com/fcm/send/secret?a=b".parse().unwrap();
        for (public, _) in &keys.keys {
            let header = keys.authorization(public, &endpoint, Utc::now()).unwrap();
            let (token, key) = header.strip_prefix("vapid t=").unwrap().split_once(", k=").unwrap();
            assert_eq!(key, public);
            let point = point(public).unwrap();
            let [x, y] = [&point[1..33], &point[33..]].map(|half| BASE64_URL_SAFE_NO_PAD.encode(half));
            let mut validation = Validation::new(Algorithm::ES256);
            validation.set_audience(&["https://fcm.googleapis.com"]);
            let decoded =
                decode::<Value>(token, &DecodingKey::from_ec_components(&x, &y).unwrap(), &validation).unwrap();
            assert_eq!(decoded.claims["sub"], "mailto:reminders@punctual.example");
            let lifetime = decoded.claims["exp"].as_i64().unwrap() - Utc::now().timestamp();
            assert!((1..=24 * 3600).contains(&lifetime), "{lifetime}");
        }
        assert_eq!(keys.authorization("B", &endpoint, Utc::now()), None);
    }

    #[test]
    fn anything_but_keys_is_refused() {
        let cut = pem() + "-----BEGIN PRIVATE KEY-----\n";
        let no_key = "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n";
        for wrong in ["", "secret", no_key, &cut] {
            assert!(VapidKeys::parse(wrong, "a@b.example").is_err(), "{wrong}");
        }
    }
}
