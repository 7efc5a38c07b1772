//! E-mail: one message, one provider, one attempt.
//!
//! [`Provider::send`] tries once, within a deadline, and says which of five things happened: accepted, try again later
//! ([`SendError::Transient`]), slow down ([`SendError::Throttled`]), never ([`SendError::Permanent`]), or nobody knows
//! ([`SendError::Unknown`]). It repeats nothing by itself; whether a repeat is safe depends on the record the caller keeps.
//!
//! If it runs twice with the same [`Email`]: Resend deduplicates by our key for 24 hours, files overwrite each other;
//! SMTP and Mailgun send twice, with the same Message-ID. For those two the caller passes `before_body`, which is awaited at
//! the last moment before the message leaves, to store that from here on the outcome may stay unknown.

mod config;
mod files;
mod http;
mod idle;
mod mailgun;
mod message;
mod reminder;
mod resend;
mod smtp;

use std::time::Duration;

use lettre::Address;
use secrecy::SecretString;
use serde::{Deserialize, Serialize};
use thiserror::Error;
use tokio::time::{Instant, timeout_at};
use uuid::Uuid;

pub use config::{EmailConfig, ProviderName};
pub use files::Files;
pub use mailgun::Mailgun;
pub use reminder::ReminderMail;
pub use resend::Resend;
pub use smtp::Smtp;

/// A Message-ID is no longer: a line of a message is not (RFC 5322, section 2.1.1).
const ID_LIMIT: usize = 998;

/// A message to one person. The same id must always come with the same words: Resend refuses a known key with another text.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Email {
    /// The delivery: its idempotency key, and `<id@domain of the sender>` as Message-ID.
    pub id: Uuid,
    /// An address without a name.
    pub to: String,
    /// One line; line breaks and other control characters become spaces.
    pub subject: String,
    /// The message as plain text.
    pub text: String,
    /// The same message as HTML.
    pub html: String,
}

/// Why a message was not accepted. The reason is stored and logged: it holds status codes and the provider's fixed error
/// names, never the server's own words, which may quote addresses and titles.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum SendError {
    /// Not accepted; a later attempt may be.
    #[error("not accepted now: {reason}")]
    Transient {
        /// What happened.
        reason: String,
    },
    /// Not accepted, and the provider wants all of our messages to wait.
    #[error("not accepted, throttled for {retry_after:?}: {reason}")]
    Throttled {
        /// How long to wait: at least a second, at most an hour.
        retry_after: Duration,
        /// What happened.
        reason: String,
    },
    /// Not accepted, and this message never will be.
    #[error("refused: {reason}")]
    Permanent {
        /// What happened.
        reason: String,
    },
    /// The message left, or part of it, and no answer came; or an earlier attempt with other words may have been accepted.
    #[error("unknown whether accepted: {reason}")]
    Unknown {
        /// What happened.
        reason: String,
    },
}

impl SendError {
    /// What happened, for the record and the log.
    #[must_use]
    pub fn reason(&self) -> &str {
        match self {
            Self::Transient { reason }
            | Self::Throttled { reason, .. }
            | Self::Permanent { reason }
            | Self::Unknown { reason } => reason,
        }
    }

    fn transient(reason: impl Into<String>) -> Self {
        Self::Transient { reason: reason.into() }
    }

    fn permanent(reason: impl Into<String>) -> Self {
        Self::Permanent { reason: reason.into() }
    }

    fn unknown(reason: impl Into<String>) -> Self {
        Self::Unknown { reason: reason.into() }
    }

    /// `retry_after` is bounded on both sides: zero would be a busy loop, and a header of days must not silence reminders
    /// for days. After an hour we ask again.
    fn throttled(retry_after: Duration, reason: impl Into<String>) -> Self {
        let retry_after = retry_after.clamp(Duration::from_secs(1), Duration::from_secs(3600));
        Self::Throttled { retry_after, reason: reason.into() }
    }
}

/// Who carries the mail, as chosen by `EMAIL_PROVIDER`.
#[derive(Clone)]
pub enum Provider {
    /// <https://resend.com>
    Resend(Resend),
    /// <https://mailgun.com>
    Mailgun(Mailgun),
    /// Any SMTP server.
    Smtp(Smtp),
    /// A folder, for development.
    Files(Files),
}

impl Provider {
    /// The configured provider. Nothing connects before the first message.
    ///
    /// # Errors
    /// When a setting or the secret that [`EmailConfig::secret_key`] names is missing or ill-formed.
    pub fn new(config: &EmailConfig, secret: Option<SecretString>) -> anyhow::Result<Self> {
        Ok(match config.email_provider {
            ProviderName::Resend => Self::Resend(Resend::new(config, secret)?),
            ProviderName::Mailgun => Self::Mailgun(Mailgun::new(config, secret)?),
            ProviderName::Smtp => Self::Smtp(Smtp::new(config, secret)?),
            ProviderName::Files => Self::Files(Files::new(config)?),
        })
    }

    /// Whether the provider deduplicates by our key, so that an attempt without an answer may be repeated within 24 hours.
    #[must_use]
    pub fn has_idempotency_key(&self) -> bool {
        match self {
            // A file is overwritten by its repeat, which is as good as a key.
            Self::Resend(_) | Self::Files(_) => true,
            Self::Mailgun(_) | Self::Smtp(_) => false,
        }
    }

    /// As in `EMAIL_PROVIDER`.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Resend(_) => "resend",
            Self::Mailgun(_) => "mailgun",
            Self::Smtp(_) => "smtp",
            Self::Files(_) => "files",
        }
    }

    /// Tries once to hand `email` over, and returns the provider's id of it.
    ///
    /// `before_body` is awaited right before the message leaves where a repeat could not be recognised: between SMTP's 354
    /// and the first byte of the body, and before the request to Mailgun. If it fails, nothing is sent. Resend and files
    /// never call it.
    ///
    /// # Errors
    /// [`SendError`], within the deadline of [`EmailConfig::deadline`].
    pub async fn send(
        &self,
        email: &Email,
        before_body: impl Future<Output = anyhow::Result<()>> + Send,
    ) -> Result<String, SendError> {
        // An address, never `Name <address>` or a list: whoever chose it does not choose anything else.
        let to: Address =
            email.to.parse().map_err(|_| SendError::permanent("the address of the recipient is not one"))?;
        let id = match self {
            Self::Resend(resend) => resend.send(email, &to).await,
            Self::Mailgun(mailgun) => mailgun.send(email, &to, before_body).await,
            Self::Smtp(smtp) => smtp.send(email, &to, before_body).await,
            Self::Files(files) => files.send(email, to).await,
        };
        id.map(|id| storable(&id))
    }
}

/// The provider's id as it can be stored. PostgreSQL takes no NUL: an acceptance that cannot be recorded would be asked for again.
fn storable(id: &str) -> String {
    id.chars().filter(|c| !c.is_control()).take(ID_LIMIT).collect()
}

/// Awaits the caller's record that the message is about to leave.
async fn record(before_body: impl Future<Output = anyhow::Result<()>>, deadline: Instant) -> Result<(), SendError> {
    match timeout_at(deadline, before_body).await {
        Ok(Ok(())) => Ok(()),
        Ok(Err(error)) => {
            tracing::warn!(error = format!("{error:#}"), "mail not sent: the attempt could not be recorded");
            Err(SendError::transient("the attempt could not be recorded"))
        }
        Err(_) => Err(SendError::transient("the attempt could not be recorded in time")),
    }
}
