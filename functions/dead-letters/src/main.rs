//! The process of the function `dead-letters`; what it does is in the library.

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    shared::serve::run(dead_letters::router).await
}
