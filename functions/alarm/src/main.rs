//! The process of the function `alarm`; what it does is in the library.

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    shared::serve::run(alarm::router).await
}
