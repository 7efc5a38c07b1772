//! The functions, step by step: each `await` is a place where a process may die, or anything else come in between.

use std::{
    cell::{Cell, RefCell},
    rc::Rc,
    time::Duration,
};

use alarm::fire::{self, Decision};
use chrono::{DateTime, TimeDelta, Utc};
use reminder_due::{
    delivery::{self, After, Next, State},
    email::SendError,
};
use shared::reminder::{ReminderJob, unwanted};

use super::state::{Calls, Job, Message, Told, World};

/// Something needed is away: what is called for the function again begins anew.
#[derive(Debug)]
pub(super) struct Away;

/// A function in a process.
#[derive(Clone)]
pub(super) struct Here {
    pub(super) world: Rc<RefCell<World>>,
    pub(super) process: usize,
    /// To the database.
    pub(super) connected: Rc<Cell<bool>>,
    pub(super) id: usize,
}

impl Here {
    /// A statement or a transaction: all of it or nothing.
    async fn db<T>(&self, does: impl FnOnce(&mut World) -> T) -> Result<T, Away> {
        step().await;
        if self.connected.get() { Ok(self.now(does)) } else { Err(Away) }
    }

    /// A call to the broker or the scheduler: fails now and then, or is done and says otherwise.
    async fn call(&self, does: impl FnOnce(&mut World)) -> Result<(), Away> {
        step().await;
        let luck = self.now(|world| world.luck);
        if luck > 0 {
            self.now(does);
        }
        if luck > 1 { Ok(()) } else { Err(Away) }
    }

    fn now<T>(&self, does: impl FnOnce(&mut World) -> T) -> T {
        does(&mut self.world.borrow_mut())
    }
}

/// What follows is another step.
async fn step() {
    let mut paused = false;
    std::future::poll_fn(|_| {
        if std::mem::replace(&mut paused, true) { std::task::Poll::Ready(()) } else { std::task::Poll::Pending }
    })
    .await;
}

/// `Outbox::pass`, an event at a time; in which order they go is looked into beside the outbox.
pub(super) async fn relay(here: Here) -> Result<(), Away> {
    let next = |world: &mut World| world.events.iter().position(|event| event.published_at.is_none());
    while let Some(event) = here.db(next).await? {
        here.call(|world| world.publish(event)).await?;
        here.db(|world| world.events[event].published_at = Some(world.now)).await?;
    }
    Ok(())
}

/// `inbox::deliver`, and the handler of each type of event.
pub(super) async fn handle(here: Here, message: Message) -> Result<(), Away> {
    let event = message.event;
    if !here.db(|world| world.events[event].claimed).await? {
        match here.now(|world| world.events[event].told) {
            Told::Task { task, version } => {
                let (armed, disarmed) = align(&here, task).await?;
                let claims = |world: &mut World| {
                    if world.claim(event) {
                        let seen = world.seen.entry(task).or_default();
                        *seen = version.max(*seen);
                        record(world, armed, disarmed);
                    }
                };
                here.db(claims).await?;
            }
            Told::Due { reminder, version } => {
                for delivery in here.db(|world| world.deliveries_of(reminder, version)).await? {
                    attempt(&here, delivery).await?;
                }
                here.db(|world| world.claim(event)).await?;
            }
            Told::Sent { reminder, version } => {
                let claims = |world: &mut World| {
                    if world.claim(event) {
                        world.mark_sent(reminder, version);
                    }
                };
                here.db(claims).await?;
            }
        }
    }
    step().await;
    here.now(|world| world.messages.retain(|waiting| waiting.copy != message.copy));
    Ok(())
}

/// `reminder::align`.
async fn align(here: &Here, task: usize) -> Result<(Vec<Job>, Vec<(usize, String)>), Away> {
    let rows = |world: &mut World| {
        let of_task: Vec<usize> = (0..world.reminders.len()).filter(|row| world.reminders[*row].task == task).collect();
        let row = |reminder: usize| {
            (reminder, world.job_of(reminder), world.waits(reminder), world.reminders[reminder].job_id.clone())
        };
        of_task.into_iter().map(row).collect::<Vec<_>>()
    };
    let (mut armed, mut disarmed) = (Vec::new(), Vec::new());
    for (reminder, job, live, on_record) in here.db(rows).await? {
        let Calls::Reminder { version, .. } = job.calls else { continue };
        let reminder_id = super::state::id_of(reminder);
        let current = ReminderJob { reminder_id, version, due_at: job.due_at }.name();
        let gone = unwanted(current, live, on_record.and_then(|name| name.parse().ok()));
        if live {
            here.call(|world| world.arm(job.clone())).await?;
            armed.push(job);
        }
        for name in gone.iter().map(ToString::to_string) {
            here.call(|world| drop(world.jobs.remove(&name))).await?;
            disarmed.push((reminder, name));
        }
    }
    Ok((armed, disarmed))
}

/// `Aligned::record`.
fn record(world: &mut World, armed: Vec<Job>, disarmed: Vec<(usize, String)>) {
    for (reminder, name) in disarmed {
        let on_record = &mut world.reminders[reminder].job_id;
        on_record.take_if(|job| *job == name);
    }
    for job in armed {
        let Calls::Reminder { reminder, version } = job.calls else { continue };
        let row = &mut world.reminders[reminder];
        if row.is.version == version {
            row.job_id = Some(job.name);
        }
    }
}

/// A job is called, and forgotten when that went well, unless it was armed anew meanwhile.
pub(super) async fn called(here: Here, job: Job) -> Result<(), Away> {
    match job.calls {
        Calls::Reminder { reminder, version } => fire(here.clone(), reminder, version).await?,
        Calls::Delivery(delivery) => attempt(&here, delivery).await?,
    }
    step().await;
    here.now(|world| {
        if world.jobs.get(&job.name).is_some_and(|armed| armed.armed == job.armed) {
            world.jobs.remove(&job.name);
        }
    });
    Ok(())
}

/// `fire::fire`.
pub(super) async fn fire(here: Here, reminder: usize, version: i32) -> Result<(), Away> {
    for _ in 0..10 {
        let Some(row) = here.db(|world| world.fire(reminder, version)).await? else { return Ok(()) };
        match fire::decide(&row, version) {
            Decision::Again => {}
            Decision::Wait(early) => {
                assert!(early <= TimeDelta::seconds(5), "a callback that waits for long");
                let until = row.now + early;
                while here.now(|world| world.now < until) {
                    step().await;
                }
            }
            Decision::Arm => {
                let (reminder_id, due_at) = (super::state::id_of(reminder), row.remind_at);
                let name = ReminderJob { reminder_id, version, due_at }.name().to_string();
                let calls = Calls::Reminder { reminder, version };
                return here.call(|world| world.arm(world.job(name, due_at, calls))).await;
            }
            Decision::Fired | Decision::Skip(_) => return Ok(()),
        }
    }
    Err(Away)
}

/// The lock of a delivery; it goes with whoever holds it.
struct Lease {
    here: Here,
    delivery: usize,
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.here.now(|world| {
            if world.leases.get(&self.delivery) == Some(&self.here.id) {
                world.leases.remove(&self.delivery);
            }
        });
    }
}

/// `Sender::attempt`.
async fn attempt(here: &Here, delivery: usize) -> Result<(), Away> {
    let lock = |world: &mut World| *world.leases.entry(delivery).or_insert(here.id) == here.id;
    if !here.db(lock).await? {
        return Err(Away);
    }
    let lease = Lease { here: here.clone(), delivery };
    let done = attempt_locked(here, delivery).await;
    step().await;
    drop(lease);
    done
}

async fn attempt_locked(here: &Here, delivery: usize) -> Result<(), Away> {
    let read = |world: &mut World| (world.deliveries[delivery].record, world.due_reminder(delivery), world.now);
    let (record, reminder, now) = here.db(read).await?;
    if here.now(|world| world.remembered[here.process].contains(&delivery)) {
        return record_sent(here, delivery).await;
    }
    let has_key = here.now(|world| world.has_key);
    let repeat = match delivery::next(&record, has_key, now) {
        Next::Nothing => return Ok(()),
        Next::Wait(until) => return here.call(|world| world.arm_delivery(delivery, until)).await,
        Next::GiveUp => return here.db(|world| world.end(delivery, "unknown")).await,
        Next::Attempt { repeat } => repeat,
    };
    if reminder.is_early(now) {
        return Err(Away);
    }
    if let Some(until) = here.now(|world| world.throttled_until).filter(|until| *until > now) {
        here.db(|world| world.postpone(delivery, until, repeat)).await?;
        return here.call(|world| world.arm_delivery(delivery, until)).await;
    }
    let begun = here.db(|world| world.begin(delivery, repeat)).await?;
    let (record, reminder, now) = here.db(read).await?;
    if reminder.obstacle().is_some() {
        return here.db(|world| world.end(delivery, delivery::unwanted(&record))).await;
    }
    let attempts = here.now(|world| world.deliveries[delivery].attempts);
    let Err(error) = provider(here, delivery, attempts, begun).await else {
        here.now(|world| world.remembered[here.process].insert(delivery));
        return record_sent(here, delivery).await;
    };
    match delivery::after(&record, &error, has_key, now) {
        After::Failed => here.db(|world| world.end(delivery, "failed")).await,
        After::Unknown => here.db(|world| world.end(delivery, "unknown")).await,
        After::Retry { at, repeat } => {
            if matches!(error, SendError::Throttled { .. }) {
                here.now(|world| world.throttled_until = Some(at));
            }
            here.db(|world| world.postpone(delivery, at, repeat)).await?;
            here.call(|world| world.arm_delivery(delivery, at)).await
        }
    }
}

async fn record_sent(here: &Here, delivery: usize) -> Result<(), Away> {
    here.db(|world| world.sent(delivery)).await?;
    here.now(|world| world.remembered[here.process].remove(&delivery));
    Ok(())
}

/// `Provider::send`: an SMTP server, or one that knows our key.
async fn provider(here: &Here, delivery: usize, attempts: i32, begun: (u64, DateTime<Utc>)) -> Result<(), SendError> {
    let reason = String::new;
    step().await;
    let (luck, has_key) = here.now(|world| (world.luck, world.has_key));
    match luck {
        8 => return Err(SendError::Transient { reason: reason() }),
        9 => return Err(SendError::Throttled { retry_after: Duration::from_secs(1800), reason: reason() }),
        10 => {
            here.now(|world| world.deliveries[delivery].refused = true);
            return Err(SendError::Permanent { reason: reason() });
        }
        _ => {}
    }
    if !has_key {
        // Between 354 and the body.
        let at_dot = |world: &mut World| {
            let row = &mut world.deliveries[delivery];
            let ours = row.record.state == State::Sending && row.attempts == attempts;
            row.record.at_dot |= ours;
            row.dots += u32::from(ours);
            ours
        };
        if !here.db(at_dot).await.unwrap_or(false) {
            return Err(SendError::Transient { reason: reason() });
        }
    }
    step().await;
    let taken = luck != 11;
    here.now(|world| world.leaves(delivery, begun, taken));
    step().await;
    match luck {
        11 | 12 => Err(SendError::Unknown { reason: reason() }),
        _ => Ok(()),
    }
}

/// `upkeep --repair`, every five minutes.
pub(super) async fn repair(here: Here) -> Result<(), Away> {
    let lost = |world: &mut World| {
        let long_ago = world.now - TimeDelta::minutes(2);
        for event in world.events.iter_mut().filter(|event| !event.claimed) {
            event.published_at.take_if(|at| *at < long_ago);
        }
    };
    here.db(lost).await?;
    let published = relay(here.clone()).await;
    let waiting = |world: &mut World| {
        let soon = world.now + TimeDelta::minutes(10);
        let rows =
            (0..world.reminders.len()).filter(|row| world.waits(*row) && world.reminders[*row].is.remind_at < soon);
        let rows: Vec<usize> = rows.collect();
        rows.into_iter().map(|row| world.job_of(row)).collect::<Vec<Job>>()
    };
    for job in here.db(waiting).await? {
        here.call(|world| world.arm_if_missing(job)).await?;
    }
    let overdue = |world: &mut World| {
        let then = world.now - TimeDelta::seconds(10);
        let open = |row: &usize| {
            let record = &world.deliveries[*row].record;
            record.state != State::Over && record.next_attempt_at < then
        };
        (0..world.deliveries.len()).filter(open).collect::<Vec<usize>>()
    };
    for delivery in here.db(overdue).await? {
        here.call(|world| {
            let job = world.delivery_job(delivery, world.now);
            world.arm_if_missing(job);
        })
        .await?;
    }
    published
}
