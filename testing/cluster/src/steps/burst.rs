//! Many at once from zero: the functions scale out, and back.

use std::{collections::BTreeMap, time::Duration};

use anyhow::ensure;

use crate::{
    facts,
    load::{Load, Plan},
    world::World,
};

const TASKS: usize = 160;

pub(super) async fn burst(world: &World) -> anyhow::Result<()> {
    world.zero().await?;
    let plan = Plan { name: "burst", clients: 60, pause: Duration::ZERO, tasks: TASKS, stubborn: false };
    let load = Load::start(&world.user, &plan);
    let mut most = BTreeMap::new();
    let mut look = async || -> anyhow::Result<()> {
        for (function, pods) in world.kube.awake().await? {
            let known = most.entry(function).or_insert(0);
            *known = pods.max(*known);
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
        Ok(())
    };
    while load.is_going() {
        look().await?;
    }
    for _ in 0..10 {
        look().await?; // the autoscaler decides every two seconds
    }
    let answers = load.finish(&world.db).await?;
    ensure!(answers.others.is_empty(), "burst: {:?}", answers.others);
    let kinds = ["task.created", "task.changed"];
    let seen = facts::once(&world.db, &answers.tasks, &kinds, Duration::from_secs(120)).await?;
    ensure!(most.values().any(|pods| *pods > 1), "nothing scaled out: {most:?}");
    let back = world.zero().await?;
    world.say(format!(
        "burst: {TASKS} commands from zero, 60 at a time: all 201, the slowest in {} ms; {} events each took effect once, the \
         slowest after {:.0} ms; pods at most {most:?}, then zero within {} s",
        answers.slowest.as_millis(),
        seen.events.len(),
        seen.slowest,
        back.as_secs()
    ));
    Ok(())
}
