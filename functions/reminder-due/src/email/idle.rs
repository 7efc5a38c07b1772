//! A pool of idle SMTP connections: in a burst, one connection carries many messages.
//!
//! A connection that is idle for a second is closed with QUIT, so none stays open without work. If the server closed it meanwhile, the next
//! message fails before its body. Nothing has been sent then, and the caller opens another connection.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use lettre::transport::smtp::client::AsyncSmtpConnection;
use tokio::time::{Instant, sleep, timeout};

/// Idle timeout of a connection.
const IDLE: Duration = Duration::from_secs(1);
/// Timeout for the server's reply to QUIT.
const GOODBYE: Duration = Duration::from_secs(2);

/// The idle connections of one provider; cheap to clone.
#[derive(Clone, Default)]
pub(super) struct Idle(Arc<Mutex<Waiting>>);

#[derive(Default)]
struct Waiting {
    /// Ordered by last use, the most recent last.
    connections: Vec<(Instant, AsyncSmtpConnection)>,
    /// Whether a task is running that closes connections after the idle timeout.
    is_watched: bool,
}

impl Idle {
    /// Takes the connection that was used last, if there is one.
    pub(super) fn take(&self) -> Option<AsyncSmtpConnection> {
        let mut waiting = self.waiting();
        // Check the age again, because the process may have been frozen.
        waiting.connections.pop().filter(|(since, _)| since.elapsed() < IDLE * 2).map(|(_, connection)| connection)
    }

    /// Returns a connection to the pool after a complete message.
    pub(super) fn put(&self, connection: AsyncSmtpConnection) {
        let mut waiting = self.waiting();
        waiting.connections.push((Instant::now(), connection));
        if !waiting.is_watched {
            waiting.is_watched = true;
            tokio::spawn(self.clone().watch());
        }
    }

    async fn watch(self) {
        loop {
            sleep(IDLE / 2).await;
            let (old, some_are_left) = {
                let mut waiting = self.waiting();
                let kept = waiting.connections.iter().position(|(since, _)| since.elapsed() < IDLE);
                let old = kept.unwrap_or(waiting.connections.len());
                waiting.is_watched = kept.is_some();
                (waiting.connections.drain(..old).collect::<Vec<_>>(), waiting.is_watched)
            };
            old.into_iter().for_each(|(_, connection)| say_goodbye(connection));
            if !some_are_left {
                return;
            }
        }
    }

    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Sends QUIT in the background. Nobody waits for the reply.
pub(super) fn say_goodbye(mut connection: AsyncSmtpConnection) {
    tokio::spawn(async move { timeout(GOODBYE, connection.quit()).await });
}
