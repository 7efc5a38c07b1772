//! Shares through the state store how long a provider or push service throttles us, so that all processes wait. Each process asks at most
//! once a second.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use chrono::{DateTime, SecondsFormat, Utc};
use shared::sidecar::Sidecar;

use super::connection::Connection;

/// How long an answer of the state store is reused.
const ASK_EVERY: Duration = Duration::from_secs(1);

/// This process's copy of the throttles; cheap to clone.
#[derive(Clone, Default)]
pub(super) struct Throttle(Arc<Mutex<HashMap<String, Known>>>);

#[derive(Default)]
struct Known {
    asked: Option<Instant>,
    until: Option<DateTime<Utc>>,
}

impl Known {
    /// Whether it is time to ask again. From then on others use the last answer, so that a slow store holds up one message.
    fn is_to_ask(&mut self) -> bool {
        let old = self.asked.is_none_or(|asked| asked.elapsed() >= ASK_EVERY);
        if old {
            self.asked = Some(Instant::now());
        }
        old
    }

    fn is_worth_keeping(&self, now: DateTime<Utc>) -> bool {
        self.asked.is_some_and(|asked| asked.elapsed() < ASK_EVERY) || self.until.is_some_and(|until| until > now)
    }
}

impl Throttle {
    /// When the throttling by `provider` ends; `None` if it does not throttle us. An error counts as `None`, which costs one refused attempt. Gives
    /// `conn` back before it asks the store.
    pub(super) async fn until(
        &self,
        conn: &mut Connection<'_>,
        sidecar: &Sidecar,
        provider: &str,
        now: DateTime<Utc>,
    ) -> Option<DateTime<Utc>> {
        let is_to_ask = self.known().entry(provider.to_owned()).or_default().is_to_ask();
        if is_to_ask {
            conn.give_back();
            let until = sidecar.state(&key(provider)).await.ok().flatten();
            let until = until.and_then(|until| DateTime::parse_from_rfc3339(&until).ok()).map(|until| until.to_utc());
            let mut known = self.known();
            // Users name push services, of which some have many names.
            known.retain(|name, known| name == provider || known.is_worth_keeping(now));
            known.entry(provider.to_owned()).or_default().until = until;
        }
        self.known().get(provider)?.until.filter(|until| *until > now)
    }

    /// Makes all processes wait until `until`.
    pub(super) async fn set(&self, sidecar: &Sidecar, provider: &str, until: DateTime<Utc>, now: DateTime<Utc>) {
        let text = until.to_rfc3339_opts(SecondsFormat::Millis, true);
        let ttl = (until - now).to_std().unwrap_or_default();
        self.known().insert(provider.to_owned(), Known { asked: Some(Instant::now()), until: Some(until) });
        if let Err(error) = sidecar.save_state(&key(provider), &text, ttl).await {
            tracing::warn!(error = %error, "reminder-due: could not tell other processes that {provider} throttles us");
        }
    }

    fn known(&self) -> MutexGuard<'_, HashMap<String, Known>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn key(provider: &str) -> String {
    format!("throttled-{provider}")
}
