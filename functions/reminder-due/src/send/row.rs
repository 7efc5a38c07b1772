//! Reads a delivery with its reminder, task and user, and writes its message.

use chrono::{DateTime, Utc};
use serde_json::{Value, json};
use shared::{
    audit::ReminderRef,
    cloud_event::Trace,
    delivery::DeliveryState,
    inbox::HandlerError,
    recurrence::Zone,
    reminder::CancelReason,
    schema::{Channel, ReminderDue, SentOn},
};
use sqlx::{PgConnection, types::Json};
use uuid::Uuid;

use crate::{
    actions::Actions,
    attempt::Snapshot,
    delivery::{Record, Reminder, WINDOW},
    email::{Email, ReminderMail},
    push::{self, Device, Notification},
};

/// Lateness from which on the message mentions it.
const LATE: chrono::Duration = chrono::Duration::minutes(2);

/// A delivery with its reminder, task and user, read by one statement.
pub(super) struct Row {
    pub(super) id: Uuid,
    pub(super) reminder_id: Uuid,
    pub(super) reminder_version: i32,
    pub(super) channel: SentOn,
    /// The push subscription that it goes to.
    pub(super) target: Option<Uuid>,
    user_id: Uuid,
    task_id: Uuid,
    state: DeliveryState,
    pub(super) attempts: i32,
    created_at: DateTime<Utc>,
    at_dot: Option<DateTime<Utc>>,
    repeated: bool,
    next_attempt_at: DateTime<Utc>,
    lease_until: DateTime<Utc>,
    pub(super) due: Json<ReminderDue>,
    pub(super) trace: Trace,
    version: i32,
    cancel_reason: Option<CancelReason>,
    remind_at: DateTime<Utc>,
    fired_at: Option<DateTime<Utc>>,
    completed: Option<bool>,
    due_at: Option<DateTime<Utc>>,
    zone: Option<String>,
    address: Option<String>,
    hide_titles: bool,
    /// That subscription, if the user still has it.
    pub(super) device: Option<Device>,
    message: Option<Json<Email>>,
    /// When the user may get another message, unless that is now.
    pub(super) over_quota_until: Option<DateTime<Utc>>,
    pub(super) now: DateTime<Utc>,
}

impl Row {
    pub(super) async fn read(conn: &mut PgConnection, id: Uuid, messages_per_hour: u32) -> sqlx::Result<Option<Self>> {
        let row = sqlx::query_file!("src/send/row.sql", id, i64::from(messages_per_hour)).fetch_optional(conn).await?;
        Ok(row.map(|row| Self {
            id: row.id,
            reminder_id: row.reminder_id,
            reminder_version: row.reminder_version,
            channel: row.channel.into(),
            target: Some(row.target).filter(|target| !target.is_nil()),
            user_id: row.user_id,
            task_id: row.task_id,
            state: row.state,
            attempts: row.attempts,
            created_at: row.created_at,
            at_dot: row.at_dot,
            repeated: row.repeated,
            next_attempt_at: row.next_attempt_at,
            lease_until: row.lease_until,
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
            hide_titles: row.hide_titles,
            device: match (row.endpoint, row.p256dh, row.auth, row.vapid_key) {
                (Some(endpoint), Some(p256dh), Some(auth), Some(vapid_key)) => {
                    Some(Device { endpoint, p256dh, auth, vapid_key })
                }
                _ => None,
            },
            message: row.message,
            over_quota_until: row.over_quota_until,
            now: row.now,
        }))
    }

    /// The data on which an attempt decides.
    pub(super) fn snapshot(&self) -> Snapshot {
        Snapshot {
            record: Record {
                state: self.state,
                created_at: self.created_at,
                at_dot: self.at_dot.is_some(),
                repeated: self.repeated,
                next_attempt_at: self.next_attempt_at,
                lease_until: self.lease_until,
            },
            attempts: self.attempts,
            reminder: Reminder {
                of_version: self.reminder_version,
                version: self.version,
                cancel_reason: self.cancel_reason,
                remind_at: self.remind_at,
                completed: self.completed,
                has_address: self.address.is_some(),
                has_target: !self.is_push() || self.device.is_some(),
            },
            now: self.now,
        }
    }

    fn is_push(&self) -> bool {
        self.channel == SentOn::Known(Channel::Push)
    }

    /// Whether the delivery has no device yet, and stands for all devices of the user.
    pub(super) fn is_for_every_device(&self) -> bool {
        self.is_push() && self.target.is_none()
    }

    /// Replaces it by a delivery per device, unless the user has none. Returns the new ones. Locks the reminder, as its first deliveries do.
    pub(super) async fn split(&self, conn: &mut PgConnection) -> sqlx::Result<Vec<Uuid>> {
        sqlx::query_scalar!(
            r#"with whole as materialized (
                 select delivery.* from notification_deliveries delivery join task_reminders reminder on reminder.id = reminder_id
                 where delivery.id = $1 and attempts = 0 for key share of reminder
             ), device as (
                 insert into notification_deliveries (id, reminder_id, reminder_version, channel, target, user_id, task_id, event_id)
                 select gen_random_uuid(), reminder_id, reminder_version, channel, subscription.id, whole.user_id, task_id, event_id
                 from whole join push_subscriptions subscription on subscription.user_id = whole.user_id
                 on conflict on constraint notification_deliveries_once do nothing
                 returning id
             ), replaced as (
                 delete from notification_deliveries
                 where id = (select id from whole where exists (select from push_subscriptions where user_id = whole.user_id))
             )
             select id as "id!" from device"#,
            self.id,
        )
        .fetch_all(conn)
        .await
    }

    /// How the audit log names it.
    pub(super) fn detail(&self) -> Value {
        let mut detail = json!({"delivery_id": self.id, "channel": self.channel});
        if let Some(target) = self.target {
            detail["target"] = json!(target);
        }
        detail
    }

    pub(super) fn of(&self) -> ReminderRef {
        ReminderRef {
            id: self.reminder_id,
            version: self.reminder_version,
            task_id: self.task_id,
            user_id: self.user_id,
        }
    }

    /// The message. A provider with a key gets the text of the first attempt again; another gets the current text.
    pub(super) fn email(&self, actions: Option<&Actions>) -> Result<Email, HandlerError> {
        if let Some(Json(message)) = &self.message {
            return Ok(message.clone());
        }
        let zone = self.zone.as_deref().and_then(|name| Zone::parse(name).ok()).unwrap_or_else(Zone::utc);
        let late = self.fired_at.map(|fired| fired - self.due.remind_at).filter(|late| *late >= LATE).map(duration);
        ReminderMail::new(
            &self.due.task.title,
            self.due_at.map(|due| zone.show(due)),
            zone.show(self.due.remind_at),
            late,
        )
        .with_links(actions.and_then(|actions| actions.links(self.of(), self.created_at)))
        .email(self.id, self.address.clone().unwrap_or_default())
        .map_err(|error| HandlerError::Failed(error.into()))
    }

    /// The message to a device.
    pub(super) fn notification(&self, actions: Option<&Actions>) -> Notification {
        Notification {
            delivery_id: self.id,
            reminder_id: self.reminder_id,
            reminder_version: self.reminder_version,
            task_id: self.task_id,
            title: if self.hide_titles { None } else { push::title(&self.due.task.title) },
            remind_at: self.due.remind_at,
            due_at: self.due_at,
            actions: actions.map(|actions| actions.capabilities(self.of(), self.created_at)),
        }
    }

    /// How long a push service may keep the message for a device that is away: until no attempt would be made anymore.
    pub(super) fn lifetime(&self) -> std::time::Duration {
        (self.created_at + WINDOW - self.now).to_std().unwrap_or_default()
    }
}

/// "3 hours": a duration in its largest unit.
fn duration(length: chrono::Duration) -> String {
    let (count, unit) = match length {
        _ if length.num_days() > 0 => (length.num_days(), "day"),
        _ if length.num_hours() > 0 => (length.num_hours(), "hour"),
        _ => (length.num_minutes(), "minute"),
    };
    format!("{count} {unit}{}", if count == 1 { "" } else { "s" })
}
