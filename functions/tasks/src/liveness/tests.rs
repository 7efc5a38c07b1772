use chrono::TimeDelta;

use super::*;

fn now() -> DateTime<Utc> {
    "2027-05-04T12:00:00Z".parse().unwrap()
}

fn hours(hours: i64) -> DateTime<Utc> {
    now() + TimeDelta::hours(hours)
}

/// One hour before the due time.
fn relative(remind_at: DateTime<Utc>, state: ReminderState, cancel_reason: Option<CancelReason>) -> Reminder {
    Reminder {
        id: Uuid::nil(),
        remind_at,
        before_due: Some("PT1H".to_owned()),
        channels: vec!["email".to_owned()],
        state,
        cancel_reason,
        overdue: false,
        version: 1,
        fired: false,
    }
}

fn scheduled(remind_at: DateTime<Utc>) -> Reminder {
    relative(remind_at, ReminderState::Scheduled, None)
}

fn moved(reminder: &Reminder, from: Option<i64>, to: Option<i64>, completed: bool) -> Option<ReminderChange> {
    let zone = Zone::utc();
    let due = |at: Option<i64>| Due { at: at.map(hours), zone: &zone };
    reminder.on_move(due(from), due(to), completed, now())
}

#[test]
fn a_relative_reminder_follows_the_due_time_and_an_absolute_one_does_not() {
    let reminder = scheduled(hours(2));
    assert_eq!(moved(&reminder, Some(3), Some(6), false), Some(reminder.scheduled(hours(5))));
    let absolute = Reminder { before_due: None, ..reminder };
    assert_eq!(moved(&absolute, Some(3), Some(6), false), None);
    assert_eq!(moved(&absolute, Some(3), None, false), None);
}

#[test]
fn a_due_time_moved_into_the_past_fires_only_reminders_that_have_not_fired() {
    let live = scheduled(hours(2));
    assert_eq!(moved(&live, Some(3), Some(-1), false), Some(live.scheduled(hours(-2))));
    let fired = Reminder { fired: true, ..scheduled(hours(-1)) };
    assert_eq!(moved(&fired, Some(0), Some(-1), false), None);
    let sent = relative(hours(-1), ReminderState::Sent, None);
    assert_eq!(moved(&sent, Some(0), Some(-1), false), None);
}

#[test]
fn a_sent_reminder_moved_into_the_future_is_live_again() {
    for state in [ReminderState::Sent, ReminderState::Failed] {
        let over = relative(hours(-1), state, None);
        assert_eq!(moved(&over, Some(0), Some(5), false), Some(over.scheduled(hours(4))));
    }
    let fired = Reminder { fired: true, ..scheduled(hours(-1)) };
    assert_eq!(moved(&fired, Some(0), Some(5), false), Some(fired.scheduled(hours(4))));
}

#[test]
fn a_relative_reminder_is_cancelled_while_its_task_has_no_due_time() {
    let live = scheduled(hours(2));
    assert_eq!(moved(&live, Some(3), None, false), Some(live.cancelled(CancelReason::DueRemoved)));
    let rests = relative(hours(2), ReminderState::Cancelled, Some(CancelReason::DueRemoved));
    assert_eq!(moved(&rests, None, Some(9), false), Some(rests.scheduled(hours(8))));
    assert_eq!(moved(&rests, None, Some(0), false), None);
    let sent = relative(hours(-1), ReminderState::Sent, None);
    assert_eq!(moved(&sent, Some(0), None, false), None);
}

#[test]
fn reminders_of_a_completed_task_move_and_stay_cancelled() {
    let asleep = relative(hours(2), ReminderState::Cancelled, Some(CancelReason::Completed));
    let moved_asleep = ReminderChange { remind_at: hours(4), ..asleep.cancelled(CancelReason::Completed) };
    assert_eq!(moved(&asleep, Some(3), Some(5), true), Some(moved_asleep));
    assert_eq!(moved(&asleep, Some(3), None, true), Some(asleep.cancelled(CancelReason::DueRemoved)));
}

#[test]
fn a_reminder_cancelled_by_its_user_stays_cancelled() {
    let gone = relative(hours(2), ReminderState::Cancelled, Some(CancelReason::User));
    assert_eq!(moved(&gone, Some(3), Some(5), false), None);
    assert_eq!(gone.on_reopen(now(), now()), None);
}

#[test]
fn a_snoozed_reminder_keeps_its_time_unless_the_change_moves_it() {
    let berlin = Zone::parse("Europe/Berlin").unwrap();
    let paris = Zone::parse("Europe/Paris").unwrap();
    let snoozed = scheduled(hours(7));
    let (from, to) = (Due { at: Some(hours(3)), zone: &berlin }, Due { at: Some(hours(3)), zone: &paris });
    assert_eq!(snoozed.on_move(from, to, false, now()), None);
}

#[test]
fn reopening_restores_only_future_reminders_that_completion_cancelled() {
    let completed_at = hours(-2);
    let ahead = relative(hours(1), ReminderState::Cancelled, Some(CancelReason::Completed));
    assert_eq!(ahead.on_reopen(completed_at, now()), Some(ahead.scheduled(hours(1))));
    let past = relative(hours(-1), ReminderState::Cancelled, Some(CancelReason::Completed));
    assert_eq!(past.on_reopen(completed_at, now()), None);
    let due_removed = relative(hours(1), ReminderState::Cancelled, Some(CancelReason::DueRemoved));
    assert_eq!(due_removed.on_reopen(completed_at, now()), None);
}

#[test]
fn reopening_within_a_minute_restores_reminders_whose_time_passed_meanwhile() {
    let at = |seconds| now() + TimeDelta::seconds(seconds);
    for (completed_at, remind_at, returns) in
        [(-60, -59, true), (-61, -59, false), (-60, -60, false), (-30, -31, false), (-30, 0, true)]
    {
        let reminder = relative(at(remind_at), ReminderState::Cancelled, Some(CancelReason::Completed));
        let back = returns.then(|| reminder.scheduled(at(remind_at)));
        assert_eq!(reminder.on_reopen(at(completed_at), now()), back, "{completed_at} {remind_at}");
    }
}

#[test]
fn restoring_gives_a_reminder_the_state_of_then_and_fires_none_twice() {
    use CancelReason::{Completed, Deleted, DueRemoved};
    use ReminderState::{Cancelled, Other, Scheduled, Sent};
    let at = |seconds| now() + TimeDelta::seconds(seconds);
    let last_command_at = at(-30);
    let (past, meanwhile, ahead, later) = (-40, -20, 100, 200);
    for (was, is, completed, becomes) in [
        // The task was deleted.
        ((ahead, Scheduled, None), (ahead, Cancelled, Some(Deleted)), false, Some((ahead, Scheduled, None))),
        (
            (meanwhile, Scheduled, None),
            (meanwhile, Cancelled, Some(Deleted)),
            false,
            Some((meanwhile, Scheduled, None)),
        ),
        ((past, Scheduled, None), (past, Cancelled, Some(Deleted)), false, None),
        ((past, Sent, None), (past, Sent, None), false, None),
        ((ahead, Cancelled, Some(Completed)), (ahead, Cancelled, Some(Completed)), true, None),
        // It was moved.
        ((ahead, Scheduled, None), (later, Scheduled, None), false, Some((ahead, Scheduled, None))),
        ((past, Scheduled, None), (later, Scheduled, None), false, Some((past, Cancelled, Some(Completed)))),
        ((past, Sent, None), (later, Scheduled, None), false, Some((past, Sent, None))),
        ((past, Scheduled, None), (meanwhile, Sent, None), false, None),
        // It has fired since.
        ((meanwhile, Scheduled, None), (meanwhile, Sent, None), false, None),
        ((meanwhile, Scheduled, None), (meanwhile, Scheduled, None), false, None),
        // The due time was removed, or set.
        ((ahead, Scheduled, None), (ahead, Cancelled, Some(DueRemoved)), false, Some((ahead, Scheduled, None))),
        (
            (ahead, Cancelled, Some(DueRemoved)),
            (later, Scheduled, None),
            false,
            Some((ahead, Cancelled, Some(DueRemoved))),
        ),
        // The task has been completed or reopened since.
        (
            (ahead, Scheduled, None),
            (later, Cancelled, Some(Completed)),
            true,
            Some((ahead, Cancelled, Some(Completed))),
        ),
        ((past, Scheduled, None), (later, Cancelled, Some(Completed)), true, None),
        ((ahead, Cancelled, Some(Completed)), (later, Scheduled, None), false, Some((ahead, Scheduled, None))),
        // A newer release knows more.
        ((ahead, Other, None), (later, Scheduled, None), false, None),
        ((ahead, Scheduled, None), (later, Other, None), false, None),
    ] {
        let reminder = |(seconds, state, reason)| relative(at(seconds), state, reason);
        let change = reminder(is).on_restore(&reminder(was), completed, last_command_at, now());
        let change = change.map(|change| (change.remind_at, change.state, change.cancel_reason));
        let becomes = becomes.map(|(seconds, state, reason)| (at(seconds), state, reason));
        assert_eq!(change, becomes, "{was:?} {is:?}");
    }
}
