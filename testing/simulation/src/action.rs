//! What can happen: commands, events and jobs on their way, the passing of time, and faults.

use proptest::prelude::*;

/// An index into whatever exists at that moment, modulo its length. Without candidates the action does nothing.
pub(crate) type Pick = usize;

/// How far a function runs before something else happens, and how its calls turn out.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Slice {
    pub(crate) steps: usize,
    /// The broker and the scheduler: at 0 a call fails; at 1 it succeeds and reports a failure; above, it succeeds.
    ///
    /// The provider: 8 transient, 9 throttled, 10 permanent, 11 no reply and not accepted, 12 no reply but accepted; else accepted.
    pub(crate) luck: u8,
}

/// To the end, and every call succeeds.
pub(crate) const GOOD: Slice = Slice { steps: 60, luck: 5 };

#[derive(Clone, Copy, Debug)]
pub(crate) enum Action {
    /// Create a task, due in this many seconds.
    Create(Option<i64>),
    /// Add a reminder to a task, due in this many seconds.
    Remind(Pick, i64),
    /// Add a reminder to a task, this many seconds before the task is due.
    RemindBefore(Pick, u32),
    Snooze(Pick, u32),
    SendNow(Pick),
    Cancel(Pick),
    Complete(Pick),
    Reopen(Pick),
    Delete(Pick),
    /// Restore a deleted task.
    Restore(Pick),
    /// Move the due time of a task.
    Move(Pick, Option<i64>),
    Relay(Slice),
    /// Hand over a message. It stays on the topic until it is acknowledged.
    Deliver(Pick, Slice),
    /// Publish an event a second time, however old it is.
    Again(Pick),
    /// Call a job back, even before it is due.
    Call(Pick, Slice),
    CallIfDue(Pick, Slice),
    Repair(Slice),
    /// Continue a function that is under way.
    Continue(Pick, Slice),
    /// Kill a process and all that runs in it.
    Kill(usize),
    /// Break a function's connection to the database.
    Disconnect(Pick),
    /// Have a function's connection to the database fall silent.
    Silence(Pick),
    /// Stop the database for this many seconds.
    Outage(u32),
    /// A process gets SIGTERM.
    Stop(usize),
    /// A process tries to record, outside any request, what it knows to be accepted.
    Record(Slice),
    /// Let this many seconds pass, or set the database's clock back.
    Pass(i64),
    WipeScheduler,
    LoseTopics,
}

fn slice() -> impl Strategy<Value = Slice> {
    let steps = prop_oneof![1 => 0..4_usize, 2 => 4..16_usize, 4 => Just(60)];
    (steps, 0..=15_u8).prop_map(|(steps, luck)| Slice { steps, luck })
}

/// Any action.
pub(crate) fn any_action() -> impl Strategy<Value = Action> {
    let pick = any::<Pick>;
    let seconds = || prop_oneof![4 => -20..200_i64, 1 => 200..100_000_i64];
    let due = || proptest::option::weighted(0.8, seconds());
    let commands = prop_oneof![
        1 => due().prop_map(Action::Create),
        6 => (pick(), seconds()).prop_map(|(task, seconds)| Action::Remind(task, seconds)),
        3 => (pick(), 0..100_u32).prop_map(|(task, seconds)| Action::RemindBefore(task, seconds)),
        3 => (pick(), 1..200_u32).prop_map(|(reminder, seconds)| Action::Snooze(reminder, seconds)),
        1 => pick().prop_map(Action::SendNow),
        2 => pick().prop_map(Action::Cancel),
        2 => pick().prop_map(Action::Complete),
        2 => pick().prop_map(Action::Reopen),
        1 => pick().prop_map(Action::Delete),
        1 => pick().prop_map(Action::Restore),
        2 => (pick(), due()).prop_map(|(task, due)| Action::Move(task, due)),
    ];
    let carriers = prop_oneof![
        6 => slice().prop_map(Action::Relay),
        8 => (pick(), slice()).prop_map(|(message, slice)| Action::Deliver(message, slice)),
        1 => pick().prop_map(Action::Again),
        1 => (pick(), slice()).prop_map(|(job, slice)| Action::Call(job, slice)),
        8 => (pick(), slice()).prop_map(|(job, slice)| Action::CallIfDue(job, slice)),
        1 => slice().prop_map(Action::Repair),
        1 => slice().prop_map(Action::Record),
        8 => (pick(), slice()).prop_map(|(function, slice)| Action::Continue(function, slice)),
    ];
    let time = prop_oneof![8 => 0..100_i64, 1 => -20..0_i64, 1 => 100..5_000_i64, 1 => 5_000..100_000_i64];
    let faults = prop_oneof![
        4 => (0..2_usize).prop_map(Action::Kill),
        4 => pick().prop_map(Action::Disconnect),
        2 => pick().prop_map(Action::Silence),
        1 => (0..100_u32).prop_map(Action::Outage),
        1 => (0..2_usize).prop_map(Action::Stop),
        1 => Just(Action::WipeScheduler),
        1 => Just(Action::LoseTopics),
    ];
    prop_oneof![4 => commands, 9 => carriers, 4 => time.prop_map(Action::Pass), 1 => faults]
}

/// Actions on reminders that have fired, mostly on their sending.
pub(crate) fn sending() -> impl Strategy<Value = Action> {
    let pick = any::<Pick>;
    prop_oneof![
        8 => (0..3_usize, slice()).prop_map(|(message, slice)| Action::Deliver(message, slice)),
        6 => (pick(), slice()).prop_map(|(job, slice)| Action::CallIfDue(job, slice)),
        3 => (pick(), slice()).prop_map(|(function, slice)| Action::Continue(function, slice)),
        3 => (0..2_usize).prop_map(Action::Kill),
        3 => pick().prop_map(Action::Disconnect),
        2 => pick().prop_map(Action::Silence),
        1 => (0..100_u32).prop_map(Action::Outage),
        1 => (0..2_usize).prop_map(Action::Stop),
        2 => slice().prop_map(Action::Record),
        4 => prop_oneof![1 => -20..0_i64, 4 => 0..100_i64, 2 => 100..5_000_i64, 1 => 5_000..100_000_i64].prop_map(Action::Pass),
        1 => slice().prop_map(Action::Repair),
        2 => any_action(),
    ]
}
