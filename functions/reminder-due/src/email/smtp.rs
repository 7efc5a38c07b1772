//! SMTP, step by step, because the meaning of a failure depends on the step.
//!
//! Until the 354 that answers DATA, and while the attempt is recorded, nothing has been sent, and a failure says so. From the first byte of
//! the body to the reply to the final dot, the outcome is unknown. The reply settles it.
//!
//! lettre's own `send` runs all steps in one call, so this module drives the connection itself. After a complete message, a connection may
//! carry the next one ([`idle`](super::idle)).

use std::time::Duration;

use anyhow::Context as _;
use lettre::{
    Address, Message,
    message::Mailbox,
    transport::smtp::{
        Error,
        authentication::{Credentials, Mechanism},
        client::{AsyncSmtpConnection, Tls, TlsParameters},
        commands::{Data, Mail, Rcpt},
        extension::ClientId,
        response::Severity,
    },
};
use percent_encoding::percent_decode_str;
use reqwest::Url;
use secrecy::{ExposeSecret as _, SecretString};
use tokio::{
    net::TcpStream,
    time::{Instant, timeout, timeout_at},
};

use super::{
    Email, EmailConfig, SendError, config,
    idle::{Idle, say_goodbye},
    message, record,
};

/// Wait after a 421, which concerns the server and not the message.
const CLOSING_WAIT: Duration = Duration::from_secs(30);

/// An SMTP server.
#[derive(Clone)]
pub struct Smtp {
    host: String,
    port: u16,
    tls: Tls,
    credentials: Option<Credentials>,
    from: Mailbox,
    deadline: Duration,
    idle: Idle,
}

impl Smtp {
    pub(super) fn new(config: &EmailConfig, secret: Option<SecretString>) -> anyhow::Result<Self> {
        let url = config.smtp_url.as_deref().context("EMAIL_PROVIDER=smtp needs SMTP_URL")?;
        let url = Url::parse(url).context("SMTP_URL is not a URL")?;
        anyhow::ensure!(url.password().is_none(), "SMTP_URL holds a password; it belongs in the secret store");
        let host = url.host_str().context("SMTP_URL has no host")?;
        // Only a URL puts an IPv6 address into brackets.
        let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();

        let has_user = !url.username().is_empty();
        let wish = url.query_pairs().find(|(name, _)| name == "tls").map(|(_, value)| value.into_owned());
        let (tls, port) = match (url.scheme(), wish.as_deref()) {
            ("smtps", None) => (Tls::Wrapper(TlsParameters::new(host.clone())?), 465),
            ("smtp", Some("none")) => (Tls::None, 25),
            ("smtp", Some("required")) => (Tls::Required(TlsParameters::new(host.clone())?), 587),
            // Never send a password in the clear, unless `tls=none` says so.
            ("smtp", None) if has_user => (Tls::Required(TlsParameters::new(host.clone())?), 587),
            ("smtp", None) => (Tls::Opportunistic(TlsParameters::new(host.clone())?), 25),
            _ => anyhow::bail!("SMTP_URL is neither smtp://host[:port][?tls=required|none] nor smtps://host[:port]"),
        };
        let credentials = has_user
            .then(|| {
                let user =
                    percent_decode_str(url.username()).decode_utf8().context("the user in SMTP_URL is not UTF-8")?;
                let password = config::required(secret, "smtp-password")?;
                anyhow::Ok(Credentials::new(user.into_owned(), password.expose_secret().to_owned()))
            })
            .transpose()?;
        let port = url.port().unwrap_or(port);
        Ok(Self {
            host,
            port,
            tls,
            credentials,
            from: config.sender()?,
            deadline: config.deadline,
            idle: Idle::default(),
        })
    }

    pub(super) async fn send(
        &self,
        email: &Email,
        to: &Address,
        before_body: impl Future<Output = anyhow::Result<()>> + Send,
    ) -> Result<String, SendError> {
        let message = message::build(email, &self.from, to.clone())?;
        let deadline = Instant::now() + self.deadline;

        let Ok(opened) = timeout_at(deadline, self.open(&message)).await else {
            return Err(SendError::transient("smtp: the server did not answer in time"));
        };
        let mut connection = opened?;
        // After 354 everything we write is part of the body, even a QUIT. On failure we drop the connection, and the server discards the
        // message.
        record(before_body, deadline).await?;

        let Ok(reply) = timeout_at(deadline, connection.message(&message.formatted())).await else {
            return Err(SendError::unknown("smtp body: no reply in time"));
        };
        let outcome = match reply {
            Ok(reply) if reply.code().severity == Severity::PositiveCompletion => {
                self.idle.put(connection);
                return Ok(message::id(email, &self.from));
            }
            Ok(reply) => Err(SendError::unknown(format!("smtp body: {}", reply.code()))),
            Err(error) if error.status().is_some() => Err(refusal("body", &error)),
            Err(_) => return Err(SendError::unknown("smtp body: the connection was lost before the reply")),
        };
        say_goodbye(connection);
        outcome
    }

    /// Runs all steps up to the 354.
    async fn open(&self, message: &Message) -> Result<AsyncSmtpConnection, SendError> {
        if let Some(mut connection) = self.idle.take() {
            match mail(&mut connection, message).await {
                Ok(()) => return recipients(connection, message).await,
                // A refusal of the message would be the same on another connection.
                Err(error @ SendError::Permanent { .. }) => {
                    say_goodbye(connection);
                    return Err(error);
                }
                // The server closed the connection, or wants no more messages on it. Later replies are about this message and are never
                // retried.
                Err(_) => say_goodbye(connection),
            }
        }
        let mut connection = self.connect().await?;
        match mail(&mut connection, message).await {
            Ok(()) => recipients(connection, message).await,
            Err(error) => {
                say_goodbye(connection);
                Err(error)
            }
        }
    }

    /// Opens a connection, encrypted and logged in as configured.
    async fn connect(&self) -> Result<AsyncSmtpConnection, SendError> {
        let hello = ClientId::default();
        let implicit = match &self.tls {
            Tls::Wrapper(parameters) => Some(parameters.clone()),
            _ => None,
        };
        let server = (self.host.as_str(), self.port);
        let mut connection = if implicit.is_some() {
            AsyncSmtpConnection::connect_tokio1(server, Some(self.deadline / 2), &hello, implicit, None).await
        } else {
            // lettre writes the body and its final dot separately. With Nagle's algorithm the dot waits for the acknowledgement of the
            // body, which the server delays by 40 ms. lettre sets no option on a stream that it opens, so open it here.
            let stream = timeout(self.deadline / 2, TcpStream::connect(server))
                .await
                .map_err(|_| SendError::transient("smtp connect: the server could not be reached in time"))?
                .and_then(|stream| stream.set_nodelay(true).map(|()| stream))
                .map_err(|_| {
                    SendError::transient("smtp connect: the server could not be reached, or closed the connection")
                })?;
            AsyncSmtpConnection::connect_with_transport(Box::new(stream), &hello).await
        }
        .map_err(|error| refusal("connect", &error))?;
        match &self.tls {
            Tls::Required(parameters) => connection.starttls(parameters.clone(), &hello).await,
            Tls::Opportunistic(parameters) if connection.can_starttls() => {
                connection.starttls(parameters.clone(), &hello).await
            }
            _ => Ok(()),
        }
        .map_err(|error| refusal("STARTTLS", &error))?;
        if let Some(credentials) = &self.credentials {
            connection
                .auth(&[Mechanism::Plain, Mechanism::Login], credentials)
                .await
                .map_err(|error| refusal("AUTH", &error))?;
        }
        Ok(connection)
    }
}

/// Sends MAIL.
async fn mail(connection: &mut AsyncSmtpConnection, message: &Message) -> Result<(), SendError> {
    // No parameters: text is encoded as ASCII, and addresses are ASCII.
    let mail = Mail::new(message.envelope().from().cloned(), Vec::new());
    connection.command(mail).await.map(drop).map_err(|error| refusal("MAIL", &error))
}

/// Sends RCPT and DATA. Closes the connection if one of them fails.
async fn recipients(mut connection: AsyncSmtpConnection, message: &Message) -> Result<AsyncSmtpConnection, SendError> {
    let begun = async {
        for to in message.envelope().to() {
            connection.command(Rcpt::new(to.clone(), Vec::new())).await.map_err(|error| refusal("RCPT", &error))?;
        }
        let reply = connection.command(Data).await.map_err(|error| refusal("DATA", &error))?;
        if reply.has_code(354) {
            Ok(())
        } else {
            Err(SendError::transient(format!("smtp DATA: {} where 354 was due", reply.code())))
        }
    };
    match begun.await {
        Ok(()) => Ok(connection),
        Err(error) => {
            say_goodbye(connection);
            Err(error)
        }
    }
}

/// Classifies a failure before the body, or a reply to the body. The reason leaves out the reply's text, which quotes addresses.
fn refusal(step: &str, error: &Error) -> SendError {
    let Some(code) = error.status() else {
        let what = if error.is_tls() {
            "TLS failed"
        } else if error.is_timeout() {
            "the server could not be reached in time"
        } else if error.is_client() {
            "the server does not offer what is configured"
        } else {
            "the server could not be reached, or closed the connection"
        };
        return SendError::transient(format!("smtp {step}: {what}"));
    };
    let reason = format!("smtp {step}: {code}");
    match (step, code.into()) {
        (_, 421_u16) => SendError::throttled(CLOSING_WAIT, reason),
        // A refused login (RFC 4954) says nothing about the message, which goes out once the password is right.
        ("AUTH", _) | (_, 530 | 534 | 535 | 538) => SendError::transient(reason),
        _ if error.is_permanent() => SendError::permanent(reason),
        _ => SendError::transient(reason),
    }
}
