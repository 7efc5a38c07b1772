//! SMTP connections that have just carried a message and can carry the next: in a burst one conversation serves many.
//!
//! A second without work closes them with a QUIT, so that at rest no connection of ours is open. A connection that its server closed
//! meanwhile fails before the body, where nothing has been sent; the caller then opens another.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use lettre::transport::smtp::client::AsyncSmtpConnection;
use tokio::time::{Instant, sleep, timeout};

/// How long a connection waits for the next message.
const IDLE: Duration = Duration::from_secs(1);
/// How long a server may take for its goodbye.
const GOODBYE: Duration = Duration::from_secs(2);

/// The idle connections of one provider; cheap to clone.
#[derive(Clone, Default)]
pub(super) struct Idle(Arc<Mutex<Waiting>>);

#[derive(Default)]
struct Waiting {
    /// The last one used is the last one here.
    connections: Vec<(Instant, AsyncSmtpConnection)>,
    /// Whether somebody closes those that wait for too long.
    is_watched: bool,
}

impl Idle {
    /// The connection that was used last, if there is one.
    pub(super) fn take(&self) -> Option<AsyncSmtpConnection> {
        let mut waiting = self.waiting();
        // Looked at again because a process can be frozen.
        waiting.connections.pop().filter(|(since, _)| since.elapsed() < IDLE * 2).map(|(_, connection)| connection)
    }

    /// Keeps a connection that has carried its message to the end.
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

/// QUIT, as politeness: nobody waits for it.
pub(super) fn say_goodbye(mut connection: AsyncSmtpConnection) {
    tokio::spawn(async move { timeout(GOODBYE, connection.quit()).await });
}
