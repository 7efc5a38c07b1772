use std::time::{Duration, Instant};

use base64::{Engine as _, prelude::BASE64_STANDARD};
use icu_properties::props::{EnumeratedProperty as _, GeneralCategory};
use proptest::prelude::*;
use reminder_due::email::{Email, EmailConfig, Provider, ProviderName, SendError};
use secrecy::SecretString;

use crate::{
    config, email, failure, not_recorded, parse, permanent, provider, recorded,
    smtp_server::{
        Answer::{self, Drop, Reply, Silence},
        Script, SmtpServer, WILLING,
    },
    throttled, transient, unknown,
};

fn at(url: &str) -> EmailConfig {
    EmailConfig { smtp_url: Some(url.to_owned()), ..config(ProviderName::Smtp) }
}

async fn outcome_of(script: Script) -> (Result<String, SendError>, SmtpServer) {
    let server = SmtpServer::start(script).await;
    let outcome = provider(&at(&server.url)).send(&email(), recorded()).await;
    (outcome, server)
}

async fn failure_of(script: Script) -> SendError {
    failure(outcome_of(script).await.0)
}

#[tokio::test]
async fn a_message_arrives_whole() {
    let server = SmtpServer::start(WILLING).await;
    let provider = provider(&at(&server.url));
    assert!(!provider.has_idempotency_key());
    assert_eq!(provider.name(), "smtp");
    let email = email();

    let id = provider.send(&email, recorded()).await.unwrap();
    assert_eq!(id, format!("<{}@punctual.example>", email.id));
    let (subject, text, html) = parse(&server.bodies()[0], &email);
    assert_eq!(subject, email.subject);
    // A line with only a dot survives and does not end the message.
    assert_eq!(text.trim_end(), email.text.trim_end());
    assert_eq!(html.trim_end(), email.html.trim_end());

    server.story.reaches("QUIT").await;
    let events = server.story.events();
    assert!(events[0].starts_with("EHLO "), "{events:?}");
    let expected = [
        "MAIL FROM:<reminders@punctual.example>",
        "RCPT TO:<ada@example.com>",
        "DATA",
        "<354>",
        "<body byte>",
        "<dot>",
        "QUIT",
    ];
    assert_eq!(events[1..8], expected);
}

#[tokio::test]
async fn the_attempt_is_recorded_between_the_354_and_the_first_byte_of_the_body() {
    let server = SmtpServer::start(WILLING).await;
    let story = server.story.clone();
    let record = async move {
        story.reaches("<354>").await;
        // Long enough for a byte sent too early to arrive.
        tokio::time::sleep(Duration::from_millis(100)).await;
        story.add("<recorded>");
        Ok(())
    };
    provider(&at(&server.url)).send(&email(), record).await.unwrap();
    let events = server.story.events();
    let start = events.iter().position(|event| event == "<354>").unwrap();
    assert_eq!(events[start..start + 4], ["<354>", "<recorded>", "<body byte>", "<dot>"]);
}

#[tokio::test]
async fn a_process_that_stalled_past_its_lease_sends_no_byte_of_the_body() {
    let server = SmtpServer::start(WILLING).await;
    let stands_still = async {
        std::thread::sleep(Duration::from_millis(600));
        Ok(())
    };
    let error = failure(provider(&at(&server.url)).send(&email(), stands_still).await);
    assert_eq!(error, transient("the attempt could not be recorded in time"));
    server.story.reaches("<end>").await;
    assert!(!server.story.events().contains(&"<body byte>".to_owned()), "{:?}", server.story.events());
}

#[tokio::test]
async fn a_message_that_could_not_be_recorded_sends_no_byte_of_its_body() {
    let server = SmtpServer::start(WILLING).await;
    let error = failure(provider(&at(&server.url)).send(&email(), not_recorded()).await);
    assert_eq!(error, transient("the attempt could not be recorded"));
    server.story.reaches("<end>").await;
    assert_eq!(server.story.events().last().unwrap(), "<end>");
    assert!(!server.story.events().contains(&"<body byte>".to_owned()), "{:?}", server.story.events());

    let server = SmtpServer::start(WILLING).await;
    let error = failure(provider(&at(&server.url)).send(&email(), std::future::pending()).await);
    assert_eq!(error, transient("the attempt could not be recorded in time"));
    server.story.reaches("<end>").await;
    assert!(!server.story.events().contains(&"<body byte>".to_owned()), "{:?}", server.story.events());
}

#[tokio::test]
async fn a_reply_before_the_body_decides_the_outcome() {
    let refusing = Reply("550 5.1.1 <ada@example.com> canary");
    let grey = Reply("450 4.2.0 <ada@example.com> canary");
    let closing = Reply("421 4.3.2 canary");
    let at_rcpt = |recipient: Answer| Script { recipient, ..WILLING };
    assert_eq!(failure_of(at_rcpt(refusing)).await, permanent("smtp RCPT: 550"));
    assert_eq!(failure_of(at_rcpt(grey)).await, transient("smtp RCPT: 450"));
    assert_eq!(failure_of(at_rcpt(closing)).await, throttled(30, "smtp RCPT: 421"));
    assert_eq!(failure_of(Script { greeting: closing, ..WILLING }).await, throttled(30, "smtp connect: 421"));
    assert_eq!(failure_of(Script { mail: refusing, ..WILLING }).await, permanent("smtp MAIL: 550"));
    assert_eq!(failure_of(Script { data: grey, ..WILLING }).await, transient("smtp DATA: 450"));
    // The server wants a login that we do not have: an operator must fix it, and the message is retried.
    let login = Reply("530 5.7.0 canary");
    assert_eq!(failure_of(Script { mail: login, ..WILLING }).await, transient("smtp MAIL: 530"));
    let eager = Reply("250 canary");
    let error = failure_of(Script { data: eager, ..WILLING }).await;
    assert_eq!(error, transient("smtp DATA: 250 where 354 was due"));
}

#[tokio::test]
async fn a_reply_to_the_body_decides_the_outcome() {
    let body = |body: Answer| Script { body, ..WILLING };
    assert_eq!(failure_of(body(Reply("550 5.7.1 canary"))).await, permanent("smtp body: 550"));
    assert_eq!(failure_of(body(Reply("451 4.3.0 canary"))).await, transient("smtp body: 451"));
    assert_eq!(failure_of(body(Reply("421 4.3.2 canary"))).await, throttled(30, "smtp body: 421"));
}

#[tokio::test]
async fn a_connection_lost_before_the_354_sent_nothing() {
    let lost = |step| transient(&format!("smtp {step}: the server could not be reached, or closed the connection"));
    assert_eq!(failure_of(Script { greeting: Drop, ..WILLING }).await, lost("connect"));
    assert_eq!(failure_of(Script { recipient: Drop, ..WILLING }).await, lost("RCPT"));
    assert_eq!(failure_of(Script { data: Drop, ..WILLING }).await, lost("DATA"));
    // Port 9 is `discard`, where nothing listens.
    assert_eq!(failure(provider(&at("smtp://127.0.0.1:9")).send(&email(), recorded()).await), lost("connect"));
}

#[tokio::test]
async fn a_server_silent_before_the_354_sent_nothing_and_takes_no_longer_than_the_deadline() {
    let silent = transient("smtp: the server did not answer in time");
    let started = Instant::now();
    assert_eq!(failure_of(Script { greeting: Silence, ..WILLING }).await, silent);
    assert_eq!(failure_of(Script { data: Silence, ..WILLING }).await, silent);
    assert!(started.elapsed() < Duration::from_secs(2), "took {:?}", started.elapsed());
}

#[tokio::test]
async fn no_reply_to_the_final_dot_is_unknown() {
    let (outcome, server) = outcome_of(Script { body: Drop, ..WILLING }).await;
    assert_eq!(failure(outcome), unknown("smtp body: the connection was lost before the reply"));
    assert_eq!(server.bodies().len(), 1, "the server has the message");

    let started = Instant::now();
    let (outcome, server) = outcome_of(Script { body: Silence, ..WILLING }).await;
    assert_eq!(failure(outcome), unknown("smtp body: no reply in time"));
    assert_eq!(server.bodies().len(), 1, "the server has the message");
    assert!(started.elapsed() < Duration::from_secs(2), "took {:?}", started.elapsed());

    assert_eq!(failure_of(Script { body: Reply("354 canary"), ..WILLING }).await, unknown("smtp body: 354"));
}

#[tokio::test]
async fn an_accepted_message_does_not_wait_for_the_reply_to_quit() {
    let server = SmtpServer::start(Script { quit: Silence, ..WILLING }).await;
    let started = Instant::now();
    provider(&at(&server.url)).send(&email(), recorded()).await.unwrap();
    assert!(started.elapsed() < Duration::from_millis(400), "took {:?}", started.elapsed());
    server.story.reaches("QUIT").await;
}

fn count(server: &SmtpServer, event: &str) -> usize {
    server.story.events().iter().filter(|happened| happened.starts_with(event)).count()
}

#[tokio::test]
async fn a_connection_is_reused_until_it_is_idle_for_a_second() {
    let server = SmtpServer::start(WILLING).await;
    let provider = provider(&at(&server.url));
    for _ in 0..3 {
        provider.send(&email(), recorded()).await.unwrap();
    }
    assert_eq!([count(&server, "EHLO"), count(&server, "<dot>"), count(&server, "QUIT")], [1, 3, 0]);
    server.story.reaches("<end>").await;
    assert_eq!(count(&server, "QUIT"), 1);
    provider.send(&email(), recorded()).await.unwrap();
    assert_eq!([count(&server, "EHLO"), count(&server, "<dot>")], [2, 4]);
}

#[tokio::test]
async fn a_stale_connection_fails_no_message() {
    for mail_again in [Drop, Reply("421 4.3.2 canary"), Reply("451 4.3.0 canary")] {
        let server = SmtpServer::start(Script { mail_again, ..WILLING }).await;
        let provider = provider(&at(&server.url));
        for _ in 0..2 {
            provider.send(&email(), recorded()).await.unwrap();
        }
        assert_eq!([count(&server, "EHLO"), count(&server, "<dot>")], [2, 2]);
    }
    // A refused message is never tried again on another connection.
    let server = SmtpServer::start(Script { mail_again: Reply("550 5.7.1 canary"), ..WILLING }).await;
    let provider = provider(&at(&server.url));
    provider.send(&email(), recorded()).await.unwrap();
    assert_eq!(failure(provider.send(&email(), recorded()).await), permanent("smtp MAIL: 550"));
    assert_eq!(count(&server, "EHLO"), 1);
}

#[tokio::test]
async fn a_connection_whose_message_was_not_accepted_is_not_reused() {
    for body in [Reply("451 4.3.0 canary"), Drop] {
        let server = SmtpServer::start(Script { body, ..WILLING }).await;
        let provider = provider(&at(&server.url));
        for _ in 0..2 {
            failure(provider.send(&email(), recorded()).await);
        }
        assert_eq!([count(&server, "EHLO"), count(&server, "<dot>")], [2, 2]);
    }
    let server = SmtpServer::start(WILLING).await;
    let provider = provider(&at(&server.url));
    failure(provider.send(&email(), not_recorded()).await);
    provider.send(&email(), recorded()).await.unwrap();
    assert_eq!([count(&server, "EHLO"), count(&server, "<dot>")], [2, 1]);
}

#[tokio::test]
async fn a_login_is_not_sent_in_the_clear_unless_told_to() {
    let server = SmtpServer::start(WILLING).await;
    let with_user = server.url.replace("smtp://", "smtp://post%40punctual.example@");
    let error = failure(provider(&at(&with_user)).send(&email(), recorded()).await);
    assert_eq!(error, transient("smtp STARTTLS: the server does not offer what is configured"));
    assert!(!server.story.events().iter().any(|event| event.starts_with("AUTH")), "{:?}", server.story.events());
    let error = failure(provider(&at(&format!("{}?tls=required", server.url))).send(&email(), recorded()).await);
    assert_eq!(error, transient("smtp STARTTLS: the server does not offer what is configured"));

    let server = SmtpServer::start(WILLING).await;
    let in_the_clear = server.url.replace("smtp://", "smtp://post%40punctual.example@") + "?tls=none";
    provider(&at(&in_the_clear)).send(&email(), recorded()).await.unwrap();
    let login = BASE64_STANDARD.encode("\0post@punctual.example\0k3y");
    assert_eq!(server.story.events()[1], "AUTH PLAIN", "{:?}", server.story.events());
    assert!(server.story.logins().contains(&login), "{:?}", server.story.logins());
}

#[tokio::test]
async fn a_server_without_tls_gets_nothing_where_tls_is_configured() {
    let server = SmtpServer::start(WILLING).await;
    let url = server.url.replace("smtp://", "smtps://post@");
    let error = failure(provider(&at(&url)).send(&email(), recorded()).await);
    assert_eq!(error, transient("smtp connect: the server could not be reached, or closed the connection"));
    assert!(!server.story.events().iter().any(|event| event.starts_with("EHLO")), "{:?}", server.story.events());
}

#[tokio::test]
async fn a_refused_login_does_not_cost_the_message() {
    let server = SmtpServer::start(Script { auth: Reply("535 5.7.8 canary"), ..WILLING }).await;
    let url = server.url.replace("smtp://", "smtp://post@") + "?tls=none";
    let error = failure(provider(&at(&url)).send(&email(), recorded()).await);
    assert_eq!(error, transient("smtp AUTH: 535"));
}

#[tokio::test]
async fn an_invalid_or_ambiguous_address_is_refused_before_connecting() {
    let server = SmtpServer::start(WILLING).await;
    let provider = provider(&at(&server.url));
    for to in [
        "",
        "ada",
        "Ada <ada@example.com>",
        "ada@example.com, eve@example.com",
        "ada@example.com>\r\nDATA",
        // `shared::address` refuses it when the token is read. A release before that may have stored it.
        "jörg@example.com",
    ] {
        let error = failure(provider.send(&Email { to: to.to_owned(), ..email() }, recorded()).await);
        assert_eq!(error, permanent("the address of the recipient is not one"), "{to:?}");
    }
    assert!(server.story.events().is_empty());
}

#[test]
fn an_invalid_setting_fails_at_startup() {
    let refused = |url: &str| Provider::new(&at(url), Some(SecretString::from("k3y"))).err().unwrap().to_string();
    assert!(refused("smtp://post:k3y@mail.example").contains("secret store"));
    assert!(refused("http://mail.example").contains("SMTP_URL"));
    assert!(refused("smtp://mail.example?tls=perhaps").contains("SMTP_URL"));
    assert!(refused("mail.example").contains("SMTP_URL"));
    let from = |sender: &str| EmailConfig { email_from: sender.to_owned(), ..at("smtp://mail.example") };
    for sender in ["jörg@mail.example", "Jörg <jörg@mail.example>", "Punctual", "post@[127.0.0.1]"] {
        let error = Provider::new(&from(sender), None).err().unwrap().to_string();
        assert!(error.contains("EMAIL_FROM"), "{sender}: {error}");
    }
    for sender in ["Jörg <post@mail.example>", "post@bücher.example"] {
        assert!(Provider::new(&from(sender), None).is_ok(), "{sender}");
    }

    let with_user = at("smtps://post@mail.example");
    assert_eq!(with_user.secret_key(), Some("smtp-password"));
    assert!(Provider::new(&with_user, None).err().unwrap().to_string().contains("smtp-password"));
    assert!(Provider::new(&with_user, Some(SecretString::from("\n"))).is_err());
    assert_eq!(at("smtp://mail.example").secret_key(), None);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_subject_adds_a_header_or_a_line(
        subject in prop_oneof![".{0,300}", "[a-z\r\n\u{b}\u{85}\u{2028} :]{0,80}", "[a-z.\r\n]{0,40}", Just("a\r\nBcc: eve@example.com\r\n\r\nhi =?utf-8?q?x?=".to_owned())]
    ) {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        runtime.block_on(async {
            let server = SmtpServer::start(WILLING).await;
            let config = EmailConfig { deadline: Duration::from_secs(5), ..at(&server.url) };
            let email = Email { subject: subject.clone(), text: subject.clone(), ..email() };
            provider(&config).send(&email, recorded()).await.unwrap();
            let body = server.bodies().remove(0);
            // A lone CR or LF ends a line for some servers and not for others.
            let ends = body.windows(2).filter(|pair| *pair == b"\r\n").count();
            assert_eq!(body.iter().filter(|byte| **byte == b'\r').count(), ends);
            assert_eq!(body.iter().filter(|byte| **byte == b'\n').count(), ends);
            let (received, ..) = parse(&body, &email);
            let words = |text: &str| text.split(|c: char| c.is_whitespace() || c.is_control())
                .filter(|word| !word.is_empty()).map(str::to_owned).collect::<Vec<_>>();
            // `=?` would start an encoded word. Of the invisible characters only some are left, and none that reverses text.
            let seen = |text: &str| -> String { text.chars().filter(|c| GeneralCategory::for_char(*c) != GeneralCategory::Format).collect() };
            assert_eq!(words(&seen(&received)), words(&seen(&subject).replace("=?", "= ?")));
            assert!(!received.contains(|c| matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')), "{received:?}");
        });
    }
}
