//! A burst from zero: the functions scale out and back.

use std::{collections::BTreeMap, time::Duration};

use anyhow::ensure;

use crate::{
    facts,
    load::{Load, Plan},
    run::ClusterTest,
};

const TASKS: usize = 160;

pub(super) async fn burst(test: &ClusterTest<'_>) -> anyhow::Result<()> {
    test.zero().await?;
    let plan = Plan { name: "burst", clients: 60, pause: Duration::ZERO, tasks: TASKS, stubborn: false };
    let load = Load::start(&test.api, &plan);
    let mut most = BTreeMap::new();
    let mut watch = async || -> anyhow::Result<()> {
        for (function, pods) in test.kube.awake().await? {
            let known = most.entry(function).or_insert(0);
            *known = pods.max(*known);
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
        Ok(())
    };
    while load.is_running() {
        watch().await?;
    }
    for _ in 0..10 {
        watch().await?; // the autoscaler decides every two seconds
    }
    let answers = load.finish(&test.db).await?;
    ensure!(answers.others.is_empty(), "burst: {:?}", answers.others);
    let kinds = ["task.created", "task.changed"];
    let seen = facts::once(&test.db, &answers.tasks, &kinds, Duration::from_secs(120)).await?;
    ensure!(most.values().any(|pods| *pods > 1), "nothing scaled out: {most:?}");
    let back = test.zero().await?;
    test.say(format!(
        "burst: {TASKS} commands from zero, 60 at a time: all 201, the slowest in {} ms; {} events each took effect once, the \
         slowest after {:.0} ms; maximum pods {most:?}, then zero within {} s",
        answers.slowest.as_millis(),
        seen.events.len(),
        seen.slowest,
        back.as_secs()
    ));
    Ok(())
}
