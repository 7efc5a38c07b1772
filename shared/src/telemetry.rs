//! Logging: one structured line per outcome. The message reads alone, and its identifiers are repeated as dotted fields. A line
//! never holds an address, a title or a token.

use std::env;

use tracing_subscriber::{filter::Targets, fmt, layer::SubscriberExt as _, util::SubscriberInitExt as _};

/// Logs to standard output as JSON lines, or as text with `LOG_FORMAT=text`. `RUST_LOG` filters (default `info,sqlx=warn`).
/// A second call does nothing.
pub fn init() {
    let registry = tracing_subscriber::registry().with(filter("info,sqlx=warn"));
    let text = env::var("LOG_FORMAT").is_ok_and(|format| format == "text");
    let _ = if text {
        registry.with(fmt::layer().with_target(false)).try_init()
    } else {
        registry.with(fmt::layer().json().flatten_event(true).with_current_span(false).with_target(false)).try_init()
    };
}

/// The filter that `RUST_LOG` names, or `usual` if it is not set or not a list such as `info,reminder_due=debug`.
///
/// # Panics
///
/// If `usual` is not such a list.
#[must_use]
pub fn filter(usual: &str) -> Targets {
    let chosen = env::var("RUST_LOG").ok().and_then(|chosen| chosen.parse().ok());
    chosen.unwrap_or_else(|| usual.parse().expect("the usual filter is a list"))
}
