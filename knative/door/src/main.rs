//! The process of the door; the library is the door.

use axum::http::Uri;
use clap::Parser;
use tracing_subscriber::EnvFilter;

/// The settings of the door, read from its environment.
#[derive(Parser)]
struct Settings {
    /// The function's Knative Service: `http://<function>.<namespace>.svc.cluster.local`.
    #[arg(long, env)]
    target: Uri,
    /// The port on 127.0.0.1 that daprd calls.
    #[arg(long, env, default_value_t = 8080)]
    port: u16,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let settings = Settings::parse();
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    tracing_subscriber::fmt().json().flatten_event(true).with_target(false).with_env_filter(filter).init();
    door::run(door::router(&settings.target, door::PATIENCE)?, settings.port).await
}
