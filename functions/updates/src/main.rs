//! The process of the function `updates`; the library is the function.

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    updates::run().await
}
