//! The functions' order of statements and calls. At each `await` a process may die, or anything else may come in between.

use std::{
    cell::{Cell, RefCell},
    rc::Rc,
};

use alarm::fire::{self, Decision};
use chrono::TimeDelta;
use shared::reminder::{Alignment, JobCall, ReminderJob};

use crate::{
    attempt::attempt,
    world::{Calls, EventData, Job, Message, World, id_of},
};

/// Something that the function needs is away. Its caller comes again, and the function starts anew.
#[derive(Debug)]
pub(crate) struct Away;

/// The state of a connection to the database.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Connection {
    Intact,
    Broken,
    /// No answer comes on it any more. A statement may be executed all the same.
    Silent,
}

/// How long a function waits for an answer of the database.
const ANSWER_LIMIT: TimeDelta = TimeDelta::seconds(5);

/// One call of a function, in one of two processes.
#[derive(Clone)]
pub(crate) struct Invocation {
    pub(crate) world: Rc<RefCell<World>>,
    pub(crate) process: usize,
    pub(crate) connection: Rc<Cell<Connection>>,
}

impl Invocation {
    /// A statement or a transaction: all of it or nothing.
    pub(crate) async fn db<T>(&self, does: impl FnOnce(&mut World) -> T) -> Result<T, Away> {
        step().await;
        if self.now(|world| world.now < world.database_away_until) {
            return Err(Away);
        }
        match self.connection.get() {
            Connection::Intact => Ok(self.now(does)),
            Connection::Broken => Err(Away),
            Connection::Silent => {
                if self.now(|world| world.luck % 2 == 1) {
                    self.now(does);
                }
                let until = self.now(|world| world.now) + ANSWER_LIMIT;
                while self.now(|world| world.now < until) {
                    step().await;
                }
                Err(Away)
            }
        }
    }

    /// Takes a fresh connection for the next statement.
    pub(crate) fn reconnect(&self) {
        self.connection.set(Connection::Intact);
    }

    /// A call to the broker or the scheduler. It may fail, or succeed and report a failure.
    pub(crate) async fn call(&self, does: impl FnOnce(&mut World)) -> Result<(), Away> {
        step().await;
        let luck = self.now(|world| world.luck);
        if luck > 0 {
            self.now(does);
        }
        if luck > 1 { Ok(()) } else { Err(Away) }
    }

    /// Not a step: nothing comes in between.
    pub(crate) fn now<T>(&self, does: impl FnOnce(&mut World) -> T) -> T {
        does(&mut self.world.borrow_mut())
    }
}

/// Ends a step.
pub(crate) async fn step() {
    let mut paused = false;
    std::future::poll_fn(|_| {
        if std::mem::replace(&mut paused, true) { std::task::Poll::Ready(()) } else { std::task::Poll::Pending }
    })
    .await;
}

/// `Outbox::pass`, one event at a time. The outbox's own tests check the order.
pub(crate) async fn relay(invocation: Invocation) -> Result<(), Away> {
    let next = |world: &mut World| world.events.iter().position(|event| event.published_at.is_none());
    while let Some(event) = invocation.db(next).await? {
        invocation.call(|world| world.publish(event)).await?;
        invocation.db(|world| world.events[event].published_at = Some(world.now)).await?;
    }
    Ok(())
}

/// `inbox::deliver` with the handler of each event type.
pub(crate) async fn handle(invocation: Invocation, message: Message) -> Result<(), Away> {
    let event = message.event;
    if !invocation.db(|world| world.events[event].claimed).await? {
        match invocation.now(|world| world.events[event].data) {
            EventData::Task { task, version } => {
                let aligned = align(&invocation, task).await?;
                let claims = |world: &mut World| {
                    if world.claim(event) {
                        let seen = world.seen.entry(task).or_default();
                        *seen = version.max(*seen);
                        for (reminder, alignment) in aligned {
                            world.record(reminder, &alignment.job, alignment.is_armed(), true);
                        }
                    }
                };
                invocation.db(claims).await?;
            }
            EventData::Due { reminder, version } => {
                for delivery in invocation.db(|world| world.deliveries_of(reminder, version)).await? {
                    attempt(&invocation, delivery, None).await?;
                }
                invocation.db(|world| world.claim(event)).await?;
            }
            EventData::Sent { reminder, version } => {
                let claims = |world: &mut World| {
                    if world.claim(event) {
                        world.mark_sent(reminder, version);
                    }
                };
                invocation.db(claims).await?;
            }
        }
    }
    step().await;
    invocation.now(|world| world.messages.retain(|waiting| waiting.copy != message.copy));
    Ok(())
}

/// `reminder::align`.
async fn align(invocation: &Invocation, task: usize) -> Result<Vec<(usize, Alignment)>, Away> {
    let unaligned = invocation.db(|world| world.unaligned(task)).await?;
    for (reminder, alignment) in &unaligned {
        for call in alignment.calls() {
            let does = |world: &mut World| match call {
                JobCall::Arm => world.arm(world.reminder_job(*reminder, &alignment.job)),
                JobCall::Disarm(name) => drop(world.jobs.remove(&name.to_string())),
            };
            invocation.call(does).await?;
        }
    }
    Ok(unaligned)
}

/// The scheduler calls a job back, and deletes it after a success unless it was armed anew meanwhile.
pub(crate) async fn called(invocation: Invocation, job: Job) -> Result<(), Away> {
    match job.calls {
        Calls::Reminder { reminder, version } => fire(invocation.clone(), reminder, version).await?,
        Calls::Delivery(delivery) => attempt(&invocation, delivery, Some(&job.name)).await?,
    }
    step().await;
    invocation.now(|world| {
        if world.jobs.get(&job.name).is_some_and(|armed| armed.armed == job.armed) {
            world.jobs.remove(&job.name);
        }
    });
    Ok(())
}

/// `Firing::fire`.
pub(crate) async fn fire(invocation: Invocation, reminder: usize, version: i32) -> Result<(), Away> {
    let job = |row: &fire::Row, world: &World| {
        world.reminder_job(reminder, &ReminderJob { reminder_id: id_of(reminder), version, due_at: row.remind_at })
    };
    for _ in 0..10 {
        let Some(row) = invocation.db(|world| world.fire(reminder, version)).await? else { return Ok(()) };
        match fire::decide(&row, version) {
            Decision::Again => {}
            Decision::Wait(early) => {
                assert!(early <= TimeDelta::seconds(5), "a callback waits too long");
                let until = row.now + early;
                while invocation.now(|world| world.now < until) {
                    step().await;
                }
            }
            Decision::Early(_) => return invocation.call(|world| world.call_again(job(&row, world))).await,
            Decision::Fired | Decision::Skip(_) => return Ok(()),
        }
    }
    Err(Away)
}

/// `repair::run`, every five minutes. A failed step never stops the other steps.
pub(crate) async fn repair(invocation: Invocation) -> Result<(), Away> {
    let near = arm(&invocation, World::near, World::arm_if_missing_or_late).await;
    let entering = arm(&invocation, World::entering, World::arm).await;
    let deliveries = send_overdue(&invocation).await;
    let unpublished = invocation.db(World::unpublish_unclaimed).await;
    let published = relay(invocation).await;
    near.and(entering).and(deliveries).and(unpublished).and(published)
}

/// `arming::near` and `arming::entering`.
async fn arm(
    invocation: &Invocation,
    due: impl FnOnce(&mut World) -> Vec<(usize, ReminderJob)>,
    call: fn(&mut World, Job),
) -> Result<(), Away> {
    let mut outcome = Ok(());
    for (reminder, job) in invocation.db(due).await? {
        let does = |world: &mut World| {
            let job = world.reminder_job(reminder, &job);
            call(world, job);
        };
        match invocation.call(does).await {
            Ok(()) => invocation.db(|world| world.record(reminder, &job, true, false)).await?,
            Err(away) => outcome = Err(away),
        }
    }
    outcome
}

/// `repair::send_overdue`.
async fn send_overdue(invocation: &Invocation) -> Result<(), Away> {
    let mut outcome = Ok(());
    for delivery in invocation.db(World::overdue).await? {
        let does = |world: &mut World| {
            let job = world.delivery_job(delivery, world.deliveries[delivery].attempts, world.now);
            world.arm_if_missing(job);
        };
        outcome = outcome.and(invocation.call(does).await);
    }
    outcome
}
