//! `GET /v1/system`: whether the deployment keeps up, for an operator.
//!
//! The numbers are those that `docs/operations.md` asks PostgreSQL for. Each is bounded: a system that is far behind must answer, too.

use axum::{Json, extract::State};
use chrono::{DateTime, Utc};
use serde::Serialize;
use shared::{App, delivery::DeliveryState, problem::Result};
use sqlx::PgConnection;
use utoipa::ToSchema;

use crate::{dead_letters::Operator, docs::OperatorProblems, params::Params, user_tx::admit};

/// The largest number that is counted.
const COUNTED: i64 = 10_000;

/// The state of the deployment. On a healthy system every count is 0, except for `deliveries` and `lateness`. A `count` of 10,000 stands for that
/// many or more.
#[derive(Serialize, ToSchema)]
pub(crate) struct System {
    /// Committed and not published: the broker is away, or no process runs.
    outbox: Waiting,
    /// Published 30 s ago or earlier and not handled: a function or its daprd is away.
    unclaimed: Waiting,
    /// Reminders that were due 30 s ago or earlier and have not fired.
    reminders_overdue: Waiting,
    /// Messages whose next attempt was due 30 s ago or earlier.
    deliveries_overdue: Waiting,
    /// Events that were given up. They need a human.
    dead_letters: Waiting,
    deliveries_given_up: DeliveriesGivenUp,
    deliveries: DeliveryOutcomes,
    lateness: Lateness,
}

/// How many wait, and since when.
#[derive(Serialize, ToSchema)]
struct Waiting {
    count: i64,
    /// The oldest of those that were counted.
    oldest: Option<DateTime<Utc>>,
}

/// The messages of the last two days that were given up: they were not sent, or nobody knows whether they were.
#[derive(Serialize, ToSchema)]
struct DeliveriesGivenUp {
    count: i64,
    /// When the oldest of those that were counted was created.
    oldest: Option<DateTime<Utc>>,
    /// Why, the most frequent first; at most ten. Of more than 10,000 messages, only the newest 10,000.
    reasons: Vec<GivenUpReason>,
}

/// Why messages were given up.
#[derive(Serialize, ToSchema)]
struct GivenUpReason {
    /// `failed` or `unknown`.
    state: DeliveryState,
    #[schema(example = "smtp RCPT: 550")]
    reason: Option<String>,
    count: i64,
}

/// The messages of the reminders that fired in the last hour, by outcome. Of more than 10,000 reminders, only the latest 10,000.
#[derive(Default, Serialize, ToSchema)]
struct DeliveryOutcomes {
    /// They wait for an attempt, or one has begun.
    open: i64,
    sent: i64,
    /// They were no longer wanted.
    skipped: i64,
    failed: i64,
    /// Perhaps sent: nobody can find out.
    unknown: i64,
}

/// How long after their instants the reminders of the last hour fired, in milliseconds.
#[derive(Serialize, ToSchema)]
struct Lateness {
    /// How many fired.
    reminders: i64,
    median_ms: Option<i64>,
    p99_ms: Option<i64>,
    max_ms: Option<i64>,
}

/// Show the state of the system
#[utoipa::path(
    get, path = "/v1/system", operation_id = "get_system", tag = "operator",
    responses((status = 200, description = "The state", body = System), OperatorProblems),
    security(("bearer" = ["operator"])),
)]
pub(crate) async fn get_system(
    State(app): State<App>,
    Operator(user): Operator,
    params: Params,
) -> Result<Json<System>> {
    params.finish()?;
    let mut tx = app.db.begin().await?;
    admit(&mut tx, &user).await?;
    let row = sqlx::query!(
        r#"select outbox.count as "outbox!", outbox.oldest as "outbox_oldest?",
                  unclaimed.count as "unclaimed!", unclaimed.oldest as "unclaimed_oldest?",
                  reminders.count as "reminders!", reminders.oldest as "reminders_oldest?",
                  deliveries.count as "deliveries!", deliveries.oldest as "deliveries_oldest?",
                  letters.count as "letters!", letters.oldest as "letters_oldest?"
           from (select count(*), min(occurred_at) as oldest from (
                     select occurred_at from task_events where published_at is null limit $1) found) outbox,
                (select count(*), min(published_at) as oldest from (
                     select published_at from task_events event
                     where id >= (select event_id from marks where name = 'handled') and published_at < now() - interval '30 seconds'
                       and not exists (select from processed_events
                                       where consumer = replace(event.type, '.', '-') and event_id = event.id)
                     limit $1) found) unclaimed,
                (select count(*), min(remind_at) as oldest from (
                     select remind_at from task_reminders
                     where reminder_is_live(state, version, fired_version) and remind_at < now() - interval '30 seconds'
                     order by remind_at limit $1) found) reminders,
                (select count(*), min(next_attempt_at) as oldest from (
                     select next_attempt_at from notification_deliveries
                     where state in ('pending', 'sending', 'retrying') and next_attempt_at < now() - interval '30 seconds'
                     order by next_attempt_at limit $1) found) deliveries,
                (select count(*), min(created_at) as oldest from (
                     select created_at from dead_letters where state = 'open' order by created_at, id limit $1) found) letters"#,
        COUNTED
    )
    .fetch_one(&mut *tx)
    .await?;
    let waiting = |count, oldest| Waiting { count, oldest };
    Ok(Json(System {
        outbox: waiting(row.outbox, row.outbox_oldest),
        unclaimed: waiting(row.unclaimed, row.unclaimed_oldest),
        reminders_overdue: waiting(row.reminders, row.reminders_oldest),
        deliveries_overdue: waiting(row.deliveries, row.deliveries_oldest),
        dead_letters: waiting(row.letters, row.letters_oldest),
        deliveries_given_up: given_up(&mut tx).await?,
        deliveries: outcomes(&mut tx).await?,
        lateness: lateness(&mut tx).await?,
    }))
}

/// Counts the messages that were given up. Two days, because a message is tried for up to a day.
async fn given_up(conn: &mut PgConnection) -> Result<DeliveriesGivenUp> {
    let mut reasons = sqlx::query!(
        r#"select state as "state: DeliveryState", reason, count(*) as "count!", min(created_at) as "oldest!"
           from (select state, reason, created_at from notification_deliveries
                 where state in ('failed', 'unknown') and created_at > now() - interval '2 days'
                 order by created_at desc limit $1) found
           group by state, reason order by count(*) desc, state, reason"#,
        COUNTED
    )
    .fetch_all(conn)
    .await?;
    let count = reasons.iter().map(|row| row.count).sum();
    let oldest = reasons.iter().map(|row| row.oldest).min();
    reasons.truncate(10);
    let reasons =
        reasons.into_iter().map(|row| GivenUpReason { state: row.state, reason: row.reason, count: row.count });
    Ok(DeliveriesGivenUp { count, oldest, reasons: reasons.collect() })
}

/// Found by the events of the reminders, because no index has all deliveries by time.
async fn outcomes(conn: &mut PgConnection) -> Result<DeliveryOutcomes> {
    let states = sqlx::query!(
        r#"select state as "state: DeliveryState", count(*) as "count!"
           from (select (data->>'reminder_id')::uuid as reminder_id, (data->>'reminder_version')::integer as reminder_version
                 from task_events
                 where id >= uuid_v7_floor(now() - interval '1 hour') and type = 'reminder.due' and data <> '{}'
                 order by id desc limit $1) fired
           join notification_deliveries using (reminder_id, reminder_version)
           group by state"#,
        COUNTED
    )
    .fetch_all(conn)
    .await?;
    Ok(states.into_iter().fold(DeliveryOutcomes::default(), |mut outcomes, row| {
        *match row.state {
            DeliveryState::Sent => &mut outcomes.sent,
            DeliveryState::Skipped => &mut outcomes.skipped,
            DeliveryState::Failed => &mut outcomes.failed,
            DeliveryState::Unknown => &mut outcomes.unknown,
            DeliveryState::Pending | DeliveryState::Sending | DeliveryState::Retrying | DeliveryState::Other => {
                &mut outcomes.open
            }
        } += row.count;
        outcomes
    }))
}

/// By the events of the reminders, whose ids are in the order of their time.
async fn lateness(conn: &mut PgConnection) -> Result<Lateness> {
    let fired = sqlx::query!(
        r#"select count(late) as "reminders!", percentile_disc(array[0.5, 0.99, 1]) within group (order by late) as late
           from (select (extract(epoch from occurred_at - (data->>'remind_at')::timestamptz) * 1000)::bigint as late
                 from task_events
                 where id >= uuid_v7_floor(now() - interval '1 hour') and type = 'reminder.due' and data <> '{}'
                 order by id desc limit $1) fired"#,
        COUNTED
    )
    .fetch_one(conn)
    .await?;
    let at = |index: usize| fired.late.as_ref().and_then(|late| late.get(index).copied());
    Ok(Lateness { reminders: fired.reminders, median_ms: at(0), p99_ms: at(1), max_ms: at(2) })
}
