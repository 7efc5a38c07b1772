//! The core again, on other hosts and brokers, with the same binaries and no other code.

use lab::topology::{Broker, Options};

use crate::{
    core::{absorbs_what_comes_late, fires_at_its_new_time_only, is_silent_and_recurs_once, reminds_at_its_time},
    world::{World, on},
};

async fn the_core(world: &World) {
    tokio::join!(
        reminds_at_its_time(world),
        fires_at_its_new_time_only(world),
        is_silent_and_recurs_once(world),
        absorbs_what_comes_late(world)
    );
}

#[test]
fn the_core_holds_on_redis() {
    on(Options { broker: Broker::Redis, ..Options::distributed("end-to-end-redis") }, the_core);
}

#[test]
fn the_core_holds_in_one_process_with_events_in_memory() {
    on(Options::embedded("end-to-end-embedded"), the_core);
}
