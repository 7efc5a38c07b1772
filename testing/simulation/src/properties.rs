//! Random sequences of actions. Cases that failed are kept in `proptest-regressions`.

use proptest::prelude::*;

use crate::{
    action::{any_action, sending},
    run::run,
    stories::fired,
};

proptest! {
    #[test]
    fn a_reminder_is_sent_once_in_time_and_never_after_it_ended(
        has_key: bool,
        actions in prop::collection::vec(any_action(), 0..100),
    ) {
        run(has_key, &actions);
    }

    #[test]
    fn a_fired_reminder_is_sent_once_under_any_interruption_of_its_attempts(
        has_key: bool,
        actions in prop::collection::vec(sending(), 0..60),
    ) {
        run(has_key, &[fired(2), actions].concat());
    }
}
