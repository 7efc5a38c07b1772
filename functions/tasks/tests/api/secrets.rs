//! The process never logs a secret, whatever fails.

use std::{fs, process::Command, time::Duration};

use sqlx::ConnectOptions as _;

use super::*;

/// The secrets. None of them occurs in a log line by chance.
const JWT: &str = "canary-jwt-secret-of-32-bytes-or-more";
const CALLED_BY: &str = "canary-app-api-token";
const CALLS: &str = "canary-dapr-api-token";
const PASSWORD: &str = "canary-database-password";
const EMAIL: &str = "canary-mail@example.org";
const TITLE: &str = "canary-title";

/// Runs the program on a database, sends `requests`, and returns its output.
async fn written(database: &str, level: &str, requests: &[(Method, String, String)]) -> String {
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    // A file takes all that it writes. A full pipe would stop it.
    let log = std::env::temp_dir().join(format!("punctual-secrets-{port}"));
    let file = fs::File::create(&log).unwrap();
    let mut program = Command::new(env!("CARGO_BIN_EXE_tasks"))
        .env_clear()
        .envs([("DATABASE_URL", database), ("JWT_SECRET", JWT), ("APP_API_TOKEN", CALLED_BY), ("RUST_LOG", level)])
        .envs([("DAPR_API_TOKEN", CALLS), ("DAPR_GRPC_ENDPOINT", "http://127.0.0.1:9")])
        .env("PORT", port.to_string())
        .stdout(file.try_clone().unwrap())
        .stderr(file)
        .spawn()
        .unwrap();
    let user = user(EMAIL, true);
    let token = auth::sign(&JWT.into(), &user, Utc::now() + TimeDelta::hours(1)).unwrap();
    for _ in 0..100 {
        if tokio::net::TcpStream::connect(("127.0.0.1", port)).await.is_ok() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    for (method, path, body) in requests {
        for token in [token.clone(), format!("{token}x"), JWT.to_owned()] {
            let request = format!(
                "{method} {path} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {token}\r\ndapr-api-token: {CALLED_BY}x\r\n\
                 content-type: application/json\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}",
                body.len()
            );
            let answer = said(port, &request).await;
            assert!(answer.starts_with("HTTP/1.1 "), "{method} {path} was answered with {answer:?}");
        }
    }
    tokio::time::sleep(Duration::from_millis(1_500)).await; // the relay fails in the meantime
    let id = program.id().to_string();
    assert!(Command::new("kill").args(["-TERM", &id]).status().unwrap().success());
    program.wait().unwrap();
    let written = String::from_utf8_lossy(&fs::read(&log).unwrap()).into_owned();
    fs::remove_file(log).unwrap();
    let secrets = [JWT, CALLED_BY, CALLS, PASSWORD, EMAIL, TITLE, token.as_str(), token.rsplit('.').next().unwrap()];
    for secret in secrets {
        let at = written.lines().find(|line| line.contains(secret));
        assert!(at.is_none(), "at level {level} it wrote {secret}: {at:?}");
    }
    written
}

async fn said(port: u16, request: &str) -> String {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let mut stream = tokio::net::TcpStream::connect(("127.0.0.1", port)).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut said = Vec::new();
    // The server's own deadline is shorter.
    let read = tokio::time::timeout(Duration::from_secs(60), stream.read_to_end(&mut said)).await;
    read.expect("an answer within a minute").unwrap_or_else(|error| panic!("{error}, after {} bytes", said.len()));
    String::from_utf8_lossy(&said).into_owned()
}

/// Requests that succeed, and requests that fail in every known way.
fn requests() -> Vec<(Method, String, String)> {
    let with = |body: Value| body.to_string();
    let mut all = vec![
        (Method::POST, "/v1/tasks".to_owned(), with(json!({"title": TITLE, "description": TITLE, "tags": [TITLE]}))),
        (Method::POST, "/v1/tasks".to_owned(), with(json!({"title": TITLE, "x": TITLE, "due_at": TITLE}))),
        (Method::POST, "/v1/tasks".to_owned(), format!("{{\"title\": {TITLE}")),
        (Method::GET, format!("/v1/tasks?q={TITLE}&tag={TITLE}"), String::new()),
        (Method::GET, format!("/v1/tasks?cursor={TITLE}"), String::new()),
        (Method::GET, format!("/v1/tasks/{TITLE}"), String::new()),
        (Method::POST, "/events/nothing".to_owned(), with(json!({"data": {"title": TITLE}}))),
    ];
    let missing =
        json!({"id": Uuid::new_v4(), "reminders": [{"id": Uuid::new_v4()}], "device": {"id": Uuid::new_v4()}});
    all.extend(operations::Operation::all().iter().map(|operation| {
        let (method, path, body) = operation.on(&missing);
        (method, path, body.to_string())
    }));
    all
}

#[sqlx::test(migrator = "migrations::MIGRATOR")]
async fn no_log_line_contains_a_secret(db: PgPool) {
    let mut url = db.connect_options().to_url_lossy();
    url.set_password(Some(PASSWORD)).unwrap();
    let told = written(url.as_str(), "debug", &requests()).await;
    assert!(told.contains("/v1/tasks 201") && told.contains("/v1/tasks 401"), "{told}");
    assert!(told.contains("outbox"), "the relay failed and said so: {told}");
    // Every statement about tasks fails, and its error is logged with all its sources.
    sqlx::query("alter table tasks rename column title to name").execute(&db).await.unwrap();
    let told = written(url.as_str(), "debug", &requests()).await;
    assert!(told.contains("a dependency is unavailable: error returned from database: column"), "{told}");
}

#[tokio::test]
async fn no_log_line_contains_a_secret_during_a_database_outage() {
    let few: Vec<_> = requests().into_iter().take(1).collect();
    let away = format!("postgres://punctual:{PASSWORD}@127.0.0.1:1/{PASSWORD}");
    let written = written(&away, "debug", &few).await;
    assert!(written.contains("a dependency is unavailable"), "{written}");
}

#[test]
fn a_configuration_error_does_not_reveal_a_secret() {
    for (name, value) in [
        ("DATABASE_URL", PASSWORD),
        ("DATABASE_URL", "mysql://canary@127.0.0.1:1/canary"),
        ("JWT_SECRET", "canary-short"),
        ("PORT", "canary"),
        ("JWKS_URL", "x"),
    ] {
        // `timeout` ends a process that starts nevertheless.
        let output = Command::new("timeout")
            .args(["10", env!("CARGO_BIN_EXE_tasks")])
            .env_clear()
            .envs([("DATABASE_URL", "postgres://x@127.0.0.1:1/x"), ("JWT_SECRET", JWT), ("APP_API_TOKEN", CALLED_BY)])
            .env(name, value)
            .output()
            .unwrap();
        let told = [output.stdout, output.stderr].map(|text| String::from_utf8_lossy(&text).into_owned()).concat();
        assert!(!output.status.success() && told.contains(name), "{name}: {told}");
        assert!(name == "PORT" || !told.contains("canary"), "{name}: {told}");
    }
}
