//! Writes the steps of an attempt, each in one transaction with its line in the audit log.
//!
//! Every write has a [`Fence`] and returns whether the row was still so, except [`sent`]. [`begin`] and [`sent`], which every
//! message needs, are one statement each: in a burst the last message waits for the round trips of all others.

use std::time::Duration;

use serde_json::json;
use shared::{audit, faults::crash, inbox::HandlerError, outbox, schema::ReminderSent};
use sqlx::{PgConnection, types::Json};

use super::{connection::Connection, provider::Provider, row::Row};
use crate::{
    actions::Actions,
    attempt::{Begin, End, Fence, Postpone},
};

/// Commits that an attempt begins, with a lease. For a provider of email with a key it stores the message too: with a known key each
/// attempt must show the same text.
pub(super) async fn begin(
    conn: &mut Connection<'_>,
    row: &Row,
    provider: Provider<'_>,
    actions: Option<&Actions>,
    begin: &Begin,
    lease: Duration,
) -> Result<bool, HandlerError> {
    let message = match provider {
        Provider::Email(email) if email.has_idempotency_key() => Some(Json(row.email(actions)?)),
        Provider::Email(_) | Provider::Push => None,
    };
    let of = row.of();
    let detail = row.detail();
    let mut steps = vec![("reminder.unknown", detail.clone())];
    steps.truncate(usize::from(begin.repeat));
    let mut sending = detail;
    sending["attempt"] = json!(begin.fence().attempts() + 1);
    steps.push(("reminder.sending", sending));
    let (actions, details): (Vec<&str>, Vec<serde_json::Value>) = steps.into_iter().unzip();
    let statement = sqlx::query!(
        "with begun as (
             update notification_deliveries
             set state = 'sending', attempts = attempts + 1, started_at = clock_timestamp(), at_dot = null, reason = null,
                 repeated = repeated or $2, provider = $3, message = coalesce(message, $10),
                 lease_until = clock_timestamp() + make_interval(secs => $12),
                 next_attempt_at = clock_timestamp() + make_interval(secs => $12)
             where id = $1 and attempts = $11 and delivery_is_free(state, lease_until, next_attempt_at)
             returning id
         )
         insert into audit_logs (user_id, task_id, reminder_id, reminder_version, action, detail)
         select $4, $5, $6, $7, action, detail
         from begun cross join unnest($8::text[], $9::jsonb[]) with ordinality as step (action, detail, place) order by place",
        row.id,
        begin.repeat,
        provider.name(),
        of.user_id,
        of.task_id,
        of.id,
        of.version,
        &actions as _,
        &details,
        message as _,
        begin.fence().attempts(),
        lease.as_secs_f64(),
    );
    let written = conn.run(async |conn| statement.execute(conn).await).await?;
    Ok(written.rows_affected() > 0)
}

/// Commits that the provider accepted the message, and emits `reminder.sent` when that is recorded for the first time.
///
/// Without a fence: an accepted message stays accepted, whatever another process has begun since. That process finds the delivery
/// ended, before its final dot at the latest.
pub(super) async fn sent(conn: &mut Connection<'_>, row: &Row, message_id: &str) -> Result<(), HandlerError> {
    let sent = ReminderSent {
        task: row.due.task.clone(),
        reminder_id: row.reminder_id,
        remind_at: row.due.remind_at,
        reminder_version: row.reminder_version,
        channel: row.channel.clone(),
        target: row.target,
        delivery_id: row.id,
    };
    let event = outbox::Row::new(&sent, &row.trace);
    // One statement: the outcome and its event are recorded together, and exactly once.
    let statement = sqlx::query!(
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
    );
    conn.run(async |conn| statement.execute(conn).await).await?;
    crash("delivery-recorded");
    tracing::info!(delivery.id = %row.id, reminder.id = %row.reminder_id, "reminder-due: delivery {} accepted", row.id);
    Ok(())
}

/// Commits that another attempt follows.
pub(super) async fn postpone(conn: &mut Connection<'_>, row: &Row, postpone: &Postpone) -> Result<bool, HandlerError> {
    let Postpone { at, repeat, reason, .. } = postpone;
    let action = if *repeat { "reminder.unknown" } else { "reminder.retrying" };
    let mut detail = row.detail();
    detail["reason"] = json!(reason);
    detail["next_attempt_at"] = json!(at);
    let write = async |tx: &mut PgConnection| {
        let written = sqlx::query!(
            "update notification_deliveries
             set state = 'retrying', next_attempt_at = $2, repeated = repeated or $3, reason = $4
             where id = $1 and attempts = $5
               and case when $6 then state = 'sending' else delivery_is_free(state, lease_until, next_attempt_at) end",
            row.id,
            at,
            repeat,
            reason,
            postpone.fence().attempts(),
            postpone.fence().is_held(),
        )
        .execute(&mut *tx)
        .await?
        .rows_affected();
        if written > 0 {
            audit::reminder(tx, row.of(), action, detail).await?;
        }
        Ok::<_, sqlx::Error>(written > 0)
    };
    if !conn.transaction(write).await? {
        return Ok(lost(row, postpone.fence()));
    }
    tracing::warn!(delivery.id = %row.id, reason, "reminder-due: delivery {} was not accepted; next attempt at {at}", row.id);
    Ok(true)
}

/// Commits that a delivery ended without an accepted message. The reminder fails if all its deliveries ended so. A subscription that no longer
/// exists at the push service goes with it.
pub(super) async fn end(conn: &mut Connection<'_>, row: &Row, end: &End) -> Result<bool, HandlerError> {
    let End { state, reason, target_is_gone, .. } = end;
    let action = format!("reminder.{state}");
    let mut detail = row.detail();
    detail["reason"] = json!(reason);
    let write = async |tx: &mut PgConnection| {
        // Before the delivery, as a transaction that acts on a message locks them.
        sqlx::query!("select from task_reminders where id = $1 for no key update", row.reminder_id)
            .execute(&mut *tx)
            .await?;
        let written = sqlx::query!(
            "update notification_deliveries set state = $2, reason = $3, message = null
             where id = $1 and attempts = $4
               and case when $5 then state = 'sending' else delivery_is_free(state, lease_until, next_attempt_at) end",
            row.id,
            state.as_str(),
            reason,
            end.fence().attempts(),
            end.fence().is_held(),
        )
        .execute(&mut *tx)
        .await?
        .rows_affected();
        if written == 0 {
            return Ok(false);
        }
        audit::reminder(tx, row.of(), &action, detail).await?;
        if *target_is_gone {
            sqlx::query!("delete from push_subscriptions where id = $1", row.target).execute(&mut *tx).await?;
        }
        sqlx::query!(
            "update task_reminders set state = 'failed', updated_at = now()
             where id = $1 and version = $2 and state = 'scheduled' and $3 <> 'skipped' and not exists (
                 select from notification_deliveries
                 where reminder_id = $1 and reminder_version = $2 and state not in ('failed', 'unknown', 'skipped'))",
            row.reminder_id,
            row.reminder_version,
            state.as_str(),
        )
        .execute(tx)
        .await?;
        Ok::<_, sqlx::Error>(true)
    };
    if !conn.transaction(write).await? {
        return Ok(lost(row, end.fence()));
    }
    tracing::warn!(delivery.id = %row.id, reason, "reminder-due: delivery {} ended {state}: {reason}", row.id);
    Ok(true)
}

/// Logs that a write changed nothing. Returns false.
fn lost(row: &Row, fence: Fence) -> bool {
    let attempts = fence.attempts();
    tracing::warn!(delivery.id = %row.id, attempts, "reminder-due: another process has taken delivery {} over", row.id);
    false
}
