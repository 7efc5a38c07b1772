//! The least that axum can serve: what a cold start is measured against (`cargo xtask cluster-test`).

use axum::{Router, routing::get};

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let port: u16 = std::env::var("PORT")?.parse()?;
    let listener = tokio::net::TcpListener::bind(("0.0.0.0", port)).await?;
    axum::serve(listener, Router::new().route("/", get(async || "Hello, world!\n"))).await?;
    Ok(())
}
