//! The functions' order of statements and calls. At each `await` a process may die, or anything else may come in between.

use std::{
    cell::{Cell, RefCell},
    rc::Rc,
};

use alarm::fire::{self, Decision};
use chrono::TimeDelta;
use shared::{
    delivery::DeliveryState,
    reminder::{ReminderJob, unwanted},
};

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
                        record(world, aligned);
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

/// `reminder::align`: the reminders that it aligned, the versions it saw, and whether it armed them.
async fn align(invocation: &Invocation, task: usize) -> Result<Vec<(usize, i32, bool)>, Away> {
    let rows = |world: &mut World| {
        let of_task = |reminder: &usize| {
            let row = &world.reminders[*reminder];
            row.task == task && row.aligned_version != Some(row.is.version)
        };
        let row = |reminder: usize| {
            (
                reminder,
                world.job_name(reminder),
                world.job_of(reminder),
                world.is_live(reminder),
                world.reminders[reminder].job_id,
            )
        };
        (0..world.reminders.len()).filter(of_task).map(row).collect::<Vec<_>>()
    };
    let mut aligned = Vec::new();
    for (reminder, current, job, live, recorded) in invocation.db(rows).await? {
        if live {
            invocation.call(|world| world.arm(job)).await?;
        }
        for name in unwanted(current, live, recorded) {
            invocation.call(|world| drop(world.jobs.remove(&name.to_string()))).await?;
        }
        aligned.push((reminder, current.version, live));
    }
    Ok(aligned)
}

/// `Aligned::record`.
fn record(world: &mut World, aligned: Vec<(usize, i32, bool)>) {
    for (reminder, version, armed) in aligned {
        if world.reminders[reminder].is.version == version {
            world.reminders[reminder].aligned_version = Some(version);
            world.reminders[reminder].job_id = armed.then(|| world.job_name(reminder));
        }
    }
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
        let job = ReminderJob { reminder_id: id_of(reminder), version, due_at: row.remind_at };
        world.job(job.name().to_string(), job.due_at, Calls::Reminder { reminder, version })
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

/// `upkeep --repair`, every five minutes.
pub(crate) async fn repair(invocation: Invocation) -> Result<(), Away> {
    let lost = |world: &mut World| {
        let long_ago = world.now - TimeDelta::minutes(2);
        for event in world.events.iter_mut().filter(|event| !event.claimed) {
            event.published_at.take_if(|at| *at < long_ago);
        }
    };
    invocation.db(lost).await?;
    let published = relay(invocation.clone()).await;
    let waiting = |world: &mut World| {
        let soon = world.now + TimeDelta::minutes(10);
        let rows =
            (0..world.reminders.len()).filter(|row| world.is_live(*row) && world.reminders[*row].is.remind_at < soon);
        let rows: Vec<usize> = rows.collect();
        rows.into_iter().map(|row| world.job_of(row)).collect::<Vec<Job>>()
    };
    for job in invocation.db(waiting).await? {
        let arms = |world: &mut World| {
            let late = job.due_at < world.now - TimeDelta::minutes(1);
            if late { world.arm(job) } else { world.arm_if_missing(job) }
        };
        invocation.call(arms).await?;
    }
    let overdue = |world: &mut World| {
        let then = world.now - TimeDelta::seconds(10);
        let open = |row: &usize| {
            let record = &world.deliveries[*row].record;
            let leased = record.state == DeliveryState::Sending && record.lease_until >= then;
            !record.state.has_ended() && record.next_attempt_at < then && !leased
        };
        (0..world.deliveries.len()).filter(open).collect::<Vec<usize>>()
    };
    for delivery in invocation.db(overdue).await? {
        invocation
            .call(|world| {
                let job = world.delivery_job(delivery, world.deliveries[delivery].attempts, world.now);
                world.arm_if_missing(job);
            })
            .await?;
    }
    published
}
