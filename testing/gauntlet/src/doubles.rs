//! Doubles of Resend and Mailgun that record every accepted message. Resend remembers an idempotency key for 24 hours and refuses
//! a request that uses it with another body (its documentation, "Idempotency Keys"). Mailgun has no keys.

use std::{
    collections::HashMap,
    net::SocketAddr,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use axum::{
    Json, Router,
    extract::{Form, State},
    http::{HeaderMap, StatusCode},
    response::{IntoResponse as _, Response},
    routing::post,
};
use chrono::{DateTime, Utc};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::clock;

/// A message that a provider accepted.
#[derive(Clone, Debug)]
pub(crate) struct Accept {
    /// The id of the delivery, if the message contains one.
    pub(crate) delivery: Option<Uuid>,
    pub(crate) to: String,
    pub(crate) subject: String,
    pub(crate) at: DateTime<Utc>,
}

#[derive(Debug, Default)]
struct Inner {
    accepts: Vec<Accept>,
    keys: HashMap<String, Value>,
    /// The order for the next messages, and the number of messages it applies to.
    order: (Option<Order>, u32),
    conflicts: Vec<String>,
}

/// A provider's misbehaviour.
#[derive(Clone, Copy, Debug)]
enum Order {
    Refuse(u16),
    AcceptThen500,
    AcceptThenHang,
}

/// Both providers on one port.
#[derive(Clone, Debug)]
pub(crate) struct Doubles {
    pub(crate) url: String,
    inner: Arc<Mutex<Inner>>,
}

impl Doubles {
    /// Starts the server.
    pub(crate) async fn start() -> anyhow::Result<Self> {
        let listener = tokio::net::TcpListener::bind(SocketAddr::from(([127, 0, 0, 1], 0))).await?;
        let doubles = Self { url: format!("http://{}", listener.local_addr()?), inner: Arc::default() };
        let routes = Router::new()
            .route("/emails", post(resend))
            .route("/v3/{domain}/messages", post(mailgun))
            .with_state(doubles.clone());
        tokio::spawn(async move { axum::serve(listener, routes).await });
        Ok(doubles)
    }

    fn inner(&self) -> std::sync::MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Every accepted message, in order.
    pub(crate) fn accepts(&self) -> Vec<Accept> {
        self.inner().accepts.clone()
    }

    /// Keys that were reused with another body.
    pub(crate) fn conflicts(&self) -> Vec<String> {
        self.inner().conflicts.clone()
    }

    /// Misbehaves for the next `times` messages, and returns the order.
    pub(crate) fn misbehave(&self, rng: &mut fastrand::Rng, times: u32) -> String {
        let orders = [
            Order::Refuse(409),
            Order::Refuse(422),
            Order::Refuse(429),
            Order::Refuse(500),
            Order::Refuse(503),
            Order::AcceptThen500,
            Order::AcceptThenHang,
        ];
        let order = orders[rng.usize(..orders.len())];
        self.inner().order = (Some(order), times);
        format!("{order:?}")
    }

    pub(crate) fn behave(&self) {
        self.inner().order = (None, 0);
    }

    fn next_order(&self) -> Option<Order> {
        let mut inner = self.inner();
        let (order, left) = inner.order;
        inner.order = if left > 1 { (order, left - 1) } else { (None, 0) };
        order
    }

    async fn accept(&self, accept: Option<Accept>, key: Option<(String, Value)>, answer: Value) -> Response {
        match self.next_order() {
            Some(Order::Refuse(status)) => refuse(status),
            order => {
                {
                    // A refused key is not remembered and may be used again.
                    let mut inner = self.inner();
                    inner.accepts.extend(accept);
                    inner.keys.extend(key);
                }
                match order {
                    Some(Order::AcceptThen500) => refuse(500),
                    Some(Order::AcceptThenHang) => {
                        tokio::time::sleep(Duration::from_secs(600)).await;
                        refuse(504)
                    }
                    _ => Json(answer).into_response(),
                }
            }
        }
    }
}

fn refuse(status: u16) -> Response {
    let name = match status {
        409 => "concurrent_idempotent_requests",
        422 => "validation_error",
        429 => "rate_limit_exceeded",
        _ => "internal_server_error",
    };
    let body = Json(json!({"statusCode": status, "name": name, "message": "not now"}));
    let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    (status, [("retry-after", "2")], body).into_response()
}

async fn resend(State(doubles): State<Doubles>, headers: HeaderMap, Json(mail): Json<Value>) -> Response {
    let key = headers.get("idempotency-key").and_then(|key| key.to_str().ok()).map(str::to_owned);
    let known = key.as_ref().and_then(|key| doubles.inner().keys.get(key).cloned());
    if let (Some(key), Some(known)) = (&key, known) {
        if known != mail {
            doubles.inner().conflicts.push(key.clone());
            return (StatusCode::CONFLICT, Json(json!({"statusCode": 409, "name": "invalid_idempotent_request"})))
                .into_response();
        }
        return doubles.accept(None, None, json!({"id": Uuid::now_v7()})).await;
    }
    let accept = Accept {
        delivery: key.as_ref().and_then(|key| key.parse().ok()),
        to: mail["to"][0].as_str().unwrap_or_default().to_owned(),
        subject: mail["subject"].as_str().unwrap_or_default().to_owned(),
        at: clock::now(),
    };
    doubles.accept(Some(accept), key.map(|key| (key, mail)), json!({"id": Uuid::now_v7()})).await
}

async fn mailgun(State(doubles): State<Doubles>, Form(mail): Form<HashMap<String, String>>) -> Response {
    let field = |name: &str| mail.get(name).cloned().unwrap_or_default();
    let id = field("h:Message-Id");
    let accept = Accept { delivery: delivery(&id), to: field("to"), subject: field("subject"), at: clock::now() };
    doubles.accept(Some(accept), None, json!({"id": id, "message": "Queued. Thank you."})).await
}

/// The id of the delivery in a Message-ID.
pub(crate) fn delivery(message_id: &str) -> Option<Uuid> {
    message_id.trim_start_matches('<').split('@').next()?.parse().ok()
}
