//! New versions: the same one changes nothing, another one loses nothing, and one that does not work is gone again.

use std::time::Duration;

use anyhow::ensure;

use crate::{
    deployment::{generations, tags},
    facts,
    load::{Load, Plan},
    world::World,
};

const LOAD: Plan =
    Plan { name: "rollout", clients: 5, pause: Duration::from_millis(400), tasks: usize::MAX, stubborn: false };

/// Installing what is installed changes nothing.
pub(super) async fn twice(world: &World) -> anyhow::Result<()> {
    let before = (world.deployment.manifest().await?, generations(&world.kube).await?);
    let deployed = world.deployment.deploy(&world.images.first).await?;
    ensure!(deployed.works, "{}", deployed.told);
    let after = (world.deployment.manifest().await?, generations(&world.kube).await?);
    ensure!(before.0 == after.0, "other manifests");
    let changed: Vec<_> = after.1.iter().filter(|(name, found)| before.1.get(*name) != Some(found)).collect();
    ensure!(before.1 == after.1, "changed: {changed:?}");
    world.say(format!("twice: the same manifests, and none of {} objects is new or changed", after.1.len()));
    Ok(())
}

/// Another version, under load.
pub(super) async fn rollout(world: &World) -> anyhow::Result<()> {
    let before = tags(&world.kube).await?;
    let load = Load::start(&world.user, &LOAD);
    tokio::time::sleep(Duration::from_secs(2)).await;
    let deployed = world.deployment.deploy(&world.images.next).await?;
    ensure!(deployed.works, "{}", deployed.told);
    let now = tags(&world.kube).await?;
    ensure!(now == [world.images.next.clone()] && now != before, "{before:?} became {now:?}");
    let told = nothing_lost(world, load).await?;
    world.say(format!("rollout: {before:?} to {now:?} in {} s, and {told}", deployed.took.as_secs()));
    Ok(())
}

/// A version of which an image is missing, and one of which all are: both end on the version before.
pub(super) async fn failure(world: &World) -> anyhow::Result<()> {
    let before = tags(&world.kube).await?;
    for tag in [world.images.broken.as_str(), "there-is-none"] {
        let load = Load::start(&world.user, &LOAD);
        tokio::time::sleep(Duration::from_secs(2)).await;
        let deployed = world.deployment.deploy(tag).await?;
        ensure!(!deployed.works, "{tag} was deployed: {}", deployed.told);
        ensure!(deployed.told.contains("is back and works"), "{}", deployed.told);
        let now = tags(&world.kube).await?;
        ensure!(now == before, "{before:?} became {now:?}");
        let told = nothing_lost(world, load).await?;
        world.say(format!("failure: {tag} ended on {now:?} after {} s, and {told}", deployed.took.as_secs()));
    }
    Ok(())
}

/// Ends the load: every request was answered 201, and every event takes effect once.
async fn nothing_lost(world: &World, load: Load) -> anyhow::Result<String> {
    ensure!(load.is_going(), "the load ended by itself");
    let answers = load.stop(&world.db).await?;
    ensure!(answers.others.is_empty(), "of {} requests: {:?}", answers.tasks.len(), answers.others);
    let kinds = ["task.created", "task.changed"];
    let seen = facts::once(&world.db, &answers.tasks, &kinds, Duration::from_secs(240)).await?;
    Ok(format!(
        "{} requests meanwhile: all 201, the slowest in {} ms; {} events each took effect once, the slowest after {:.0} ms, none by \
         repair",
        answers.tasks.len(),
        answers.slowest.as_millis(),
        seen.events.len(),
        seen.slowest
    ))
}
