//! How long an event takes from the commit of its command to the commit of its effect, beside bare events at the same rate
//! through the same Kafka.
//!
//! `now()` in PostgreSQL is when a transaction began, so the instants are those at which the two transactions committed
//! (`pg_xact_commit_timestamp`); PostgreSQL takes each just before it makes its commit durable. What a client sees, and the
//! beginnings of the transactions, are measured beside it.

use std::{
    thread,
    time::{Duration, SystemTime},
};

use anyhow::{Context as _, bail, ensure};

use crate::{
    bare::Bare,
    client::{self, Answer},
    product::Product,
    sample::{Sample, milliseconds, numbers},
};

const LIMIT: Duration = Duration::from_secs(60);
const TITLE: &str = "bench event";

/// Milliseconds.
pub(super) struct Events {
    /// From the commit of `tasks` to the commit of `task-created`.
    pub(super) effect: Sample,
    /// From the 201 at the client to `processed_events.processed_at`, when the transaction of `task-created` began.
    pub(super) after_answer: Sample,
    /// From the beginning of the one transaction (`tasks.created_at`) to that of the other.
    pub(super) begun: Sample,
    /// From the request to the 201.
    pub(super) answer: Sample,
    /// Bare events, from the call that publishes to the application, between ours.
    pub(super) bare: Sample,
    /// Bare events before that, on the otherwise idle run.
    pub(super) bare_alone: Sample,
}

/// Has PostgreSQL note when transactions commit, from its next start on; functions and daprds connect again by themselves.
pub(super) fn note_commits(product: &Product<'_>) -> anyhow::Result<()> {
    let postgres = &product.topology.postgres;
    postgres.sql("punctual", "alter system set track_commit_timestamp = on")?;
    postgres.process.stop(Duration::from_secs(30));
    postgres.start()?;
    for function in &product.topology.functions {
        function.process.wait_ready(LIMIT)?;
    }
    Ok(())
}

/// `rate` tasks a second for `length`.
pub(super) fn measure(product: &Product<'_>, bare: &Bare, rate: u32, length: Duration) -> anyhow::Result<Events> {
    let every = Duration::from_secs(1) / rate;
    let count = (length.as_secs() * u64::from(rate)) as usize;
    let bare_alone = bare.events("event-alone", count, every)?;

    let (answers, bare) = thread::scope(|scope| {
        let bare = scope.spawn(|| {
            thread::sleep(every / 2);
            bare.events("event-beside", count, every)
        });
        let answers = client::steadily(count, every, |index| product.create(TITLE, index, None))?;
        anyhow::Ok((answers, bare.join().unwrap_or_else(|_| bail!("the bare arm panicked"))?))
    })?;
    let handled = format!("select count(*) {}", from());
    product.wait_for("events handled", &handled, count, LIMIT)?;

    let rows = product.sql(&format!(
        "select split_part(title, ' ', 3)::int,
                extract(epoch from pg_xact_commit_timestamp(handled.xmin) - pg_xact_commit_timestamp(task.xmin)) * 1000,
                extract(epoch from processed_at - task.created_at) * 1000,
                (extract(epoch from processed_at) * 1000000)::bigint {}",
        from()
    ))?;
    let rows = numbers::<4>(&rows)?;
    let after_answer = rows.iter().map(|[index, .., processed]| {
        let answer: &Answer = answers.get(*index as usize).context("a task nobody created")?;
        Ok(milliseconds(answer.received, SystemTime::UNIX_EPOCH + Duration::from_micros(*processed as u64)))
    });
    let after_answer = after_answer.collect::<anyhow::Result<Sample>>()?;
    ensure!(after_answer.len() == count, "{} effects of {count} tasks", after_answer.len());
    Ok(Events {
        effect: rows.iter().map(|[_, effect, ..]| *effect).collect(),
        begun: rows.iter().map(|[_, _, begun, _]| *begun).collect(),
        answer: answers.iter().map(|answer| milliseconds(answer.sent, answer.received)).collect(),
        after_answer,
        bare,
        bare_alone,
    })
}

/// Every task that was created here and whose event was handled. Only its command wrote the row of a task: its `xmin` is
/// the command's transaction.
fn from() -> String {
    format!(
        "from tasks task
         join task_events event on event.task_id = task.id and event.type = 'task.created'
         join processed_events handled on handled.event_id = event.id and handled.consumer = 'task-created'
         where title like '{TITLE} %' and task.version = 1"
    )
}
