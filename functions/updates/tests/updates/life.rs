//! The limits of streams, and their ends.

use std::time::Instant;

use shared::{
    serve::connections::{Limits, serve},
    testing::erase,
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
};

use super::*;

async fn refused(answer: Response, status: u16, kind: &str) {
    assert_eq!(answer.status(), status);
    assert!(answer.headers().contains_key("retry-after"));
    let body = axum::body::to_bytes(answer.into_body(), 1 << 16).await.unwrap();
    let problem: Value = serde_json::from_slice(&body).unwrap();
    assert_eq!(problem["type"], format!("urn:punctual:problem:{kind}"));
}

/// A lost notification costs `look`. Proxies and Knative end what is silent or lasts longer than the others.
#[test]
fn a_process_has_the_documented_times() {
    let Settings { look, echo, answer, comment, life, .. } = Settings::default();
    assert_eq!(
        [look, echo, answer, comment, life.start, life.end].map(|time| time.as_secs()),
        [10, 30, 5, 15, 210, 240]
    );
}

#[sqlx::test(migrator = "migrations::MIGRATOR")]
async fn the_21st_stream_of_a_user_is_refused(db: PgPool) {
    let (ada, ben) = (user(&db).await, user(&db).await);
    let process = Process::new(&db, Settings { streams: 22, ..deaf() });
    let mut streams = Vec::new();
    for _ in 0..20 {
        streams.push(process.open(ada, None).await);
    }
    refused(process.ask(&token(ada), None).await, 429, "too-many-requests").await;
    drop(streams.pop());
    streams.push(process.open(ada, None).await);
    // Of all users together there may be 22.
    for _ in 0..2 {
        streams.push(process.open(ben, None).await);
    }
    refused(process.ask(&token(ben), None).await, 503, "overloaded").await;
    streams.clear();
    process.open(ben, None).await;
}

#[sqlx::test(migrator = "migrations::MIGRATOR")]
async fn a_user_who_opens_streams_all_the_time_is_slowed_down(db: PgPool) {
    let (ada, ben) = (user(&db).await, user(&db).await);
    let process = Process::new(&db, Settings { burst: NonZeroU32::new(3).unwrap(), ..deaf() });
    for _ in 0..3 {
        drop(process.open(ada, None).await);
    }
    refused(process.ask(&token(ada), None).await, 429, "too-many-requests").await;
    process.open(ben, None).await;
}

#[sqlx::test(migrator = "migrations::MIGRATOR")]
async fn a_stream_ends_with_its_token_or_after_its_life_and_has_comments_meanwhile(db: PgPool) {
    let ada = user(&db).await;
    let comments = Settings { comment: Duration::from_millis(50), ..deaf() };
    let process = Process::new(&db, comments.clone());
    let began = Instant::now();
    let answer = process.ask(&token_until(ada, Utc::now() + TimeDelta::seconds(1)), None).await;
    let text = timeout(LONG, axum::body::to_bytes(answer.into_body(), 1 << 16)).await.expect("an end").unwrap();
    assert!(began.elapsed() < Duration::from_millis(1_500), "{:?}", began.elapsed());
    assert!(str::from_utf8(&text).unwrap().ends_with('\n'));

    let life = Duration::from_millis(300)..Duration::from_millis(301);
    let mut events = Process::new(&db, Settings { life, ..comments }).open(ada, None).await;
    assert_eq!(events.next().await.unwrap().name, "ready");
    assert_eq!(events.next_block().await.unwrap(), ":");
    let began = Instant::now();
    timeout(LONG, events.end()).await.expect("an end");
    assert!(began.elapsed() < Duration::from_millis(600), "{:?}", began.elapsed());
}

/// Knative and Kubernetes kill a process that does not stop.
#[sqlx::test(migrator = "migrations::MIGRATOR")]
async fn every_stream_ends_within_100_ms_of_sigterm(db: PgPool) {
    let ada = user(&db).await;
    let process = Process::new(&db, deaf());
    let mut events = process.listen(&db, ada).await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let stop = process.stop.clone();
    let server =
        tokio::spawn(serve(Limits::default(), listener, process.routes.clone(), async move { stop.cancelled().await }));
    let mut client = TcpStream::connect(address).await.unwrap();
    let request = format!("GET /v1/updates HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {}\r\n\r\n", token(ada));
    client.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    while !answer.contains("event: ready") {
        let mut bytes = [0; 1_024];
        let count = client.read(&mut bytes).await.unwrap();
        answer += str::from_utf8(&bytes[..count]).unwrap();
    }

    let began = Instant::now();
    process.stop.cancel();
    events.end().await;
    client.read_to_string(&mut answer).await.unwrap();
    server.await.unwrap();
    assert!(began.elapsed() < Duration::from_millis(100), "{:?}", began.elapsed());
    assert!(answer.ends_with("0\r\n\r\n"), "the answer is whole: {answer}");
}

#[sqlx::test(migrator = "migrations::MIGRATOR")]
async fn a_user_who_is_erased_hears_nothing_any_more(db: PgPool) {
    let ada = user(&db).await;
    let process = Process::new(&db, Settings { look: Duration::from_millis(50), ..deaf() });
    let mut events = process.listen(&db, ada).await;
    erase(&db, ada).await;
    assert_eq!(events.next().await, None);
    assert_eq!(process.ask(&token(ada), Some("1")).await.status(), StatusCode::UNAUTHORIZED);
}
