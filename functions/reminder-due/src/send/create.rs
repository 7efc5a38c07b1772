//! Creates the deliveries of a due reminder, or records why it has none.

use serde_json::json;
use shared::{
    audit::{self, ReminderRef},
    cloud_event::Event,
    inbox::HandlerError,
    reminder::{CancelReason, SkipReason},
    schema::ReminderDue,
};
use sqlx::PgConnection;
use uuid::Uuid;

/// Creates the deliveries of a due reminder that do not exist yet, and returns all of them. Locks the reminder, so that an erasure, which deletes
/// reminders first, finds the deliveries.
pub(super) async fn deliveries(conn: &mut PgConnection, event: &Event<ReminderDue>) -> sqlx::Result<Vec<Uuid>> {
    let due = &event.data;
    let created = sqlx::query_scalar!(
        "insert into notification_deliveries (id, reminder_id, reminder_version, channel, target, user_id, task_id, event_id)
         select gen_random_uuid(), reminder.id, $2, channel, coalesce(device.id, $4), reminder.user_id, task_id, $3
         from (select * from task_reminders
               where id = $1 and version = $2 and exists (select from task_events where id = $3)
                 -- A device that is added later gets the next reminder.
                 and not exists (select from notification_deliveries where reminder_id = $1 and reminder_version = $2)
               for key share) reminder
         cross join unnest(channels) as channel
         left join push_subscriptions device on channel = 'push' and device.user_id = reminder.user_id
         on conflict on constraint notification_deliveries_once do nothing
         returning id",
        due.reminder_id,
        due.reminder_version,
        event.id,
        Uuid::nil(),
    )
    .fetch_all(&mut *conn)
    .await?;
    if !created.is_empty() {
        return Ok(created);
    }
    // A statement of its own: the first waits for a process that is creating them, and would not see them in its own snapshot.
    sqlx::query_scalar!(
        "select id from notification_deliveries where reminder_id = $1 and reminder_version = $2",
        due.reminder_id,
        due.reminder_version,
    )
    .fetch_all(conn)
    .await
}

/// Records why an event creates no delivery: the reminder has a newer version. An event that a restored database does not know
/// is rejected, because that database fires the reminder again itself. So is one whose user was erased, which leaves no letter.
pub(super) async fn record_why_none(conn: &mut PgConnection, event: &Event<ReminderDue>) -> Result<(), HandlerError> {
    let due = &event.data;
    let row = sqlx::query!(
        r#"select exists (select from task_events where id = $1 and data <> '{}') as "known!",
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
    let reason = row.cancel_reason.map_or(SkipReason::Moved, SkipReason::Cancelled);
    Ok(audit::reminder(conn, of, "reminder.skipped", json!({"reason": reason.as_str()})).await?)
}
