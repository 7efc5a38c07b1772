//! How long an event takes from the commit of its command to the commit of its effect, next to bare events at the same rate
//! through the same Kafka.
//!
//! `now()` in PostgreSQL is the start of a transaction. The commits themselves are read from `pg_xact_commit_timestamp`, which
//! PostgreSQL takes just before it makes a commit durable. The client's view and the transaction starts are reported as well.

use std::time::Duration;

use anyhow::{Context as _, ensure};
use chrono::{DateTime, Utc};
use sqlx::AssertSqlSafe;
use tokio::time::sleep;

use crate::{
    Setting, pace,
    product::pattern,
    sample::{Sample, milliseconds},
};

const LIMIT: Duration = Duration::from_secs(60);
const TITLE: &str = "bench event";
/// Every task of a title whose `task.created` was handled. Only the command wrote the row of such a task, so its `xmin` is the
/// command's transaction.
pub(super) const HANDLED: &str = "from tasks task
     join task_events event on event.task_id = task.id and event.type = 'task.created'
     join processed_events handled on handled.event_id = event.id and handled.consumer = 'task-created'
     where title like $1 and task.version = 1";

/// Milliseconds.
pub(super) struct Events {
    /// From the commit of `tasks` to the commit of `task-created`.
    pub(super) effect: Sample,
    /// From the 201 at the client to `processed_events.processed_at`, when the transaction of `task-created` started.
    pub(super) after_answer: Sample,
    /// From the start of the command's transaction (`tasks.created_at`) to the start of the handler's.
    pub(super) started: Sample,
    /// From the request to the 201.
    pub(super) answer: Sample,
    /// Bare events between ours, from the publish call to the application.
    pub(super) bare: Sample,
    /// Bare events before that, while the product is idle.
    pub(super) bare_alone: Sample,
}

/// Restarts PostgreSQL so that it records commit timestamps. Functions and daprds reconnect by themselves.
pub(super) async fn record_commits(setting: &Setting) -> anyhow::Result<()> {
    sqlx::query("alter system set track_commit_timestamp = on").execute(&setting.product.db).await?;
    tokio::task::block_in_place(|| {
        let postgres = &setting.topology.postgres;
        postgres.process.stop(Duration::from_secs(30));
        postgres.start()?;
        setting.topology.functions.iter().try_for_each(|function| function.process.wait_ready(LIMIT))
    })
}

/// Creates `rate` tasks a second for `duration`.
pub(super) async fn measure(setting: &Setting, rate: u32, duration: Duration) -> anyhow::Result<Events> {
    let Setting { product, bare, .. } = setting;
    let every = Duration::from_secs(1) / rate;
    let count = (duration.as_secs() * u64::from(rate)) as usize;
    let bare_alone = bare.events("event-alone", count, every).await?;
    let beside = async {
        sleep(every / 2).await;
        bare.events("event-beside", count, every).await
    };
    let ours = pace::steadily(count, every, |index| product.create(TITLE, index, None));
    let (answers, bare) = tokio::try_join!(ours, beside)?;
    let handled = format!("select count(*) {HANDLED}");
    product.wait_for("handled events", &handled, TITLE, count, LIMIT).await?;

    let rows: Vec<(i32, f64, f64, DateTime<Utc>)> = sqlx::query_as(AssertSqlSafe(format!(
        "select split_part(title, ' ', 3)::int,
                extract(epoch from pg_xact_commit_timestamp(handled.xmin) - pg_xact_commit_timestamp(task.xmin))::float8 * 1000,
                extract(epoch from processed_at - task.created_at)::float8 * 1000,
                processed_at {HANDLED}"
    )))
    .bind(pattern(TITLE))
    .fetch_all(&product.db)
    .await?;
    let after_answer = rows.iter().map(|(index, .., processed_at)| {
        let answer = usize::try_from(*index).ok().and_then(|index| answers.get(index)).context("an unknown task")?;
        Ok(milliseconds(answer.received_at, *processed_at))
    });
    let after_answer = after_answer.collect::<anyhow::Result<Sample>>()?;
    ensure!(after_answer.len() == count, "{} effects for {count} tasks", after_answer.len());
    Ok(Events {
        effect: rows.iter().map(|(_, effect, ..)| *effect).collect(),
        started: rows.iter().map(|(_, _, started, _)| *started).collect(),
        answer: answers.iter().map(|answer| answer.took().as_secs_f64() * 1000.0).collect(),
        after_answer,
        bare,
        bare_alone,
    })
}
