//! The process of the function `task-created`; the library is the function.

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    shared::serve::run(task_created::router).await
}
