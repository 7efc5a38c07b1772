//! The process of the function `task-updated`; what it does is in the library.

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    shared::serve::run(task_updated::router).await
}
