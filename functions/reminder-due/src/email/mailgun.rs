//! Mailgun's HTTP API.
//!
//! It has no idempotency key. Once the request has left, an attempt without an answer stays unknown, and only the Message-ID identifies a
//! repeat.

use std::time::Duration;

use anyhow::Context as _;
use lettre::{Address, message::Mailbox};
use reqwest::{Client, Url};
use secrecy::{ExposeSecret as _, SecretString};
use serde::Deserialize;
use tokio::time::{Instant, timeout_at};

use super::{Email, EmailConfig, SendError, config, http, message, record};

/// The API of Mailgun.
#[derive(Clone)]
pub struct Mailgun {
    client: Client,
    url: Url,
    key: SecretString,
    from: Mailbox,
    deadline: Duration,
}

#[derive(Deserialize)]
struct Accepted {
    id: String,
}

impl Mailgun {
    pub(super) fn new(config: &EmailConfig, secret: Option<SecretString>) -> anyhow::Result<Self> {
        let domain = config.mailgun_domain.as_deref().context("EMAIL_PROVIDER=mailgun needs MAILGUN_DOMAIN")?;
        Ok(Self {
            client: http::builder(config.deadline).build()?,
            url: config::endpoint(&config.mailgun_base_url, &["v3", domain, "messages"], "MAILGUN_BASE_URL")?,
            key: config::required(secret, "mailgun-api-key")?,
            from: config.sender()?,
            deadline: config.deadline,
        })
    }

    pub(super) async fn send(
        &self,
        email: &Email,
        to: &Address,
        before_body: impl Future<Output = anyhow::Result<()>> + Send,
    ) -> Result<String, SendError> {
        let deadline = Instant::now() + self.deadline;
        let message_id = message::id(email, &self.from);
        let request = self.client.post(self.url.clone()).basic_auth("api", Some(self.key.expose_secret())).form(&[
            ("from", self.from.to_string().as_str()),
            ("to", to.as_ref()),
            ("subject", &message::single_line(&email.subject)),
            ("text", &email.text),
            ("html", &email.html),
            ("h:Message-Id", &message_id),
            ("h:Auto-Submitted", "auto-generated"),
            // Tracking would rewrite the message and load an image from another host.
            ("o:tracking", "no"),
        ]);

        record(before_body, deadline).await?;
        let Ok(answer) = timeout_at(deadline, request.send()).await else {
            return Err(SendError::unknown("mailgun did not answer in time"));
        };
        let response = answer.map_err(|error| http::no_answer("mailgun", &error))?;
        let status = response.status();
        if !status.is_success() {
            return Err(http::refusal("mailgun", status, response.headers(), None));
        }
        // The status alone means acceptance. If the answer cannot be read, only Mailgun's own id is lost.
        let accepted = timeout_at(deadline, http::json::<Accepted>(response)).await;
        Ok(accepted.ok().flatten().map_or(message_id, |accepted| accepted.id))
    }
}
