//! The published keys of an identity provider (JWKS, RFC 7517), kept in memory.
//!
//! A request with a known key never waits: the keys are refreshed beside it. Only a request with an unknown key waits for a fetch, together
//! with the others that do. A made-up key id can therefore delay nobody but its own request.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::Context as _;
use jsonwebtoken::{
    Algorithm, DecodingKey,
    jwk::{AlgorithmParameters, EllipticCurve, Jwk, PublicKeyUse},
};
use serde::Deserialize;
use tokio::sync::{Mutex, OwnedMutexGuard, Semaphore, watch};

use crate::problem::Problem;

/// Age from which the keys are refreshed, so that a withdrawn key stops working.
const MAX_AGE: Duration = Duration::from_secs(60 * 60);
/// Age from which the keys verify no token: an outage of the provider must not keep a withdrawn key alive.
const LAST_AGE: Duration = Duration::from_secs(24 * 60 * 60);
/// Minimum time between two fetches, failed ones included: made-up key ids must not put load on the provider.
const COOL_DOWN: Duration = Duration::from_secs(60);
/// The same after the first failure while there are no usable keys, because nobody can authenticate until a fetch succeeds. It doubles with
/// each failure, up to [`COOL_DOWN`].
const RETRY: Duration = Duration::from_secs(2);
const DEADLINE: Duration = Duration::from_secs(5);
const SIZE_LIMIT: usize = 256 * 1024;
/// Maximum requests that wait for an unknown key while there are usable keys. Each takes a place from requests that can be answered.
const WAITING: usize = 8;

/// The keys published at a URL. Cheap to clone.
#[derive(Clone)]
pub(super) struct KeySet(Arc<Inner>);

struct Inner {
    url: reqwest::Url,
    http: reqwest::Client,
    held: watch::Sender<Held>,
    /// Locked during a fetch.
    fetching: Arc<Mutex<()>>,
    places: Semaphore,
}

#[derive(Default)]
struct Held {
    keys: Vec<Key>,
    fetched: Option<Instant>,
    /// When the last attempt ended.
    tried: Option<Instant>,
    /// Failed attempts since the last fetch.
    failures: u32,
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
        let held = watch::Sender::default();
        Ok(Self(Arc::new(Inner { url, http, held, fetching: Arc::default(), places: Semaphore::new(WAITING) })))
    }

    /// Finds the key with this id, and its allowed algorithms. A token without an id matches only if there is exactly one key.
    pub(super) async fn find(&self, id: Option<&str>) -> Result<Option<(DecodingKey, Vec<Algorithm>)>, Problem> {
        let found = self.0.held.borrow().find(id);
        if found.is_some() {
            self.refresh_beside();
            return Ok(found);
        }
        self.wait_for_fetch().await?;
        let held = self.0.held.borrow();
        match held.find(id) {
            // The token can be neither accepted nor rejected until the keys can be fetched.
            None if held.failures > 0 => Err(Problem::Unavailable("the identity provider does not answer".into())),
            found => Ok(found),
        }
    }

    /// Starts a fetch if the keys are due for one and none is running.
    fn refresh_beside(&self) {
        let is_due = {
            let held = self.0.held.borrow();
            held.is_older_than(MAX_AGE) && !held.rests()
        };
        if is_due && let Ok(turn) = Arc::clone(&self.0.fetching).try_lock_owned() {
            let keys = self.clone();
            tokio::spawn(async move { keys.fetch(turn).await });
        }
    }

    /// Waits for the running fetch, or fetches unless the last attempt is too recent.
    async fn wait_for_fetch(&self) -> Result<(), Problem> {
        let (rests, is_usable) = {
            let held = self.0.held.borrow();
            (held.rests(), held.is_usable())
        };
        if rests {
            return Ok(());
        }
        // Without usable keys there is no other request to leave a place for.
        let _place = if is_usable { Some(self.0.places.try_acquire().map_err(|_| Problem::Overloaded)?) } else { None };
        let turn = Arc::clone(&self.0.fetching).lock_owned().await;
        // The fetch that this request waited for has just ended.
        if !self.0.held.borrow().rests() {
            self.fetch(turn).await;
        }
        Ok(())
    }

    async fn fetch(&self, _turn: OwnedMutexGuard<()>) {
        let answer = self.published().await;
        let now = Instant::now();
        self.0.held.send_modify(|held| match answer {
            Ok(keys) => *held = Held { keys, fetched: Some(now), tried: Some(now), failures: 0 },
            Err(error) => {
                held.tried = Some(now);
                held.failures = held.failures.saturating_add(1);
                tracing::warn!(error = format!("{error:#}"), "the keys of the identity provider cannot be fetched");
            }
        });
    }

    async fn published(&self) -> anyhow::Result<Vec<Key>> {
        let mut response = self.0.http.get(self.0.url.clone()).send().await?.error_for_status()?;
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await? {
            body.extend_from_slice(&chunk);
            anyhow::ensure!(body.len() <= SIZE_LIMIT, "the answer is larger than {SIZE_LIMIT} bytes");
        }
        let published: Published = serde_json::from_slice(&body).context("the answer is not a JWK set")?;
        anyhow::ensure!(!published.keys.is_empty(), "the answer has no keys");
        // Skip keys of an unknown kind and keep the others.
        Ok(published.keys.into_iter().filter_map(|key| Key::new(&serde_json::from_value(key).ok()?)).collect())
    }
}

impl Held {
    fn find(&self, id: Option<&str>) -> Option<(DecodingKey, Vec<Algorithm>)> {
        let found = match (id, &self.keys[..]) {
            _ if !self.is_usable() => None,
            (None, [only]) => Some(only),
            (None, _) => None,
            (Some(id), keys) => keys.iter().find(|key| key.id.as_deref() == Some(id)),
        };
        found.map(|found| (found.key.clone(), found.algorithms.clone()))
    }

    fn is_older_than(&self, age: Duration) -> bool {
        self.fetched.is_none_or(|at| at.elapsed() > age)
    }

    fn is_usable(&self) -> bool {
        !self.is_older_than(LAST_AGE)
    }

    /// Whether the last attempt is too recent for another one.
    fn rests(&self) -> bool {
        let backoff = RETRY * 2_u32.pow(self.failures.clamp(1, 6) - 1);
        let pause = if self.is_usable() { COOL_DOWN } else { backoff.min(COOL_DOWN) };
        self.tried.is_some_and(|at| at.elapsed() < pause)
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

#[cfg(test)]
mod tests;
