//! Everything scales to zero and stays there, also when repair looks whether something was lost.

use std::time::{Duration, Instant};

use anyhow::ensure;

use crate::world::World;

pub(super) async fn sleep(world: &World) -> anyhow::Result<()> {
    let took = world.zero().await?;
    let idle = Duration::from_secs(world.arguments.idle_seconds);
    let began = Instant::now();
    let watched = async {
        while began.elapsed() < idle {
            let awake = world.kube.awake().await?;
            ensure!(awake.is_empty(), "woke while idle: {awake:?}");
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
        Ok(())
    };
    let repair = async {
        tokio::time::sleep(idle / 4).await;
        world.kube.repair("repair-idle").await
    };
    tokio::try_join!(watched, repair)?;
    let daprds = world.kube.pods(&world.kube.namespace, "punctual/daprd").await?.len();
    world.say(format!(
        "sleep: every function at zero after {} s and for {} s, a repair in between; {daprds} pods with a daprd and a door stay",
        took.as_secs(),
        idle.as_secs()
    ));
    Ok(())
}
