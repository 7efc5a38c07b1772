use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use reminder_due::email::{EmailConfig, ProviderName, SendError};
use serde_json::json;
use tokio::{
    io::AsyncReadExt as _,
    net::{TcpListener, TcpSocket, TcpStream},
};
use wiremock::{
    Mock, MockServer, ResponseTemplate,
    matchers::{basic_auth, method, path},
};

use crate::{
    config, email, failure, http_date, not_recorded, permanent, provider, recorded, throttled, transient, unknown,
};

fn at(base_url: String) -> EmailConfig {
    EmailConfig { mailgun_base_url: base_url, ..config(ProviderName::Mailgun) }
}

async fn outcome_of(answer: ResponseTemplate) -> Result<String, SendError> {
    let server = MockServer::start().await;
    Mock::given(method("POST")).respond_with(answer).expect(1).mount(&server).await;
    let outcome = provider(&at(server.uri())).send(&email(), recorded()).await;
    server.verify().await;
    outcome
}

async fn failure_of(answer: ResponseTemplate) -> SendError {
    failure(outcome_of(answer).await)
}

#[tokio::test]
async fn a_message_goes_out_after_it_was_recorded() {
    let server = MockServer::start().await;
    let recorded = Arc::new(AtomicBool::new(false));
    let recorded_when_asked = Arc::clone(&recorded);
    Mock::given(method("POST"))
        .and(path("/v3/punctual.example/messages"))
        .and(basic_auth("api", "k3y"))
        .respond_with(move |_: &wiremock::Request| {
            assert!(recorded_when_asked.load(Ordering::SeqCst), "asked before it was recorded");
            ResponseTemplate::new(200).set_body_json(json!({"id": "<1@mailgun>", "message": "Queued. Thank you."}))
        })
        .expect(1)
        .mount(&server)
        .await;
    let provider = provider(&at(server.uri()));
    assert!(!provider.has_idempotency_key());
    assert_eq!(provider.name(), "mailgun");

    let email = email();
    let record = async {
        tokio::time::sleep(Duration::from_millis(50)).await;
        recorded.store(true, Ordering::SeqCst);
        Ok(())
    };
    assert_eq!(provider.send(&email, record).await.as_deref(), Ok("<1@mailgun>"));

    let requests = server.received_requests().await.unwrap();
    let fields = reqwest::Url::parse(&format!("http://x/?{}", str::from_utf8(&requests[0].body).unwrap())).unwrap();
    let fields: BTreeMap<String, String> = fields.query_pairs().into_owned().collect();
    let message_id = format!("<{}@punctual.example>", email.id);
    let expected = [
        ("from", "Punctual <reminders@punctual.example>"),
        ("h:Auto-Submitted", "auto-generated"),
        ("h:Message-Id", &message_id),
        ("html", &email.html),
        ("o:tracking", "no"),
        ("subject", &email.subject),
        ("text", &email.text),
        ("to", "ada@example.com"),
    ];
    assert_eq!(fields, expected.map(|(name, value)| (name.to_owned(), value.to_owned())).into());
}

#[tokio::test]
async fn a_message_that_could_not_be_recorded_does_not_go_out() {
    let server = MockServer::start().await;
    Mock::given(method("POST")).respond_with(ResponseTemplate::new(200)).expect(0).mount(&server).await;
    let error = failure(provider(&at(server.uri())).send(&email(), not_recorded()).await);
    assert_eq!(error, transient("the attempt could not be recorded"));

    let error = failure(provider(&at(server.uri())).send(&email(), std::future::pending()).await);
    assert_eq!(error, transient("the attempt could not be recorded in time"));
    server.verify().await;
}

#[tokio::test]
async fn a_message_is_accepted_even_if_the_body_of_the_answer_is_lost() {
    let id = outcome_of(ResponseTemplate::new(200).set_body_string("garbled")).await.unwrap();
    assert!(id.ends_with("@punctual.example>"), "{id}");
}

#[tokio::test]
async fn a_refused_message_is_a_permanent_error() {
    for status in [400, 403, 422] {
        let answer = ResponseTemplate::new(status).set_body_json(json!({"message": "canary ada@example.com"}));
        assert_eq!(failure_of(answer).await, permanent(&format!("mailgun {status}")));
    }
}

#[tokio::test]
async fn a_wrong_key_or_an_outage_is_a_temporary_error() {
    for status in [401, 404, 409, 500, 502, 503] {
        assert_eq!(failure_of(ResponseTemplate::new(status)).await, transient(&format!("mailgun {status}")));
    }
}

#[tokio::test]
async fn retry_after_is_obeyed_in_seconds_and_as_a_date() {
    let busy = |status| ResponseTemplate::new(status);
    assert_eq!(failure_of(busy(429).insert_header("Retry-After", "7")).await, throttled(7, "mailgun 429"));
    assert_eq!(failure_of(busy(503).insert_header("Retry-After", "7")).await, throttled(7, "mailgun 503"));
    assert_eq!(failure_of(busy(429)).await, throttled(30, "mailgun 429"));
    assert_eq!(failure_of(busy(429).insert_header("Retry-After", "soon")).await, throttled(30, "mailgun 429"));
    let SendError::Throttled { retry_after, .. } =
        failure_of(busy(429).insert_header("Retry-After", http_date(90).as_str())).await
    else {
        panic!("a 429 throttles");
    };
    assert!((85..=90).contains(&retry_after.as_secs()), "{retry_after:?}");
}

#[tokio::test]
async fn an_attempt_without_an_answer_stays_unknown() {
    let hanging = ResponseTemplate::new(200).set_delay(Duration::from_secs(5));
    let started = std::time::Instant::now();
    assert_eq!(failure_of(hanging).await, unknown("mailgun did not answer in time"));
    assert!(started.elapsed() < Duration::from_secs(2), "took {:?}", started.elapsed());
    assert_eq!(failure_of(ResponseTemplate::new(504)).await, unknown("mailgun 504"));
}

#[tokio::test]
async fn a_connection_lost_after_the_request_is_an_unknown_outcome_without_a_retry() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let config = at(format!("http://{}", listener.local_addr().unwrap()));
    let connections = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut buffer = [0; 4096];
        assert!(stream.read(&mut buffer).await.unwrap() > 0);
        drop(stream);
        // A client that retries by itself would reconnect at once.
        tokio::time::timeout(Duration::from_millis(300), listener.accept()).await.is_err()
    });
    let error = failure(provider(&config).send(&email(), recorded()).await);
    assert_eq!(error, unknown("mailgun closed the connection without an answer"));
    assert!(connections.await.unwrap(), "the request was sent twice");
}

#[tokio::test]
async fn a_message_id_that_cannot_be_stored_is_cleaned_and_cut() {
    let accepted = |id: String| outcome_of(ResponseTemplate::new(200).set_body_json(json!({"id": id})));
    assert_eq!(accepted("<1\0\r\n@mailgun>".to_owned()).await.as_deref(), Ok("<1@mailgun>"));
    assert_eq!(accepted("1".repeat(100_000)).await.unwrap().len(), 998);
}

#[tokio::test]
async fn an_unreachable_provider_is_tried_again() {
    let error = failure(provider(&config(ProviderName::Mailgun)).send(&email(), recorded()).await);
    assert_eq!(error, transient("mailgun could not be reached"));

    // Imitates a host that drops packets: a full accept queue of one connection, and nobody accepts.
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let listener = socket.listen(1).unwrap();
    let address = listener.local_addr().unwrap();
    let waiting: Vec<_> = (0..4).map(|_| tokio::spawn(TcpStream::connect(address))).collect();
    tokio::time::sleep(Duration::from_millis(50)).await;
    let error = failure(provider(&at(format!("http://{address}"))).send(&email(), recorded()).await);
    assert_eq!(error, transient("mailgun could not be reached"));
    waiting.iter().for_each(tokio::task::JoinHandle::abort);
}
