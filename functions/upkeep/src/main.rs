//! The process of the function `upkeep`, and with `--repair` the short one that a CronJob starts.

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    if std::env::args().any(|argument| argument == "--repair") {
        let app = shared::serve::start()?;
        return upkeep::repair::run(&app, &shared::config::from_env()).await;
    }
    shared::serve::run(upkeep::router).await
}
