//! AWS Lambda as a host. API Gateway and ALB requests go to the router unchanged. An event from SQS, EventBridge or MSK is
//! unpacked into its CloudEvents, and each goes to the route of its type.
//!
//! `lambda_http` ignores the status of an answer to such an event (its `response.rs`), so a 500 would acknowledge it. Here every
//! answer that is not 2xx becomes an error. Lambda freezes the process after an answer, so the outbox is flushed first.
//!
//! A batch succeeds or fails as a whole. Every record is tried, so that a failing record does not block its neighbours; when the
//! batch comes again, the inbox skips the records that were handled. SQS can also retry single records (`batchItemFailures`),
//! but a mapping that is not configured for that reads the answer as success, and the failed records would be lost.

use std::time::Duration;

use axum::{
    Router,
    body::Body,
    http::{Request, StatusCode, header},
    response::Response,
};
use base64::{Engine as _, prelude::BASE64_STANDARD};
use lambda_http::{RequestExt as _, request::RequestContext, service_fn};
use secrecy::ExposeSecret as _;
use serde_json::Value;
use tower::ServiceExt as _;

use crate::{App, catalogue::EventType};

/// Limit for publishing committed events before an answer.
const FLUSH: Duration = Duration::from_secs(2);

/// Serves the Lambda runtime until it ends the process.
///
/// # Errors
/// When the runtime cannot be reached.
pub async fn run(routes: Router, app: App) -> anyhow::Result<()> {
    lambda_http::run(service_fn(move |request: lambda_http::Request| {
        let (routes, app) = (routes.clone(), app.clone());
        async move {
            let answer = answer(routes, &app, request).await;
            if let Err(error) = app.outbox.flush(FLUSH).await {
                tracing::warn!(
                    error = format!("{error:#}"),
                    "outbox: not everything was published before the freeze; the next call publishes it"
                );
            }
            answer
        }
    }))
    .await
    .map_err(anyhow::Error::from_boxed)
}

/// The same for a function that only clients call, and that has no outbox.
///
/// # Errors
/// When the runtime cannot be reached.
pub async fn run_for_clients(routes: Router) -> anyhow::Result<()> {
    lambda_http::run(service_fn(move |request| forward(routes.clone(), request)))
        .await
        .map_err(anyhow::Error::from_boxed)
}

/// Answers a request of API Gateway or a load balancer.
async fn forward(routes: Router, request: lambda_http::Request) -> Result<Response, lambda_http::Error> {
    Ok(routes.oneshot(request.map(|body| Body::from(body.to_vec()))).await?)
}

async fn answer(routes: Router, app: &App, request: lambda_http::Request) -> Result<Response, lambda_http::Error> {
    if !matches!(request.request_context_ref(), Some(RequestContext::PassThrough)) {
        return forward(routes, request).await;
    }
    let payload: Value = serde_json::from_slice(request.body())?;
    let records = unpack(&payload).ok_or("neither an SQS, EventBridge nor MSK event")?;
    let (all, mut failed) = (records.len(), 0);
    for event in records {
        let handled = match event {
            Some(event) => deliver(&routes, app, &event).await?,
            None => false,
        };
        failed += usize::from(!handled);
    }
    if failed > 0 {
        return Err(format!("{failed} of {all} records were not handled").into());
    }
    Ok(Response::builder().status(StatusCode::OK).body(Body::empty())?)
}

/// Delivers an event to the route of its type. True when the route acknowledged it.
async fn deliver(routes: &Router, app: &App, event: &Value) -> Result<bool, lambda_http::Error> {
    let route = event["type"].as_str().and_then(EventType::parse).map_or("_unknown", EventType::consumer);
    let request = Request::post(format!("/events/{route}"))
        .header(header::CONTENT_TYPE, "application/cloudevents+json")
        .header("dapr-api-token", app.config.app_api_token.expose_secret())
        .body(Body::from(event.to_string()))?;
    Ok(routes.clone().oneshot(request).await?.status().is_success())
}

/// The records of an event from SQS (`Records[].body`), EventBridge (`detail`) or MSK (`records.*[].value`, base64). A record
/// that is not JSON is `None`.
fn unpack(payload: &Value) -> Option<Vec<Option<Value>>> {
    if let Some(records) = payload["Records"].as_array() {
        return Some(records.iter().map(|record| serde_json::from_str(record["body"].as_str()?).ok()).collect());
    }
    if let Some(partitions) = payload["records"].as_object() {
        let records = partitions.values().filter_map(Value::as_array).flatten();
        let value = |record: &Value| {
            let bytes = BASE64_STANDARD.decode(record["value"].as_str()?).ok()?;
            serde_json::from_slice(&bytes).ok()
        };
        return Some(records.map(value).collect());
    }
    payload.get("detail").map(|event| vec![Some(event.clone())])
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_events_of_each_source_are_found() {
        let event = json!({"id": "1", "type": "task.created"});
        let encoded = BASE64_STANDARD.encode(event.to_string());
        for payload in [
            json!({"Records": [{"eventSource": "aws:sqs", "body": event.to_string()}]}),
            json!({"source": "punctual", "detail": event}),
            json!({"eventSource": "aws:kafka", "records": {"task-events-0": [{"value": encoded}]}}),
        ] {
            assert_eq!(unpack(&payload).unwrap(), [Some(event.clone())], "{payload}");
        }
    }

    #[test]
    fn a_record_that_is_not_json_keeps_its_place_between_its_neighbours() {
        let found = unpack(&json!({"Records": [{"body": "{}"}, {"body": "no"}, {"messageId": "1"}, {"body": "[]"}]}));
        assert_eq!(found.unwrap(), [Some(json!({})), None, None, Some(json!([]))]);
        let found =
            unpack(&json!({"records": {"task-events-0": [{"value": "e30="}, {"value": null}, {"value": "-"}]}}));
        assert_eq!(found.unwrap(), [Some(json!({})), None, None]);
    }

    #[test]
    fn an_event_of_another_source_is_refused() {
        assert_eq!(unpack(&json!({"hello": "world"})), None);
    }
}
