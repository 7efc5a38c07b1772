//! The connections of a process: what a client may take of one that sends nothing, or without end.
//!
//! A head must arrive whole in `HEAD_DEADLINE` and in `HEAD_LIMIT` bytes, else its connection is closed; bodies have limits
//! and deadlines of their own where they are read, after the one who sends them is known.

use std::{io, pin::pin, time::Duration};

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    server::graceful::GracefulShutdown,
    service::TowerToHyperService,
};
use tokio::net::TcpListener;

/// How long a head may take; as long a connection may idle. Reminders are due at round times, so this is none: a connection must
/// not be closed by us just when daprd uses it again.
const HEAD_DEADLINE: Duration = Duration::from_secs(37);
/// The longest head: several times the longest token.
const HEAD_LIMIT: usize = 32 * 1024;

/// Serves `routes` until `stop`, and then until the requests in flight are answered.
pub async fn serve(listener: TcpListener, routes: Router, stop: impl Future<Output = ()>) {
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(HEAD_DEADLINE).max_header_size(HEAD_LIMIT);
    let open = GracefulShutdown::new();
    let mut stop = pin!(stop);
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = &mut stop => break,
        };
        match accepted {
            Ok((socket, _)) => {
                let service = TowerToHyperService::new(routes.clone());
                let connection = open.watch(http.serve_connection(TokioIo::new(socket), service));
                tokio::spawn(async {
                    if let Err(error) = connection.await {
                        tracing::debug!(error = %error, "a connection ended early: {error}");
                    }
                });
            }
            Err(error) if is_of_the_client(&error) => {}
            Err(error) => {
                // Such as too many open files: accepting on would only spin.
                tracing::error!(error = %error, "no connection can be accepted: {error}");
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
        }
    }
    drop(listener);
    open.shutdown().await;
}

fn is_of_the_client(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset)
}
