//! Every function in one process, behind one daprd with the app-id `punctual`, for `cargo xtask up`.
//!
//! The routers are those of the functions. Instead of a CronJob, the process repairs by itself, at its start and then every
//! `REPAIR_INTERVAL_SECONDS`, because the in-memory broker loses its events whenever daprd ends. Several such processes may run
//! at once.

use std::time::Duration;

use axum::Router;
use page::Page;
use shared::App;
use updates::{Settings, Updates};
use upkeep::repair;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    shared::serve::run(router).await
}

fn router(app: App) -> Router {
    tokio::spawn(keep_repairing(app.clone()));
    let updates = Updates::from_env(app.db.clone(), Settings::default(), app.stop.clone());
    let clients = tasks::router(app.clone()).merge(updates::router(updates)).merge(page::router(Page::from_env()));
    embedded::routes(&app, clients, shared::config::from_env(), shared::config::from_env())
}

async fn keep_repairing(app: App) {
    let settings: repair::Settings = shared::config::from_env();
    let mut interval = tokio::time::interval(Duration::from_secs(settings.repair_interval_seconds.into()));
    loop {
        interval.tick().await;
        if let Err(error) = repair::run(&app, &settings).await {
            tracing::warn!(error = %error, "punctual: repair failed and will run again");
        }
    }
}
