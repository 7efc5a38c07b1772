//! AWS Lambda as a host: API Gateway and ALB requests go to the router as they are; an event from SQS, EventBridge or MSK is
//! unpacked into its CloudEvents, each delivered to the route of its type.
//!
//! `lambda_http` drops the status of an answer to such an event (its `response.rs`), so a 500 would acknowledge it: every
//! answer that is not 2xx becomes an error here. The process freezes after an answer, so the relay is flushed before it.
//!
//! A batch is acknowledged as a whole or comes again as a whole. Each of its records is tried, so that one that fails does not
//! hold up its neighbours, and those that were handled are known to the inbox when they come again. SQS would also take the
//! failed ones by name (`batchItemFailures`), but where the mapping does not ask for them it reads that as success, and the
//! failed ones would be gone.

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

use crate::{App, event::EventType};

/// How long an answer may wait for the relay.
const FLUSH: Duration = Duration::from_secs(2);

/// Serves Lambda's runtime for as long as it keeps this process.
///
/// # Errors
/// When the runtime cannot be reached.
pub async fn run(routes: Router, app: App) -> anyhow::Result<()> {
    lambda_http::run(service_fn(move |request: lambda_http::Request| {
        let (routes, app) = (routes.clone(), app.clone());
        async move {
            let answer = answer(routes, &app, request).await;
            if let Err(error) = app.outbox.flush(FLUSH).await {
                tracing::warn!(error = format!("{error:#}"), "outbox: not all is published before the freeze");
            }
            answer
        }
    }))
    .await
    .map_err(anyhow::Error::from_boxed)
}

async fn answer(routes: Router, app: &App, request: lambda_http::Request) -> Result<Response, lambda_http::Error> {
    if !matches!(request.request_context_ref(), Some(RequestContext::PassThrough)) {
        let request = request.map(|body| Body::from(body.to_vec()));
        return Ok(routes.oneshot(request).await?);
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

/// Delivers an event to the route of its type, and says whether that acknowledged it.
async fn deliver(routes: &Router, app: &App, event: &Value) -> Result<bool, lambda_http::Error> {
    let route = event["type"].as_str().and_then(EventType::parse).map_or("_unknown", EventType::consumer);
    let request = Request::post(format!("/events/{route}"))
        .header(header::CONTENT_TYPE, "application/cloudevents+json")
        .header("dapr-api-token", app.config.app_api_token.expose_secret())
        .body(Body::from(event.to_string()))?;
    Ok(routes.clone().oneshot(request).await?.status().is_success())
}

/// The records in an event of SQS (`Records[].body`), EventBridge (`detail`) or MSK (`records.*[].value`, base64); `None` for
/// one that holds no JSON.
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
    fn a_record_that_holds_no_json_stands_between_its_neighbours() {
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
