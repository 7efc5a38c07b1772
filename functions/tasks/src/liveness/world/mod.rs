//! A world with virtual time: users' commands, the functions that follow them, and everything that can go wrong between.
//!
//! What is decided is decided by the product: here for the commands, in `alarm` for the callback of a job, in `reminder-due` for a delivery,
//! in `shared::reminder` for the jobs. Only the carrying out is the world's own ([`functions`]), step by step, and it may end or
//! be overtaken between any two: what was committed stays, the rest is lost. What must hold is checked at every message that a
//! provider accepts, and when everything has come to rest ([`rest`]).

mod functions;
mod rest;
mod seeds;
mod state;

use std::{
    cell::{Cell, RefCell},
    pin::Pin,
    rc::Rc,
    task::{Context, Waker},
};

use chrono::TimeDelta;
use proptest::prelude::*;

use self::{
    functions::{Away, Here},
    state::World,
};

/// Chosen among those there are; nothing where there is none.
type Which = usize;

/// How far a function goes at once, and how its calls fare.
#[derive(Clone, Copy, Debug)]
struct Goes {
    steps: usize,
    luck: u8,
}

#[derive(Clone, Copy, Debug)]
enum Step {
    /// A task, due that many seconds from now.
    Create(Option<i64>),
    /// A reminder of a task, that many seconds from now or before the due time.
    Remind(Which, i64),
    RemindBefore(Which, u32),
    Snooze(Which, u32),
    SendNow(Which),
    Cancel(Which),
    Complete(Which),
    Reopen(Which),
    Delete(Which),
    Move(Which, Option<i64>),
    Relay(Goes),
    /// The message, which stays until it is acknowledged.
    Deliver(Which, Goes),
    /// A second copy of an event, however old.
    Again(Which),
    /// Also before it is due.
    Call(Which, Goes),
    CallIfDue(Which, Goes),
    Repair(Goes),
    /// A function that was begun goes on.
    Go(Which, Goes),
    /// A process dies with all that it was at.
    Kill(usize),
    /// A function loses its connection to the database, and the locks with it.
    Disconnect(Which),
    Pass(i64),
    WipeScheduler,
    LoseTopics,
}

fn goes() -> impl Strategy<Value = Goes> {
    let steps = prop_oneof![1 => 0..4_usize, 2 => 4..16_usize, 4 => Just(60)];
    (steps, 0..=15_u8).prop_map(|(steps, luck)| Goes { steps, luck })
}

fn step() -> impl Strategy<Value = Step> {
    let which = any::<Which>;
    let seconds = || prop_oneof![4 => -20..200_i64, 1 => 200..100_000_i64];
    let due = || proptest::option::weighted(0.8, seconds());
    let commands = prop_oneof![
        1 => due().prop_map(Step::Create),
        6 => (which(), seconds()).prop_map(|(task, seconds)| Step::Remind(task, seconds)),
        3 => (which(), 0..100_u32).prop_map(|(task, seconds)| Step::RemindBefore(task, seconds)),
        3 => (which(), 1..200_u32).prop_map(|(reminder, seconds)| Step::Snooze(reminder, seconds)),
        1 => which().prop_map(Step::SendNow),
        2 => which().prop_map(Step::Cancel),
        2 => which().prop_map(Step::Complete),
        2 => which().prop_map(Step::Reopen),
        1 => which().prop_map(Step::Delete),
        2 => (which(), due()).prop_map(|(task, due)| Step::Move(task, due)),
    ];
    let carriers = prop_oneof![
        6 => goes().prop_map(Step::Relay),
        8 => (which(), goes()).prop_map(|(message, goes)| Step::Deliver(message, goes)),
        1 => which().prop_map(Step::Again),
        1 => (which(), goes()).prop_map(|(job, goes)| Step::Call(job, goes)),
        8 => (which(), goes()).prop_map(|(job, goes)| Step::CallIfDue(job, goes)),
        1 => goes().prop_map(Step::Repair),
        8 => (which(), goes()).prop_map(|(function, goes)| Step::Go(function, goes)),
    ];
    let time = prop_oneof![8 => 0..100_i64, 1 => -20..0_i64, 1 => 100..5_000_i64, 1 => 5_000..100_000_i64];
    let faults = prop_oneof![
        4 => (0..2_usize).prop_map(Step::Kill),
        4 => which().prop_map(Step::Disconnect),
        1 => Just(Step::WipeScheduler),
        1 => Just(Step::LoseTopics),
    ];
    prop_oneof![4 => commands, 9 => carriers, 4 => time.prop_map(Step::Pass), 1 => faults]
}

/// Steps of reminders that have fired: mostly of their sending.
fn sending() -> impl Strategy<Value = Step> {
    let which = any::<Which>;
    prop_oneof![
        8 => (0..3_usize, goes()).prop_map(|(message, goes)| Step::Deliver(message, goes)),
        6 => (which(), goes()).prop_map(|(job, goes)| Step::CallIfDue(job, goes)),
        3 => (which(), goes()).prop_map(|(function, goes)| Step::Go(function, goes)),
        3 => (0..2_usize).prop_map(Step::Kill),
        3 => which().prop_map(Step::Disconnect),
        4 => prop_oneof![1 => -20..0_i64, 4 => 0..100_i64, 2 => 100..5_000_i64, 1 => 5_000..100_000_i64].prop_map(Step::Pass),
        1 => goes().prop_map(Step::Repair),
        2 => step(),
    ]
}

/// Something a function is at.
struct Activity {
    here: Here,
    future: Pin<Box<dyn Future<Output = Result<(), Away>>>>,
}

/// The world and what is going on in it.
struct Run {
    world: Rc<RefCell<World>>,
    going: Vec<Activity>,
    begun: usize,
}

impl Run {
    fn new(has_key: bool) -> Self {
        Self { world: Rc::new(RefCell::new(World::new(has_key))), going: Vec::new(), begun: 0 }
    }

    fn begin<F>(&mut self, goes: Goes, function: impl FnOnce(Here) -> F)
    where
        F: Future<Output = Result<(), Away>> + 'static,
    {
        self.begun += 1;
        let world = Rc::clone(&self.world);
        let here = Here { world, process: self.begun % 2, connected: Rc::new(Cell::new(true)), id: self.begun };
        let future = Box::pin(function(here.clone()));
        self.going.push(Activity { here, future });
        self.go(self.going.len() - 1, goes);
    }

    /// Lets a function go on. What it did not get done comes again by itself: an event, a job, or not at all.
    fn go(&mut self, which: usize, goes: Goes) {
        for _ in 0..goes.steps {
            {
                let mut world = self.world.borrow_mut();
                world.clock += 1;
                world.luck = goes.luck;
            }
            let mut context = Context::from_waker(Waker::noop());
            if self.going[which].future.as_mut().poll(&mut context).is_ready() {
                drop(self.going.remove(which));
                return;
            }
        }
    }

    fn step(&mut self, step: Step) {
        let mut world = self.world.borrow_mut();
        world.clock += 1;
        let now = world.now;
        let after = |seconds: i64| now + TimeDelta::seconds(seconds);
        let some = |which: Which, count: usize| (count > 0).then(|| which % count);
        match step {
            Step::Create(due) => world.create(due.map(after)),
            Step::Remind(task, seconds) => world.remind(task, after(seconds), None),
            Step::RemindBefore(task, seconds) => world.remind_before(task, seconds),
            Step::Snooze(reminder, seconds) => {
                world.reschedule(reminder, after(seconds.into()));
            }
            Step::SendNow(reminder) => {
                let moved = world.reschedule(reminder, now);
                drop(world);
                if let Some((reminder, version)) = moved {
                    self.begin(GOOD, |here| functions::fire(here, reminder, version));
                }
            }
            Step::Cancel(reminder) => world.cancel(reminder),
            Step::Complete(task) => world.complete(task),
            Step::Reopen(task) => world.reopen(task),
            Step::Delete(task) => world.delete(task),
            Step::Move(task, due) => world.move_due(task, due.map(after)),
            Step::Relay(goes) => {
                drop(world);
                self.begin(goes, functions::relay);
            }
            Step::Deliver(message, goes) => {
                let message = some(message, world.messages.len()).map(|which| world.messages[which]);
                drop(world);
                if let Some(message) = message {
                    self.begin(goes, |here| functions::handle(here, message));
                }
            }
            Step::Again(event) => world.publish_again(event),
            Step::Call(job, goes) | Step::CallIfDue(job, goes) => {
                let early = matches!(step, Step::Call(..));
                let jobs = world.jobs.values().filter(|job| early || job.due_at <= now);
                let jobs: Vec<_> = jobs.cloned().collect();
                drop(world);
                if let Some(which) = some(job, jobs.len()) {
                    self.begin(goes, |here| functions::called(here, jobs[which].clone()));
                }
            }
            Step::Repair(goes) => {
                drop(world);
                self.begin(goes, functions::repair);
            }
            Step::Go(which, goes) => {
                drop(world);
                if let Some(which) = some(which, self.going.len()) {
                    self.go(which, goes);
                }
            }
            Step::Kill(process) => {
                world.remembered[process].clear();
                drop(world);
                self.going.retain(|activity| activity.here.process != process);
            }
            Step::Disconnect(which) => {
                if let Some(which) = some(which, self.going.len()) {
                    let here = &self.going[which].here;
                    here.connected.set(false);
                    world.leases.retain(|_, holder| *holder != here.id);
                }
            }
            // The clock of the database is not set back while a message is on its way.
            Step::Pass(seconds) if seconds >= 0 || world.leases.is_empty() => world.now = after(seconds),
            Step::Pass(_) => {}
            Step::WipeScheduler => world.jobs.clear(),
            Step::LoseTopics => world.messages.clear(),
        }
    }
}

/// To the end, and every call succeeds.
const GOOD: Goes = Goes { steps: 60, luck: 5 };

fn run(has_key: bool, steps: &[Step]) {
    let mut run = Run::new(has_key);
    steps.iter().for_each(|step| run.step(*step));
    run.rest();
}

proptest! {
    #[test]
    fn a_reminder_is_sent_once_in_time_and_never_after_its_end(
        has_key: bool,
        steps in prop::collection::vec(step(), 0..100),
    ) {
        run(has_key, &steps);
    }

    #[test]
    fn a_reminder_that_has_fired_is_sent_once_whatever_becomes_of_its_attempts(
        has_key: bool,
        steps in prop::collection::vec(sending(), 0..60),
    ) {
        run(has_key, &[seeds::fired(2), steps].concat());
    }
}
