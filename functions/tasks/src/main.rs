//! The process of the function `tasks`; what it does is in the library.

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    shared::serve::run(tasks::router).await
}
