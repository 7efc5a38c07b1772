//! The final state: database rows and accepted messages.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use lab::{
    mail::{self, Message},
    topology::Topology,
};
use serde_json::{Value, json};
use sqlx::{PgPool, Row as _};
use uuid::Uuid;

use crate::{
    clock,
    doubles::{Accept, Doubles, delivery},
};

/// An event of the outbox and its effects.
#[derive(Clone, Debug, sqlx::FromRow)]
pub(crate) struct Event {
    pub(crate) id: Uuid,
    pub(crate) kind: String,
    pub(crate) task_id: Uuid,
    pub(crate) sequence: i64,
    pub(crate) reminder: Option<String>,
    pub(crate) published: bool,
    pub(crate) occurred_at: DateTime<Utc>,
    /// When its function claimed it.
    pub(crate) claimed_at: Option<DateTime<Utc>>,
    /// The number of functions that claimed it.
    pub(crate) claims: i64,
    /// The number of rows its function wrote for it.
    pub(crate) effects: i64,
}

/// A task's row.
#[derive(Clone, Debug, sqlx::FromRow)]
pub(crate) struct Task {
    pub(crate) id: Uuid,
    pub(crate) title: String,
    pub(crate) version: Option<i64>,
    pub(crate) completed: bool,
    pub(crate) series_id: Option<Uuid>,
    pub(crate) occurrence: Option<i32>,
    pub(crate) recurs: bool,
}

/// A reminder's row.
#[derive(Clone, Debug, sqlx::FromRow)]
pub(crate) struct Reminder {
    pub(crate) id: Uuid,
    pub(crate) task_id: Uuid,
    pub(crate) version: i32,
    pub(crate) remind_at: DateTime<Utc>,
    pub(crate) state: String,
    pub(crate) fired_version: Option<i32>,
    pub(crate) task_exists: bool,
}

/// A delivery's row.
#[derive(Clone, Debug, sqlx::FromRow)]
pub(crate) struct Delivery {
    pub(crate) id: Uuid,
    pub(crate) reminder_id: Uuid,
    pub(crate) reminder_version: i32,
    pub(crate) task_id: Uuid,
    pub(crate) state: String,
    /// When the last attempt began.
    pub(crate) started_at: Option<DateTime<Utc>>,
    /// When each attempt began.
    pub(crate) begun: Vec<DateTime<Utc>>,
    pub(crate) repeated: bool,
    pub(crate) attempts: i32,
    /// The due time in its event.
    pub(crate) due: DateTime<Utc>,
}

impl Delivery {
    /// When the attempt began whose message was accepted at `at`. A later one that sent nothing overwrites `started_at`.
    pub(crate) fn begun_before(&self, at: DateTime<Utc>) -> Option<DateTime<Utc>> {
        self.begun.iter().copied().chain(self.started_at).filter(|begun| *begun <= at).max()
    }
}

/// Everything the checker reads.
#[derive(Debug)]
pub(crate) struct Facts {
    pub(crate) events: Vec<Event>,
    pub(crate) tasks: BTreeMap<Uuid, Task>,
    /// The changes of each user, by number: the task and its version.
    pub(crate) feeds: BTreeMap<Uuid, Vec<(Uuid, i64)>>,
    pub(crate) reminders: Vec<Reminder>,
    pub(crate) deliveries: BTreeMap<Uuid, Delivery>,
    pub(crate) accepts: Vec<Accept>,
    /// Dead letters, as consumer and the event that they name.
    pub(crate) letters: Vec<(String, Option<Uuid>)>,
    /// Created occurrences, as series and number.
    pub(crate) occurrences: Vec<(Uuid, i32)>,
    /// Idempotency keys that were reused with another body.
    pub(crate) conflicts: Vec<String>,
    /// Events that a function claimed but the outbox does not contain.
    pub(crate) unknown: Vec<(String, Uuid)>,
}

impl Facts {
    pub(crate) async fn gather(db: &PgPool, topology: &Topology, doubles: &Doubles) -> anyhow::Result<Self> {
        let events = sqlx::query_as(
            "select event.id, type as kind, task_id, sequence,
                    data ->> 'reminder_id' || ' ' || (data ->> 'reminder_version') as reminder,
                    published_at is not null as published, occurred_at, claimed_at, coalesce(claims, 0) as claims,
                    case type when 'task.changed' then coalesce(fed, 0) else coalesce(told, 0) end as effects
             from task_events event
             left join (select event_id, consumer, count(*) as claims, max(processed_at) as claimed_at
                        from processed_events group by 1, 2) claim
                 on claim.event_id = event.id and consumer = replace(type, '.', '-')
             left join (select event_id, count(*) as fed from feed group by 1) feed on feed.event_id = event.id
             left join (select event_id, count(*) as told from audit_logs group by 1) story on story.event_id = event.id
             order by event.id",
        )
        .fetch_all(db)
        .await?;
        let tasks: Vec<Task> = sqlx::query_as(
            "select id, title, version, completed, series_id, occurrence, recurrence_type is not null as recurs from tasks",
        )
        .fetch_all(db)
        .await?;
        let fed: Vec<(Uuid, Uuid, i64)> =
            sqlx::query_as("select user_id, task_id, (data ->> 'version')::bigint from feed order by user_id, seq")
                .fetch_all(db)
                .await?;
        let mut feeds: BTreeMap<Uuid, Vec<(Uuid, i64)>> = BTreeMap::new();
        for (user, task, version) in fed {
            feeds.entry(user).or_default().push((task, version));
        }
        let reminders = sqlx::query_as(
            "select id, task_id, version, remind_at, state, fired_version,
                    exists (select from tasks where tasks.id = task_id) as task_exists from task_reminders",
        )
        .fetch_all(db)
        .await?;
        let deliveries: Vec<Delivery> = sqlx::query_as(
            "select delivery.id, reminder_id, reminder_version, delivery.task_id, state, started_at, repeated, attempts,
                    (data ->> 'remind_at')::timestamptz as due, coalesce(begun, '{}') as begun
             from notification_deliveries delivery join task_events event on event.id = event_id
             left join (select detail ->> 'delivery_id' as delivery_id, array_agg(created_at) as begun
                        from audit_logs where action = 'reminder.sending' group by 1) sending on sending.delivery_id = delivery.id::text",
        )
        .fetch_all(db)
        .await?;
        let letters: Vec<(String, Option<Uuid>, String)> =
            sqlx::query_as("select consumer, event_id, payload from dead_letters").fetch_all(db).await?;
        let named = |payload: &str| {
            let message: Value = serde_json::from_str(payload).ok()?;
            message["id"].as_str()?.parse().ok()
        };
        let unknown = sqlx::query_as(
            "select consumer, event_id from processed_events
             where not exists (select from task_events where id = event_id)",
        )
        .fetch_all(db)
        .await?;
        let occurrences = sqlx::query_as("select series_id, occurrence from task_occurrences").fetch_all(db).await?;
        let accepts = if topology.smtp.is_some() { mails(topology) } else { doubles.accepts() };
        Ok(Self {
            events,
            tasks: tasks.into_iter().map(|task| (task.id, task)).collect(),
            feeds,
            reminders,
            deliveries: deliveries.into_iter().map(|delivery| (delivery.id, delivery)).collect(),
            accepts,
            letters: letters.into_iter().map(|(to, event, payload)| (to, event.or_else(|| named(&payload)))).collect(),
            occurrences,
            conflicts: doubles.conflicts(),
            unknown,
        })
    }
}

fn mails(topology: &Topology) -> Vec<Accept> {
    let accept = |message: Message| Accept {
        delivery: message.header("message-id").as_deref().and_then(delivery),
        to: message.header("to").unwrap_or_default(),
        subject: message.header("subject").unwrap_or_default(),
        at: clock::by_database(message.accepted_at().into()),
    };
    mail::messages(&topology.mail_dir).into_iter().map(accept).collect()
}

/// Every row about a task, in order of time, for the report of a finding.
pub(crate) async fn story(db: &PgPool, task: Uuid) -> anyhow::Result<Vec<Value>> {
    let rows = sqlx::query(
        "select to_jsonb(found) as found from (
             select 'event' as what, id::text, type as kind, sequence, occurred_at as at,
                    jsonb_build_object('published_at', published_at, 'data', data,
                        'claimed', (select jsonb_agg(jsonb_build_array(consumer, processed_at))
                                    from processed_events where event_id = task_events.id)) as detail
             from task_events where task_id = $1
             union all
             select 'story', id::text, action, null, created_at, detail || jsonb_build_object('reminder', reminder_id,
                    'reminder_version', reminder_version, 'event', event_id) from audit_logs where task_id = $1
             union all
             select 'reminder', id::text, state, version, remind_at, to_jsonb(task_reminders)
             from task_reminders where task_id = $1
             union all
             select 'delivery', id::text, state, attempts, created_at, to_jsonb(notification_deliveries)
             from notification_deliveries where task_id = $1
             union all
             select 'version', task_id::text, 'replaced', version, replaced_at, snapshot from task_versions where task_id = $1
             union all
             select 'task', id::text, 'row', version, updated_at, to_jsonb(tasks) from tasks where id = $1
         ) found order by at",
    )
    .bind(task)
    .fetch_all(db)
    .await?;
    rows.iter()
        .map(|row| Ok(row.try_get::<Value, _>("found").unwrap_or_else(|error| json!(error.to_string()))))
        .collect()
}
