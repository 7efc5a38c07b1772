//! The process of the function `tasks`. The library says what it does.

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    shared::serve::run(tasks::router).await
}
