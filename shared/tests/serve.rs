//! The answers of every function outside its own routes.

use std::{convert::Infallible, net::SocketAddr, sync::Arc, time::Duration};

use axum::{
    Router,
    body::{Body, to_bytes},
    http::{HeaderValue, Request, StatusCode, header},
    routing::get,
};
use futures_util::{StreamExt as _, stream};
use shared::{
    cors::CorsConfig,
    problem::Problem,
    serve::{
        Host, complete,
        connections::{Limits, serve},
    },
    testing::app,
};
use sqlx::PgPool;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
};
use tower::ServiceExt as _;

/// Routes of the kind that the caller did not expect.
#[tokio::test]
async fn every_refusal_is_a_problem() {
    let app = app(&PgPool::connect_lazy("postgres://unused").unwrap());
    let routes = complete(Router::new().route("/v1/here", get(async || StatusCode::OK)), app);
    for (method, path, status) in [
        ("POST", "/healthz", 405),
        ("DELETE", "/readyz", 405),
        ("GET", "/events/_ignore", 405),
        ("POST", "/v1/here", 405),
        ("GET", "/nowhere", 404),
        ("POST", "/events/nobody", 500),
        ("POST", "/job/nobody", 500),
    ] {
        let request = Request::builder().method(method).uri(path).body(Body::empty()).unwrap();
        let answer = routes.clone().oneshot(request).await.unwrap();
        assert_eq!(answer.status(), status, "{method} {path}");
        assert_eq!(answer.headers()[header::CONTENT_TYPE], "application/problem+json", "{method} {path}");
    }
}

/// A function with a fallback of its own, and one without.
#[tokio::test]
async fn a_page_of_another_origin_may_read_that_a_path_does_not_exist() {
    let pages = CorsConfig { cors_origins: vec![HeaderValue::from_static("https://punctual.example")] };
    let routes = || Router::<()>::new().route("/v1/here", get(async || StatusCode::OK));
    for routes in [routes(), routes().fallback(async || Problem::NotFound)] {
        let routes = complete(pages.allow_on(routes), Host::default());
        for path in ["/", "/nowhere", "/v1/nowhere"] {
            let request = Request::get(path).header(header::ORIGIN, "https://punctual.example");
            let answer = routes.clone().oneshot(request.body(Body::empty()).unwrap()).await.unwrap();
            assert_eq!(answer.status(), StatusCode::NOT_FOUND, "{path}");
            assert_eq!(answer.headers()[header::CONTENT_TYPE], "application/problem+json", "{path}");
            assert_eq!(answer.headers()[header::ACCESS_CONTROL_ALLOW_ORIGIN], "https://punctual.example", "{path}");
            let body = to_bytes(answer.into_body(), 4096).await.unwrap();
            assert!(String::from_utf8_lossy(&body).contains("urn:punctual:problem:not-found"), "{path}");
        }
        let event = Request::post("/events/nobody").body(Body::empty()).unwrap();
        assert_eq!(routes.oneshot(event).await.unwrap().status(), StatusCode::INTERNAL_SERVER_ERROR);
    }
}

/// Sends a request on a connection that stays open. Returns the status, or nothing if the connection ended.
async fn ask(connection: &mut TcpStream) -> Option<u16> {
    connection.write_all(b"GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n").await.ok()?;
    let mut answer = [0; 256];
    let count = connection.read(&mut answer).await.ok()?;
    str::from_utf8(&answer[..count]).unwrap().get(9..12)?.parse().ok()
}

#[tokio::test]
async fn a_connection_above_the_limit_replaces_the_longest_idle_one() {
    let app = app(&PgPool::connect_lazy("postgres://unused").unwrap());
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let routes = complete(Router::new(), app);
    let limits = Limits { connections: 2, ..Limits::default() };
    tokio::spawn(serve(limits, listener, routes, std::future::pending()));
    let mut half_head = TcpStream::connect(address).await.unwrap();
    half_head.write_all(b"GET /healthz HTTP/1.1\r\n").await.unwrap();
    let mut honest = TcpStream::connect(address).await.unwrap();
    assert_eq!(ask(&mut honest).await, Some(200));
    let mut third = TcpStream::connect(address).await.unwrap();
    assert_eq!(ask(&mut third).await, Some(200));
    assert_eq!(ask(&mut honest).await, Some(200));
    assert_eq!(ask(&mut half_head).await, None);
    let mut fourth = TcpStream::connect(address).await.unwrap();
    assert_eq!(ask(&mut fourth).await, Some(200));
    assert_eq!((ask(&mut third).await, ask(&mut honest).await), (None, Some(200)));
}

#[tokio::test]
async fn a_connection_is_not_idle_before_its_answer_has_ended() {
    let app = app(&PgPool::connect_lazy("postgres://unused").unwrap());
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let answers = Router::new().route(
        "/v1/endless",
        get(async || Body::from_stream(stream::iter([Ok::<_, Infallible>("begun")]).chain(stream::pending()))),
    );
    let limits = Limits { connections: 2, ..Limits::default() };
    tokio::spawn(serve(limits, listener, complete(answers, app), std::future::pending()));
    let mut streaming = TcpStream::connect(address).await.unwrap();
    streaming.write_all(b"GET /v1/endless HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
    assert!(streaming.read(&mut [0; 256]).await.unwrap() > 0);
    for _ in 0..3 {
        assert_eq!(ask(&mut TcpStream::connect(address).await.unwrap()).await, Some(200));
    }
    let mut rest = Vec::new();
    let ended = tokio::time::timeout(Duration::from_millis(100), streaming.read_to_end(&mut rest));
    assert!(ended.await.is_err(), "the stream was closed for another connection");
}

/// The address of a server with these routes.
async fn address_of(routes: Router) -> SocketAddr {
    let app = app(&PgPool::connect_lazy("postgres://unused").unwrap());
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(serve(Limits::default(), listener, complete(routes, app), std::future::pending()));
    address
}

/// The head and the rest of what a connection gives for these requests until it ends. It is read after a pause.
async fn exchange(address: SocketAddr, requests: &str) -> (String, String) {
    let mut client = TcpStream::connect(address).await.unwrap();
    client.write_all(requests.as_bytes()).await.unwrap();
    tokio::time::sleep(Duration::from_millis(100)).await;
    let mut answer = String::new();
    let ended = tokio::time::timeout(Duration::from_secs(5), client.read_to_string(&mut answer)).await;
    ended.expect("the connection ends").unwrap();
    let (head, rest) = answer.split_once("\r\n\r\n").unwrap();
    (head.to_owned(), rest.to_owned())
}

#[tokio::test]
async fn a_stream_is_sent_whole_and_its_connection_ends() {
    let pieces = async || Body::from_stream(stream::iter(["one", "", "three"].map(Ok::<_, Infallible>)));
    let address = address_of(Router::new().route("/v1/stream", get(pieces))).await;
    let request = |version: &str| format!("GET /v1/stream HTTP/{version}\r\nhost: x\r\n\r\n");
    // The second request came too late: nothing follows a stream.
    for requests in [request("1.1"), request("1.1").repeat(2)] {
        let (head, body) = exchange(address, &requests).await;
        assert!(head.contains("transfer-encoding: chunked") && head.contains("connection: close"), "{head}");
        assert_eq!(body, "3\r\none\r\n5\r\nthree\r\n0\r\n\r\n");
    }
    assert_eq!(exchange(address, &request("1.0")).await.1, "onethree");
}

#[tokio::test]
async fn a_stream_that_fails_is_cut_off() {
    let pieces = async || Body::from_stream(stream::iter([Ok("one"), Err(std::fmt::Error)]));
    let address = address_of(Router::new().route("/v1/stream", get(pieces))).await;
    let (_, body) = exchange(address, "GET /v1/stream HTTP/1.1\r\nhost: x\r\n\r\n").await;
    assert_eq!(body, "3\r\none\r\n");
}

#[tokio::test]
async fn a_stream_follows_the_whole_answers_before_it() {
    const SMALL: usize = 64 << 10;
    let pieces = async || Body::from_stream(stream::iter([Ok::<_, Infallible>("one")]));
    let routes = Router::new().route("/v1/stream", get(pieces)).route("/v1/small", get(async || "x".repeat(SMALL)));
    let address = address_of(routes).await;
    for before in [1, 20, 100] {
        let small = "GET /v1/small HTTP/1.1\r\nhost: x\r\n\r\n".repeat(before);
        let (_, rest) = exchange(address, &format!("{small}GET /v1/stream HTTP/1.1\r\nhost: x\r\n\r\n")).await;
        assert_eq!(rest.matches(&"x".repeat(SMALL)).count(), before);
        assert!(rest.ends_with("\r\n\r\n3\r\none\r\n0\r\n\r\n"), "{before} answers before");
    }
}

#[tokio::test]
async fn a_stream_ends_when_its_client_has_gone() {
    let held = Arc::new(());
    let holder = Arc::clone(&held);
    let endless = async move || {
        let held = Arc::clone(&holder);
        Body::from_stream(stream::pending::<Result<&str, Infallible>>().inspect(move |_| drop(Arc::clone(&held))))
    };
    let address = address_of(Router::new().route("/v1/endless", get(endless))).await;
    let mut client = TcpStream::connect(address).await.unwrap();
    client.write_all(b"GET /v1/endless HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
    assert!(client.read(&mut [0; 256]).await.unwrap() > 0);
    assert_eq!(Arc::strong_count(&held), 3, "the test, the route and the body of the answer");
    drop(client);
    for _ in 0..100 {
        tokio::time::sleep(Duration::from_millis(10)).await;
        if Arc::strong_count(&held) == 2 {
            return;
        }
    }
    panic!("the body is not dropped");
}

/// It asks for a large answer, or for small ones without end, and reads none.
#[tokio::test]
async fn a_client_that_stops_reading_its_answers_is_disconnected() {
    const LARGE: usize = 16 << 20;
    let app = app(&PgPool::connect_lazy("postgres://unused").unwrap());
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let answers = Router::new()
        .route("/v1/large", get(async || vec![0; LARGE]))
        .route("/v1/small", get(async || vec![0; 64 << 10]));
    let limits = Limits { unread: Duration::from_millis(300), ..Limits::default() };
    tokio::spawn(serve(limits, listener, complete(answers, app), std::future::pending()));
    let request = |path: &str| format!("GET /v1/{path} HTTP/1.1\r\nhost: x\r\n\r\n");

    let mut reading = TcpStream::connect(address).await.unwrap();
    reading.write_all(request("large").as_bytes()).await.unwrap();
    let mut answer = vec![0; LARGE];
    reading.read_exact(&mut answer).await.unwrap();

    for (path, requests) in [("large", 1), ("small", LARGE / (64 << 10))] {
        let mut client = TcpStream::connect(address).await.unwrap();
        client.write_all(request(path).repeat(requests).as_bytes()).await.unwrap();
        tokio::time::sleep(limits.unread * 2).await;
        answer.clear();
        // The connection ends after what the sockets hold, or is reset.
        let ended = tokio::time::timeout(Duration::from_secs(5), client.read_to_end(&mut answer)).await;
        assert!(ended.is_ok() && answer.len() < LARGE, "{path}: {} bytes", answer.len());
    }
}

#[tokio::test]
async fn a_panic_of_a_handler_is_a_500_that_does_not_reveal_its_message() {
    let app = app(&PgPool::connect_lazy("postgres://unused").unwrap());
    let panics = get(async || -> StatusCode { panic!("ada@example.org") });
    let routes = complete(Router::new().route("/v1/panics", panics), app);
    let answer = routes.clone().oneshot(Request::get("/v1/panics").body(Body::empty()).unwrap()).await.unwrap();
    assert_eq!(answer.status(), StatusCode::INTERNAL_SERVER_ERROR);
    assert_eq!(answer.headers()[header::CONTENT_TYPE], "application/problem+json");
    let body = to_bytes(answer.into_body(), 4096).await.unwrap();
    assert!(!String::from_utf8_lossy(&body).contains("ada"));
    let alive = routes.oneshot(Request::get("/healthz").body(Body::empty()).unwrap()).await.unwrap();
    assert_eq!(alive.status(), StatusCode::OK);
}
