//! The process of the function `task-completed`; the library is the function.

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    shared::serve::run(task_completed::router).await
}
