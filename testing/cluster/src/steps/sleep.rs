//! Every function scales to zero and stays there, even while repair runs.

use std::time::{Duration, Instant};

use anyhow::ensure;

use crate::run::ClusterTest;

pub(super) async fn sleep(test: &ClusterTest<'_>) -> anyhow::Result<()> {
    let took = test.zero().await?;
    let idle = Duration::from_secs(test.arguments.idle_seconds);
    let began = Instant::now();
    let watched = async {
        while began.elapsed() < idle {
            let awake = test.kube.awake().await?;
            ensure!(awake.is_empty(), "woke while idle: {awake:?}");
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
        Ok(())
    };
    let repair = async {
        tokio::time::sleep(idle / 4).await;
        test.kube.repair("repair-idle").await
    };
    tokio::try_join!(watched, repair)?;
    let daprds = test.kube.pods(&test.kube.namespace, "punctual/daprd").await?.len();
    test.say(format!(
        "sleep: every function at zero after {} s and for {} s, with a repair in between; {daprds} pods with a daprd and a door stay",
        took.as_secs(),
        idle.as_secs()
    ));
    Ok(())
}
