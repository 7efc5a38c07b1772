//! The claim of an event, and the transaction that it opens.

use sqlx::PgConnection;
use uuid::Uuid;

use super::HandlerError;
use crate::{
    App, audit,
    cloud_event::{Event, Trace},
    db::Tx,
    faults::crash,
    outbox,
    schema::Payload,
};

/// The transaction in which a function handles an event it has claimed: the only way to write a handler's rows.
#[derive(Debug)]
pub struct Claimed {
    tx: Tx,
    trace: Trace,
}

/// Claims an event. Returns `None` if it was handled before. A concurrent duplicate waits here for the first delivery.
///
/// # Errors
/// When the database is away, or the first delivery takes longer than the lock timeout.
pub async fn claim<T: Payload>(app: &App, event: &Event<T>) -> Result<Option<Claimed>, HandlerError> {
    crash("event-before-claim");
    let mut tx = app.db.begin().await?;
    let first = claim_id(&mut tx, T::TYPE.consumer(), event.id, event.data.task().user_id).await?;
    crash("event-claimed");
    Ok(first.then(|| Claimed { tx, trace: event.trace.clone() }))
}

/// Inserts a claim. Returns false if the event is claimed already, or if it is below the floor, where every event was claimed and the
/// claims are forgotten: the floor may have passed it since [`super::standing`] asked.
///
/// Until the transaction ends, the event's user is not erased. An erasure claims all events of its user, so it is either seen here or it
/// finds everything that this transaction writes. One statement is enough: where it has waited for an erasure, its snapshot is from before, but a
/// conflict is found in the index, which has the claim of the erasure.
pub(super) async fn claim_id(conn: &mut PgConnection, consumer: &str, id: Uuid, user_id: Uuid) -> sqlx::Result<bool> {
    let claimed = sqlx::query!(
        "with held as materialized (select hold_off_erasure($3))
         insert into processed_events (consumer, event_id)
         select $1, $2::uuid from held where $2 >= (select event_id from marks where name = 'inbox-floor')
         on conflict do nothing",
        consumer,
        id,
        user_id
    )
    .execute(conn)
    .await?;
    Ok(claimed.rows_affected() == 1)
}

impl Claimed {
    /// The connection of the transaction.
    pub fn conn(&mut self) -> &mut PgConnection {
        &mut self.tx
    }

    /// Writes an event into the outbox, in the trace of the one being handled.
    ///
    /// # Errors
    /// When the database is away.
    pub async fn emit<T: Payload>(&mut self, payload: &T) -> Result<Uuid, HandlerError> {
        Ok(outbox::emit(&mut self.tx, payload, &self.trace).await?)
    }

    /// Adds the event to the audit log.
    ///
    /// # Errors
    /// When the database is away.
    pub async fn audit<T: Payload>(&mut self, event: &Event<T>, detail: serde_json::Value) -> Result<(), HandlerError> {
        Ok(audit::event(&mut self.tx, event, detail).await?)
    }

    /// Commits, and wakes the relay for the emitted events.
    ///
    /// # Errors
    /// When the database is away: then all of it is committed or nothing, and the next delivery finds out.
    pub async fn commit(self, app: &App) -> Result<(), HandlerError> {
        let committed = self.tx.commit().await;
        crash("event-committed");
        // Also where the answer was lost: the next delivery may find nothing to do.
        Ok(app.outbox.wake_after(committed)?)
    }
}
