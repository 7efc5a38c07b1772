//! The process of the door; the library is the door.

use clap::Parser as _;
use tracing_subscriber::{
    filter::{LevelFilter, Targets},
    fmt,
    layer::SubscriberExt as _,
    util::SubscriberInitExt as _,
};

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let settings = door::Settings::parse();
    let chosen = std::env::var("RUST_LOG").ok().and_then(|chosen| chosen.parse().ok());
    let filter = chosen.unwrap_or_else(|| Targets::new().with_default(LevelFilter::INFO));
    let lines = fmt::layer().json().flatten_event(true).with_target(false);
    tracing_subscriber::registry().with(filter).with(lines).init();
    door::run(door::router(&settings.target, door::PATIENCE, door::ATTEMPT)?, settings.port, settings.health_port).await
}
