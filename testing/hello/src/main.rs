//! A minimal axum server, the baseline for cold starts in `cargo xtask cluster-test`.

use axum::{Router, routing::get};
use tokio::{
    net::TcpListener,
    signal::unix::{SignalKind, signal},
};

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let port: u16 = std::env::var("PORT")?.parse()?;
    let listener = TcpListener::bind(("0.0.0.0", port)).await?;
    // The first process of a container has no default handler for SIGTERM.
    let mut terminate = signal(SignalKind::terminate())?;
    axum::serve(listener, Router::new().route("/", get(async || "Hello, world!\n")))
        .with_graceful_shutdown(async move {
            terminate.recv().await;
        })
        .await?;
    Ok(())
}
