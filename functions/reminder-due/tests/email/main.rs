//! Tests of each email provider with one message, against doubles that answer like the real servers or do not answer.

mod files;
mod mailgun;
mod reminder;
mod resend;
mod smtp;
#[expect(dead_code, reason = "the tests of reminders use the rest")]
mod smtp_server;

use std::{path::PathBuf, time::Duration};

use reminder_due::email::{Email, EmailConfig, Provider, ProviderName, SendError};
use secrecy::SecretString;
use shared::capability::CapabilityConfig;
use uuid::Uuid;

/// Texts that no reason may contain: the recipient, a word of the title, a word of the servers' own texts, the key.
const CANARIES: [&str; 4] = ["ada@", "dentist", "canary", "k3y"];

fn config(email_provider: ProviderName) -> EmailConfig {
    EmailConfig {
        email_provider,
        email_from: "Punctual <reminders@punctual.example>".to_owned(),
        smtp_url: None,
        mail_dir: None,
        resend_base_url: "http://127.0.0.1:9".to_owned(),
        mailgun_base_url: "http://127.0.0.1:9".to_owned(),
        mailgun_domain: Some("punctual.example".to_owned()),
        page_url: None,
        capabilities: CapabilityConfig::default(),
        user_messages_per_hour: 1_000.try_into().unwrap(),
        deadline: Duration::from_millis(500),
        record_limit: Duration::from_millis(500),
    }
}

fn provider(config: &EmailConfig) -> Provider {
    Provider::new(config, config.secret_key().map(|_| SecretString::from("k3y\n"))).unwrap()
}

fn email() -> Email {
    Email {
        id: Uuid::now_v7(),
        to: "ada@example.com".to_owned(),
        subject: "Reminder: call the dentist".to_owned(),
        text: "call the dentist\n.\nat ten\n".to_owned(),
        html: "<p>call the dentist</p>\n".to_owned(),
    }
}

/// A `before_body` for providers that must never call it: the test fails if they do.
async fn never_asked() -> anyhow::Result<()> {
    panic!("before_body was awaited")
}

async fn recorded() -> anyhow::Result<()> {
    Ok(())
}

async fn not_recorded() -> anyhow::Result<()> {
    anyhow::bail!("the database is away")
}

/// Returns the error of an attempt, after checking that it contains no canary.
fn failure(outcome: Result<String, SendError>) -> SendError {
    let error = outcome.expect_err("the message was accepted");
    for canary in CANARIES {
        assert!(!format!("{error} {error:?}").contains(canary), "{error} holds {canary}");
    }
    error
}

fn transient(reason: &str) -> SendError {
    SendError::Transient { reason: reason.to_owned() }
}

fn permanent(reason: &str) -> SendError {
    SendError::Permanent { reason: reason.to_owned() }
}

fn unknown(reason: &str) -> SendError {
    SendError::Unknown { reason: reason.to_owned() }
}

fn throttled(seconds: u64, reason: &str) -> SendError {
    SendError::Throttled { retry_after: Duration::from_secs(seconds), reason: reason.to_owned() }
}

/// Formats the time `seconds` from now as `Retry-After` does.
fn http_date(seconds: i64) -> String {
    (chrono::Utc::now() + chrono::Duration::seconds(seconds)).format("%a, %d %b %Y %H:%M:%S GMT").to_string()
}

/// A temporary folder of one test, deleted on drop.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Self {
        let path = std::env::temp_dir().join(format!("punctual-mail-{}", Uuid::new_v4()));
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// Asserts the properties of every MIME message and returns its subject, text and HTML.
#[track_caller]
fn parse(mime: &[u8], email: &Email) -> (String, String, String) {
    use mailparse::MailHeaderMap as _;

    let mail = mailparse::parse_mail(mime).unwrap();
    let header = |name| {
        let values = mail.headers.get_all_values(name);
        assert_eq!(values.len(), 1, "{name}: {values:?}");
        values.into_iter().next().unwrap()
    };
    assert_eq!(header("Message-ID"), format!("<{}@punctual.example>", email.id));
    assert_eq!(header("From"), "Punctual <reminders@punctual.example>");
    assert_eq!(header("To"), email.to);
    assert_eq!(header("Auto-Submitted"), "auto-generated");
    assert_eq!(header("MIME-Version"), "1.0");
    let date = mailparse::dateparse(&header("Date")).unwrap();
    assert!((chrono::Utc::now().timestamp() - date).abs() < 60);
    let mut names: Vec<_> = mail.headers.iter().map(|header| header.get_key()).collect();
    names.sort();
    let known = ["Auto-Submitted", "Content-Type", "Date", "From", "MIME-Version", "Message-ID", "Subject", "To"];
    assert_eq!(names, known, "a header that nobody asked for");

    assert_eq!(mail.ctype.mimetype, "multipart/alternative");
    let kinds: Vec<_> = mail.subparts.iter().map(|part| part.ctype.mimetype.as_str()).collect();
    assert_eq!(kinds, ["text/plain", "text/html"]);
    let body = |part: usize| mail.subparts[part].get_body().unwrap().replace("\r\n", "\n");
    (header("Subject"), body(0), body(1))
}
