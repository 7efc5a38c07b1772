//! The process of the function `task-deleted`; the library is the function.

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    shared::serve::run(task_deleted::router).await
}
