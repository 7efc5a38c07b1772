//! Keeps in the state store until when a provider throttles us, so that all processes wait. Each process asks once a second.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use chrono::{DateTime, SecondsFormat, Utc};
use shared::sidecar::Sidecar;
use tokio::sync::Mutex;

use crate::email::Provider;

/// How long an answer of the state store is reused.
const ASK_EVERY: Duration = Duration::from_secs(1);

/// This process's copy of the throttle; cheap to clone.
#[derive(Clone, Default)]
pub(super) struct Throttle(Arc<Mutex<Known>>);

#[derive(Default)]
struct Known {
    asked: Option<Instant>,
    until: Option<DateTime<Utc>>,
}

impl Throttle {
    /// Until when the provider throttles us, if it does. An error counts as no: not knowing costs one refused attempt.
    pub(super) async fn until(
        &self,
        sidecar: &Sidecar,
        provider: &Provider,
        now: DateTime<Utc>,
    ) -> Option<DateTime<Utc>> {
        if matches!(provider, Provider::Files(_)) {
            return None;
        }
        let mut known = self.0.lock().await;
        if known.asked.is_none_or(|asked| asked.elapsed() >= ASK_EVERY) {
            let until = sidecar.state(&key(provider)).await.ok().flatten();
            let until = until.and_then(|until| DateTime::parse_from_rfc3339(&until).ok());
            *known = Known { asked: Some(Instant::now()), until: until.map(|until| until.to_utc()) };
        }
        known.until.filter(|until| *until > now)
    }

    /// Makes all processes wait until `until`.
    pub(super) async fn set(&self, sidecar: &Sidecar, provider: &Provider, until: DateTime<Utc>, now: DateTime<Utc>) {
        let text = until.to_rfc3339_opts(SecondsFormat::Millis, true);
        let ttl = (until - now).to_std().unwrap_or_default();
        *self.0.lock().await = Known { asked: Some(Instant::now()), until: Some(until) };
        if let Err(error) = sidecar.save_state(&key(provider), &text, ttl).await {
            tracing::warn!(error = %error, "reminder-due: could not tell other processes that {} throttles us", provider.name());
        }
    }
}

fn key(provider: &Provider) -> String {
    format!("throttled-{}", provider.name())
}
