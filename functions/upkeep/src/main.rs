//! The process of the function `upkeep`, and with `--repair` the short one that a CronJob starts.

use std::time::Duration;

/// Limit for a repair. Shorter than `activeDeadlineSeconds` of its CronJob.
const REPAIR: Duration = Duration::from_secs(540);

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    if std::env::args().any(|argument| argument == "--repair") {
        let app = shared::serve::start()?;
        let settings = shared::config::from_env();
        // The next run starts only when this one has ended.
        return tokio::time::timeout(REPAIR, upkeep::repair::run(&app, &settings)).await?;
    }
    shared::serve::run(upkeep::router).await
}
