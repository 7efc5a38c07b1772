//! Lives that went wrong once, or that show what must not.

use super::{GOOD, Goes, Step, run};

/// As far as that many steps.
const fn steps(steps: usize) -> Goes {
    Goes { steps, luck: 5 }
}

/// Reminders that have fired: the messages are their `reminder.due`.
pub(super) fn fired(reminders: usize) -> Vec<Step> {
    let mut story = vec![Step::Remind(0, 10); reminders];
    story.push(Step::Relay(GOOD));
    story.extend(vec![Step::Deliver(0, GOOD); reminders + 1]);
    story.push(Step::Pass(10));
    story.extend(vec![Step::CallIfDue(0, GOOD); reminders]);
    story.push(Step::Relay(GOOD));
    story
}

#[test]
fn a_process_that_dies_at_any_step_of_a_send() {
    for has_key in [false, true] {
        for dies in 0..20 {
            let mut story = fired(1);
            story.extend([Step::Deliver(0, steps(dies)), Step::Kill(0), Step::Kill(1)]);
            run(has_key, &story);
        }
    }
}

#[test]
fn a_command_that_comes_at_any_step_of_a_send() {
    for has_key in [false, true] {
        for comes in 0..20 {
            let ends = [Step::Cancel(0), Step::Complete(0), Step::Delete(0), Step::Snooze(0, 30), Step::Move(0, None)];
            for end in ends {
                let mut story = fired(1);
                story.extend([Step::Deliver(0, steps(comes)), end, Step::Go(0, GOOD)]);
                run(has_key, &story);
            }
        }
    }
}

#[test]
fn a_connection_that_is_lost_at_any_step_of_a_send_which_another_process_takes_over() {
    for has_key in [false, true] {
        for lost in 0..20 {
            let mut story = fired(1);
            story.extend([
                Step::Deliver(0, steps(lost)),
                Step::Disconnect(0),
                Step::Deliver(0, GOOD),
                Step::Go(0, GOOD),
            ]);
            run(has_key, &story);
        }
    }
}

#[test]
fn a_process_that_dies_three_times_after_the_dot_sends_twice_at_most() {
    for has_key in [false, true] {
        for dies in 4..14 {
            let mut story = fired(1);
            for _ in 0..3 {
                story.extend([Step::Deliver(0, steps(dies)), Step::Kill(0), Step::Kill(1)]);
            }
            run(has_key, &story);
        }
    }
}

#[test]
fn a_clock_that_is_set_back_between_firing_and_sending() {
    for has_key in [false, true] {
        let mut story = fired(1);
        story.extend([Step::Pass(-5), Step::Deliver(0, GOOD)]);
        run(has_key, &story);
    }
}

/// It ended `unknown`: the provider's memory of a message that it never got was taken to have passed.
#[test]
fn one_that_waited_a_day_because_another_was_throttled_is_sent() {
    let mut story = fired(2);
    let throttled = Goes { steps: 60, luck: 9 };
    story.extend([Step::Deliver(0, throttled), Step::Deliver(0, GOOD), Step::Pass(90_000)]);
    run(true, &story);
}

#[test]
fn the_callback_of_a_version_that_has_passed_comes_before_and_after_the_next_has_fired() {
    for has_key in [false, true] {
        for seconds in [1, 5, 60] {
            let mut story = vec![Step::Remind(0, 0), Step::Relay(GOOD), Step::Deliver(0, GOOD), Step::Deliver(0, GOOD)];
            story.extend([Step::Snooze(0, seconds), Step::Call(0, GOOD), Step::Pass(60), Step::Call(0, GOOD)]);
            run(has_key, &story);
        }
    }
}
