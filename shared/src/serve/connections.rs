//! Accepts connections, with limits against clients that send too slowly or too much.
//!
//! A request head must arrive completely within `HEAD_DEADLINE` and `HEAD_LIMIT` bytes, else the connection is closed. Bodies
//! have their own limits where they are read, which is after authentication.

use std::{io, pin::pin, time::Duration};

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    server::graceful::GracefulShutdown,
    service::TowerToHyperService,
};
use tokio::net::TcpListener;

/// Limit for receiving a request head, and for an idle connection. Deliberately not a round number: reminders fire on the
/// minute, and we must not close a connection just as daprd reuses it.
const HEAD_DEADLINE: Duration = Duration::from_secs(37);
/// Limit of a request head in bytes: several times the longest token.
const HEAD_LIMIT: usize = 32 * 1024;

/// Serves `routes` until `stop` completes, then until the requests in flight are answered.
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
            Err(error) if is_client_error(&error) => {}
            Err(error) => {
                // For example too many open files. Accepting again at once would spin.
                tracing::error!(error = %error, "cannot accept connections: {error}");
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
        }
    }
    drop(listener);
    open.shutdown().await;
}

fn is_client_error(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset)
}
