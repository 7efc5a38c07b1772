//! Email: one message, one provider, one attempt.
//!
//! [`Provider::send`] tries once, within a deadline. It has five outcomes: accepted, try again later ([`SendError::Transient`]), slow down
//! ([`SendError::Throttled`]), never ([`SendError::Permanent`]), or unknown ([`SendError::Unknown`]). It never retries; the caller's record
//! decides whether a repeat is safe.
//!
//! If the same [`Email`] is sent twice, Resend deduplicates by our key for 24 hours and files overwrite each other. SMTP and Mailgun send
//! twice, with the same Message-ID. For those two the caller passes `before_body`. It runs right before the message leaves and records that
//! the outcome may stay unknown.

mod config;
mod files;
pub(crate) mod http;
mod idle;
mod mailgun;
pub(crate) mod message;
mod reminder;
mod resend;
mod smtp;

use std::time::Duration;

use lettre::Address;
use secrecy::SecretString;
use serde::{Deserialize, Serialize};
use shared::address;
use thiserror::Error;
use tokio::time::{Instant, timeout_at};
use uuid::Uuid;

pub use config::{EmailConfig, ProviderName};
pub use files::Files;
pub use mailgun::Mailgun;
pub use reminder::{Links, ReminderMail};
pub use resend::Resend;
pub use smtp::Smtp;

/// Maximum length of a Message-ID: that of a line (RFC 5322, section 2.1.1).
const ID_LIMIT: usize = 998;

/// A message to one person. The same id must always come with the same text: Resend refuses a known key with another body.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Email {
    /// The id of the delivery. It is the idempotency key, and `<id@domain of the sender>` is the Message-ID.
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

/// Why a message was not accepted.
///
/// The reason is stored and logged. It contains status codes and the provider's fixed error names, never the server's own text, which may
/// quote addresses and titles.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum SendError {
    /// Not accepted now. A later attempt may succeed.
    #[error("not accepted now: {reason}")]
    Transient {
        /// The reason.
        reason: String,
    },
    /// Not accepted. The provider wants all of our messages to wait.
    #[error("not accepted, throttled for {retry_after:?}: {reason}")]
    Throttled {
        /// How long to wait: at least a second, at most an hour.
        retry_after: Duration,
        /// The reason.
        reason: String,
    },
    /// Not accepted. This message never will be.
    #[error("refused: {reason}")]
    Permanent {
        /// The reason.
        reason: String,
    },
    /// Not accepted. The target no longer exists, so no message to it ever will be.
    #[error("the target is gone: {reason}")]
    Gone {
        /// The reason.
        reason: String,
    },
    /// The message left at least in part, and no answer came. Or an earlier attempt with another text may have been accepted.
    #[error("unknown whether accepted: {reason}")]
    Unknown {
        /// The reason.
        reason: String,
    },
}

impl SendError {
    /// The reason, for the record and the log.
    #[must_use]
    pub fn reason(&self) -> &str {
        match self {
            Self::Transient { reason }
            | Self::Throttled { reason, .. }
            | Self::Permanent { reason }
            | Self::Gone { reason }
            | Self::Unknown { reason } => reason,
        }
    }

    pub(crate) fn transient(reason: impl Into<String>) -> Self {
        Self::Transient { reason: reason.into() }
    }

    pub(crate) fn permanent(reason: impl Into<String>) -> Self {
        Self::Permanent { reason: reason.into() }
    }

    pub(crate) fn unknown(reason: impl Into<String>) -> Self {
        Self::Unknown { reason: reason.into() }
    }

    /// Clamps `retry_after` to between a second and an hour. Zero would be a busy loop, and a header of days must not stop reminders for
    /// days.
    fn throttled(retry_after: Duration, reason: impl Into<String>) -> Self {
        let retry_after = retry_after.clamp(Duration::from_secs(1), Duration::from_secs(3600));
        Self::Throttled { retry_after, reason: reason.into() }
    }
}

/// The provider that `EMAIL_PROVIDER` selects.
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
    /// Creates the configured provider. It does not connect before the first message.
    ///
    /// # Errors
    /// When a setting or the secret that [`EmailConfig::secret_key`] names is missing or invalid.
    pub fn new(config: &EmailConfig, secret: Option<SecretString>) -> anyhow::Result<Self> {
        Ok(match config.email_provider {
            ProviderName::Resend => Self::Resend(Resend::new(config, secret)?),
            ProviderName::Mailgun => Self::Mailgun(Mailgun::new(config, secret)?),
            ProviderName::Smtp => Self::Smtp(Smtp::new(config, secret)?),
            ProviderName::Files => Self::Files(Files::new(config)?),
        })
    }

    /// Whether the provider deduplicates by our key. An attempt without an answer may then be repeated within 24 hours.
    #[must_use]
    pub fn has_idempotency_key(&self) -> bool {
        match self {
            // A repeat overwrites the file, which is as good as a key.
            Self::Resend(_) | Self::Files(_) => true,
            Self::Mailgun(_) | Self::Smtp(_) => false,
        }
    }

    /// The provider's name, as in `EMAIL_PROVIDER`.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Resend(_) => "resend",
            Self::Mailgun(_) => "mailgun",
            Self::Smtp(_) => "smtp",
            Self::Files(_) => "files",
        }
    }

    /// Tries once to send `email`, within [`EmailConfig::deadline`]. Returns the provider's id of the message.
    ///
    /// `before_body` runs right before the message leaves, if the provider cannot recognise a repeat: between SMTP's 354 and the first byte
    /// of the body, or before the request to Mailgun. If it fails, nothing is sent. Resend and files never call it.
    pub async fn send(
        &self,
        email: &Email,
        before_body: impl Future<Output = anyhow::Result<()>> + Send,
    ) -> Result<String, SendError> {
        // Exactly one address, never `Name <address>` or a list: a user must not be able to set anything else.
        let to: Address = address::Address::parse(&email.to)
            .and_then(|to| to.as_str().parse().ok())
            .ok_or_else(|| SendError::permanent("the address of the recipient is not one"))?;
        let id = match self {
            Self::Resend(resend) => resend.send(email, &to).await,
            Self::Mailgun(mailgun) => mailgun.send(email, &to, before_body).await,
            Self::Smtp(smtp) => smtp.send(email, &to, before_body).await,
            Self::Files(files) => files.send(email, to).await,
        };
        id.map(|id| storable(&id))
    }
}

/// Makes the provider's id storable: PostgreSQL rejects NUL. A message whose acceptance cannot be recorded would be sent again.
pub(crate) fn storable(id: &str) -> String {
    id.chars().filter(|c| !c.is_control()).take(ID_LIMIT).collect()
}

/// Waits until the caller has recorded that the message is about to leave.
async fn record(before_body: impl Future<Output = anyhow::Result<()>>, deadline: Instant) -> Result<(), SendError> {
    match timeout_at(deadline, before_body).await {
        // `timeout_at` looks at the deadline last. A process that stood still may have lost its lease meanwhile.
        Ok(Ok(())) if Instant::now() < deadline => Ok(()),
        Ok(Err(error)) => {
            tracing::warn!(error = format!("{error:#}"), "mail not sent: the attempt could not be recorded");
            Err(SendError::transient("the attempt could not be recorded"))
        }
        Ok(Ok(())) | Err(_) => Err(SendError::transient("the attempt could not be recorded in time")),
    }
}
