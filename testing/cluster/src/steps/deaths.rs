//! Pods killed during a handler's transaction, an attempt to send, and an answer.

use std::{
    collections::BTreeSet,
    time::{Duration, Instant},
};

use anyhow::ensure;
use uuid::Uuid;

use super::reminders;
use crate::{
    facts,
    load::{Load, Plan},
    run::ClusterTest,
};

pub(super) const HEALED: Duration = Duration::from_secs(240);
/// In the plain rendering a pod's daprd dies with it, and its partitions wait until Kafka gives up its session, after 10 s.
const REACHED: Duration = Duration::from_secs(60);

pub(super) async fn deaths(test: &ClusterTest<'_>) -> anyhow::Result<()> {
    for (function, table) in [("task-created", "audit_logs"), ("task-changed", "feed")] {
        in_a_transaction(test, function, table).await?;
    }
    reminders::killed_while_sending(test).await?;
    under_load(test).await
}

/// Kills a function's pods while a lock blocks its transaction.
async fn in_a_transaction(test: &ClusterTest<'_>, function: &str, table: &str) -> anyhow::Result<()> {
    let mut tasks: Vec<Uuid> = Vec::new();
    let (mut died, mut killed) = (0, 0);
    for round in 0..3 {
        let mut lock = test.db.begin().await?;
        sqlx::query(sqlx::AssertSqlSafe(format!("lock table {table} in share mode"))).execute(&mut *lock).await?;
        for number in 0..5 {
            tasks.push(test.create(&format!("{function} dies {round}.{number}")).await?);
        }
        let began = Instant::now();
        let waiting = "select count(*) from pg_locks where relation = $1::regclass and not granted";
        died += loop {
            let waiting: i64 = sqlx::query_scalar(waiting).bind(table).fetch_one(&test.db).await?;
            if waiting > 0 {
                break waiting;
            }
            ensure!(began.elapsed() < REACHED, "{function} does not reach {table}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        };
        let pods = test.kube.pods_of(function).await?;
        ensure!(!pods.is_empty(), "{function} has no pods");
        test.kube.kill(&test.kube.namespace, &pods).await?;
        killed += pods.len();
        lock.rollback().await?;
    }
    let kinds = ["task.created", "task.changed"];
    let seen = facts::once(&test.db, &tasks, &kinds, HEALED).await?;
    test.say(format!(
        "deaths: {killed} pods of {function} killed with {died} transactions open: {} events each took effect once, the slowest \
         after {:.0} ms, none by repair",
        seen.events.len(),
        seen.slowest
    ));
    Ok(())
}

/// Kills functions and daprds under clients that retry unanswered requests.
async fn under_load(test: &ClusterTest<'_>) -> anyhow::Result<()> {
    let pause = Duration::from_millis(200);
    let plan = Plan { name: "deaths", clients: 6, pause, tasks: usize::MAX, stubborn: true };
    let load = Load::start(&test.api, &plan);
    let namespace = test.kube.namespace.clone();
    let (mut functions, mut daprds) = (0, 0);
    for round in 0..8 {
        tokio::time::sleep(Duration::from_secs(2)).await;
        let mut pods = BTreeSet::new();
        for function in ["tasks", "task-created", "task-changed"] {
            pods.extend(test.kube.pods_of(function).await?);
        }
        functions += pods.len();
        if round == 3 {
            for function in ["tasks", "task-created"] {
                let daprd = test.kube.pods(&namespace, &format!("punctual/daprd={function}")).await?;
                daprds += daprd.len();
                pods.extend(daprd);
            }
        }
        test.kube.kill(&namespace, &pods).await?;
    }
    let answers = load.stop(&test.db).await?;
    ensure!(functions > 0 && daprds > 0, "there were no pods to kill");
    let kinds = ["task.created", "task.changed"];
    let seen = facts::once(&test.db, &answers.tasks, &kinds, HEALED).await?;
    test.say(format!(
        "deaths: {functions} pods of functions and {daprds} with daprds killed under {} requests that are retried until they are \
         answered ({} retries): each made one task; {} events each took effect once, the slowest after {:.0} ms, none by repair",
        answers.tasks.len(),
        answers.others.values().sum::<usize>(),
        seen.events.len(),
        seen.slowest
    ));
    Ok(())
}
