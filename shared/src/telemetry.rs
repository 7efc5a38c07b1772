//! Logging: one structured line per outcome. The message reads alone, and its identifiers are repeated as dotted fields. A line
//! never holds an address, a title or a token.

use tracing_subscriber::{EnvFilter, fmt, layer::SubscriberExt as _, util::SubscriberInitExt as _};

/// Logs to standard output as JSON lines, or as text with `LOG_FORMAT=text`. `RUST_LOG` filters (default `info,sqlx=warn`).
/// A second call does nothing.
pub fn init() {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info,sqlx=warn"));
    let registry = tracing_subscriber::registry().with(filter);
    let text = std::env::var("LOG_FORMAT").is_ok_and(|format| format == "text");
    let _ = if text {
        registry.with(fmt::layer().with_target(false)).try_init()
    } else {
        registry.with(fmt::layer().json().flatten_event(true).with_current_span(false).with_target(false)).try_init()
    };
}
