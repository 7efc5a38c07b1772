//! The process of the function `page`; the library is the function.

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    page::run().await
}
