//! The process of the function `reminder-due`; what it does is in the library.

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    shared::serve::run(reminder_due::router).await
}
