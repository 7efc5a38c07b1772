//! The answers of every function outside its own routes.

use axum::{
    Router,
    body::{Body, to_bytes},
    http::{Request, StatusCode, header},
    routing::get,
};
use shared::{serve, testing::app};
use sqlx::PgPool;
use tower::ServiceExt as _;

#[tokio::test]
async fn a_handler_that_panics_is_a_problem_and_does_not_say_why() {
    let app = app(&PgPool::connect_lazy("postgres://unused").unwrap());
    let panics = get(async || -> StatusCode { panic!("ada@example.org") });
    let routes = serve::complete(Router::new().route("/v1/panics", panics), app);
    let answer = routes.clone().oneshot(Request::get("/v1/panics").body(Body::empty()).unwrap()).await.unwrap();
    assert_eq!(answer.status(), StatusCode::INTERNAL_SERVER_ERROR);
    assert_eq!(answer.headers()[header::CONTENT_TYPE], "application/problem+json");
    let body = to_bytes(answer.into_body(), 4096).await.unwrap();
    assert!(!String::from_utf8_lossy(&body).contains("ada"));
    let alive = routes.oneshot(Request::get("/healthz").body(Body::empty()).unwrap()).await.unwrap();
    assert_eq!(alive.status(), StatusCode::OK);
}
