//! Executes actions, and lets everything settle at the end.

use std::{
    cell::{Cell, RefCell},
    pin::Pin,
    rc::Rc,
    task::{Context, Waker},
};

use chrono::TimeDelta;

use crate::{
    action::{Action, GOOD, Pick, Slice},
    attempt,
    functions::{self, Away, Connection, Invocation},
    mistakes::Mistake,
    world::World,
};

/// A function that is under way.
struct Running {
    invocation: Invocation,
    future: Pin<Box<dyn Future<Output = Result<(), Away>>>>,
}

/// A world and the functions that run in it.
struct Run {
    world: Rc<RefCell<World>>,
    running: Vec<Running>,
    begun: usize,
}

/// Executes `actions`, lets everything settle, and checks all invariants on the way.
pub(crate) fn run(has_key: bool, actions: &[Action]) {
    run_with(None, has_key, actions);
}

/// As [`run`], with a driver of attempts that makes a mistake.
pub(crate) fn run_with(mistake: Option<Mistake>, has_key: bool, actions: &[Action]) {
    let world = Rc::new(RefCell::new(World::new(has_key, mistake)));
    let mut run = Run { world, running: Vec::new(), begun: 0 };
    actions.iter().for_each(|action| run.execute(*action));
    run.settle();
}

impl Run {
    fn begin<F>(&mut self, slice: Slice, function: impl FnOnce(Invocation) -> F)
    where
        F: Future<Output = Result<(), Away>> + 'static,
    {
        self.begun += 1;
        let world = Rc::clone(&self.world);
        let connection = Rc::new(Cell::new(Connection::Intact));
        let invocation = Invocation { world, process: self.begun % 2, connection };
        let future = Box::pin(function(invocation.clone()));
        self.running.push(Running { invocation, future });
        self.go(self.running.len() - 1, slice);
    }

    /// Lets a function run. If it fails, an event or a job brings its work back, or nothing does.
    fn go(&mut self, which: usize, slice: Slice) {
        for _ in 0..slice.steps {
            {
                let mut world = self.world.borrow_mut();
                world.clock += 1;
                world.luck = slice.luck;
            }
            let mut context = Context::from_waker(Waker::noop());
            if self.running[which].future.as_mut().poll(&mut context).is_ready() {
                drop(self.running.remove(which));
                return;
            }
        }
    }

    fn execute(&mut self, action: Action) {
        let mut world = self.world.borrow_mut();
        world.clock += 1;
        let now = world.now;
        let after = |seconds: i64| now + TimeDelta::seconds(seconds);
        let some = |pick: Pick, count: usize| (count > 0).then(|| pick % count);
        match action {
            Action::Create(due) => world.create(due.map(after)),
            Action::Remind(task, seconds) => world.remind(task, after(seconds), None),
            Action::RemindBefore(task, seconds) => world.remind_before(task, seconds),
            Action::Snooze(reminder, seconds) => {
                world.reschedule(reminder, after(seconds.into()));
            }
            Action::SendNow(reminder) => {
                let moved = world.reschedule(reminder, now);
                drop(world);
                if let Some((reminder, version)) = moved {
                    self.begin(GOOD, |invocation| functions::fire(invocation, reminder, version));
                }
            }
            Action::Cancel(reminder) => world.cancel(reminder),
            Action::Complete(task) => world.complete(task),
            Action::Reopen(task) => world.reopen(task),
            Action::Delete(task) => world.delete(task),
            Action::Restore(task) => world.restore(task),
            Action::Move(task, due) => world.move_due(task, due.map(after)),
            Action::Relay(slice) => {
                drop(world);
                self.begin(slice, functions::relay);
            }
            Action::Deliver(message, slice) => {
                let message = some(message, world.messages.len()).map(|which| world.messages[which]);
                drop(world);
                if let Some(message) = message {
                    self.begin(slice, |invocation| functions::handle(invocation, message));
                }
            }
            Action::Again(event) => world.publish_again(event),
            Action::Call(job, slice) | Action::CallIfDue(job, slice) => {
                let early = matches!(action, Action::Call(..));
                let jobs = world.jobs.values().filter(|job| early || job.due_at <= now);
                let jobs: Vec<_> = jobs.cloned().collect();
                drop(world);
                if let Some(which) = some(job, jobs.len()) {
                    self.begin(slice, |invocation| functions::called(invocation, jobs[which].clone()));
                }
            }
            Action::Repair(slice) => {
                drop(world);
                self.begin(slice, functions::repair);
            }
            Action::Continue(which, slice) => {
                drop(world);
                if let Some(which) = some(which, self.running.len()) {
                    self.go(which, slice);
                }
            }
            Action::Kill(process) => {
                world.kill(process);
                drop(world);
                self.running.retain(|running| running.invocation.process != process);
            }
            Action::Disconnect(which) | Action::Silence(which) => {
                let broken = matches!(action, Action::Disconnect(_));
                if let Some(which) = some(which, self.running.len()) {
                    let now = if broken { Connection::Broken } else { Connection::Silent };
                    self.running[which].invocation.connection.set(now);
                }
            }
            Action::Outage(seconds) => world.database_away_until = after(seconds.into()),
            Action::Stop(process) => world.stopping[process] = true,
            Action::Record(slice) => {
                drop(world);
                self.begin(slice, attempt::record_accepted);
            }
            Action::Pass(seconds) => world.pass(TimeDelta::seconds(seconds)),
            Action::WipeScheduler => world.jobs.clear(),
            Action::LoseTopics => world.messages.clear(),
        }
    }

    /// From here on nothing fails, and repair runs every five minutes.
    fn settle(&mut self) {
        {
            let mut world = self.world.borrow_mut();
            world.database_away_until = world.now;
            world.stopping = [false; 2];
        }
        for _ in 0..1000 {
            self.run_due();
            let mut world = self.world.borrow_mut();
            let job = world.jobs.values().map(|job| job.due_at).min();
            let quiet = self.running.is_empty() && world.messages.is_empty() && job.is_none();
            let live = (0..world.reminders.len()).any(|reminder| world.is_live(reminder));
            let open = world.deliveries.iter().any(|row| !row.record.state.has_ended());
            if quiet && !live && !open && world.events.iter().all(|event| event.claimed) {
                return world.check_settled();
            }
            // To the next job, however far away, because repair finds nothing to do until then.
            let until = job.filter(|due| *due > world.now).unwrap_or(world.now + TimeDelta::minutes(5));
            let wait = until - world.now;
            world.pass(wait);
            drop(world);
            self.begin(GOOD, functions::repair);
        }
        panic!("it does not settle");
    }

    /// Does all that can be done now.
    fn run_due(&mut self) {
        for round in 0..100 {
            for function in (0..self.running.len()).rev() {
                self.go(function, GOOD);
            }
            let world = self.world.borrow();
            let now = world.now;
            let messages = world.messages.len();
            let due = world.jobs.values().filter(|job| job.due_at <= now).count();
            let unpublished = world.events.iter().any(|event| event.published_at.is_none());
            drop(world);
            if messages + due + usize::from(unpublished) == 0 && self.running.is_empty() {
                return;
            }
            self.execute(Action::Relay(GOOD));
            (0..2).for_each(|_| self.execute(Action::Record(GOOD)));
            (0..messages).rev().for_each(|message| self.execute(Action::Deliver(message, GOOD)));
            (0..due).rev().for_each(|job| self.execute(Action::CallIfDue(job, GOOD)));
            // Some functions wait for the clock, or for another.
            if round % 4 == 3 {
                self.execute(Action::Pass(1));
            }
        }
    }
}
