//! One structured line per outcome, readable alone: the identifier is in the message and again as a dotted field. No
//! addresses, titles or tokens.

use tracing_subscriber::{EnvFilter, fmt, layer::SubscriberExt as _, util::SubscriberInitExt as _};

/// Sends logs to standard output: JSON lines, or text with `LOG_FORMAT=text`. `RUST_LOG` filters; `info` is the default.
/// A second call changes nothing.
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
