//! Sends a reminder that is due: on each of its channels one delivery, attempted until it is over.
//!
//! An attempt goes: commit that it begins, look once more whether the reminder is still to be sent, call the provider, record
//! the answer and emit `reminder.sent` in one transaction. A session lock on the delivery keeps a second process from
//! attempting it at the same time; it saves work, the row decides what an attempt that died meant (see [`crate::delivery`]).
//!
//! A provider that is away does not hold up the topic: the attempt is recorded, a Dapr job `delivery-<id>-<attempts>` makes
//! the next one, and the event is done. Repair finds a delivery whose job was lost.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use chrono::{DateTime, SecondsFormat, Utc};
use serde_json::json;
use shared::{
    App,
    audit::{self, ReminderRef},
    event::{Event, Trace},
    faults::{broken, crash},
    inbox::Failure,
    outbox,
    recurrence::Zone,
    schema::{Channel, ReminderDue, ReminderSent},
};
use sqlx::{
    Connection as _, Either, PgConnection, Postgres, pool::PoolConnection, postgres::PgAdvisoryLock, types::Json,
};
use tokio::sync::OnceCell;
use uuid::Uuid;

use crate::{
    delivery::{self, After, Next, Record, State},
    email::{Email, EmailConfig, Provider, ReminderMail, SendError},
};

/// Lateness that is worth a word to the user.
const LATE: chrono::Duration = chrono::Duration::minutes(2);
/// How old what we know of a provider's wish may be.
const ASK_EVERY: Duration = Duration::from_secs(1);

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
    throttled: Arc<tokio::sync::Mutex<Throttled>>,
}

/// What this process knows of a provider's wish to be left alone.
#[derive(Default)]
struct Throttled {
    asked: Option<Instant>,
    until: Option<DateTime<Utc>>,
}

impl Sender {
    /// Connects to nothing: the provider and its secret are looked up at the first message.
    #[must_use]
    pub fn new(app: App, config: EmailConfig) -> Self {
        Self {
            app,
            config: Arc::new(config),
            provider: Arc::default(),
            accepted: Arc::default(),
            throttled: Arc::default(),
        }
    }

    /// Makes the deliveries of a reminder that is due, and the first attempt of each.
    ///
    /// # Errors
    /// When the database, the scheduler or the secret store is away, or another process is at it; then the event comes again.
    pub async fn send(&self, event: &Event<ReminderDue>) -> Result<(), Failure> {
        let due = &event.data;
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
        let conn = self.app.db.acquire().await?;
        self.attempt_on(conn, id).await.map(drop)
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
            return self.record_sent(conn, &row, provider, &message_id).await;
        }
        let repeat = match delivery::next(&row.record(), provider.has_idempotency_key(), row.now) {
            Next::Nothing => return Ok(()),
            Next::Wait(until) => return self.arm(id, row.attempts, until).await,
            Next::GiveUp if row.repeated => {
                return self.end(conn, &row, "unknown", "no reply, and repeated once").await;
            }
            Next::GiveUp => return self.end(conn, &row, "unknown", "the provider's memory of it has passed").await,
            Next::Attempt { repeat } => repeat,
        };
        if row.remind_at > row.now && row.version == row.reminder_version {
            // Fired by a database whose clock was ahead of this one's.
            return Err(Failure::Outage(anyhow::anyhow!("delivery {id} is not due by the clock of the database")));
        }
        if let Some(until) = self.throttled(provider, row.now).await {
            self.postpone(conn, &row, until, repeat, "the provider asked all of us to wait").await?;
            return self.arm(id, row.attempts, until).await;
        }
        let row = self.begin(conn, row, provider, repeat).await?;
        crash("delivery-begun");
        if let Some(reason) = row.obstacle().filter(|_| !broken("no-second-look")) {
            return self.end(conn, &row, "skipped", reason).await;
        }
        match Self::call(conn, provider, &row).await? {
            Ok(message_id) => {
                crash("delivery-accepted");
                self.accepted.lock().unwrap_or_else(PoisonError::into_inner).insert(id, message_id.clone());
                self.record_sent(conn, &row, provider, &message_id).await
            }
            Err(error) => self.record_refusal(conn, &row, provider, &error).await,
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
        Ok(self.app.sidecar.arm(&name, at, &json!({"delivery_id": id})).await?)
    }

    /// Commits that an attempt begins, and then reads the row as it is: whatever was acknowledged before is seen.
    async fn begin(
        &self,
        conn: &mut PgConnection,
        row: Row,
        provider: &Provider,
        repeat: bool,
    ) -> Result<Row, Failure> {
        let detail = json!({"delivery_id": row.id, "channel": row.channel});
        let mut steps = vec![("reminder.unknown", detail.clone())];
        steps.truncate(usize::from(repeat));
        let mut sending = detail;
        sending["attempt"] = json!(row.attempts + 1);
        steps.push(("reminder.sending", sending));
        let (actions, details): (Vec<&str>, Vec<serde_json::Value>) = steps.into_iter().unzip();
        sqlx::query!(
            "with begun as (
                 update notification_deliveries
                 set state = 'sending', attempts = attempts + 1, started_at = now(), at_dot = null, reason = null,
                     repeated = repeated or $2, provider = $3, next_attempt_at = now() + interval '1 minute'
                 where id = $1
             )
             insert into audit_logs (user_id, task_id, reminder_id, reminder_version, action, detail)
             select $4, $5, $6, $7, action, detail
             from unnest($8::text[], $9::jsonb[]) with ordinality as step (action, detail, place) order by place",
            row.id,
            repeat,
            provider.name(),
            row.user_id,
            row.task_id,
            row.reminder_id,
            row.reminder_version,
            &actions as _,
            &details,
        )
        .execute(&mut *conn)
        .await?;
        Row::read(conn, row.id).await?.ok_or_else(|| Failure::Fault(anyhow::anyhow!("the delivery vanished")))
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

    async fn record_sent(
        &self,
        conn: &mut PgConnection,
        row: &Row,
        provider: &Provider,
        message_id: &str,
    ) -> Result<(), Failure> {
        let sent = ReminderSent {
            task: row.due.task.clone(),
            reminder_id: row.reminder_id,
            remind_at: row.due.remind_at,
            reminder_version: row.reminder_version,
            channel: Channel::Email,
            delivery_id: row.id,
        };
        let event = outbox::Row::new(&sent, &row.trace);
        // One statement: the answer and the event that tells of it are recorded together, and once.
        sqlx::query!(
            "with sent as (
                 update notification_deliveries
                 set state = 'sent', sent_at = now(), provider_message_id = $2, reason = null
                 where id = $1 and state <> 'sent'
                 returning id
             )
             insert into task_events (id, type, task_id, user_id, sequence, data, traceparent)
             select $3, $4, $5, $6, $7, $8, $9 from sent",
            row.id,
            message_id,
            event.id,
            event.kind,
            event.task_id,
            event.user_id,
            event.sequence,
            event.data,
            event.traceparent,
        )
        .execute(conn)
        .await?;
        crash("delivery-recorded");
        self.accepted.lock().unwrap_or_else(PoisonError::into_inner).remove(&row.id);
        self.app.outbox.wake();
        tracing::info!(delivery.id = %row.id, reminder.id = %row.reminder_id, provider = provider.name(), "reminder-due: delivery {} accepted", row.id);
        Ok(())
    }

    async fn record_refusal(
        &self,
        conn: &mut PgConnection,
        row: &Row,
        provider: &Provider,
        error: &SendError,
    ) -> Result<(), Failure> {
        match delivery::after(&row.record(), error, row.now) {
            After::Failed => self.end(conn, row, "failed", error.reason()).await,
            After::Unknown => self.end(conn, row, "unknown", error.reason()).await,
            After::Retry { at, repeat } => {
                if matches!(error, SendError::Throttled { .. }) {
                    self.throttle(provider, at, row.now).await;
                }
                self.postpone(conn, row, at, repeat, error.reason()).await?;
                self.arm(row.id, row.attempts, at).await
            }
        }
    }

    async fn postpone(
        &self,
        conn: &mut PgConnection,
        row: &Row,
        at: DateTime<Utc>,
        repeat: bool,
        reason: &str,
    ) -> Result<(), Failure> {
        let mut tx = conn.begin().await?;
        sqlx::query!(
            "update notification_deliveries
             set state = 'retrying', next_attempt_at = $2, repeated = repeated or $3, reason = $4 where id = $1",
            row.id,
            at,
            repeat,
            reason,
        )
        .execute(&mut *tx)
        .await?;
        let action = if repeat { "reminder.unknown" } else { "reminder.retrying" };
        let detail = json!({"delivery_id": row.id, "channel": row.channel, "reason": reason, "next_attempt_at": at});
        audit::reminder(&mut tx, row.of(), action, detail).await?;
        tx.commit().await?;
        tracing::warn!(delivery.id = %row.id, reason, "reminder-due: delivery {} was not accepted and will be attempted again", row.id);
        Ok(())
    }

    /// Ends a delivery that was not accepted. A reminder that ends on every channel so has failed.
    async fn end(&self, conn: &mut PgConnection, row: &Row, state: &str, reason: &str) -> Result<(), Failure> {
        let mut tx = conn.begin().await?;
        sqlx::query!("update notification_deliveries set state = $2, reason = $3 where id = $1", row.id, state, reason)
            .execute(&mut *tx)
            .await?;
        let detail = json!({"delivery_id": row.id, "channel": row.channel, "reason": reason});
        audit::reminder(&mut tx, row.of(), &format!("reminder.{state}"), detail).await?;
        sqlx::query!(
            "update task_reminders set state = 'failed', updated_at = now()
             where id = $1 and version = $2 and state = 'scheduled' and $3 <> 'skipped' and not exists (
                 select from notification_deliveries
                 where reminder_id = $1 and reminder_version = $2 and state not in ('failed', 'unknown', 'skipped'))",
            row.reminder_id,
            row.reminder_version,
            state,
        )
        .execute(&mut *tx)
        .await?;
        tx.commit().await?;
        tracing::warn!(delivery.id = %row.id, reason, "reminder-due: delivery {} ended {state}: {reason}", row.id);
        Ok(())
    }

    /// Until when a provider wants to be left alone: kept in the state store, so that every process of ours knows, and asked for once
    /// a second. Not to know it costs a refused attempt, so an error is no obstacle.
    async fn throttled(&self, provider: &Provider, now: DateTime<Utc>) -> Option<DateTime<Utc>> {
        if matches!(provider, Provider::Files(_)) {
            return None;
        }
        let mut known = self.throttled.lock().await;
        if known.asked.is_none_or(|asked| asked.elapsed() >= ASK_EVERY) {
            let until = self.app.sidecar.state(&throttle_key(provider)).await.ok().flatten();
            let until = until.and_then(|until| DateTime::parse_from_rfc3339(&until).ok());
            *known = Throttled { asked: Some(Instant::now()), until: until.map(|until| until.to_utc()) };
        }
        known.until.filter(|until| *until > now)
    }

    async fn throttle(&self, provider: &Provider, until: DateTime<Utc>, now: DateTime<Utc>) {
        let text = until.to_rfc3339_opts(SecondsFormat::Millis, true);
        let ttl = (until - now).to_std().unwrap_or_default();
        *self.throttled.lock().await = Throttled { asked: Some(Instant::now()), until: Some(until) };
        if let Err(error) = self.app.sidecar.save_state(&throttle_key(provider), &text, ttl).await {
            tracing::warn!(error = %error, "reminder-due: others do not know that {} is throttled", provider.name());
        }
    }
}

fn throttle_key(provider: &Provider) -> String {
    format!("throttled-{}", provider.name())
}

/// A delivery, with what it is about as that is now.
struct Row {
    id: Uuid,
    reminder_id: Uuid,
    reminder_version: i32,
    channel: String,
    user_id: Uuid,
    task_id: Uuid,
    state: String,
    attempts: i32,
    created_at: DateTime<Utc>,
    at_dot: Option<DateTime<Utc>>,
    repeated: bool,
    next_attempt_at: DateTime<Utc>,
    due: Json<ReminderDue>,
    trace: Trace,
    version: i32,
    cancel_reason: Option<String>,
    remind_at: DateTime<Utc>,
    fired_at: Option<DateTime<Utc>>,
    completed: Option<bool>,
    due_at: Option<DateTime<Utc>>,
    zone: Option<String>,
    address: Option<String>,
    now: DateTime<Utc>,
}

impl Row {
    async fn read(conn: &mut PgConnection, id: Uuid) -> sqlx::Result<Option<Self>> {
        let row = sqlx::query!(
            r#"select delivery.id, reminder_id, reminder_version, channel, delivery.user_id, delivery.task_id,
                      delivery.state, attempts, delivery.created_at, at_dot, repeated, next_attempt_at,
                      event.data as "due: Json<ReminderDue>", event.traceparent,
                      reminder.version, reminder.cancel_reason, reminder.remind_at, reminder.fired_at,
                      task.completed as "completed?", task.due_at, coalesce(task.time_zone, owner.time_zone) as zone,
                      owner.email as "address?", clock_timestamp() as "now!"
               from notification_deliveries delivery
               join task_reminders reminder on reminder.id = reminder_id
               join task_events event on event.id = delivery.event_id
               left join tasks task on task.id = delivery.task_id
               left join users owner on owner.id = delivery.user_id
               where delivery.id = $1"#,
            id
        )
        .fetch_optional(conn)
        .await?;
        Ok(row.map(|row| Self {
            id: row.id,
            reminder_id: row.reminder_id,
            reminder_version: row.reminder_version,
            channel: row.channel,
            user_id: row.user_id,
            task_id: row.task_id,
            state: row.state,
            attempts: row.attempts,
            created_at: row.created_at,
            at_dot: row.at_dot,
            repeated: row.repeated,
            next_attempt_at: row.next_attempt_at,
            due: row.due,
            trace: Trace::from_header(row.traceparent.as_deref()),
            version: row.version,
            cancel_reason: row.cancel_reason,
            remind_at: row.remind_at,
            fired_at: row.fired_at,
            completed: row.completed,
            due_at: row.due_at,
            zone: row.zone,
            address: row.address,
            now: row.now,
        }))
    }

    fn record(&self) -> Record {
        Record {
            state: State::parse(&self.state),
            attempts: self.attempts,
            created_at: self.created_at,
            at_dot: self.at_dot.is_some(),
            repeated: self.repeated,
            next_attempt_at: self.next_attempt_at,
        }
    }

    fn of(&self) -> ReminderRef {
        ReminderRef {
            id: self.reminder_id,
            version: self.reminder_version,
            task_id: self.task_id,
            user_id: self.user_id,
        }
    }

    /// Why the message is not to be sent after all, if it is not.
    fn obstacle(&self) -> Option<&str> {
        match self {
            Self { cancel_reason: Some(reason), .. } => Some(reason),
            _ if self.version != self.reminder_version => Some("moved"),
            Self { completed: None, .. } => Some("deleted"),
            Self { completed: Some(true), .. } => Some("completed"),
            Self { address: None, .. } => Some("the user is gone"),
            _ => None,
        }
    }

    /// The message. The same words at every attempt: a provider that knows our key refuses it with others.
    fn email(&self) -> Result<Email, Failure> {
        let zone = self.zone.as_deref().and_then(|name| Zone::parse(name).ok()).unwrap_or_else(Zone::utc);
        let late = self.fired_at.map(|fired| fired - self.due.remind_at).filter(|late| *late >= LATE).map(duration);
        ReminderMail::new(
            &self.due.task.title,
            self.due_at.map(|due| zone.show(due)),
            zone.show(self.due.remind_at),
            late,
        )
        .email(self.id, self.address.clone().unwrap_or_default())
        .map_err(|error| Failure::Fault(error.into()))
    }
}

/// "3 hours": the largest unit is enough.
fn duration(length: chrono::Duration) -> String {
    let (count, unit) = match length {
        _ if length.num_days() > 0 => (length.num_days(), "day"),
        _ if length.num_hours() > 0 => (length.num_hours(), "hour"),
        _ => (length.num_minutes(), "minute"),
    };
    format!("{count} {unit}{}", if count == 1 { "" } else { "s" })
}
