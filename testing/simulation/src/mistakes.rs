//! Mistakes of a driver of attempts, and the proof that the invariants find each of them.

use std::panic::catch_unwind;

use proptest::{
    strategy::{Strategy, ValueTree as _},
    test_runner::TestRunner,
};

use crate::{
    action::{Action, sending},
    run::run_with,
    stories::{cut_sends, fired},
};

/// What a driver of attempts does wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mistake {
    /// Once the attempt has begun, it goes by the row that it read before.
    SkipSecondLook,
    /// It commits that the attempt begins only after the provider has answered.
    CallBeforeBegin,
    /// It commits that the message was accepted before it calls the provider.
    RecordBeforeAnswer,
    /// It shows the provider a new key at each attempt.
    NewKey,
    /// It does not record that an attempt has no known outcome.
    ForgetRepeat,
    /// It does not arm the job of the next attempt.
    ArmNoRetry,
    /// It does not wait for the end of another process's lease.
    RepeatWithoutWaiting,
    /// It writes the outcome of its attempt though another process has taken the delivery over.
    WriteWithoutFence,
    /// It does not renew the lease at the final dot.
    KeepShortLease,
}

/// More cases than any mistake needs.
const CASES: usize = 2_000;

/// Runs the fixed stories, then random ones, until an invariant fails. Returns the number of cases and the message.
fn find(mistake: Mistake) -> Option<(usize, String)> {
    let mut runner = TestRunner::deterministic();
    let strategy = proptest::collection::vec(sending(), 0..60);
    let random = std::iter::repeat_with(|| {
        let actions = strategy.new_tree(&mut runner).expect("a value").current();
        [fired(2), actions].concat()
    });
    let stories = cut_sends().into_iter().chain(random.take(CASES));
    let mut cases = stories.flat_map(|story| [(true, story.clone()), (false, story)]).enumerate();
    cases.find_map(|(case, (has_key, story))| Some((case + 1, failure(mistake, has_key, &story)?)))
}

fn failure(mistake: Mistake, has_key: bool, story: &[Action]) -> Option<String> {
    let panic = catch_unwind(|| run_with(Some(mistake), has_key, story)).err()?;
    let text = panic.downcast_ref::<&str>().map(ToString::to_string);
    Some(text.or_else(|| panic.downcast_ref::<String>().cloned()).expect("a message"))
}

fn assert_found(mistake: Mistake, expected: &str) {
    let (cases, message) = find(mistake).expect("an invariant fails");
    println!("{mistake:?}: found in case {cases}: {message}");
    assert!(message.contains(expected), "{message}");
}

#[test]
fn a_driver_that_skips_the_second_look_is_found() {
    assert_found(Mistake::SkipSecondLook, "sent by an attempt that began after the end");
}

#[test]
fn a_driver_that_calls_the_provider_before_it_begins_is_found() {
    assert_found(Mistake::CallBeforeBegin, "sent by an attempt that is not on record");
}

#[test]
fn a_driver_that_records_before_the_provider_answers_is_found() {
    assert_found(Mistake::RecordBeforeAnswer, "recorded as sent, and no provider has accepted it");
}

#[test]
fn a_driver_that_changes_the_key_is_found() {
    assert_found(Mistake::NewKey, "sent twice though the provider knows keys");
}

#[test]
fn a_driver_that_forgets_an_unknown_outcome_is_found() {
    assert_found(Mistake::ForgetRepeat, "sent twice, and nobody was told");
}

#[test]
fn a_driver_that_arms_no_retry_is_found() {
    assert_found(Mistake::ArmNoRetry, "an attempt is done, and nothing makes the next");
}

#[test]
fn a_driver_that_repeats_without_waiting_is_found() {
    assert_found(Mistake::RepeatWithoutWaiting, "repeated while a process knows that it was accepted");
}

#[test]
fn a_driver_that_writes_without_its_fence_is_found() {
    assert_found(Mistake::WriteWithoutFence, "repeated while a process knows that it was accepted");
}

#[test]
fn a_driver_that_keeps_the_short_lease_at_the_final_dot_is_found() {
    assert_found(Mistake::KeepShortLease, "repeated while a process knows that it was accepted");
}
