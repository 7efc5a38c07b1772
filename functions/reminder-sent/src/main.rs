//! The process of the function `reminder-sent`; what it does is in the library.

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    shared::serve::run(reminder_sent::router).await
}
