//! Sends a due reminder: creates one delivery per channel and device, and attempts each until it has ended.
//!
//! [`crate::attempt`] says which steps an attempt takes; this module performs them on PostgreSQL, the provider and the scheduler.
//! Beginning an attempt takes a lease of the delivery: a row, so that no connection is held while the provider takes its time, and
//! a transaction pooler may stand in between. A process that finds the lease of another arms the delivery's job for its end and
//! acknowledges, so that a lease blocks no partition. The lease ends by itself if its process dies; then the row decides (see
//! [`crate::delivery`]).
//!
//! A provider that is away does not block the topic: the attempt is recorded, a Dapr job makes the next one, and the event is
//! done. Repair finds deliveries whose job was lost.

mod accepted;
mod connection;
mod create;
mod provider;
mod record;
mod row;
mod throttle;

use std::{sync::Arc, time::Instant};

use shared::{
    App,
    cloud_event::Event,
    config::or_exit,
    delivery::DeliveryJob,
    faults::crash,
    inbox::HandlerError,
    schema::{Channel, ReminderDue, SentOn},
};
use tokio::{
    sync::{OnceCell, Semaphore, SemaphorePermit},
    time::timeout,
};
use uuid::Uuid;

use self::{accepted::Accepted, connection::Connection, provider::Provider, row::Row, throttle::Throttle};
use crate::{
    actions::Actions,
    attempt::{self, Step},
    email::{self, EmailConfig, SendError},
    push::{self, Push, PushConfig},
};

/// Maximum messages in flight: as many as `concurrency` in knative/chart/values.yaml gives a pod. Each takes a few hundred kilobytes,
/// most of them for its TLS connection, and no database connection while the provider takes its time.
const MESSAGES: usize = 50;
/// Messages that an event sends itself. Each of the others gets a job, so that a user with many devices keeps no partition waiting.
const BY_EVENT: usize = 2;

/// Sends reminders; cheap to clone.
#[derive(Clone)]
pub struct Sender {
    /// The function's state.
    pub app: App,
    config: Arc<EmailConfig>,
    actions: Arc<Option<Actions>>,
    push_config: Arc<PushConfig>,
    email: Arc<OnceCell<email::Provider>>,
    push: Arc<OnceCell<Push>>,
    accepted: Accepted,
    throttle: Throttle,
    /// Limits concurrent messages.
    slots: Arc<Semaphore>,
}

impl Sender {
    /// Creates a sender. It connects to nothing and looks up a provider's secret at its first message. Ends the process if a key of
    /// capabilities cannot be used.
    #[must_use]
    pub fn new(app: App, config: EmailConfig, push_config: PushConfig) -> Self {
        Self {
            app,
            actions: Arc::new(or_exit(Actions::new(&config))),
            config: Arc::new(config),
            push_config: Arc::new(push_config),
            email: Arc::default(),
            push: Arc::default(),
            accepted: Accepted::default(),
            throttle: Throttle::default(),
            slots: Arc::new(Semaphore::new(MESSAGES)),
        }
    }

    /// Creates the deliveries of a due reminder, and makes the first attempt of each or arms its job.
    ///
    /// # Errors
    /// If the database, the scheduler or the secret store is away. Then the event comes again.
    pub async fn send(&self, event: &Event<ReminderDue>) -> Result<(), HandlerError> {
        let _slot = self.slot().await?;
        let mut conn = Connection::of(&self.app.db);
        let deliveries = conn.run(async |conn| create::deliveries(conn, event).await);
        let deliveries = self.in_time(deliveries).await?;
        if deliveries.is_empty() {
            self.in_time(conn.run(async |conn| create::record_why_none(conn, event).await)).await?;
        }
        let mut attempted = Ok(());
        for (place, delivery_id) in deliveries.into_iter().enumerate() {
            let next = if place < BY_EVENT {
                self.attempt_on(&mut conn, delivery_id, None).await
            } else {
                conn.give_back();
                let job = DeliveryJob { delivery_id, attempts: 0 };
                job.arm(&self.app.sidecar, event.data.remind_at).await.map_err(HandlerError::from)
            };
            // A channel that fails keeps none of the others from sending.
            attempted = next.and(attempted);
        }
        attempted
    }

    /// Makes the next attempt of a delivery if its time has come; otherwise arms a job for that time. `job` is the name of the job that
    /// calls. If that is the job for that time, it calls again.
    ///
    /// # Errors
    /// As [`Sender::send`].
    pub async fn attempt(&self, id: Uuid, job: &str) -> Result<(), HandlerError> {
        let _slot = self.slot().await?;
        self.attempt_on(&mut Connection::of(&self.app.db), id, Some(job)).await
    }

    /// Waits for a slot, at most as long as the pool waits for a connection.
    async fn slot(&self) -> Result<SemaphorePermit<'_>, HandlerError> {
        let limit = self.app.db.options().get_acquire_timeout();
        tokio::select! {
            biased;
            () = self.app.stop.cancelled() => Err(HandlerError::Outage(anyhow::anyhow!("the process is stopping"))),
            slot = timeout(limit, self.slots.acquire()) => match slot {
                Ok(slot) => Ok(slot.expect("it is never closed")),
                Err(_) => Err(HandlerError::Outage(anyhow::anyhow!("earlier messages take too long"))),
            },
        }
    }

    /// Performs the steps of an attempt.
    async fn attempt_on(&self, conn: &mut Connection<'_>, id: Uuid, job: Option<&str>) -> Result<(), HandlerError> {
        let Some(mut row) = self.read(conn, id).await? else { return Ok(()) };
        let SentOn::Known(channel) = row.channel else {
            // During an upgrade, or after a rollback. Newer code finds it overdue.
            tracing::warn!(delivery.id = %id, "reminder-due: delivery {id} is on a channel of a newer release, which is to send it");
            return Ok(());
        };
        let provider = self.provider(channel).await?;
        if row.is_for_every_device() {
            // Older code has made it, or the user has no device.
            let devices = self.in_time(conn.run(async |conn| row.split(conn).await)).await?;
            conn.give_back();
            for delivery_id in devices {
                let next = DeliveryJob { delivery_id, attempts: 0 };
                next.arm(&self.app.sidecar, row.now).await?;
            }
        }
        let mut step = attempt::start(&row.snapshot(), provider.has_idempotency_key(), self.accepted.message_of(id));
        loop {
            step = match step {
                Step::CheckThrottle(check) => match row.over_quota_until {
                    Some(at) => check.over_quota(at),
                    None => check.found(match provider.throttling(&row) {
                        Some(by) => self.throttle.until(conn, &self.app.sidecar, &by, row.now).await,
                        None => None,
                    }),
                },
                Step::Begin(begin) => {
                    let begun = record::begin(conn, &row, provider, self.actions(), &begin, self.config.lease());
                    let begun = self.in_time(begun).await?;
                    crash("delivery-begun");
                    if begun { begin.committed() } else { begin.lost() }
                }
                Step::LookAgain(look) => {
                    let Some(again) = self.read(conn, id).await? else { return Ok(()) };
                    row = again;
                    look.found(&row.snapshot())
                }
                Step::ReadAgain(read) => {
                    let Some(again) = self.read(conn, id).await? else { return Ok(()) };
                    row = again;
                    read.found(&row.snapshot(), self.accepted.message_of(id))
                }
                Step::CallProvider(call) if self.app.stop.is_cancelled() => call.stopped(row.now),
                Step::CallProvider(call) => {
                    conn.give_back();
                    let called = Instant::now();
                    let answer = self.call(provider, &row).await?;
                    call.answered(answer, row.now + called.elapsed())
                }
                Step::RecordSent(sent) => {
                    conn.give_back();
                    return self.accepted.record(&self.app, row, sent.message_id(), self.config.record_limit).await;
                }
                Step::ShareThrottle(throttle) => {
                    conn.give_back();
                    if let Some(by) = provider.throttling(&row) {
                        self.throttle.set(&self.app.sidecar, &by, throttle.until, throttle.now).await;
                    }
                    throttle.shared()
                }
                Step::Postpone(postpone) => match self.in_time(record::postpone(conn, &row, &postpone)).await? {
                    true => postpone.committed(),
                    false => postpone.lost(),
                },
                Step::End(end) => match self.in_time(record::end(conn, &row, &end)).await? {
                    true => end.committed(),
                    false => end.lost(),
                },
                Step::ArmRetry(retry) => {
                    conn.give_back();
                    let next = DeliveryJob { delivery_id: id, attempts: retry.attempts };
                    next.arm(&self.app.sidecar, retry.at).await?;
                    retry.armed()
                }
                Step::Wait(wait) => {
                    conn.give_back();
                    let next = DeliveryJob { delivery_id: id, attempts: wait.attempts };
                    if job == Some(next.name().as_str()) {
                        next.call_again(&self.app.sidecar, wait.until - row.now).await?;
                    } else {
                        next.arm_if_missing(&self.app.sidecar, wait.until).await?;
                    }
                    wait.armed()
                }
                Step::Done => return Ok(()),
            }
        }
    }

    /// Awaits statements of an attempt. After an error the attempt ends, and its connection is closed if it does not answer.
    async fn in_time<T, E>(&self, statements: impl Future<Output = Result<T, E>>) -> Result<T, HandlerError>
    where
        HandlerError: From<E>,
    {
        match timeout(self.app.deadlines().answer, statements).await {
            Ok(answer) => Ok(answer?),
            Err(_) => Err(HandlerError::Outage(anyhow::anyhow!("the database did not answer in time"))),
        }
    }

    /// Reads a delivery. None ends the attempt: an erasure may delete the row at any time.
    async fn read(&self, conn: &mut Connection<'_>, id: Uuid) -> Result<Option<Row>, HandlerError> {
        let quota = self.config.user_messages_per_hour.get();
        let row = self.in_time(conn.run(async |conn| Row::read(conn, id, quota).await)).await?;
        if row.is_none() {
            tracing::info!(delivery.id = %id, "reminder-due: delivery {id} does not exist");
        }
        Ok(row)
    }

    fn actions(&self) -> Option<&Actions> {
        (*self.actions).as_ref()
    }

    async fn provider(&self, channel: Channel) -> Result<Provider<'_>, HandlerError> {
        let create = async || {
            let secret = match self.config.secret_key() {
                Some(key) => Some(self.app.sidecar.secret(key).await?),
                None => None,
            };
            // A wrong setting counts as an outage: no reminder is rejected for it.
            email::Provider::new(&self.config, secret).map_err(HandlerError::Outage)
        };
        match channel {
            Channel::Email => self.email.get_or_try_init(create).await.map(Provider::Email),
            Channel::Push => Ok(Provider::Push),
        }
    }

    async fn call(&self, provider: Provider<'_>, row: &Row) -> Result<Result<String, SendError>, HandlerError> {
        match provider {
            Provider::Email(provider) => self.mail(provider, row).await,
            Provider::Push => Ok(self.push(row).await),
        }
    }

    async fn push(&self, row: &Row) -> Result<String, SendError> {
        let device = row.device.as_ref().ok_or_else(|| SendError::permanent("there is no device"))?;
        let create = async || {
            let keys = self.app.sidecar.secret(push::SECRET_KEY).await?;
            let contact = self.config.sender()?.email;
            Push::new(&self.push_config, contact.as_ref(), &keys, self.config.deadline)
        };
        let push = self.push.get_or_try_init(create).await.map_err(|error| {
            tracing::warn!(error = format!("{error:#}"), "reminder-due: nothing can be pushed: {error:#}");
            SendError::transient("the keys of Web Push are not available")
        })?;
        push.send(device, &row.notification(self.actions()), row.lifetime()).await
    }

    async fn mail(&self, provider: &email::Provider, row: &Row) -> Result<Result<String, SendError>, HandlerError> {
        let email = row.email(self.actions())?;
        // Renews the lease: what remains of the call and the time to record its answer count from here.
        let before_body = async {
            let begun = sqlx::query!(
                "update notification_deliveries
                 set at_dot = clock_timestamp(), lease_until = clock_timestamp() + make_interval(secs => $3)
                 where id = $1 and state = 'sending' and attempts = $2",
                row.id,
                row.attempts,
                self.config.lease_at_dot().as_secs_f64(),
            )
            .execute(&self.app.db)
            .await?
            .rows_affected();
            anyhow::ensure!(begun == 1, "another process attempts it");
            crash("delivery-at-the-dot");
            Ok(())
        };
        Ok(provider.send(&email, before_body).await)
    }
}
