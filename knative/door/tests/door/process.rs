//! The door as a process: its start and its end.

use std::{
    net::{SocketAddr, TcpListener},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

use super::{
    EVENT, call,
    route::{Route, Step},
    status,
};

/// Killed when a test ends early.
struct Door(Child);

impl Drop for Door {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

async fn start(target: SocketAddr) -> (Door, SocketAddr) {
    let (door, address, _) = start_with_health(target).await;
    (door, address)
}

/// The door, the address that daprd calls, and the address of its health.
async fn start_with_health(target: SocketAddr) -> (Door, SocketAddr, SocketAddr) {
    let [free, health] = [(); 2].map(|()| TcpListener::bind("127.0.0.1:0").unwrap());
    let [free, health] = [free, health].map(|listener| listener.local_addr().unwrap());
    let door = Command::new(env!("CARGO_BIN_EXE_door"))
        .env("TARGET", format!("http://{target}"))
        .env("PORT", free.port().to_string())
        .env("HEALTH_PORT", health.port().to_string())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let door = Door(door);
    let began = Instant::now();
    while TcpStream::connect(free).await.is_err() {
        assert!(began.elapsed() < Duration::from_secs(5), "the door does not listen within 5 s");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    (door, free, health)
}

#[tokio::test]
async fn a_probe_wakes_no_function_and_its_port_leads_nowhere() {
    let route = Route::start(&[Step::Answer("200 OK", "", "")]).await;
    let (_door, _, health) = start_with_health(route.address).await;
    for (path, expected) in [("/healthz", "200"), ("/events/task-created", "404"), ("/events/_ignore", "404")] {
        let probe = format!("GET {path} HTTP/1.1\r\nhost: door\r\nconnection: close\r\n\r\n");
        assert_eq!(status(&call(health, &probe).await), expected, "{path}");
    }
    assert_eq!(route.connections(), 0);
}

#[tokio::test]
async fn after_sigterm_every_call_in_flight_is_answered() {
    let steps = [Step::Halves("before", " and after"), Step::Answer("200 OK", "", "late")];
    let route = Route::start(&steps).await;
    let (mut door, address) = start(route.address).await;
    let mut running = TcpStream::connect(address).await.unwrap();
    running.write_all(EVENT.as_bytes()).await.unwrap();
    route.until(|route| route.calls().len() == 1).await;

    terminate(&door.0);
    // daprd goes on calling for a moment: jobs and service invocations.
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_eq!(status(&call(address, EVENT).await), "200");
    // Long after it stopped accepting, a call that runs still gets its answer.
    tokio::time::sleep(Duration::from_secs(5)).await;
    assert!(TcpStream::connect(address).await.is_err(), "it still accepts");
    assert!(door.0.try_wait().unwrap().is_none(), "it ended with a call unanswered");
    route.go_on();
    let mut answer = String::new();
    running.read_to_string(&mut answer).await.unwrap();
    assert!(answer.ends_with("before and after"), "{answer}");
    let ended = tokio::task::spawn_blocking(move || door.0.wait().unwrap()).await.unwrap();
    assert!(ended.success(), "{ended}");
}

#[test]
fn an_invalid_target_is_refused() {
    // The port is taken, so that a door that accepts the target fails too, with another message.
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    for target in ["task-created", "https://task-created", "http://task-created/path"] {
        let mut door = Command::new(env!("CARGO_BIN_EXE_door"));
        let ended = door.env("TARGET", target).env("PORT", &port).output().unwrap();
        assert!(!ended.status.success(), "{target}");
        let said = String::from_utf8_lossy(&ended.stderr);
        assert!(said.contains("TARGET must be http://<host>"), "{said}");
    }
}

fn terminate(door: &Child) {
    lab::spawn::send(door.id().cast_signed(), libc::SIGTERM);
}
