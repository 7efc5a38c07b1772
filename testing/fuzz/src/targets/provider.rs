//! The answers of Resend and Mailgun. The first byte chooses the provider, and the next two bytes the status. Header lines follow, then an
//! empty line, then the body.
//!
//! The status determines the outcome, a retry delay is between a second and an hour, and reasons and ids can be stored. A reason never
//! quotes the server.

use std::{
    num::NonZeroU32,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use reminder_due::email::{Email, EmailConfig, Provider, ProviderName, ReminderMail, SendError};
use secrecy::SecretString;
use shared::capability::CapabilityConfig;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
};
use uuid::Uuid;

use crate::{Target, offline};

pub(crate) const TARGET: Target = Target { name: "provider", seeds, words: WORDS, run };

const WORDS: &[&str] = &[
    "retry-after: ",
    "Wed, 21 Oct 2099 07:28:00 GMT",
    "18446744073709551615",
    "content-type: ",
    "location: ",
    "id",
    "name",
    "message",
    "statusCode",
    "rate_limit_exceeded",
    "daily_quota_exceeded",
    "monthly_quota_exceeded",
    "invalid_idempotent_request",
    "concurrent_idempotent_requests",
    "validation_error",
    "canary",
    "\\u0000",
    "null",
];

thread_local! {
    static PROVIDERS: FakeProviders = FakeProviders::start();
}

/// Both providers on one server, which sends prepared answers.
struct FakeProviders {
    answer: Arc<Mutex<Vec<u8>>>,
    providers: [Provider; 2],
}

impl FakeProviders {
    fn start() -> Self {
        let answer = Arc::new(Mutex::default());
        let listener = offline::run(TcpListener::bind("127.0.0.1:0")).expect("a port");
        let url = format!("http://{}", listener.local_addr().expect("an address"));
        offline::spawn(serve(listener, answer.clone()));
        let providers = [ProviderName::Resend, ProviderName::Mailgun].map(|name| {
            let config = EmailConfig {
                resend_base_url: url.clone(),
                mailgun_base_url: url.clone(),
                user_messages_per_hour: NonZeroU32::MAX,
                mailgun_domain: Some("punctual.example".to_owned()),
                ..config(name)
            };
            Provider::new(&config, Some(SecretString::from("k3y"))).expect("a provider")
        });
        Self { answer, providers }
    }
}

/// The configuration of a provider, without a server.
pub(crate) fn config(email_provider: ProviderName) -> EmailConfig {
    EmailConfig {
        email_provider,
        email_from: "Punctual <reminders@punctual.example>".to_owned(),
        smtp_url: None,
        mail_dir: None,
        resend_base_url: "http://127.0.0.1:9".to_owned(),
        mailgun_base_url: "http://127.0.0.1:9".to_owned(),
        mailgun_domain: None,
        page_url: None,
        capabilities: CapabilityConfig::default(),
        user_messages_per_hour: NonZeroU32::MAX,
        deadline: Duration::from_secs(10),
        record_limit: Duration::from_secs(45),
    }
}

/// A message about a task with this title.
pub(crate) fn email(title: &str) -> Email {
    let mail = ReminderMail::new(title, None, "today".to_owned(), None);
    let email = mail.email(Uuid::from_u128(7), "ada@example.org".to_owned()).expect("a message");
    assert!(!email.subject.contains(char::is_control), "{:?}", email.subject);
    email
}

/// Answers every request on every connection.
async fn serve(listener: TcpListener, answer: Arc<Mutex<Vec<u8>>>) {
    while let Ok((connection, _)) = listener.accept().await {
        tokio::spawn(converse(connection, answer.clone()));
    }
}

async fn converse(mut connection: TcpStream, answer: Arc<Mutex<Vec<u8>>>) -> std::io::Result<()> {
    let mut read = Vec::new();
    loop {
        while length(&read).is_none_or(|length| read.len() < length) {
            if connection.read_buf(&mut read).await? == 0 {
                return Ok(());
            }
        }
        read.clear();
        let answer = answer.lock().unwrap_or_else(PoisonError::into_inner).clone();
        connection.write_all(&answer).await?;
    }
}

/// The length of a request, once its head is complete.
fn length(request: &[u8]) -> Option<usize> {
    let head = request.windows(4).position(|four| four == b"\r\n\r\n")? + 4;
    let text = std::str::from_utf8(&request[..head]).ok()?.to_ascii_lowercase();
    let body = text.lines().find_map(|line| line.strip_prefix("content-length:")?.trim().parse::<usize>().ok());
    Some(head + body.unwrap_or(0))
}

fn seeds() -> Vec<Vec<u8>> {
    let error = |name: &str| format!(r#"{{"statusCode":429,"name":"{name}","message":"canary"}}"#);
    let mut seeds = Vec::new();
    for (status, head, body) in [
        (200_u16, "", r#"{"id":"49a3999c-0ce1-4ea6-ab68-afcd6dc2e794"}"#.to_owned()),
        (200, "", r#"{"id":"<canary@punctual.example>","message":"Queued."}"#.to_owned()),
        (429, "retry-after: 7", error("rate_limit_exceeded")),
        (429, "retry-after: Wed, 21 Oct 2099 07:28:00 GMT", error("daily_quota_exceeded")),
        (503, "retry-after: 99999999", error("canary")),
        (409, "", error("invalid_idempotent_request")),
        (422, "", error("validation_error")),
        (307, "location: /canary", String::new()),
        (504, "content-type: text/html", "<h1>canary</h1>".to_owned()),
    ] {
        for provider in [0, 1] {
            seeds.push([&[provider], &status.to_le_bytes()[..], head.as_bytes(), b"\n\n", body.as_bytes()].concat());
        }
    }
    seeds
}

fn run(input: &[u8]) {
    let [provider, low, high, rest @ ..] = input else { return };
    let status = u16::from_le_bytes([*low, *high]);
    let status = if (200..600).contains(&status) { status } else { 200 + status % 400 };
    let (head, body) = offline::head_and_body(rest);
    let body = if matches!(status, 204 | 205 | 304) { b"" } else { body };
    let mut answer = format!("HTTP/1.1 {status} Canary\r\ncontent-length: {}\r\n", body.len()).into_bytes();
    // Framing and excessive headers are the HTTP library's concern.
    for (name, value) in head.filter_map(offline::header_of).take(50) {
        if !["content-length", "transfer-encoding", "connection", "upgrade"].contains(&name.as_str()) {
            answer.extend([name.as_str().as_bytes(), b": ", value.as_bytes(), b"\r\n"].concat());
        }
    }
    answer.extend([b"\r\n", body].concat());

    PROVIDERS.with(|fake| {
        *fake.answer.lock().unwrap_or_else(PoisonError::into_inner) = answer;
        let provider = &fake.providers[usize::from(provider % 2)];
        let outcome = offline::run(provider.send(&email("call the dentist"), async { Ok(()) }));
        check(provider, status, &outcome);
    });
}

fn check(provider: &Provider, status: u16, outcome: &Result<String, SendError>) {
    match (outcome, status) {
        (Ok(id), 200..=299) => assert!(id.len() <= 1_000 && !id.contains(char::is_control), "the id is {id:?}"),
        // Resend answers a repeated request with the id of the first.
        (Err(SendError::Unknown { .. }), 200..=299) => assert_eq!(provider.name(), "resend"),
        (Err(SendError::Throttled { retry_after, .. }), 429 | 503) => {
            assert!((1..=3600).contains(&retry_after.as_secs()), "{retry_after:?}");
        }
        (Err(SendError::Permanent { .. }), 400..=499) => {}
        (Err(SendError::Unknown { .. }), _) => assert!(provider.name() == "resend" || status == 504, "{outcome:?}"),
        (Err(SendError::Transient { .. }), 300..) => assert_ne!(status, 429, "{outcome:?}"),
        _ => panic!("{} answered {status}, which became {outcome:?}", provider.name()),
    }
    if let Err(error) = outcome {
        let reason = error.reason();
        let plain = reason.bytes().all(|byte| byte.is_ascii_alphanumeric() || b" _,:".contains(&byte));
        assert!(plain && reason.len() < 100 && !reason.contains("canary"), "{reason:?}");
    }
}
