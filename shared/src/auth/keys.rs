//! The published keys of an identity provider (JWKS, RFC 7517), kept in memory.

use std::time::{Duration, Instant};

use anyhow::Context as _;
use jsonwebtoken::{
    Algorithm, DecodingKey,
    jwk::{AlgorithmParameters, EllipticCurve, Jwk, PublicKeyUse},
};
use serde::Deserialize;
use tokio::sync::Mutex;

use crate::problem::Problem;

/// Minimum time between two fetches because of an unknown key id: made-up ids must not put load on the provider.
const COOL_DOWN: Duration = Duration::from_secs(60);
/// Retry sooner after a failure: nobody can authenticate until it succeeds.
const RETRY: Duration = Duration::from_secs(2);
/// Maximum age of the keys. Older ones are fetched again, so that a withdrawn key stops working.
const MAX_AGE: Duration = Duration::from_secs(3600);
const DEADLINE: Duration = Duration::from_secs(5);
const SIZE_LIMIT: usize = 256 * 1024;

/// The keys published at a URL.
pub(super) struct KeySet {
    url: reqwest::Url,
    http: reqwest::Client,
    held: Mutex<Held>,
}

#[derive(Default)]
struct Held {
    keys: Vec<Key>,
    fetched: Option<Instant>,
    failed: Option<Instant>,
}

#[derive(Clone)]
struct Key {
    id: Option<String>,
    key: DecodingKey,
    algorithms: Vec<Algorithm>,
}

#[derive(Deserialize)]
struct Published {
    keys: Vec<serde_json::Value>,
}

impl KeySet {
    pub(super) fn new(url: &str) -> anyhow::Result<Self> {
        let url: reqwest::Url = url.parse()?;
        anyhow::ensure!(matches!(url.scheme(), "https" | "http"), "it must begin with https:// (or http://)");
        let http = reqwest::Client::builder().timeout(DEADLINE).build()?;
        Ok(Self { url, http, held: Mutex::default() })
    }

    /// Finds the key with this id, and its allowed algorithms. A token without an id matches only if there is exactly one key.
    pub(super) async fn find(&self, id: Option<&str>) -> Result<Option<(DecodingKey, Vec<Algorithm>)>, Problem> {
        // Hold the lock across the fetch: concurrent requests wait for its result instead of fetching too.
        let mut held = self.held.lock().await;
        let found = held.find(id);
        let age = held.fetched.map_or(Duration::MAX, |at| at.elapsed());
        let stale = age > MAX_AGE || (found.is_none() && age > COOL_DOWN);
        // A request with a known key must not wait for an unavailable provider.
        let rest = if found.is_some() { COOL_DOWN } else { RETRY };
        let resting = held.failed.is_some_and(|at| at.elapsed() < rest);
        if stale && !resting {
            match self.fetch().await {
                Ok(keys) => *held = Held { keys, fetched: Some(Instant::now()), failed: None },
                Err(error) => {
                    held.failed = Some(Instant::now());
                    tracing::warn!(error = format!("{error:#}"), "the keys of the identity provider cannot be fetched");
                }
            }
        }
        match held.find(id) {
            Some(key) => Ok(Some((key.key, key.algorithms))),
            // The token can be neither accepted nor rejected until the keys can be fetched.
            None if held.failed.is_some() => Err(Problem::Unavailable("the identity provider does not answer".into())),
            None => Ok(None),
        }
    }

    async fn fetch(&self) -> anyhow::Result<Vec<Key>> {
        let mut response = self.http.get(self.url.clone()).send().await?.error_for_status()?;
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await? {
            body.extend_from_slice(&chunk);
            anyhow::ensure!(body.len() <= SIZE_LIMIT, "the answer is larger than {SIZE_LIMIT} bytes");
        }
        let published: Published = serde_json::from_slice(&body).context("the answer is not a JWK set")?;
        // Skip keys of an unknown kind and keep the others.
        Ok(published.keys.into_iter().filter_map(|key| Key::new(&serde_json::from_value(key).ok()?)).collect())
    }
}

impl Held {
    fn find(&self, id: Option<&str>) -> Option<Key> {
        match (id, &self.keys[..]) {
            (None, [only]) => Some(only.clone()),
            (None, _) => None,
            (Some(id), keys) => keys.iter().find(|key| key.id.as_deref() == Some(id)).cloned(),
        }
    }
}

impl Key {
    /// Parses a key that verifies signatures. `None` for a shared secret, an encryption key, or an unknown kind.
    fn new(jwk: &Jwk) -> Option<Self> {
        use Algorithm::{ES256, ES384, EdDSA, PS256, PS384, PS512, RS256, RS384, RS512};
        if !matches!(jwk.common.public_key_use, None | Some(PublicKeyUse::Signature)) {
            return None;
        }
        let fitting: &[Algorithm] = match &jwk.algorithm {
            AlgorithmParameters::RSA(_) => &[RS256, RS384, RS512, PS256, PS384, PS512],
            AlgorithmParameters::EllipticCurve(curve) if curve.curve == EllipticCurve::P256 => &[ES256],
            AlgorithmParameters::EllipticCurve(curve) if curve.curve == EllipticCurve::P384 => &[ES384],
            AlgorithmParameters::OctetKeyPair(pair) if pair.curve == EllipticCurve::Ed25519 => &[EdDSA],
            _ => return None,
        };
        let algorithms = match jwk.common.key_algorithm {
            None => fitting.to_vec(),
            Some(named) => {
                fitting.iter().copied().filter(|one| Algorithm::try_from(named).ok() == Some(*one)).collect()
            }
        };
        let key = DecodingKey::from_jwk(jwk).ok()?;
        Some(Self { id: jwk.common.key_id.clone(), key, algorithms })
    }
}
