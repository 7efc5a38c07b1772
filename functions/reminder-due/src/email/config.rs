//! The configuration of email. `docs/configuration.md` is generated from these doc comments.

use std::{num::NonZeroU32, path::PathBuf, time::Duration};

use anyhow::Context as _;
use clap::{Parser, ValueEnum};
use lettre::message::Mailbox;
use reqwest::Url;
use secrecy::{ExposeSecret as _, SecretString};
use shared::{address::Address, capability::CapabilityConfig};

/// Part of a lease for everything but the call and its record: statements, and a process that gets no processor.
const LEASE_SLACK: Duration = Duration::from_secs(5);

/// The values of `EMAIL_PROVIDER`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum ProviderName {
    /// Resend's API. It recognises a repeated attempt by its idempotency key.
    Resend,
    /// Mailgun's API.
    Mailgun,
    /// An SMTP server.
    Smtp,
    /// One `.eml` file per message, for development.
    Files,
}

/// How email is delivered. Keys and passwords are in the secret store, under [`EmailConfig::secret_key`].
#[derive(Parser, Clone, Debug)]
#[command(about, long_about = None)]
pub struct EmailConfig {
    /// Who delivers mail. There is no default, so that a forgotten setting never writes reminders into a folder.
    #[arg(long, env, value_enum)]
    pub email_provider: ProviderName,
    /// Sender: `reminders@example.com` or `Punctual <reminders@example.com>`.
    #[arg(long, env)]
    pub email_from: String,
    /// With `smtp`: `smtp://[user@]host[:port]`, or `smtps://…` for TLS from the first byte. `smtp://` uses STARTTLS if offered,
    /// and requires it if there is a user; `?tls=required` always requires it, `?tls=none` never uses it. Default port: 465 for
    /// `smtps`, 587 with a user, else 25. The user's password is `smtp-password` in the secret store.
    #[arg(long, env)]
    pub smtp_url: Option<String>,
    /// With `files`: folder for the messages, one `.eml` file each.
    #[arg(long, env)]
    pub mail_dir: Option<PathBuf>,
    /// With `resend`: base URL of its API. The key is `resend-api-key` in the secret store.
    #[arg(long, env, default_value = "https://api.resend.com")]
    pub resend_base_url: String,
    /// With `mailgun`: base URL of its API; `https://api.eu.mailgun.net` for domains in the EU. The key is `mailgun-api-key` in the
    /// secret store.
    #[arg(long, env, default_value = "https://api.mailgun.net")]
    pub mailgun_base_url: String,
    /// With `mailgun`: sending domain.
    #[arg(long, env)]
    pub mailgun_domain: Option<String>,
    /// Address of the web page: `https://punctual.example`. With it and `ACTION_KEY`, reminders have links to complete the task and to snooze.
    #[arg(long, env, value_parser = page)]
    pub page_url: Option<Url>,
    /// The keys of the links.
    #[command(flatten)]
    pub capabilities: CapabilityConfig,
    /// Maximum messages of a user per clock hour. The others are delayed, and their timelines say why.
    #[arg(long, env, default_value = "1000")]
    pub user_messages_per_hour: NonZeroU32,
    /// Timeout for one attempt as a whole.
    #[arg(skip = Duration::from_secs(10))]
    pub deadline: Duration,
    /// How long a request keeps trying to record that a message was accepted. After that the process continues in the background.
    #[arg(skip = Duration::from_secs(45))]
    pub record_limit: Duration,
}

impl EmailConfig {
    /// The name of the provider's key or password in the secret store. `None` if the provider needs no secret.
    #[must_use]
    pub fn secret_key(&self) -> Option<&'static str> {
        match self.email_provider {
            ProviderName::Resend => Some("resend-api-key"),
            ProviderName::Mailgun => Some("mailgun-api-key"),
            ProviderName::Smtp => {
                let url = self.smtp_url.as_deref().and_then(|url| Url::parse(url).ok())?;
                (!url.username().is_empty()).then_some("smtp-password")
            }
            ProviderName::Files => None,
        }
    }

    /// How long an attempt belongs to the process that begins it: until the message leaves, or a provider with a key has answered.
    pub(crate) fn lease(&self) -> Duration {
        self.deadline + LEASE_SLACK
    }

    /// How long an attempt belongs to its process from the final dot on: until the server has answered and the answer is recorded.
    pub(crate) fn lease_at_dot(&self) -> Duration {
        self.deadline + self.record_limit + LEASE_SLACK
    }

    /// The mailbox that mail comes from.
    pub(crate) fn sender(&self) -> anyhow::Result<Mailbox> {
        const WRONG: &str =
            "EMAIL_FROM is neither an address that every mail server takes nor `Name <address>` with one";
        let sender: Mailbox = self.email_from.parse().context(WRONG)?;
        let address = Address::parse(sender.email.as_ref()).context(WRONG)?;
        Ok(Mailbox::new(sender.name, address.as_str().parse()?))
    }
}

/// Returns the secret without the line break at the end of most secret files.
pub(super) fn required(secret: Option<SecretString>, key: &str) -> anyhow::Result<SecretString> {
    let secret = secret.with_context(|| format!("the secret store has no {key}"))?;
    let trimmed = secret.expose_secret().trim();
    anyhow::ensure!(!trimmed.is_empty(), "{key} in the secret store is empty");
    Ok(SecretString::from(trimmed))
}

/// Parses the address of the page.
fn page(text: &str) -> anyhow::Result<Url> {
    let page = endpoint(text, &[""], "PAGE_URL")?;
    anyhow::ensure!(page.query().or(page.fragment()).is_none(), "PAGE_URL has a query or a fragment");
    Ok(page)
}

/// Appends `path` to the path of `base`.
pub(super) fn endpoint(base: &str, path: &[&str], variable: &str) -> anyhow::Result<Url> {
    let mut url = Url::parse(base).with_context(|| format!("{variable} is not a URL"))?;
    anyhow::ensure!(matches!(url.scheme(), "http" | "https"), "{variable} is not an http or https URL");
    url.path_segments_mut().ok().with_context(|| format!("{variable} cannot have a path"))?.pop_if_empty().extend(path);
    Ok(url)
}
