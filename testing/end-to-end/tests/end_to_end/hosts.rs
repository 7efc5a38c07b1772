//! The core promise on other hosts and brokers, with the same binaries.

use lab::topology::{Broker, Options};

use crate::{
    core::{absorbs_late_events, fires_at_its_new_time_only, is_silent_and_recurs_once, reminds_at_its_time},
    live::tells_of_changes,
    product::{RunningProduct, on},
};

async fn the_core(product: &RunningProduct) {
    tokio::join!(
        reminds_at_its_time(product),
        fires_at_its_new_time_only(product),
        is_silent_and_recurs_once(product),
        absorbs_late_events(product),
        tells_of_changes(product)
    );
}

#[test]
fn the_core_promises_hold_on_redis() {
    on(Options { broker: Broker::Redis, ..Options::distributed("end-to-end-redis") }, the_core);
}

#[test]
fn the_core_promises_hold_in_one_process_with_events_in_memory() {
    on(Options::embedded("end-to-end-embedded"), the_core);
}
