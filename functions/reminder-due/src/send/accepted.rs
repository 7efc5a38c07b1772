//! Messages that a provider accepted, until that is recorded.
//!
//! A process that knows that a message was accepted keeps trying to record it: first within the request, then in the background.
//! The lease covers the first of these, so only the death of that process, or a longer outage of the database, repeats a message.

use std::{
    collections::{HashMap, hash_map::Entry},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use shared::{App, faults::crash, inbox::HandlerError};
use tokio::{
    sync::{Notify, watch},
    time::timeout,
};
use uuid::Uuid;

use super::{connection::Connection, record, row::Row};

/// Limit for one try to record. A connection that fell silent is then replaced.
const TRY: Duration = Duration::from_secs(5);
/// The first and the longest pause between two tries.
const PAUSES: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(2));

/// The accepted messages of this process that are not recorded yet, by delivery; cheap to clone. An attempt that finds its delivery here records it
/// and sends nothing, so while this process lives, an outage of the database repeats no message.
#[derive(Clone, Default)]
pub(super) struct Accepted(Arc<Mutex<HashMap<Uuid, Message>>>);

/// An accepted message, which a task of this process is recording.
#[derive(Clone)]
struct Message {
    /// The provider's id.
    id: String,
    /// Makes the task try now.
    now: Arc<Notify>,
    /// Changes when it is recorded.
    recorded: watch::Receiver<()>,
}

impl Accepted {
    /// The provider's id of the message of a delivery, if it is one of these.
    pub(super) fn message_of(&self, delivery: Uuid) -> Option<String> {
        self.messages().get(&delivery).map(|message| message.id.clone())
    }

    /// Starts to record that a message was accepted, and waits up to `limit` until it is recorded.
    pub(super) async fn record(
        &self,
        app: &App,
        row: Row,
        message_id: &str,
        limit: Duration,
    ) -> Result<(), HandlerError> {
        crash("delivery-accepted");
        let id = row.id;
        let mut recorded = match self.messages().entry(id) {
            Entry::Occupied(message) => {
                message.get().now.notify_one();
                message.get().recorded.clone()
            }
            Entry::Vacant(vacant) => {
                let (done, recorded) = watch::channel(());
                let message = Message { id: message_id.to_owned(), now: Arc::default(), recorded };
                tokio::spawn(self.clone().record_until_done(app.clone(), row, message.clone(), done));
                vacant.insert(message).recorded.clone()
            }
        };
        match timeout(limit, recorded.changed()).await {
            Ok(Ok(())) => Ok(()),
            _ => Err(HandlerError::Outage(anyhow::anyhow!("delivery {id} was accepted and is not recorded yet"))),
        }
    }

    async fn record_until_done(self, app: App, row: Row, message: Message, done: watch::Sender<()>) {
        let (mut pause, longest) = PAUSES;
        while let Err(failure) = try_to_record(&app, &row, &message.id).await {
            let error = format!("{:#}", anyhow::Error::new(failure));
            tracing::warn!(delivery.id = %row.id, error, "reminder-due: delivery {} was accepted and is not recorded yet", row.id);
            let _ = timeout(pause, message.now.notified()).await;
            pause = (pause * 2).min(longest);
        }
        self.messages().remove(&row.id);
        let _ = done.send(());
    }

    fn messages(&self) -> MutexGuard<'_, HashMap<Uuid, Message>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn try_to_record(app: &App, row: &Row, message_id: &str) -> Result<(), HandlerError> {
    let mut conn = Connection::of(&app.db);
    let recorded = timeout(TRY, record::sent(&mut conn, row, message_id)).await;
    let recorded = recorded
        .unwrap_or_else(|_| Err(HandlerError::Outage(anyhow::anyhow!("the database did not answer in {TRY:?}"))));
    app.outbox.wake_after(recorded)
}
