//! What is seen, a step each. A step begins wherever the one before left the cluster, and fails with what it saw.

mod burst;
mod deaths;
mod reminders;
mod rollout;
mod sleep;
mod wake;

use crate::{Step, world::World};

/// Does a step.
pub(crate) async fn step(world: &World, step: Step) -> anyhow::Result<()> {
    match step {
        Step::Twice => rollout::twice(world).await,
        Step::Sleep => sleep::sleep(world).await,
        Step::Cold => wake::cold(world).await,
        Step::Wake => wake::wake(world).await,
        Step::Reminder => reminders::asleep(world).await,
        Step::Burst => burst::burst(world).await,
        Step::Deaths => deaths::deaths(world).await,
        Step::Rollout => rollout::rollout(world).await,
        Step::Failure => rollout::failure(world).await,
        Step::Scheduler => reminders::scheduler(world).await,
    }
}
