//! Mailpit's API: the mail that the product sent.

use std::time::Duration;

use anyhow::ensure;
use lab::wait;
use reqwest::Url;
use serde_json::Value;

/// The mail server of the compose file.
pub(crate) struct Mailpit {
    http: reqwest::Client,
}

impl Mailpit {
    pub(crate) fn new() -> reqwest::Result<Self> {
        let http = reqwest::Client::builder().no_proxy().timeout(Duration::from_secs(10)).build()?;
        Ok(Self { http })
    }

    /// The messages to an address, as Mailpit's summaries.
    pub(crate) async fn messages(&self, to: &str) -> anyhow::Result<Vec<Value>> {
        let search = Url::parse_with_params("http://127.0.0.1:8025/api/v1/search", [("query", format!("to:{to}"))])?;
        let answer = self.http.get(search).send().await?;
        let (status, body) = (answer.status(), answer.text().await?);
        ensure!(status.is_success(), "Mailpit answered {status}: {body}");
        let body: Value = serde_json::from_str(&body)?;
        Ok(body["messages"].as_array().cloned().unwrap_or_default())
    }

    /// Waits for the message to an address.
    pub(crate) async fn message(&self, to: &str, limit: Duration) -> anyhow::Result<Value> {
        wait::poll(&format!("the reminder's mail to {to}"), limit, async || {
            match self.messages(to).await.map_err(|error| format!("{error:#}"))?.pop() {
                Some(message) => Ok(message),
                None => Err("no message".to_owned()),
            }
        })
        .await
    }
}
