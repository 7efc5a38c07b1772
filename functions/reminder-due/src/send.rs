//! Sends a due reminder: creates one delivery per channel and attempts each until it has ended.
//!
//! [`crate::attempt`] says which steps an attempt takes; this module performs them on PostgreSQL, the provider and the scheduler.
//! A session lock on the delivery keeps two processes from attempting it at the same time. The lock saves work only: after a
//! process died, the row decides (see [`crate::delivery`]).
//!
//! A provider that is away does not block the topic: the attempt is recorded, a Dapr job makes the next one, and the event is
//! done. Repair finds deliveries whose job was lost.

mod record;
mod row;
mod throttle;

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Instant,
};

use serde_json::json;
use shared::{
    App,
    audit::{self, ReminderRef},
    cloud_event::Event,
    db::Conn,
    delivery::DeliveryJob,
    faults::crash,
    inbox::HandlerError,
    reminder::CancelReason,
    schema::ReminderDue,
};
use sqlx::{Either, PgConnection, postgres::PgAdvisoryLock};
use tokio::sync::{OnceCell, Semaphore, SemaphorePermit};
use uuid::Uuid;

use self::{row::Row, throttle::Throttle};
use crate::{
    attempt::{self, Step},
    email::{EmailConfig, Provider, SendError},
};

/// Sends reminders; cheap to clone.
#[derive(Clone)]
pub struct Sender {
    /// The function's state.
    pub app: App,
    config: Arc<EmailConfig>,
    provider: Arc<OnceCell<Provider>>,
    /// Message ids of deliveries that the provider accepted and the database has not recorded. While this process lives, an
    /// outage of the database repeats no message.
    accepted: Arc<Mutex<HashMap<Uuid, String>>>,
    throttle: Throttle,
    /// Limits concurrent messages: each holds a database connection while the provider takes its time.
    slots: Arc<Semaphore>,
}

impl Sender {
    /// Creates a sender. It connects to nothing and looks up the provider's secret at the first message.
    #[must_use]
    pub fn new(app: App, config: EmailConfig) -> Self {
        // One connection stays free for the relay, and one for firing in the embedded host, where it must not wait for a provider.
        let slots = app.db.options().get_max_connections().saturating_sub(2).max(1);
        Self {
            slots: Arc::new(Semaphore::new(slots as usize)),
            app,
            config: Arc::new(config),
            provider: Arc::default(),
            accepted: Arc::default(),
            throttle: Throttle::default(),
        }
    }

    /// Creates the deliveries of a due reminder and makes the first attempt of each.
    ///
    /// # Errors
    /// If the database, the scheduler or the secret store is away, or another process holds a delivery. Then the event comes again.
    pub async fn send(&self, event: &Event<ReminderDue>) -> Result<(), HandlerError> {
        let due = &event.data;
        let _slot = self.slot().await?;
        let mut conn = self.app.db.acquire().await?;
        let deliveries = sqlx::query_scalar!(
            r#"with made as (
                   insert into notification_deliveries
                       (id, reminder_id, reminder_version, channel, user_id, task_id, event_id)
                   select gen_random_uuid(), id, $2, unnest(channels), user_id, task_id, $3
                   from task_reminders
                   where id = $1 and version = $2 and exists (select from task_events where id = $3)
                   on conflict on constraint notification_deliveries_once do nothing
                   returning id
               )
               select id as "id!" from made
               union
               select id from notification_deliveries where reminder_id = $1 and reminder_version = $2"#,
            due.reminder_id,
            due.reminder_version,
            event.id,
        )
        .fetch_all(&mut *conn)
        .await?;
        if deliveries.is_empty() {
            self.nothing_to_send(&mut conn, event).await?;
        }
        for id in deliveries {
            conn = self.attempt_on(conn, id).await?;
        }
        Ok(())
    }

    /// Records why an event creates no delivery: the reminder has a newer version. An event that a restored database does not know
    /// is rejected, because that database fires the reminder again itself.
    async fn nothing_to_send(&self, conn: &mut PgConnection, event: &Event<ReminderDue>) -> Result<(), HandlerError> {
        let due = &event.data;
        let row = sqlx::query!(
            r#"select exists (select from task_events where id = $1) as "known!",
                      (select cancel_reason from task_reminders where id = $2) as "cancel_reason: CancelReason""#,
            event.id,
            due.reminder_id,
        )
        .fetch_one(&mut *conn)
        .await?;
        if !row.known {
            return Err(HandlerError::Reject("the outbox does not have it".to_owned()));
        }
        let of = ReminderRef {
            id: due.reminder_id,
            version: due.reminder_version,
            task_id: due.task.task_id,
            user_id: due.task.user_id,
        };
        let detail = json!({"reason": row.cancel_reason.map_or("moved", CancelReason::as_str)});
        Ok(audit::reminder(conn, of, "reminder.skipped", detail).await?)
    }

    /// Makes the next attempt of a delivery if its time has come; otherwise arms a job for that time.
    ///
    /// # Errors
    /// As [`Sender::send`].
    pub async fn attempt(&self, id: Uuid) -> Result<(), HandlerError> {
        let _slot = self.slot().await?;
        let conn = self.app.db.acquire().await?;
        self.attempt_on(conn, id).await.map(drop)
    }

    /// Waits for a slot, at most as long as the pool waits for a connection.
    async fn slot(&self) -> Result<SemaphorePermit<'_>, HandlerError> {
        let limit = self.app.db.options().get_acquire_timeout();
        match tokio::time::timeout(limit, self.slots.acquire()).await {
            Ok(slot) => Ok(slot.expect("it is never closed")),
            Err(_) => Err(HandlerError::Outage(anyhow::anyhow!("earlier messages take too long"))),
        }
    }

    /// Makes an attempt under the delivery's lock, and returns the connection: acquiring another costs a round trip.
    async fn attempt_on(&self, conn: Conn, id: Uuid) -> Result<Conn, HandlerError> {
        let provider = self.provider.get_or_try_init(|| self.provider()).await?;
        let lock = PgAdvisoryLock::new(format!("delivery {id}"));
        let Either::Left(mut lease) = lock.try_acquire(conn).await? else {
            return Err(HandlerError::Outage(anyhow::anyhow!("another process holds delivery {id}")));
        };
        let done = self.attempt_locked(id, provider, lease.as_mut()).await;
        match lease.release_now().await {
            Ok(conn) => done.map(|()| conn),
            // The connection is lost, and the lock with it.
            Err(error) => {
                tracing::debug!(error = %error, "the lock of a delivery ended with its connection");
                done?;
                Ok(self.app.db.acquire().await?)
            }
        }
    }

    async fn attempt_locked(&self, id: Uuid, provider: &Provider, conn: &mut PgConnection) -> Result<(), HandlerError> {
        let Some(mut row) = Row::read(conn, id).await? else {
            tracing::info!(delivery.id = %id, "reminder-due: delivery {id} does not exist");
            return Ok(());
        };
        let accepted = self.accepted().get(&id).cloned();
        let mut step = attempt::start(&row.snapshot(), provider.has_idempotency_key(), accepted);
        loop {
            step = match step {
                Step::CheckThrottle(check) => {
                    check.found(self.throttle.until(&self.app.sidecar, provider, row.now).await)
                }
                Step::Begin(begin) => {
                    record::begin(conn, &row, provider, begin.repeat).await?;
                    crash("delivery-begun");
                    begin.committed()
                }
                Step::LookAgain(look) => {
                    row = Row::read(conn, id).await?.ok_or_else(|| {
                        HandlerError::Failed(anyhow::anyhow!("delivery {id} was deleted while it was attempted"))
                    })?;
                    look.found(&row.snapshot())
                }
                Step::CallProvider(call) => {
                    let called = Instant::now();
                    let answer = Self::call(conn, provider, &row).await?;
                    call.answered(answer, row.now + called.elapsed())
                }
                Step::RecordSent(sent) => {
                    crash("delivery-accepted");
                    self.accepted().insert(id, sent.message_id().to_owned());
                    self.app.outbox.wake_after(record::sent(conn, &row, sent.message_id()).await)?;
                    self.accepted().remove(&id);
                    sent.committed()
                }
                Step::ShareThrottle(throttle) => {
                    self.throttle.set(&self.app.sidecar, provider, throttle.until, throttle.now).await;
                    throttle.shared()
                }
                Step::Postpone(postpone) => {
                    record::postpone(conn, &row, postpone.at, postpone.repeat, &postpone.reason).await?;
                    postpone.committed()
                }
                Step::End(end) => {
                    record::end(conn, &row, end.state, &end.reason).await?;
                    end.committed()
                }
                Step::ArmRetry(retry) => {
                    let job = DeliveryJob { delivery_id: id, attempts: retry.attempts };
                    job.arm(&self.app.sidecar, retry.at).await?;
                    retry.armed()
                }
                Step::Done => return Ok(()),
                Step::TooEarly => {
                    return Err(HandlerError::Outage(anyhow::anyhow!(
                        "delivery {id} is not due by the database's clock"
                    )));
                }
            }
        }
    }

    fn accepted(&self) -> MutexGuard<'_, HashMap<Uuid, String>> {
        self.accepted.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn provider(&self) -> Result<Provider, HandlerError> {
        let secret = match self.config.secret_key() {
            Some(key) => Some(self.app.sidecar.secret(key).await?),
            None => None,
        };
        // A wrong setting counts as an outage: no reminder is rejected for it.
        Provider::new(&self.config, secret).map_err(HandlerError::Outage)
    }

    async fn call(
        conn: &mut PgConnection,
        provider: &Provider,
        row: &Row,
    ) -> Result<Result<String, SendError>, HandlerError> {
        let email = row.email()?;
        // On the connection of the lock. Sends that needed a second one could deadlock on the pool. A send that lost its connection,
        // and so its lock, ends here, before the message leaves.
        let before_body = async {
            let begun = sqlx::query!(
                "update notification_deliveries set at_dot = now() where id = $1 and state = 'sending' and attempts = $2",
                row.id,
                row.attempts
            )
            .execute(&mut *conn)
            .await?
            .rows_affected();
            anyhow::ensure!(begun == 1, "another process attempts it");
            crash("delivery-at-the-dot");
            Ok(())
        };
        Ok(provider.send(&email, before_body).await)
    }
}
