//! The steps. Each begins with the cluster as the previous one left it, and fails with what it observed.

mod burst;
mod deaths;
mod page;
mod reminders;
mod replicas;
mod rollout;
mod sleep;
mod wake;

use crate::{Step, run::ClusterTest};

/// Runs a step.
pub(crate) async fn step(test: &ClusterTest<'_>, step: Step) -> anyhow::Result<()> {
    match step {
        Step::Twice => rollout::twice(test).await,
        Step::Sleep => sleep::sleep(test).await,
        Step::Cold => wake::cold(test).await,
        Step::Wake => wake::wake(test).await,
        Step::Reminder => reminders::asleep(test).await,
        Step::Burst => burst::burst(test).await,
        Step::Replicas => replicas::replicas(test).await,
        Step::Deaths => deaths::deaths(test).await,
        Step::Page => page::page(test).await,
        Step::Rollout => rollout::rollout(test).await,
        Step::Failure => rollout::failure(test).await,
        Step::Scheduler => reminders::scheduler(test).await,
    }
}
