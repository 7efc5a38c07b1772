//! Clients that send slowly, too much, or nonsense, over real connections. Each is cut off, and others are served meanwhile.

use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};

use shared::{
    serve::{
        complete,
        connections::{Limits, serve},
    },
    testing::{commits_take_a_second, count, relay_was_woken},
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
};

use super::*;

/// Serves the function as a process does.
async fn listening(app: App) -> SocketAddr {
    listening_with(router_of(app.clone()), app).await
}

async fn listening_with(router: Router, app: App) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let routes = complete(router, app);
    tokio::spawn(serve(Limits::default(), listener, routes, std::future::pending()));
    address
}

/// Sends bytes, then `trickle` every half second until the server closes the connection. Returns the answer and the time it took.
async fn drip(address: SocketAddr, first: String, trickle: &'static [u8]) -> (String, Duration) {
    let began = Instant::now();
    let (mut reading, mut writing) = TcpStream::connect(address).await.unwrap().into_split();
    let sending = tokio::spawn(async move {
        let mut result = writing.write_all(first.as_bytes()).await;
        while result.is_ok() {
            tokio::time::sleep(Duration::from_millis(500)).await;
            result = writing.write_all(trickle).await;
        }
    });
    let mut said = Vec::new();
    let closed = tokio::time::timeout(Duration::from_secs(60), reading.read_to_end(&mut said)).await;
    let took = began.elapsed();
    sending.abort();
    assert!(closed.is_ok(), "still open after a minute; it said {:?}", String::from_utf8_lossy(&said));
    (String::from_utf8_lossy(&said).into_owned(), took)
}

async fn ask(address: SocketAddr, request: Vec<u8>) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    // The server may answer and close before it has read everything.
    let _ = stream.write_all(&request).await;
    let mut said = Vec::new();
    let _ = tokio::time::timeout(Duration::from_secs(30), stream.read_to_end(&mut said)).await;
    String::from_utf8_lossy(&said).into_owned()
}

#[sqlx::test(migrator = "migrations::MIGRATOR")]
async fn slow_clients_are_disconnected_and_others_are_served(db: PgPool) {
    let ada = Client::new(&db);
    let address = listening(app(&db)).await;
    let bearer = format!("authorization: Bearer {}\r\n", ada.token.as_ref().unwrap());
    let body_of = |token: &str| {
        format!(
            "POST /v1/tasks HTTP/1.1\r\nhost: x\r\n{token}content-type: application/json\r\ncontent-length: 1000\r\n\r\n{{"
        )
    };
    let slow = 50;
    let heads = (0..slow).map(|_| drip(address, "GET /v1/tasks HTTP/1.1\r\nhost: x\r\n".to_owned(), b"x: y\r\n"));
    let silent = drip(address, String::new(), b"");
    let heads: Vec<_> = heads.map(tokio::spawn).collect();
    let (silent, body) = (tokio::spawn(silent), tokio::spawn(drip(address, body_of(&bearer), b" ")));
    let nobodys = tokio::spawn(drip(address, body_of(""), b" "));

    // Meanwhile an honest client is served at once.
    for _ in 0..20 {
        let began = Instant::now();
        let request = format!("GET /v1/me HTTP/1.1\r\nhost: x\r\n{bearer}connection: close\r\n\r\n");
        let answer = ask(address, request.into_bytes()).await;
        assert!(answer.starts_with("HTTP/1.1 200") && began.elapsed() < Duration::from_secs(2), "{answer}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    for head in heads {
        let (_, took) = head.await.unwrap();
        assert!(took > Duration::from_secs(30) && took < Duration::from_secs(50), "a head was waited for {took:?}");
    }
    let (_, took) = silent.await.unwrap();
    assert!(took < Duration::from_secs(50), "silence was waited for {took:?}");
    let (said, took) = body.await.unwrap();
    assert!(said.starts_with("HTTP/1.1 400") && said.contains("application/problem+json"), "{said}");
    assert!(took < Duration::from_secs(30), "a body was waited for {took:?}");
    // A client without a token is refused before the server waits for the body.
    let (said, took) = nobodys.await.unwrap();
    assert!(said.starts_with("HTTP/1.1 401"), "{said}");
    assert!(took < Duration::from_secs(50), "a body of nobody was waited for {took:?}");
    assert_eq!(ada.footprint().await["tasks"], Value::Null);
}

/// A pod of Knative takes 20 requests at a time.
#[sqlx::test(migrator = "migrations::MIGRATOR")]
async fn slow_bodies_and_the_queue_of_one_user_leave_slots_to_others(db: PgPool) {
    let (ada, ben) = (Client::new(&db), Client::new(&db));
    let app = app(&db);
    let router = router_with(app.clone(), &["--user-requests-per-second", "1000", "--requests-in-flight", "20"]);
    let address = listening_with(router, app).await;
    let head = |client: &Client, line: &str| {
        format!("{line} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {}\r\n", client.token.as_ref().unwrap())
    };
    let slow =
        format!("{}content-type: application/json\r\ncontent-length: 1000\r\n\r\n{{", head(&ada, "POST /v1/tasks"));
    let slow: Vec<_> = (0..3).map(|_| tokio::spawn(drip(address, slow.clone(), b" "))).collect();
    tokio::time::sleep(Duration::from_millis(200)).await;
    let get = |client: &Client| {
        ask(address, format!("{}connection: close\r\n\r\n", head(client, "GET /v1/tasks")).into_bytes())
    };

    // A body that is still arriving takes none of the user's turns.
    let began = Instant::now();
    let answer = get(&ada).await;
    assert!(answer.starts_with("HTTP/1.1 200") && began.elapsed() < Duration::from_secs(2), "{answer}");

    // Turns are taken, and more requests wait.
    let task = ada.task(json!({"title": "hot"})).await;
    let mut hold = db.begin().await.unwrap();
    sqlx::query("select from tasks where id = $1 for update").bind(id(&task)).execute(&mut *hold).await.unwrap();
    let delete = format!("{}connection: close\r\n\r\n", head(&ada, &format!("DELETE {}", path(&task))));
    let crowd: Vec<_> = (0..17).map(|_| tokio::spawn(ask(address, delete.clone().into_bytes()))).collect();
    tokio::time::sleep(Duration::from_millis(300)).await;
    for _ in 0..5 {
        let began = Instant::now();
        let answer = get(&ben).await;
        assert!(answer.starts_with("HTTP/1.1 200") && began.elapsed() < Duration::from_secs(2), "{answer}");
    }
    hold.rollback().await.unwrap();
    let mut refused = 0;
    for answer in crowd {
        refused += usize::from(answer.await.unwrap().starts_with("HTTP/1.1 429"));
    }
    assert_eq!(refused, 15, "five places, of which bodies take three");
    for slow in slow {
        slow.abort();
    }
}

#[sqlx::test(migrator = "migrations::MIGRATOR")]
async fn oversized_request_heads_are_refused(db: PgPool) {
    let ada = Client::new(&db);
    let address = listening(app(&db)).await;
    let bearer = format!("authorization: Bearer {}\r\n", ada.token.as_ref().unwrap());
    let head = |rest: &str| format!("GET /v1/me HTTP/1.1\r\nhost: x\r\n{rest}connection: close\r\n\r\n").into_bytes();
    for (request, status) in [
        (head(&bearer), "200"),
        (head(&format!("{bearer}x: {}\r\n", "y".repeat(10_000))), "200"),
        (head(&format!("{bearer}x: {}\r\n", "y".repeat(64 << 10))), "431"),
        (head(&format!("{bearer}x: {}\r\n", "y".repeat(10 << 20))), "431"),
        (head(&"x: y\r\n".repeat(1_000)), "431"),
        (head(&format!("authorization: Bearer {}\r\n", "e".repeat(1 << 20))), "431"),
        (head(&format!("authorization: Bearer {}\r\n", "e".repeat(20 << 10))), "401"),
        (format!("GET /{} HTTP/1.1\r\nhost: x\r\n\r\n", "y".repeat(1 << 20)).into_bytes(), "4"),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03".repeat(100), "400"),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec(), ""),
        (head("content-length: 5\r\ntransfer-encoding: chunked\r\n"), ""),
        (head("content-length: 5\r\ncontent-length: 6\r\n"), "400"),
    ] {
        let answer = ask(address, request).await;
        assert!(status.is_empty() || answer.starts_with(&format!("HTTP/1.1 {status}")), "{status}: {answer}");
        for inside in ["hyper", "panic", "select", ".rs"] {
            assert!(!answer.contains(inside), "{answer}");
        }
    }
    // A query with a thousand unknown parameters gets a small answer.
    let many: String = (0..1_000).map(|n| format!("p{n}=1&")).collect();
    let line = |query: &str| {
        format!("GET /v1/tasks?{query} HTTP/1.1\r\nhost: x\r\n{bearer}connection: close\r\n\r\n").into_bytes()
    };
    let answer = ask(address, line(&many)).await;
    assert!(answer.starts_with("HTTP/1.1 422") && answer.len() < 16 << 10, "{} bytes", answer.len());
    assert!(ask(address, line("limit=1000000000")).await.starts_with("HTTP/1.1 422"));
    assert!(ask(address, head(&bearer)).await.starts_with("HTTP/1.1 200"), "it goes on");
}

/// With and without `Content-Length`, with and without a token.
#[sqlx::test(migrator = "migrations::MIGRATOR")]
async fn bodies_of_ten_megabytes_are_refused(db: PgPool) {
    let ada = Client::new(&db);
    let address = listening(app(&db)).await;
    let bearer = format!("authorization: Bearer {}\r\n", ada.token.as_ref().unwrap());
    let ten = "x".repeat(10 << 20);
    let said = |token: &str| {
        format!(
            "POST /v1/tasks HTTP/1.1\r\nhost: x\r\n{token}content-type: application/json\r\nconnection: close\r\ncontent-length: {}\r\n\r\n{ten}",
            ten.len()
        )
    };
    let chunked = |token: &str| {
        format!(
            "POST /v1/tasks HTTP/1.1\r\nhost: x\r\n{token}content-type: application/json\r\nconnection: close\r\ntransfer-encoding: chunked\r\n\r\n{:x}\r\n{ten}\r\n0\r\n\r\n",
            ten.len()
        )
    };
    for (request, status) in
        [(said(&bearer), "413"), (chunked(&bearer), "413"), (said(""), "401"), (chunked(""), "401")]
    {
        let answer = ask(address, request.into_bytes()).await;
        // A reset may overtake the answer, so that a client that keeps sending cannot read it.
        assert!(answer.is_empty() || answer.starts_with(&format!("HTTP/1.1 {status}")), "{status}: {answer}");
    }
    assert_eq!(ada.footprint().await["tasks"], Value::Null);
}

#[sqlx::test(migrator = "migrations::MIGRATOR")]
async fn an_event_committed_after_its_client_disconnected_is_published(db: PgPool) {
    let ada = Client::new(&db);
    let app = app(&db);
    let address = listening(app.clone()).await;
    commits_take_a_second(&db).await;
    let body = json!({"title": "call the dentist"}).to_string();
    let request = format!(
        "POST /v1/tasks HTTP/1.1\r\nhost: t\r\nauthorization: Bearer {}\r\ncontent-type: application/json\r\n\
         content-length: {}\r\n\r\n{body}",
        ada.token.as_ref().unwrap(),
        body.len()
    );
    let mut client = TcpStream::connect(address).await.unwrap();
    client.write_all(request.as_bytes()).await.unwrap();
    tokio::time::sleep(Duration::from_millis(500)).await;
    drop(client);
    assert!(relay_was_woken(&app).await);
    assert_eq!(count(&db, "select count(*) from task_events").await, 1);
}
