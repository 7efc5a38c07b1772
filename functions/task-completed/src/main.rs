//! The process of the function `task-completed`; what it does is in the library.

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    shared::serve::run(task_completed::router).await
}
