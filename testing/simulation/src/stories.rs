//! Fixed sequences of actions: those that failed once, and those that cut a send at each of its steps.

use crate::{
    action::{Action, GOOD, Slice},
    run::run,
};

/// A send takes fewer steps than this.
const STEPS: usize = 20;

/// Stops after this many steps.
const fn steps(steps: usize) -> Slice {
    Slice { steps, luck: 5 }
}

/// Reminders that have fired: the messages on the topic are their `reminder.due`.
pub(crate) fn fired(reminders: usize) -> Vec<Action> {
    let mut story = vec![Action::Remind(0, 10); reminders];
    story.push(Action::Relay(GOOD));
    story.extend(vec![Action::Deliver(0, GOOD); reminders + 1]);
    story.push(Action::Pass(10));
    story.extend(vec![Action::CallIfDue(0, GOOD); reminders]);
    story.push(Action::Relay(GOOD));
    story
}

/// The story of one fired reminder, and what follows.
pub(crate) fn then(actions: &[Action]) -> Vec<Action> {
    [fired(1), actions.to_vec()].concat()
}

/// Sends that are cut at each of their steps, by a death, a command or a lost connection.
pub(crate) fn cut_sends() -> Vec<Vec<Action>> {
    let mut stories = Vec::new();
    for cut in 0..STEPS {
        stories.push(death(cut));
        stories.extend(commands(cut));
        stories.extend(takeovers(cut));
    }
    stories
}

fn death(cut: usize) -> Vec<Action> {
    then(&[Action::Deliver(0, steps(cut)), Action::Kill(0), Action::Kill(1)])
}

fn commands(cut: usize) -> impl Iterator<Item = Vec<Action>> {
    let commands =
        [Action::Cancel(0), Action::Complete(0), Action::Delete(0), Action::Snooze(0, 30), Action::Move(0, None)];
    commands.into_iter().map(move |command| then(&[Action::Deliver(0, steps(cut)), command, Action::Continue(0, GOOD)]))
}

/// The connection of a send breaks or falls silent, and the event comes to another process: within its lease, after the lease that it began with,
/// and after every lease.
fn takeovers(cut: usize) -> impl Iterator<Item = Vec<Action>> {
    let connections = [Action::Pass(0), Action::Disconnect(0), Action::Silence(0)];
    let waits = [Action::Pass(0), Action::Pass(20), Action::Pass(100)];
    connections.into_iter().flat_map(move |connection| {
        waits.map(|wait| {
            let first = [Action::Deliver(0, steps(cut)), connection, wait];
            then(&[&first[..], &[Action::Deliver(0, GOOD), Action::Continue(0, GOOD)]].concat())
        })
    })
}

#[test]
fn a_death_at_any_step_of_a_send_keeps_every_invariant() {
    for has_key in [false, true] {
        (0..STEPS).map(death).for_each(|story| run(has_key, &story));
    }
}

#[test]
fn a_command_at_any_step_of_a_send_keeps_every_invariant() {
    for has_key in [false, true] {
        (0..STEPS).flat_map(commands).for_each(|story| run(has_key, &story));
    }
}

#[test]
fn a_takeover_after_a_failed_connection_at_any_step_of_a_send_keeps_every_invariant() {
    for has_key in [false, true] {
        (0..STEPS).flat_map(takeovers).for_each(|story| run(has_key, &story));
    }
}

#[test]
fn three_deaths_after_the_final_dot_send_at_most_two_messages() {
    for has_key in [false, true] {
        for cut in 4..14 {
            let dies = [Action::Deliver(0, steps(cut)), Action::Kill(0), Action::Kill(1)];
            run(has_key, &then(&dies.repeat(3)));
        }
    }
}

#[test]
fn a_clock_set_back_between_firing_and_sending_keeps_every_invariant() {
    for has_key in [false, true] {
        run(has_key, &then(&[Action::Pass(-5), Action::Deliver(0, GOOD)]));
    }
}

#[test]
fn a_clock_set_back_at_any_step_of_a_send_keeps_every_invariant() {
    for has_key in [false, true] {
        for step in 0..STEPS {
            let sent = [
                Action::Deliver(0, steps(step)),
                Action::Pass(-5),
                Action::Deliver(0, GOOD),
                Action::Continue(0, GOOD),
            ];
            run(has_key, &then(&sent));
        }
    }
}

/// Once it ended `unknown`, as if the provider had forgotten a message that it never got.
#[test]
fn a_reminder_throttled_for_a_day_is_sent() {
    let mut story = fired(2);
    let throttled = Slice { steps: 60, luck: 9 };
    story.extend([Action::Deliver(0, throttled), Action::Deliver(0, GOOD), Action::Pass(90_000)]);
    run(true, &story);
}

#[test]
fn callbacks_of_an_old_version_do_not_affect_the_next_version() {
    for has_key in [false, true] {
        for seconds in [1, 5, 60] {
            let mut story =
                vec![Action::Remind(0, 0), Action::Relay(GOOD), Action::Deliver(0, GOOD), Action::Deliver(0, GOOD)];
            story.extend([Action::Snooze(0, seconds), Action::Call(0, GOOD), Action::Pass(60), Action::Call(0, GOOD)]);
            run(has_key, &story);
        }
    }
}

#[test]
fn a_process_that_stands_still_before_its_job_calls_again_lets_it_call_now() {
    for step in 0..STEPS {
        let refused = Slice { steps: 60, luck: 8 };
        let early = [Action::Deliver(0, refused), Action::Call(0, steps(step)), Action::Pass(16)];
        run(false, &then(&early));
    }
}
