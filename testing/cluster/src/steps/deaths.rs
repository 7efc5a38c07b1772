//! Pods killed in the middle of what they do: an event's transaction, an attempt to send, an answer.

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
    world::World,
};

const HEALED: Duration = Duration::from_secs(240);

pub(super) async fn deaths(world: &World) -> anyhow::Result<()> {
    for (function, table) in [("task-created", "audit_logs"), ("task-changed", "feed")] {
        in_a_transaction(world, function, table).await?;
    }
    reminders::killed_while_sending(world).await?;
    under_load(world).await
}

/// The function's transaction is held up by a lock when its pods die.
async fn in_a_transaction(world: &World, function: &str, table: &str) -> anyhow::Result<()> {
    let mut tasks: Vec<Uuid> = Vec::new();
    let (mut died, mut killed) = (0, 0);
    for round in 0..3 {
        let mut lock = world.db.begin().await?;
        sqlx::query(sqlx::AssertSqlSafe(format!("lock table {table} in share mode"))).execute(&mut *lock).await?;
        for number in 0..5 {
            tasks.push(world.user.create(&format!("{function} dies {round}.{number}")).await?);
        }
        let began = Instant::now();
        let waiting = "select count(*) from pg_locks where relation = $1::regclass and not granted";
        died += loop {
            let waiting: i64 = sqlx::query_scalar(waiting).bind(table).fetch_one(&world.db).await?;
            if waiting > 0 {
                break waiting;
            }
            ensure!(began.elapsed() < Duration::from_secs(20), "{function} does not get to {table}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        };
        let pods = world.kube.pods_of(function).await?;
        ensure!(!pods.is_empty(), "{function} has no pods");
        world.kube.kill(&world.kube.namespace, &pods).await?;
        killed += pods.len();
        lock.rollback().await?;
    }
    let kinds = ["task.created", "task.changed"];
    let seen = facts::once(&world.db, &tasks, &kinds, HEALED).await?;
    world.say(format!(
        "deaths: {killed} pods of {function} killed with {died} transactions open: {} events each took effect once, the slowest \
         after {:.0} ms, none by repair",
        seen.events.len(),
        seen.slowest
    ));
    Ok(())
}

/// Functions and daprds die under clients that repeat what was not answered.
async fn under_load(world: &World) -> anyhow::Result<()> {
    let pause = Duration::from_millis(200);
    let plan = Plan { name: "deaths", clients: 6, pause, tasks: usize::MAX, stubborn: true };
    let load = Load::start(&world.user, &plan);
    let namespace = world.kube.namespace.clone();
    let (mut functions, mut daprds) = (0, 0);
    for round in 0..8 {
        tokio::time::sleep(Duration::from_secs(2)).await;
        let mut pods = BTreeSet::new();
        for function in ["tasks", "task-created", "task-changed"] {
            pods.extend(world.kube.pods_of(function).await?);
        }
        functions += pods.len();
        if round == 3 {
            for function in ["tasks", "task-created"] {
                let daprd = world.kube.pods(&namespace, &format!("punctual/daprd={function}")).await?;
                daprds += daprd.len();
                pods.extend(daprd);
            }
        }
        world.kube.kill(&namespace, &pods).await?;
    }
    let answers = load.stop(&world.db).await?;
    ensure!(functions > 0 && daprds > 0, "nothing was there to be killed");
    let kinds = ["task.created", "task.changed"];
    let seen = facts::once(&world.db, &answers.tasks, &kinds, HEALED).await?;
    world.say(format!(
        "deaths: {functions} pods of functions and {daprds} with daprds killed under {} requests that are repeated until they are \
         answered ({} times): each made one task; {} events each took effect once, the slowest after {:.0} ms, none by repair",
        answers.tasks.len(),
        answers.others.values().sum::<usize>(),
        seen.events.len(),
        seen.slowest
    ));
    Ok(())
}
