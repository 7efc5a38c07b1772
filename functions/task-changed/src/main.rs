//! The process of the function `task-changed`; the library is the function.

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    shared::serve::run(task_changed::router).await
}
