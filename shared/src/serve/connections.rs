//! Accepts connections, with limits against clients that send too slowly or too much.
//!
//! A request head must arrive completely within `HEAD_DEADLINE` and `HEAD_LIMIT` bytes, else the connection is closed. At the maximum of open
//! connections a new one replaces the one that is idle for longest, so clients that only connect replace each other. A stream is not idle.
//! Bodies have their own limits where they are read, which is after authentication. A client that stops reading its answers is disconnected.

use std::{
    collections::BTreeMap,
    future::poll_fn,
    io,
    pin::{Pin, pin},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    task::Poll,
    time::Duration,
};

use axum::{Router, body::HttpBody as _, extract::Request};
use hyper::{body::Incoming, server::conn::http1};
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    service::TowerToHyperService,
};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{Notify, OwnedSemaphorePermit, Semaphore},
    task::JoinSet,
};
use tokio_util::sync::CancellationToken;
use tower::{ServiceExt as _, service_fn};

use super::streams::{Handover, Socket};

/// Limit for receiving a request head, and for an idle connection. Deliberately not a round number: reminders fire on the
/// minute, and we must not close a connection just as daprd reuses it.
const HEAD_DEADLINE: Duration = Duration::from_secs(37);
/// Limit of a request head in bytes: several times the longest token.
const HEAD_LIMIT: usize = 32 * 1024;

/// The limits of a server; tests lower them.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Maximum open connections. Idle ones take at most `HEAD_LIMIT` each: 32 MB.
    pub connections: usize,
    /// A connection is closed when its client takes nothing of an answer for this long. A client that takes a little at a time gains little: the
    /// socket accepts more only when a third of its buffer is free.
    pub unread: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self { connections: 1_000, unread: Duration::from_secs(30) }
    }
}

/// Serves `routes` until `stop` completes, then until the requests in flight are answered.
pub async fn serve(limits: Limits, listener: TcpListener, routes: Router, stop: impl Future<Output = ()>) {
    let (places, idle) = (Arc::new(Semaphore::new(limits.connections)), Arc::<Idle>::default());
    let (mut open, stopping) = (JoinSet::new(), CancellationToken::new());
    let mut stop = pin!(stop);
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = &mut stop => break,
        };
        let socket = match accepted {
            Ok((socket, _)) => socket,
            Err(error) if is_client_error(&error) => continue,
            Err(error) => {
                // For example too many open files. Accepting again at once would spin.
                tracing::error!(error = %error, "cannot accept connections: {error}");
                tokio::time::sleep(Duration::from_secs(1)).await;
                continue;
            }
        };
        let place = tokio::select! {
            place = idle.place(&places) => place,
            () = &mut stop => break,
        };
        // Forgets the connections that have ended.
        while open.try_join_next().is_some() {}
        let this =
            Arc::new(Connection { idle: Arc::clone(&idle), since: AtomicU64::default(), evicted: Arc::default() });
        this.rest();
        let serving = converse(socket, limits.unread, routes.clone(), Arc::clone(&this), stopping.clone());
        open.spawn(async move {
            let _place = place;
            tokio::select! {
                ended = serving => if let Err(error) = ended {
                    tracing::debug!(error = %error, "a connection ended early: {error:#}");
                },
                () = this.evicted.notified() => tracing::debug!("closed an idle connection to accept another"),
            }
            this.work();
        });
    }
    drop(listener);
    stopping.cancel();
    while open.join_next().await.is_some() {}
}

/// Answers the requests of one connection until it ends, or until the answers in flight are written once `stopping` is cancelled.
async fn converse(
    socket: TcpStream,
    unread: Duration,
    routes: Router,
    this: Arc<Connection>,
    stopping: CancellationToken,
) -> anyhow::Result<()> {
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(HEAD_DEADLINE).max_header_size(HEAD_LIMIT);
    let handover = Handover::default();
    let streams = handover.clone();
    let service = TowerToHyperService::new(service_fn(move |request: Request<Incoming>| {
        let (routes, connection, streams) = (routes.clone(), Arc::clone(&this), streams.clone());
        async move {
            connection.work();
            let working = Working(connection);
            let version = request.version();
            let answer = routes.oneshot(request).await;
            answer.map(|answer| match answer.body().size_hint().exact() {
                Some(_) => answer,
                None => streams.begin(version, answer, working),
            })
        }
    }));
    let socket = Socket::new(socket, unread, handover.clone());
    // In a box, which is freed before a stream begins.
    let mut hyper = Box::new(http.serve_connection(TokioIo::new(socket), service));
    let mut stopped = pin!(stopping.cancelled());
    let mut is_stopped = false;
    let stream = poll_fn(|context| {
        if !is_stopped && stopped.as_mut().poll(context).is_ready() {
            is_stopped = true;
            Pin::new(&mut *hyper).graceful_shutdown();
        }
        match Pin::new(&mut *hyper).poll(context) {
            Poll::Ready(ended) => Poll::Ready(ended.map(|()| None)),
            Poll::Pending => handover.take().map_or(Poll::Pending, |stream| Poll::Ready(Ok(Some(stream)))),
        }
    });
    if let Some(stream) = stream.await? {
        let socket = hyper.into_parts().io.into_inner();
        stream.send(socket).await?;
    }
    Ok(())
}

/// The connections without a request, by the order in which they became idle.
#[derive(Default)]
struct Idle {
    order: AtomicU64,
    connections: Mutex<BTreeMap<u64, Arc<Notify>>>,
}

impl Idle {
    /// A place for a new connection. Without a free one, closes the connection that is idle for longest.
    async fn place(&self, places: &Arc<Semaphore>) -> OwnedSemaphorePermit {
        if places.available_permits() == 0
            && let Some((_, longest)) = self.connections().pop_first()
        {
            longest.notify_one();
        }
        Arc::clone(places).acquire_owned().await.expect("the semaphore is never closed")
    }

    fn connections(&self) -> MutexGuard<'_, BTreeMap<u64, Arc<Notify>>> {
        self.connections.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

struct Connection {
    idle: Arc<Idle>,
    /// Its place in the order of idle connections.
    since: AtomicU64,
    evicted: Arc<Notify>,
}

impl Connection {
    /// It waits for a request.
    fn rest(&self) {
        let since = self.idle.order.fetch_add(1, Ordering::Relaxed);
        self.since.store(since, Ordering::Relaxed);
        self.idle.connections().insert(since, Arc::clone(&self.evicted));
    }

    /// It has a request, or has ended.
    fn work(&self) {
        self.idle.connections().remove(&self.since.load(Ordering::Relaxed));
    }
}

/// A request, and its answer if that is a stream. Other answers do not count: anybody may ask for one, and read it slowly.
struct Working(Arc<Connection>);

impl Drop for Working {
    fn drop(&mut self) {
        self.0.rest();
    }
}

fn is_client_error(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset)
}
