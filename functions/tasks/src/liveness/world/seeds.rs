//! Lives that went wrong once, or that show what must not.

use super::{GOOD, Goes, Step, run};

/// As far as that many steps.
const fn steps(steps: usize) -> Goes {
    Goes { steps, luck: 5 }
}

/// A reminder that has fired: its `reminder.due` is the last message.
fn fired() -> Vec<Step> {
    vec![
        Step::Remind(0, 10),
        Step::Relay(GOOD),
        Step::Deliver(0, GOOD),
        Step::Deliver(0, GOOD),
        Step::Pass(10),
        Step::CallIfDue(0, GOOD),
        Step::Relay(GOOD),
    ]
}

#[test]
fn a_process_that_dies_at_any_step_of_a_send() {
    for has_key in [false, true] {
        for dies in 0..20 {
            let mut story = fired();
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
                let mut story = fired();
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
            let mut story = fired();
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
