//! The process of the function `task-updated`; the library is the function.

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    shared::serve::run(task_updated::router).await
}
