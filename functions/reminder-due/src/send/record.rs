//! Writes the steps of an attempt, each in one transaction with its line in the audit log.
//!
//! [`begin`] and [`sent`], which every message needs, are one statement each: in a burst the last message waits for the round
//! trips of all others.

use chrono::{DateTime, Utc};
use serde_json::json;
use shared::{
    audit,
    delivery::DeliveryState,
    faults::crash,
    inbox::HandlerError,
    outbox,
    schema::{Channel, ReminderSent},
};
use sqlx::{Connection as _, PgConnection, types::Json};

use super::row::Row;
use crate::email::Provider;

/// Commits that an attempt begins. For a provider with a key it stores the message too: with a known key each attempt must show
/// the same text.
pub(super) async fn begin(
    conn: &mut PgConnection,
    row: &Row,
    provider: &Provider,
    repeat: bool,
) -> Result<(), HandlerError> {
    let message = if provider.has_idempotency_key() { Some(Json(row.email()?)) } else { None };
    let of = row.of();
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
                 repeated = repeated or $2, provider = $3, next_attempt_at = now() + interval '1 minute',
                 message = coalesce(message, $10)
             where id = $1
         )
         insert into audit_logs (user_id, task_id, reminder_id, reminder_version, action, detail)
         select $4, $5, $6, $7, action, detail
         from unnest($8::text[], $9::jsonb[]) with ordinality as step (action, detail, place) order by place",
        row.id,
        repeat,
        provider.name(),
        of.user_id,
        of.task_id,
        of.id,
        of.version,
        &actions as _,
        &details,
        message as _,
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Commits that the provider accepted the message, and emits `reminder.sent` when that is recorded for the first time.
pub(super) async fn sent(conn: &mut PgConnection, row: &Row, message_id: &str) -> Result<(), HandlerError> {
    let sent = ReminderSent {
        task: row.due.task.clone(),
        reminder_id: row.reminder_id,
        remind_at: row.due.remind_at,
        reminder_version: row.reminder_version,
        channel: Channel::Email,
        delivery_id: row.id,
    };
    let event = outbox::Row::new(&sent, &row.trace);
    // One statement: the outcome and its event are recorded together, and exactly once.
    sqlx::query!(
        "with sent as (
             update notification_deliveries
             set state = 'sent', sent_at = now(), provider_message_id = $2, reason = null, message = null
             where id = $1 and state <> 'sent'
             returning id
         )
         insert into task_events (type, task_id, user_id, sequence, data, traceparent)
         select $3, $4, $5, $6, $7, $8 from sent",
        row.id,
        message_id,
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
    tracing::info!(delivery.id = %row.id, reminder.id = %row.reminder_id, "reminder-due: delivery {} accepted", row.id);
    Ok(())
}

/// Commits that the next attempt is at `at`; `repeat` if the outcome of this one is unknown.
pub(super) async fn postpone(
    conn: &mut PgConnection,
    row: &Row,
    at: DateTime<Utc>,
    repeat: bool,
    reason: &str,
) -> Result<(), HandlerError> {
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
    tracing::warn!(delivery.id = %row.id, reason, "reminder-due: delivery {} was not accepted; next attempt at {at}", row.id);
    Ok(())
}

/// Commits that a delivery ended without an accepted message. The reminder fails if its deliveries on all channels ended so.
pub(super) async fn end(
    conn: &mut PgConnection,
    row: &Row,
    state: DeliveryState,
    reason: &str,
) -> Result<(), HandlerError> {
    let mut tx = conn.begin().await?;
    sqlx::query!(
        "update notification_deliveries set state = $2, reason = $3, message = null where id = $1",
        row.id,
        state.as_str(),
        reason
    )
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
        state.as_str(),
    )
    .execute(&mut *tx)
    .await?;
    tx.commit().await?;
    tracing::warn!(delivery.id = %row.id, reason, "reminder-due: delivery {} ended {state}: {reason}", row.id);
    Ok(())
}
