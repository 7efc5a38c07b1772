//! That a provider wants to be left alone is kept in the state store, so that every process of ours knows. A process asks for it once
//! a second.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use chrono::{DateTime, SecondsFormat, Utc};
use shared::sidecar::Sidecar;
use tokio::sync::Mutex;

use crate::email::Provider;

/// How old what we know of a provider's wish may be.
const ASK_EVERY: Duration = Duration::from_secs(1);

/// What this process knows of a provider's wish; cheap to clone.
#[derive(Clone, Default)]
pub(super) struct Throttle(Arc<Mutex<Known>>);

#[derive(Default)]
struct Known {
    asked: Option<Instant>,
    until: Option<DateTime<Utc>>,
}

impl Throttle {
    /// Until when, if it does. Not to know it costs a refused attempt, so an error is no obstacle.
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

    /// Has the others wait too.
    pub(super) async fn set(&self, sidecar: &Sidecar, provider: &Provider, until: DateTime<Utc>, now: DateTime<Utc>) {
        let text = until.to_rfc3339_opts(SecondsFormat::Millis, true);
        let ttl = (until - now).to_std().unwrap_or_default();
        *self.0.lock().await = Known { asked: Some(Instant::now()), until: Some(until) };
        if let Err(error) = sidecar.save_state(&key(provider), &text, ttl).await {
            tracing::warn!(error = %error, "reminder-due: others do not know that {} is throttled", provider.name());
        }
    }
}

fn key(provider: &Provider) -> String {
    format!("throttled-{}", provider.name())
}
