//! Two replicas of a function, each with its own daprd, in the plain rendering: they share the work, and one goes on without the other.

use std::{
    collections::BTreeSet,
    time::{Duration, Instant},
};

use anyhow::ensure;

use super::{
    deaths::HEALED,
    reminders::{all_sent, remind},
};
use crate::{
    deployment::REPLICATED,
    facts,
    load::{Load, Plan},
    run::ClusterTest,
};

const REMINDERS: usize = 24;

pub(super) async fn replicas(test: &ClusterTest<'_>) -> anyhow::Result<()> {
    for function in REPLICATED {
        let pods = test.kube.pods_of(function).await?;
        ensure!(pods.len() == 2, "{function} has other pods than two: {pods:?}");
    }
    shared(test).await?;
    one_dies(test).await
}

/// Both replicas of `alarm` take jobs, both of `task-created` take events, and each takes effect once.
async fn shared(test: &ClusterTest<'_>) -> anyhow::Result<()> {
    let mut reminders = Vec::new();
    for number in 0..REMINDERS {
        reminders.push(remind(test, &format!("shared {number}"), Duration::from_secs(20)).await?);
    }
    let told = all_sent(test, &reminders, Duration::from_secs(60)).await?;
    let tasks: Vec<_> = reminders.iter().map(|reminder| reminder.task).collect();
    let kinds = ["task.created", "reminder.due", "reminder.sent"];
    let seen = facts::once(&test.db, &tasks, &kinds, Duration::from_secs(60)).await?;
    let mut shares = Vec::new();
    for (function, done) in [("alarm", " fired "), ("task-created", " handled\"")] {
        let mut share = Vec::new();
        for pod in test.kube.pods_of(function).await? {
            let lines = test.kube.kubectl(&["logs", &pod, "--container", "function", "--since=2m"]).await?;
            share.push(lines.lines().filter(|line| line.contains(done)).count());
        }
        ensure!(share.len() == 2 && !share.contains(&0), "the pods of {function} did {share:?}");
        shares.push(format!("{function} {share:?}"));
    }
    let latest = told.iter().map(|told| told.fired).fold(0.0, f64::max);
    test.say(format!(
        "replicas: {REMINDERS} reminders due together, each fired once, at most {latest:.0} ms after its time, and sent once; {} events each \
         took effect once; both pods took part: {}",
        seen.events.len(),
        shares.join(", ")
    ));
    Ok(())
}

/// Kills one of the two pods of each function under clients that retry unanswered requests: the other answers them.
async fn one_dies(test: &ClusterTest<'_>) -> anyhow::Result<()> {
    let pause = Duration::from_millis(200);
    let load = Load::start(&test.api, &Plan { name: "replicas", clients: 6, pause, tasks: usize::MAX, stubborn: true });
    tokio::time::sleep(Duration::from_secs(2)).await;
    let mut pods = BTreeSet::new();
    for function in REPLICATED {
        pods.extend(test.kube.pods_of(function).await?.into_iter().take(1));
    }
    let began = Instant::now();
    test.kube.kill(&test.kube.namespace, &pods).await?;
    for function in REPLICATED {
        test.kube.kubectl(&["rollout", "status", &format!("deployment/{function}"), "--timeout=120s"]).await?;
    }
    let back = began.elapsed();
    let answers = load.stop(&test.db).await?;
    let seen = facts::once(&test.db, &answers.tasks, &["task.created", "task.changed"], HEALED).await?;
    // A new pod takes longer than this to start.
    let limit = Duration::from_secs(3);
    ensure!(answers.slowest < limit, "no pod of tasks answered for {:?}", answers.slowest);
    test.say(format!(
        "replicas: one of two pods of {} killed, replaced after {} s: {} requests meanwhile ({} retries), the slowest answered after {} ms; {} \
         events each took effect once, the slowest after {:.0} ms, none by repair",
        REPLICATED.join(", "),
        back.as_secs(),
        answers.tasks.len(),
        answers.others.values().sum::<usize>(),
        answers.slowest.as_millis(),
        seen.events.len(),
        seen.slowest
    ));
    Ok(())
}
