//! Sends a reminder that is due: on each of its channels one delivery, attempted until it is over.
//!
//! An attempt goes: commit that it begins, look once more whether the reminder is still to be sent, call the provider, record
//! the answer and emit `reminder.sent` in one transaction. A session lock on the delivery keeps a second process from
//! attempting it at the same time; it saves work, the row decides what an attempt that died meant (see [`crate::delivery`]).
//!
//! A provider that is away does not hold up the topic: the attempt is recorded, a Dapr job `delivery-<id>-<attempts>` makes
//! the next one, and the event is done. Repair finds a delivery whose job was lost.

mod record;
mod row;
mod throttle;

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::Instant,
};

use chrono::{DateTime, Utc};
use serde_json::json;
use shared::{
    App,
    audit::{self, ReminderRef},
    cloud_event::Event,
    faults::crash,
    inbox::Failure,
    schema::ReminderDue,
};
use sqlx::{Either, PgConnection, Postgres, pool::PoolConnection, postgres::PgAdvisoryLock};
use tokio::sync::{OnceCell, Semaphore, SemaphorePermit};
use uuid::Uuid;

use self::{row::Row, throttle::Throttle};
use crate::{
    delivery::{self, After, Next},
    email::{EmailConfig, Provider, SendError},
};

/// Sends reminders; cheap to clone.
#[derive(Clone)]
pub struct Sender {
    /// The function's state.
    pub app: App,
    config: Arc<EmailConfig>,
    provider: Arc<OnceCell<Provider>>,
    /// Accepted by the provider, not yet recorded because the database went away in between. While this process lives, an
    /// outage of the database repeats no message.
    accepted: Arc<Mutex<HashMap<Uuid, String>>>,
    throttle: Throttle,
    /// Messages at a time: each has a connection to the database for as long as the provider takes.
    turns: Arc<Semaphore>,
}

impl Sender {
    /// Connects to nothing: the provider and its secret are looked up at the first message.
    #[must_use]
    pub fn new(app: App, config: EmailConfig) -> Self {
        // One connection is left to firing, which is not to wait for a provider, and one to the relay.
        let turns = app.db.options().get_max_connections().saturating_sub(2).max(1);
        Self {
            turns: Arc::new(Semaphore::new(turns as usize)),
            app,
            config: Arc::new(config),
            provider: Arc::default(),
            accepted: Arc::default(),
            throttle: Throttle::default(),
        }
    }

    /// Makes the deliveries of a reminder that is due, and the first attempt of each.
    ///
    /// # Errors
    /// When the database, the scheduler or the secret store is away, or another process is at it; then the event comes again.
    pub async fn send(&self, event: &Event<ReminderDue>) -> Result<(), Failure> {
        let due = &event.data;
        let _turn = self.turn().await?;
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

    /// Says why an event makes no delivery: the version has passed, or the event is none of ours (a database that was restored does
    /// not know it, and fires the reminder again itself).
    async fn nothing_to_send(&self, conn: &mut PgConnection, event: &Event<ReminderDue>) -> Result<(), Failure> {
        let due = &event.data;
        let row = sqlx::query!(
            r#"select exists (select from task_events where id = $1) as "known!",
                      (select cancel_reason from task_reminders where id = $2) as cancelled"#,
            event.id,
            due.reminder_id,
        )
        .fetch_one(&mut *conn)
        .await?;
        if !row.known {
            return Err(Failure::Reject("the outbox does not have it".to_owned()));
        }
        let of = ReminderRef {
            id: due.reminder_id,
            version: due.reminder_version,
            task_id: due.task.task_id,
            user_id: due.task.user_id,
        };
        let detail = json!({"reason": row.cancelled.as_deref().unwrap_or("moved")});
        Ok(audit::reminder(conn, of, "reminder.skipped", detail).await?)
    }

    /// Makes the next attempt of a delivery where one is to be made now; else has it made when it is time.
    ///
    /// # Errors
    /// As [`Sender::send`].
    pub async fn attempt(&self, id: Uuid) -> Result<(), Failure> {
        let _turn = self.turn().await?;
        let conn = self.app.db.acquire().await?;
        self.attempt_on(conn, id).await.map(drop)
    }

    /// Waits as long as for a connection.
    async fn turn(&self) -> Result<SemaphorePermit<'_>, Failure> {
        let limit = self.app.db.options().get_acquire_timeout();
        match tokio::time::timeout(limit, self.turns.acquire()).await {
            Ok(turn) => Ok(turn.expect("it is never closed")),
            Err(_) => Err(Failure::Outage(anyhow::anyhow!("the messages before it take too long"))),
        }
    }

    /// Makes it on a connection, which it gives back: what is done with few round trips is what a burst waits for.
    async fn attempt_on(&self, conn: PoolConnection<Postgres>, id: Uuid) -> Result<PoolConnection<Postgres>, Failure> {
        let provider = self.provider.get_or_try_init(|| self.provider()).await?;
        let lock = PgAdvisoryLock::new(format!("delivery {id}"));
        let Either::Left(mut lease) = lock.try_acquire(conn).await? else {
            return Err(Failure::Outage(anyhow::anyhow!("another process is at delivery {id}")));
        };
        let done = self.attempt_locked(id, provider, lease.as_mut()).await;
        match lease.release_now().await {
            Ok(conn) => done.map(|()| conn),
            // A connection that cannot say so is closed, and the lock goes with it.
            Err(error) => {
                tracing::debug!(error = %error, "the lock of a delivery ended with its connection");
                done?;
                Ok(self.app.db.acquire().await?)
            }
        }
    }

    async fn attempt_locked(&self, id: Uuid, provider: &Provider, conn: &mut PgConnection) -> Result<(), Failure> {
        let Some(row) = Row::read(conn, id).await? else {
            tracing::info!(delivery.id = %id, "reminder-due: delivery {id} is not known");
            return Ok(());
        };
        let accepted = self.accepted.lock().unwrap_or_else(PoisonError::into_inner).get(&id).cloned();
        if let Some(message_id) = accepted {
            return self.record_sent(conn, &row, &message_id).await;
        }
        let repeat = match delivery::next(&row.record(), provider.has_idempotency_key(), row.now) {
            Next::Nothing => return Ok(()),
            Next::Wait(until) => return self.arm(id, row.attempts, until).await,
            Next::GiveUp if provider.has_idempotency_key() => {
                return record::end(conn, &row, "unknown", "the provider's memory of it has passed").await;
            }
            Next::GiveUp => return record::end(conn, &row, "unknown", "no reply, and repeated once").await,
            Next::Attempt { repeat } => repeat,
        };
        if row.reminder().is_early(row.now) {
            return Err(Failure::Outage(anyhow::anyhow!("delivery {id} is not due by the clock of the database")));
        }
        if let Some(until) = self.throttle.until(&self.app.sidecar, provider, row.now).await {
            let later = delivery::again(&row.record(), repeat, until);
            return self.follow(conn, &row, later, "the provider asked all of us to wait").await;
        }
        let row = record::begin(conn, row, provider, repeat).await?;
        crash("delivery-begun");
        if let Some(reason) = row.reminder().obstacle() {
            return match delivery::unwanted(&row.record()) {
                "unknown" => {
                    let reason = format!("{reason}, and it may have been accepted before");
                    record::end(conn, &row, "unknown", &reason).await
                }
                ended => record::end(conn, &row, ended, reason).await,
            };
        }
        let called = Instant::now();
        match Self::call(conn, provider, &row).await? {
            Ok(message_id) => {
                crash("delivery-accepted");
                self.accepted.lock().unwrap_or_else(PoisonError::into_inner).insert(id, message_id.clone());
                self.record_sent(conn, &row, &message_id).await
            }
            // What it asks us to wait counts from its answer.
            Err(error) => self.record_refusal(conn, &row, provider, &error, row.now + called.elapsed()).await,
        }
    }

    async fn provider(&self) -> Result<Provider, Failure> {
        let secret = match self.config.secret_key() {
            Some(key) => Some(self.app.sidecar.secret(key).await?),
            None => None,
        };
        // A wrong setting is an outage of ours: no reminder is given up for it.
        Provider::new(&self.config, secret).map_err(Failure::Outage)
    }

    async fn arm(&self, id: Uuid, attempts: i32, at: DateTime<Utc>) -> Result<(), Failure> {
        let name = format!("delivery-{id}-{attempts}");
        Ok(self.app.sidecar.delivery_jobs.arm(&name, at, &json!({"delivery_id": id})).await?)
    }

    async fn call(
        conn: &mut PgConnection,
        provider: &Provider,
        row: &Row,
    ) -> Result<Result<String, SendError>, Failure> {
        let email = row.email()?;
        // On the connection of the lock: a send that needed a second one could wait for other sends that do the same, and one whose
        // lock went with its connection ends here, before the message leaves.
        let before_body = async {
            let begun = sqlx::query!(
                "update notification_deliveries set at_dot = now() where id = $1 and state = 'sending' and attempts = $2",
                row.id,
                row.attempts
            )
            .execute(&mut *conn)
            .await?
            .rows_affected();
            anyhow::ensure!(begun == 1, "another process is at it");
            crash("delivery-at-the-dot");
            Ok(())
        };
        Ok(provider.send(&email, before_body).await)
    }

    /// Also for a message that was accepted before, when the database was away.
    async fn record_sent(&self, conn: &mut PgConnection, row: &Row, message_id: &str) -> Result<(), Failure> {
        self.app.outbox.wake_after(record::sent(conn, row, message_id).await)?;
        self.accepted.lock().unwrap_or_else(PoisonError::into_inner).remove(&row.id);
        tracing::info!(delivery.id = %row.id, reminder.id = %row.reminder_id, "reminder-due: delivery {} accepted", row.id);
        Ok(())
    }

    async fn record_refusal(
        &self,
        conn: &mut PgConnection,
        row: &Row,
        provider: &Provider,
        error: &SendError,
        now: DateTime<Utc>,
    ) -> Result<(), Failure> {
        let after = delivery::after(&row.record(), error, provider.has_idempotency_key(), now);
        if let (After::Retry { at, .. }, SendError::Throttled { .. }) = (&after, error) {
            self.throttle.set(&self.app.sidecar, provider, *at, now).await;
        }
        self.follow(conn, row, after, error.reason()).await
    }

    async fn follow(&self, conn: &mut PgConnection, row: &Row, after: After, reason: &str) -> Result<(), Failure> {
        match after {
            After::Failed => record::end(conn, row, "failed", reason).await,
            After::Unknown => record::end(conn, row, "unknown", reason).await,
            After::Retry { at, repeat } => {
                record::postpone(conn, row, at, repeat, reason).await?;
                self.arm(row.id, row.attempts, at).await
            }
        }
    }
}
