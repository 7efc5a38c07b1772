//! What is written of a delivery, each in one transaction with its line of the story: that an attempt begins, and how it ended. What
//! every message needs is one statement, a transaction of its own: in a burst the round trips are what the last message waits for.

use chrono::{DateTime, Utc};
use serde_json::json;
use shared::{
    audit,
    faults::crash,
    inbox::Failure,
    outbox,
    schema::{Channel, ReminderSent},
};
use sqlx::{Connection as _, PgConnection, types::Json};

use super::row::Row;
use crate::email::Provider;

/// Commits that an attempt begins, and then reads the row as it is: whatever was acknowledged before is seen. What a provider
/// with a key is shown is kept, so that each attempt shows it the same.
pub(super) async fn begin(
    conn: &mut PgConnection,
    row: Row,
    provider: &Provider,
    repeat: bool,
) -> Result<Row, Failure> {
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
    .execute(&mut *conn)
    .await?;
    Row::read(conn, row.id).await?.ok_or_else(|| Failure::Fault(anyhow::anyhow!("the delivery vanished")))
}

/// Commits that the provider accepted it, and emits `reminder.sent` the first time that is recorded.
pub(super) async fn sent(conn: &mut PgConnection, row: &Row, message_id: &str) -> Result<(), Failure> {
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
             set state = 'sent', sent_at = now(), provider_message_id = $2, reason = null, message = null
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
    Ok(())
}

/// Commits that the next attempt is at `at`; `repeat` where it is the one repeat of an unknown outcome.
pub(super) async fn postpone(
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
pub(super) async fn end(conn: &mut PgConnection, row: &Row, state: &str, reason: &str) -> Result<(), Failure> {
    let mut tx = conn.begin().await?;
    sqlx::query!(
        "update notification_deliveries set state = $2, reason = $3, message = null where id = $1",
        row.id,
        state,
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
        state,
    )
    .execute(&mut *tx)
    .await?;
    tx.commit().await?;
    tracing::warn!(delivery.id = %row.id, reason, "reminder-due: delivery {} ended {state}: {reason}", row.id);
    Ok(())
}
