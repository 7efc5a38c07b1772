//! The replies of an SMTP server. The first line is the title of a task, the rest is everything that the server sends.
//!
//! A reason contains the reply code and never quotes the server. The outcome is accepted or unknown only after the start of the body was
//! recorded.

use std::{
    net,
    sync::atomic::{AtomicBool, Ordering},
};

use reminder_due::email::{EmailConfig, Provider, ProviderName, SendError};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpListener,
    runtime::Builder,
};

use super::provider::{config, email};
use crate::Target;

pub(crate) const TARGET: Target = Target { name: "smtp", seeds, words: WORDS, run };

const WORDS: &[&str] = &[
    "220 ",
    "221 ",
    "250 ",
    "250-",
    "354 ",
    "421 ",
    "450 ",
    "451 ",
    "452 ",
    "500 ",
    "501 ",
    "530 ",
    "535 ",
    "550 ",
    "552 ",
    "554 ",
    "\r\n",
    "SMTPUTF8",
    "8BITMIME",
    "STARTTLS",
    "AUTH PLAIN LOGIN",
    "SIZE 1",
    "canary",
    "=?",
    "\u{2028}",
];

thread_local! {
    static SERVER: (net::TcpListener, EmailConfig) = server();
}

fn server() -> (net::TcpListener, EmailConfig) {
    let listener = net::TcpListener::bind("127.0.0.1:0").expect("a port");
    listener.set_nonblocking(true).expect("a socket");
    let url = format!("smtp://{}?tls=none", listener.local_addr().expect("an address"));
    (listener, EmailConfig { smtp_url: Some(url), ..config(ProviderName::Smtp) })
}

/// Sends all replies at once, then reads until the client closes.
async fn serve(listener: TcpListener, replies: Vec<u8>) -> std::io::Result<()> {
    let (mut connection, _) = listener.accept().await?;
    connection.write_all(&replies).await?;
    connection.shutdown().await?;
    connection.read_to_end(&mut Vec::new()).await?;
    Ok(())
}

fn seeds() -> Vec<Vec<u8>> {
    let greeting = "220 canary\r\n250-canary\r\n250-8BITMIME\r\n250 SMTPUTF8\r\n";
    [
        "250 ok\r\n250 ok\r\n354 go\r\n250 queued as canary\r\n221 bye\r\n",
        "250 ok\r\n250 ok\r\n354 go\r\n550 canary\r\n",
        "250 ok\r\n250 ok\r\n354 go\r\n",
        "250 ok\r\n550-canary\r\n550 canary\r\n221 bye\r\n",
        "421 canary\r\n",
        "250 ok\r\n250 ok\r\n250 no\r\n",
    ]
    .map(|replies| format!("call the dentist\n{greeting}{replies}").into_bytes())
    .to_vec()
}

fn run(input: &[u8]) {
    let (title, replies) = input.split_at(input.iter().position(|byte| *byte == b'\n').unwrap_or(0));
    let replies = replies.strip_prefix(b"\n").unwrap_or(replies).to_vec();
    let recorded = AtomicBool::new(false);
    // A new provider for each input, because it would reuse the pooled connection of the previous one.
    let runtime = Builder::new_current_thread().enable_all().build().expect("a runtime");
    let outcome = runtime.block_on(async {
        let (listener, config) = SERVER.with(|(listener, config)| (listener.try_clone(), config.clone()));
        tokio::spawn(serve(TcpListener::from_std(listener.expect("a socket")).expect("a listener"), replies));
        let provider = Provider::new(&config, None).expect("a provider");
        let before_body = async {
            recorded.store(true, Ordering::Relaxed);
            Ok(())
        };
        provider.send(&email(&String::from_utf8_lossy(title)), before_body).await
    });
    let recorded = recorded.into_inner();
    match outcome {
        Ok(id) => assert!(recorded && !id.contains(char::is_control), "{id:?}"),
        Err(error) => {
            let reason = error.reason();
            let plain = reason.bytes().all(|byte| byte.is_ascii_alphanumeric() || b" ,:".contains(&byte));
            assert!(plain && reason.len() < 120 && !reason.contains("canary"), "{reason:?}");
            assert!(recorded || !matches!(error, SendError::Unknown { .. }), "{error}");
        }
    }
}
