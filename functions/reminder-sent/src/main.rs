//! The process of the function `reminder-sent`; the library is the function.

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    shared::serve::run(reminder_sent::router).await
}
