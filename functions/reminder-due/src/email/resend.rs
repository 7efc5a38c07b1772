//! Resend's HTTP API. An attempt whose answer is lost is repeated with the same idempotency key, and Resend sends once.
//!
//! Requests, answers and error names are the types of `resend-rs`. Its client is not used, for three reasons found in its source (0.35):
//!
//! - Its own limiter delays every request. After nine messages it lets one through every 1.1 s, which would use up our deadline before
//!   anything is sent.
//! - It drops the `Retry-After` of a 429.
//! - It drops the error name of a 429, so a spent daily quota looks like a busy second.

use std::time::Duration;

use lettre::Address;
use reqwest::{Client, Response, StatusCode, Url};
use resend_rs::types::{CreateEmailBaseOptions, CreateEmailResponse, ErrorKind, ErrorResponse};
use secrecy::{ExposeSecret as _, SecretString};
use tokio::time::timeout;

use super::{Email, EmailConfig, SendError, config, http, message};

/// The API of Resend.
#[derive(Clone)]
pub struct Resend {
    client: Client,
    url: Url,
    key: SecretString,
    from: String,
    deadline: Duration,
}

impl Resend {
    pub(super) fn new(config: &EmailConfig, secret: Option<SecretString>) -> anyhow::Result<Self> {
        Ok(Self {
            client: http::builder(config.deadline).build()?,
            url: config::endpoint(&config.resend_base_url, &["emails"], "RESEND_BASE_URL")?,
            key: config::required(secret, "resend-api-key")?,
            from: config.sender()?.to_string(),
            deadline: config.deadline,
        })
    }

    pub(super) async fn send(&self, email: &Email, to: &Address) -> Result<String, SendError> {
        // At most one header: `resend-rs` keeps headers in a `HashMap`, whose order changes from run to run. Resend refuses a known key
        // with another body.
        let body = CreateEmailBaseOptions::new(&self.from, [to.to_string()], message::single_line(&email.subject))
            .with_text(&email.text)
            .with_html(&email.html)
            .with_header("Auto-Submitted", "auto-generated");
        let request = self.client.post(self.url.clone()).bearer_auth(self.key.expose_secret()).json(&body);
        let request = request.header("Idempotency-Key", email.id.to_string());
        timeout(self.deadline, async {
            let response = request.send().await.map_err(|error| http::no_answer("resend", &error))?;
            if response.status().is_success() {
                // A proxy may have sent a 2xx without Resend's body, so it is not an acceptance. The key makes it safe to ask again.
                let accepted: CreateEmailResponse = http::json(response)
                    .await
                    .ok_or_else(|| SendError::unknown("resend accepted, but its answer was not readable"))?;
                Ok(accepted.id.to_string())
            } else {
                Err(refusal(response).await)
            }
        })
        .await
        .unwrap_or_else(|_| Err(SendError::unknown("resend did not answer in time")))
    }
}

async fn refusal(response: Response) -> SendError {
    let (status, headers) = (response.status(), response.headers().clone());
    let error: Option<ErrorResponse> = http::json(response).await;
    let kind = error.as_ref().map_or(ErrorKind::Unrecognized, ErrorResponse::kind);
    // Only a name from the catalogue goes into the reason. Any other name is the server's own text.
    let name = error.filter(|_| kind != ErrorKind::Unrecognized).map(|error| error.name);
    let refusal = http::refusal("resend", status, &headers, name.as_deref());
    match kind {
        // An earlier attempt under this key had another text and may have been accepted. This one never will be.
        ErrorKind::InvalidIdempotentRequest => SendError::unknown(refusal.reason()),
        // A daily or monthly quota resets late, whatever the limiter's header says about the second.
        ErrorKind::DailyQuotaExceeded | ErrorKind::MonthlyQuotaExceeded if status == StatusCode::TOO_MANY_REQUESTS => {
            SendError::throttled(Duration::from_secs(3600), refusal.reason())
        }
        // The key is wrong or suspended, or the domain of the sender is not verified there (yet). This concerns our account, not the message.
        _ if status == StatusCode::FORBIDDEN => SendError::transient(refusal.reason()),
        _ => refusal,
    }
}
