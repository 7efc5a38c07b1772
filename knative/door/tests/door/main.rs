//! The door between real sockets: the test speaks plain HTTP/1.1 as daprd does, and a scripted route stands behind the door.

mod process;
mod route;

use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};

use lab::forwarder::Forwarder;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
};

use route::{Route, Step};

/// Starts a door to `target` and returns its address.
async fn door_to(target: SocketAddr, patience: Duration) -> SocketAddr {
    door_with(target, patience, door::ATTEMPT).await
}

async fn door_with(target: SocketAddr, patience: Duration, attempt: Duration) -> SocketAddr {
    let routes = door::router(&format!("http://{target}").parse().unwrap(), patience, attempt).unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async { axum::serve(listener, routes).await.unwrap() });
    address
}

/// Starts a route that takes one step a call, and a door to it.
async fn door_before(steps: &[Step]) -> (SocketAddr, Route) {
    let route = Route::start(steps).await;
    (door_to(route.address, door::PATIENCE).await, route)
}

/// Sends `request` to the door byte for byte and returns everything that it answers.
async fn call(door: SocketAddr, request: &str) -> String {
    let mut connection = TcpStream::connect(door).await.unwrap();
    connection.write_all(request.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    connection.read_to_end(&mut answer).await.unwrap();
    String::from_utf8(answer).unwrap()
}

const EVENT: &str = "POST /events/task-created?a=%2Fb HTTP/1.1\r\nHost: 127.0.0.1:8080\r\nConnection: close\r\n\
    Content-Type: application/cloudevents+json\r\ndapr-api-token: app-secret\r\n__topic: task-events\r\n\
    Content-Length: 7\r\n\r\n{\"a\":1}";

fn status(answer: &str) -> &str {
    answer.get(9..12).unwrap_or_else(|| panic!("no answer: {answer:?}"))
}

#[tokio::test]
async fn a_call_arrives_unchanged_except_for_its_host() {
    let (door, route) = door_before(&[Step::Answer("200 OK", "", "")]).await;
    assert_eq!(status(&call(door, EVENT).await), "200");
    let seen = route.calls().remove(0);
    let (head, body) = seen.split_once("\r\n\r\n").unwrap();
    assert_eq!(head.lines().next().unwrap(), "POST /events/task-created?a=%2Fb HTTP/1.1");
    let mut headers: Vec<&str> = head.lines().skip(1).collect();
    headers.sort_unstable();
    let host = format!("host: {}", route.address);
    assert_eq!(
        headers,
        [
            "__topic: task-events",
            "content-length: 7",
            "content-type: application/cloudevents+json",
            "dapr-api-token: app-secret",
            &host
        ]
    );
    assert_eq!(body, r#"{"a":1}"#);
}

#[tokio::test]
async fn an_answer_is_returned_unchanged() {
    let answer = Step::Answer("422 Unprocessable Entity", "content-type: application/problem+json\r\nx-two: 2", "{}");
    let (door, _route) = door_before(&[answer]).await;
    let answer = call(door, EVENT).await;
    assert_eq!(status(&answer), "422");
    assert!(answer.contains("\r\ncontent-type: application/problem+json\r\nx-two: 2\r\n"), "{answer}");
    assert!(answer.contains("\r\ncontent-length: 2\r\n") && answer.ends_with("\r\n\r\n{}"), "{answer}");
}

#[tokio::test]
async fn an_event_of_another_type_wakes_no_function() {
    let (door, route) = door_before(&[Step::Answer("200 OK", "", "")]).await;
    let ignored = EVENT.replace("/events/task-created?a=%2Fb", "/events/_ignore");
    assert_eq!(status(&call(door, &ignored).await), "200");
    assert_eq!(route.connections(), 0);
}

#[tokio::test]
async fn daprd_never_sees_a_404() {
    let own = Step::Answer("404 Not Found", "content-type: application/problem+json", "{}");
    let (door, route) = door_before(&[own]).await;
    assert_eq!(status(&call(door, EVENT).await), "503");
    assert_eq!(route.calls().len(), 1);
}

#[tokio::test]
async fn a_route_that_does_not_exist_yet_is_retried() {
    let gone = Step::Answer("404 Not Found", "", "");
    let overloaded = Step::Answer("503 Service Unavailable", "content-type: text/plain", "no healthy upstream");
    let torn = Step::Answer("502 Bad Gateway", "", "");
    let (door, route) = door_before(&[gone, overloaded, torn, Step::Answer("200 OK", "", "done")]).await;
    let answer = call(door, EVENT).await;
    assert!(status(&answer) == "200" && answer.ends_with("done"), "{answer}");
    let calls = route.calls();
    assert_eq!(calls.len(), 4);
    assert!(calls.iter().all(|seen| *seen == calls[0]), "each attempt is the whole call");
}

#[tokio::test]
async fn a_refused_connection_is_retried() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let door = door_to(address, door::PATIENCE).await;
    let called = tokio::spawn(async move { call(door, EVENT).await });
    tokio::time::sleep(Duration::from_millis(400)).await;
    let route = Route::start_at(address, &[Step::Answer("200 OK", "", "")]).await;
    assert_eq!(status(&called.await.unwrap()), "200");
    assert_eq!(route.calls().len(), 1);
}

#[tokio::test]
async fn a_broken_connection_is_retried() {
    let (door, route) = door_before(&[Step::Reset, Step::Close, Step::Answer("200 OK", "", "")]).await;
    assert_eq!(status(&call(door, EVENT).await), "200");
    assert_eq!(route.calls().len(), 3);
}

#[tokio::test]
async fn a_final_answer_of_the_function_is_not_retried() {
    let own = "content-type: application/problem+json";
    for step in [
        Step::Answer("503 Service Unavailable", own, "{}"),
        Step::Answer("500 Internal Server Error", "", ""),
        Step::Answer("504 Gateway Timeout", "", "activator request timeout"),
        Step::Answer("307 Temporary Redirect", "location: /elsewhere", ""),
    ] {
        let (door, route) = door_before(&[step]).await;
        assert_eq!(Some(status(&call(door, EVENT).await)), step.status());
        assert_eq!(route.calls().len(), 1);
    }
}

#[tokio::test]
async fn retries_end_after_the_patience() {
    for (step, limit) in [(Step::Answer("404 Not Found", "", ""), 300), (Step::Reset, 300)] {
        let route = Route::start(&[step; 20]).await;
        let door = door_to(route.address, Duration::from_millis(limit)).await;
        let began = Instant::now();
        assert_eq!(status(&call(door, EVENT).await), "503");
        assert!(began.elapsed() < Duration::from_millis(limit + 200), "{:?}", began.elapsed());
        // At 0, 100 and 300 ms.
        assert!((2..=3).contains(&route.calls().len()), "{}", route.calls().len());
    }
}

#[tokio::test]
async fn a_call_to_a_pod_that_vanished_is_retried_at_another() {
    let route = Route::start(&[Step::Answer("200 OK", "", "one"), Step::Hang, Step::Answer("200 OK", "", "two")]).await;
    let forwarder = Forwarder::to("127.0.0.1", route.address.port()).unwrap();
    let through = SocketAddr::from(([127, 0, 0, 1], forwarder.port));
    let door = door_with(through, door::PATIENCE, Duration::from_millis(300)).await;
    assert!(call(door, EVENT).await.ends_with("one"));
    let hanging = tokio::spawn(async move { call(door, EVENT).await });
    route.until(|route| route.calls().len() == 2).await;
    forwarder.silence();
    assert!(hanging.await.unwrap().ends_with("two"));
}

#[tokio::test]
async fn an_answer_is_streamed() {
    let (door, route) = door_before(&[Step::Halves("first half, ", "second half")]).await;
    let mut connection = TcpStream::connect(door).await.unwrap();
    connection.write_all(EVENT.as_bytes()).await.unwrap();
    let mut answer = String::new();
    let mut some = [0; 1024];
    while !answer.contains("first half") {
        let count = tokio::time::timeout(Duration::from_secs(5), connection.read(&mut some)).await.unwrap().unwrap();
        assert!(count > 0, "{answer}");
        answer += std::str::from_utf8(&some[..count]).unwrap();
    }
    assert!(!answer.contains("second"), "{answer}");
    route.go_on();
    connection.read_to_string(&mut answer).await.unwrap();
    assert!(answer.ends_with("first half, second half"), "{answer}");
}

#[tokio::test]
async fn a_truncated_answer_stays_truncated() {
    let (door, _route) = door_before(&[Step::HalfOnly]).await;
    let mut connection = TcpStream::connect(door).await.unwrap();
    connection.write_all(EVENT.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    let _ = connection.read_to_end(&mut answer).await;
    let answer = String::from_utf8(answer).unwrap();
    let whole = answer.split_once("\r\n\r\n").is_some_and(|(_, body)| body.len() == 10);
    assert!(answer.contains("content-length: 10") && !whole, "{answer}");
}

#[tokio::test]
async fn a_call_that_daprd_aborts_is_aborted_at_the_route() {
    let (door, route) = door_before(&[Step::Hang]).await;
    let mut connection = TcpStream::connect(door).await.unwrap();
    connection.write_all(EVENT.as_bytes()).await.unwrap();
    route.until(|route| route.calls().len() == 1).await;
    drop(connection);
    route.until(|route| route.abandoned() == 1).await;
}
