//! Logging: one structured line per outcome. The message reads alone, and its identifiers are repeated as dotted fields. A line
//! never holds an address, a title or a token.

use std::env;

use tracing_subscriber::{
    filter::{LevelFilter, Targets},
    fmt,
    layer::SubscriberExt as _,
    util::SubscriberInitExt as _,
};

/// Logs to standard output as JSON lines, or as text with `LOG_FORMAT=text`. `RUST_LOG` filters (default `info,sqlx=warn`).
/// A second call does nothing.
pub fn init() {
    let registry = tracing_subscriber::registry().with(filter());
    let text = env::var("LOG_FORMAT").is_ok_and(|format| format == "text");
    let _ = if text {
        registry.with(fmt::layer().with_target(false)).try_init()
    } else {
        registry.with(fmt::layer().json().flatten_event(true).with_current_span(false).with_target(false)).try_init()
    };
}

/// The filter that `RUST_LOG` names, or the usual one if it names none.
fn filter() -> Targets {
    let chosen = env::var("RUST_LOG").ok().and_then(|chosen| chosen.parse().ok());
    chosen.unwrap_or_else(|| Targets::new().with_default(LevelFilter::INFO).with_target("sqlx", LevelFilter::WARN))
}
