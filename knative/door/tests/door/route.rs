//! A scripted route on a socket: it takes one step a call, in order, and panics at one call too many.

use std::{
    collections::VecDeque,
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    sync::Notify,
};

/// What the route does with a call.
#[derive(Clone, Copy)]
pub(crate) enum Step {
    /// Status line, headers, body.
    Answer(&'static str, &'static str, &'static str),
    /// An answer whose second half waits for [`Route::go_on`].
    Halves(&'static str, &'static str),
    /// Half of the announced body, then the connection closes.
    HalfOnly,
    /// Closes the connection.
    Close,
    /// Resets the connection.
    Reset,
    /// Answers nothing until the caller disconnects.
    Hang,
}

impl Step {
    pub(crate) fn status(&self) -> Option<&'static str> {
        match self {
            Self::Answer(status, ..) => status.get(..3),
            _ => None,
        }
    }
}

#[derive(Default)]
struct State {
    steps: Mutex<VecDeque<Step>>,
    calls: Mutex<Vec<String>>,
    connections: AtomicUsize,
    abandoned: AtomicUsize,
    go_on: Notify,
}

/// A listening route.
pub(crate) struct Route {
    pub(crate) address: SocketAddr,
    state: Arc<State>,
}

impl Route {
    pub(crate) async fn start(steps: &[Step]) -> Self {
        Self::start_at("127.0.0.1:0".parse().unwrap(), steps).await
    }

    pub(crate) async fn start_at(address: SocketAddr, steps: &[Step]) -> Self {
        let listener = TcpListener::bind(address).await.unwrap();
        let address = listener.local_addr().unwrap();
        let state = Arc::new(State { steps: Mutex::new(steps.iter().copied().collect()), ..State::default() });
        let shared = state.clone();
        tokio::spawn(async move {
            while let Ok((connection, _)) = listener.accept().await {
                shared.connections.fetch_add(1, Ordering::SeqCst);
                tokio::spawn(serve(connection, shared.clone()));
            }
        });
        Self { address, state }
    }

    /// The calls so far, head and body.
    pub(crate) fn calls(&self) -> Vec<String> {
        self.state.calls.lock().unwrap().clone()
    }

    pub(crate) fn connections(&self) -> usize {
        self.state.connections.load(Ordering::SeqCst)
    }

    /// The number of calls that the caller aborted.
    pub(crate) fn abandoned(&self) -> usize {
        self.state.abandoned.load(Ordering::SeqCst)
    }

    pub(crate) fn go_on(&self) {
        self.state.go_on.notify_one();
    }

    pub(crate) async fn until(&self, met: impl Fn(&Self) -> bool) {
        let began = Instant::now();
        while !met(self) {
            assert!(began.elapsed() < Duration::from_secs(5), "waited in vain");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}

async fn serve(mut connection: TcpStream, state: Arc<State>) {
    while let Some(call) = read_call(&mut connection).await {
        state.calls.lock().unwrap().push(call);
        let step = state.steps.lock().unwrap().pop_front().expect("one call more than steps");
        let answer = match step {
            Step::Answer(status, headers, body) => {
                let headers = if headers.is_empty() { String::new() } else { format!("{headers}\r\n") };
                format!("HTTP/1.1 {status}\r\n{headers}content-length: {}\r\n\r\n{body}", body.len())
            }
            Step::Halves(first, second) => {
                let length = first.len() + second.len();
                let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {length}\r\n\r\n{first}");
                connection.write_all(head.as_bytes()).await.unwrap();
                state.go_on.notified().await;
                second.to_owned()
            }
            Step::HalfOnly => {
                connection.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhalf!").await.unwrap();
                return;
            }
            Step::Close => return,
            Step::Reset => {
                connection.set_zero_linger().unwrap();
                return;
            }
            Step::Hang => {
                let ended = connection.read(&mut [0]).await;
                state.abandoned.fetch_add(usize::from(matches!(ended, Ok(0) | Err(_))), Ordering::SeqCst);
                return;
            }
        };
        connection.write_all(answer.as_bytes()).await.unwrap();
    }
}

/// The next call of a connection, or `None` at its end.
async fn read_call(connection: &mut TcpStream) -> Option<String> {
    let mut call = String::new();
    let mut some = [0; 4096];
    loop {
        if let Some((head, body)) = call.split_once("\r\n\r\n") {
            let length = head
                .lines()
                .find_map(|line| line.strip_prefix("content-length: "))
                .map_or(0, |length| length.parse().unwrap());
            if body.len() >= length {
                return Some(call);
            }
        }
        match connection.read(&mut some).await {
            Ok(count) if count > 0 => call += std::str::from_utf8(&some[..count]).unwrap(),
            _ => return None,
        }
    }
}
