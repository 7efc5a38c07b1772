//! That a provider wants to be left alone is kept in the state store, so that every process of ours knows.

use chrono::{DateTime, SecondsFormat, Utc};
use shared::sidecar::Sidecar;

use crate::email::Provider;

/// Until when, if it does. Forgetting it costs a refused attempt, so an error is no obstacle.
pub(super) async fn until(sidecar: &Sidecar, provider: &Provider, now: DateTime<Utc>) -> Option<DateTime<Utc>> {
    if matches!(provider, Provider::Files(_)) {
        return None;
    }
    let until = sidecar.state(&key(provider)).await.ok()??;
    DateTime::parse_from_rfc3339(&until).ok().map(|until| until.to_utc()).filter(|until| *until > now)
}

/// Has the others wait too.
pub(super) async fn set(sidecar: &Sidecar, provider: &Provider, until: DateTime<Utc>, now: DateTime<Utc>) {
    let text = until.to_rfc3339_opts(SecondsFormat::Millis, true);
    let ttl = (until - now).to_std().unwrap_or_default();
    if let Err(error) = sidecar.save_state(&key(provider), &text, ttl).await {
        tracing::warn!(error = %error, "reminder-due: others do not know that {} is throttled", provider.name());
    }
}

fn key(provider: &Provider) -> String {
    format!("throttled-{}", provider.name())
}
