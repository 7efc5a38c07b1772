//! The process of the function `dead-letters`; the library is the function.

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    shared::serve::run(dead_letters::router).await
}
