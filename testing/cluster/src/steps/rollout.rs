//! Deployments: the same version changes nothing, a new one loses nothing, and a broken one is rolled back.

use std::time::Duration;

use anyhow::ensure;

use crate::{
    deployment::{generations, tags},
    facts,
    load::{Load, Plan},
    run::ClusterTest,
};

const LOAD: Plan =
    Plan { name: "rollout", clients: 5, pause: Duration::from_millis(400), tasks: usize::MAX, stubborn: false };

/// A second deployment of the same version changes nothing.
pub(super) async fn twice(test: &ClusterTest<'_>) -> anyhow::Result<()> {
    let before = (test.deployment.manifest().await?, generations(test.kube).await?);
    let deployed = test.deployment.deploy(&test.images.first).await?;
    ensure!(deployed.works, "{}", deployed.output);
    let after = (test.deployment.manifest().await?, generations(test.kube).await?);
    ensure!(before.0 == after.0, "the manifests differ");
    let changed: Vec<_> = after.1.iter().filter(|(name, found)| before.1.get(*name) != Some(found)).collect();
    ensure!(before.1 == after.1, "changed: {changed:?}");
    test.say(format!("twice: the same manifests, and none of {} objects is new or changed", after.1.len()));
    Ok(())
}

/// A new version, under load.
pub(super) async fn rollout(test: &ClusterTest<'_>) -> anyhow::Result<()> {
    let before = tags(test.kube).await?;
    let load = Load::start(&test.api, &LOAD);
    tokio::time::sleep(Duration::from_secs(2)).await;
    let deployed = test.deployment.deploy(&test.images.next).await?;
    ensure!(deployed.works, "{}", deployed.output);
    let now = tags(test.kube).await?;
    ensure!(now == [test.images.next.clone()] && now != before, "{before:?} became {now:?}");
    let told = nothing_lost(test, load).await?;
    test.say(format!("rollout: {before:?} to {now:?} in {} s, and {told}", deployed.took.as_secs()));
    Ok(())
}

/// A version that lacks one image, and one that lacks all: both are rolled back.
pub(super) async fn failure(test: &ClusterTest<'_>) -> anyhow::Result<()> {
    let before = tags(test.kube).await?;
    for tag in [test.images.broken.as_str(), "no-such-tag"] {
        let load = Load::start(&test.api, &LOAD);
        tokio::time::sleep(Duration::from_secs(2)).await;
        let deployed = test.deployment.deploy(tag).await?;
        ensure!(!deployed.works, "{tag} was deployed: {}", deployed.output);
        ensure!(deployed.output.contains("rolled back to revision"), "{}", deployed.output);
        ensure!(deployed.output.contains("which works"), "{}", deployed.output);
        let now = tags(test.kube).await?;
        ensure!(now == before, "{before:?} became {now:?}");
        let told = nothing_lost(test, load).await?;
        test.say(format!("failure: {tag} ended on {now:?} after {} s, and {told}", deployed.took.as_secs()));
    }
    Ok(())
}

/// Stops the load and checks that every request was answered 201 and every event took effect once.
async fn nothing_lost(test: &ClusterTest<'_>, load: Load) -> anyhow::Result<String> {
    ensure!(load.is_running(), "the load ended early");
    let answers = load.stop(&test.db).await?;
    ensure!(answers.others.is_empty(), "of {} requests: {:?}", answers.tasks.len(), answers.others);
    let kinds = ["task.created", "task.changed"];
    let seen = facts::once(&test.db, &answers.tasks, &kinds, Duration::from_secs(240)).await?;
    Ok(format!(
        "{} requests during it: all 201, the slowest in {} ms; {} events each took effect once, the slowest after {:.0} ms, none by \
         repair",
        answers.tasks.len(),
        answers.slowest.as_millis(),
        seen.events.len(),
        seen.slowest
    ))
}
