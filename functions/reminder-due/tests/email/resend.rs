use std::time::Duration;

use reminder_due::email::{EmailConfig, ProviderName, SendError};
use serde_json::json;
use wiremock::{
    Mock, MockServer, ResponseTemplate,
    matchers::{header, method, path},
};

use crate::{config, email, failure, http_date, never_asked, permanent, provider, throttled, transient, unknown};

async fn answering(answer: ResponseTemplate) -> (MockServer, EmailConfig) {
    let server = MockServer::start().await;
    Mock::given(method("POST")).and(path("/emails")).respond_with(answer).expect(1).mount(&server).await;
    let config = EmailConfig { resend_base_url: server.uri(), ..config(ProviderName::Resend) };
    (server, config)
}

fn error(status: u16, name: &str) -> ResponseTemplate {
    ResponseTemplate::new(status)
        .set_body_json(json!({"statusCode": status, "name": name, "message": "canary: ada@example.com"}))
}

async fn outcome_of(answer: ResponseTemplate) -> SendError {
    let (server, config) = answering(answer).await;
    let error = failure(provider(&config).send(&email(), never_asked()).await);
    server.verify().await;
    error
}

#[tokio::test]
async fn a_message_goes_out_with_its_key() {
    let server = MockServer::start().await;
    let email = email();
    Mock::given(method("POST"))
        .and(path("/emails"))
        .and(header("Authorization", "Bearer k3y"))
        .and(header("Idempotency-Key", email.id.to_string()))
        .respond_with(ResponseTemplate::new(200).set_body_json(json!({"id": "49a3999c"})))
        .expect(2)
        .mount(&server)
        .await;
    // A base URL may have a path of its own.
    let config = EmailConfig { resend_base_url: format!("{}/", server.uri()), ..config(ProviderName::Resend) };
    let provider = provider(&config);
    assert!(provider.has_idempotency_key());
    assert_eq!(provider.name(), "resend");

    assert_eq!(provider.send(&email, never_asked()).await.as_deref(), Ok("49a3999c"));
    provider.send(&email, never_asked()).await.unwrap();

    let requests = server.received_requests().await.unwrap();
    let body: serde_json::Value = requests[0].body_json().unwrap();
    assert_eq!(
        body,
        json!({
            "from": "Punctual <reminders@punctual.example>",
            "to": ["ada@example.com"],
            "subject": "Reminder: call the dentist",
            "text": email.text,
            "html": email.html,
            "headers": {"Auto-Submitted": "auto-generated"},
        })
    );
    // Resend refuses a known key with another body.
    assert_eq!(requests[0].body, requests[1].body);
}

#[tokio::test]
async fn twenty_messages_in_a_second_do_not_wait_for_each_other() {
    let server = MockServer::start().await;
    Mock::given(method("POST"))
        .respond_with(ResponseTemplate::new(200).set_body_json(json!({"id": "1"})))
        .expect(20)
        .mount(&server)
        .await;
    let provider = provider(&EmailConfig {
        resend_base_url: server.uri(),
        deadline: Duration::from_secs(5),
        ..config(ProviderName::Resend)
    });
    let started = std::time::Instant::now();
    for _ in 0..20 {
        provider.send(&email(), never_asked()).await.unwrap();
    }
    assert!(started.elapsed() < Duration::from_secs(3), "took {:?}", started.elapsed());
}

#[tokio::test]
async fn a_key_in_use_is_a_temporary_error_and_a_key_of_another_message_an_unknown_outcome() {
    assert_eq!(
        outcome_of(error(409, "concurrent_idempotent_requests")).await,
        transient("resend 409 concurrent_idempotent_requests")
    );
    assert_eq!(
        outcome_of(error(409, "invalid_idempotent_request")).await,
        unknown("resend 409 invalid_idempotent_request")
    );
}

#[tokio::test]
async fn a_refused_message_is_a_permanent_error() {
    assert_eq!(outcome_of(error(422, "missing_required_field")).await, permanent("resend 422 missing_required_field"));
    assert_eq!(outcome_of(error(400, "validation_error")).await, permanent("resend 400 validation_error"));
}

/// Resend says both with 403. Mail must not be lost before an operator verifies the domain or changes the key.
#[tokio::test]
async fn an_unverified_sender_or_a_refused_key_is_a_temporary_error() {
    for (name, reason) in [
        ("validation_error", "resend 403 validation_error"),
        ("suspended_api_key", "resend 403 suspended_api_key"),
        ("invalid_api_key", "resend 403"),
    ] {
        assert_eq!(outcome_of(error(403, name)).await, transient(reason), "{name}");
    }
}

#[tokio::test]
async fn only_known_error_names_are_stored_in_the_reason() {
    assert_eq!(outcome_of(error(422, "canary ada@example.com")).await, permanent("resend 422"));
}

#[tokio::test]
async fn a_wrong_key_or_an_outage_is_a_temporary_error() {
    assert_eq!(outcome_of(error(401, "missing_api_key")).await, transient("resend 401 missing_api_key"));
    assert_eq!(outcome_of(error(500, "application_error")).await, transient("resend 500 application_error"));
    let page = ResponseTemplate::new(502).set_body_raw("<h1>canary</h1>", "text/html");
    assert_eq!(outcome_of(page).await, transient("resend 502"));
}

#[tokio::test]
async fn retry_after_is_obeyed_in_seconds_and_as_a_date() {
    let busy = || error(429, "rate_limit_exceeded");
    let reason = "resend 429 rate_limit_exceeded";
    assert_eq!(outcome_of(busy().insert_header("Retry-After", "7")).await, throttled(7, reason));
    assert_eq!(outcome_of(busy().insert_header("Retry-After", "0")).await, throttled(1, reason));
    assert_eq!(outcome_of(busy().insert_header("Retry-After", "99999999")).await, throttled(3600, reason));
    assert_eq!(outcome_of(busy().insert_header("Retry-After", http_date(-60).as_str())).await, throttled(1, reason));
    assert_eq!(outcome_of(busy()).await, throttled(30, reason));

    let SendError::Throttled { retry_after, .. } =
        outcome_of(busy().insert_header("Retry-After", http_date(90).as_str())).await
    else {
        panic!("a 429 throttles");
    };
    assert!((85..=90).contains(&retry_after.as_secs()), "{retry_after:?}");
}

#[tokio::test]
async fn an_exhausted_daily_quota_waits_an_hour() {
    let spent = error(429, "daily_quota_exceeded").insert_header("Retry-After", "1");
    assert_eq!(outcome_of(spent).await, throttled(3600, "resend 429 daily_quota_exceeded"));
}

#[tokio::test]
async fn an_attempt_without_an_answer_may_be_repeated() {
    let accepted = || ResponseTemplate::new(200).set_body_json(json!({"id": "49a3999c"}));
    let hanging = accepted().set_delay(Duration::from_secs(5));
    let started = std::time::Instant::now();
    assert_eq!(outcome_of(hanging).await, unknown("resend did not answer in time"));
    assert!(started.elapsed() < Duration::from_secs(2), "took {:?}", started.elapsed());

    let garbled = ResponseTemplate::new(200).set_body_string("canary");
    assert_eq!(outcome_of(garbled).await, unknown("resend accepted, but its answer was not readable"));

    let endless = ResponseTemplate::new(200).set_body_json(json!({"id": "49a3999c", "more": "canary".repeat(50_000)}));
    assert_eq!(outcome_of(endless).await, unknown("resend accepted, but its answer was not readable"));
}

#[tokio::test]
async fn an_unreachable_provider_is_tried_again() {
    // Port 9 is `discard`, where nothing listens.
    let error = failure(provider(&config(ProviderName::Resend)).send(&email(), never_asked()).await);
    assert_eq!(error, transient("resend could not be reached"));
}

#[tokio::test]
async fn a_redirect_is_not_followed() {
    let elsewhere = ResponseTemplate::new(307).insert_header("Location", "/emails");
    assert_eq!(outcome_of(elsewhere).await, transient("resend 307"));
}
