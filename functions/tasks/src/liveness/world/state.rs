//! What is stored, and what the commands and statements make of it.

use std::collections::{BTreeMap, BTreeSet};

use alarm::fire;
use chrono::TimeDelta;
use reminder_due::delivery::{self, Record, State};
use shared::reminder::{self, ReminderJob};

use super::super::*;

pub(super) struct TaskRow {
    pub(super) version: i64,
    pub(super) due_at: Option<DateTime<Utc>>,
    pub(super) completed: bool,
    pub(super) gone: bool,
}

pub(super) struct ReminderRow {
    pub(super) task: usize,
    pub(super) is: Reminder,
    pub(super) fired_version: Option<i32>,
    pub(super) job_id: Option<String>,
}

/// What an event tells.
#[derive(Clone, Copy, Debug)]
pub(super) enum Told {
    Task { task: usize, version: i64 },
    Due { reminder: usize, version: i32 },
    Sent { reminder: usize, version: i32 },
}

pub(super) struct EventRow {
    pub(super) told: Told,
    pub(super) published_at: Option<DateTime<Utc>>,
    pub(super) claimed: bool,
}

pub(super) struct DeliveryRow {
    pub(super) reminder: usize,
    pub(super) version: i32,
    pub(super) record: Record,
    pub(super) attempts: i32,
    /// `sent`, `skipped`, `failed` or `unknown`, once it is over.
    pub(super) ended: &'static str,
    /// What the world knows besides: messages that arrived, attempts that came to the dot, and whether one was refused for good.
    pub(super) messages: u32,
    pub(super) dots: u32,
    pub(super) refused: bool,
}

/// A message of a topic: a copy of an event.
#[derive(Clone, Copy, Debug)]
pub(super) struct Message {
    pub(super) copy: usize,
    pub(super) event: usize,
}

#[derive(Clone, Copy, Debug)]
pub(super) enum Calls {
    Reminder { reminder: usize, version: i32 },
    Delivery(usize),
}

#[derive(Clone, Debug)]
pub(super) struct Job {
    pub(super) name: String,
    pub(super) due_at: DateTime<Utc>,
    pub(super) calls: Calls,
    /// Another job of the same name is another.
    pub(super) armed: u64,
}

/// A version of a reminder while it is live.
#[derive(Debug)]
pub(super) struct Life {
    pub(super) remind_at: DateTime<Utc>,
    /// When a command ended it, by the count of steps.
    pub(super) ended: Option<u64>,
}

pub(super) struct World {
    pub(super) now: DateTime<Utc>,
    /// Counts steps.
    pub(super) clock: u64,
    /// How the next call fares.
    pub(super) luck: u8,
    pub(super) has_key: bool,
    pub(super) tasks: Vec<TaskRow>,
    pub(super) reminders: Vec<ReminderRow>,
    pub(super) events: Vec<EventRow>,
    pub(super) deliveries: Vec<DeliveryRow>,
    /// Session locks on deliveries, and who holds them.
    pub(super) leases: BTreeMap<usize, usize>,
    pub(super) messages: Vec<Message>,
    pub(super) copies: usize,
    pub(super) jobs: BTreeMap<String, Job>,
    pub(super) throttled_until: Option<DateTime<Utc>>,
    /// In the memory of two processes: deliveries that were accepted and not recorded.
    pub(super) remembered: [BTreeSet<usize>; 2],
    pub(super) lives: BTreeMap<(usize, i32), Life>,
    /// The highest version of a task that a function has seen.
    pub(super) seen: BTreeMap<usize, i64>,
}

impl World {
    /// With a task that is due in 100 seconds.
    pub(super) fn new(has_key: bool) -> Self {
        let mut world = Self {
            now: "2027-03-01T12:00:00Z".parse().unwrap(),
            clock: 0,
            luck: 5,
            has_key,
            tasks: Vec::new(),
            reminders: Vec::new(),
            events: Vec::new(),
            deliveries: Vec::new(),
            leases: BTreeMap::new(),
            messages: Vec::new(),
            copies: 0,
            jobs: BTreeMap::new(),
            throttled_until: None,
            remembered: Default::default(),
            lives: BTreeMap::new(),
            seen: BTreeMap::new(),
        };
        world.create(Some(world.now + TimeDelta::seconds(100)));
        world
    }

    pub(super) fn emit(&mut self, told: Told) {
        self.events.push(EventRow { told, published_at: None, claimed: false });
    }

    // Commands: the decisions are those of `liveness`.

    pub(super) fn create(&mut self, due_at: Option<DateTime<Utc>>) {
        if self.tasks.len() < 3 {
            self.tasks.push(TaskRow { version: 0, due_at, completed: false, gone: false });
            self.changed(self.tasks.len() - 1);
        }
    }

    fn task(&self, which: usize) -> Option<usize> {
        let task = which % self.tasks.len();
        (!self.tasks[task].gone).then_some(task)
    }

    fn open_task(&self, which: usize) -> Option<usize> {
        self.task(which).filter(|task| !self.tasks[*task].completed)
    }

    /// A reminder that its task shows: not one that the user cancelled.
    fn shown(&self, which: usize) -> Option<usize> {
        if self.reminders.is_empty() {
            return None;
        }
        let reminder = which % self.reminders.len();
        let ReminderRow { task, is, .. } = &self.reminders[reminder];
        (!self.tasks[*task].gone && is.cancel_reason != Some(CancelReason::User)).then_some(reminder)
    }

    fn changed(&mut self, task: usize) {
        self.tasks[task].version += 1;
        self.emit(Told::Task { task, version: self.tasks[task].version });
    }

    pub(super) fn remind(&mut self, task: usize, remind_at: DateTime<Utc>, before_due: Option<String>) {
        let Some(task) = self.open_task(task) else { return };
        if self.reminders.len() >= 5 {
            return;
        }
        let id = id_of(self.reminders.len());
        let is = Reminder {
            id,
            remind_at,
            before_due,
            channels: vec!["email".to_owned()],
            state: ReminderState::Scheduled,
            cancel_reason: None,
            overdue: false,
            version: 1,
            fired: false,
        };
        self.lives.insert((self.reminders.len(), 1), Life { remind_at, ended: None });
        self.reminders.push(ReminderRow { task, is, fired_version: None, job_id: None });
        self.changed(task);
    }

    pub(super) fn remind_before(&mut self, task: usize, seconds: u32) {
        let due = self.open_task(task).and_then(|task| self.tasks[task].due_at);
        if let Some(due) = due {
            self.remind(task, due - TimeDelta::seconds(seconds.into()), Some(format!("PT{seconds}S")));
        }
    }

    /// Snooze and send-now; gives back the version that it has by that.
    pub(super) fn reschedule(&mut self, reminder: usize, at: DateTime<Utc>) -> Option<(usize, i32)> {
        let reminder = self.shown(reminder)?;
        let task = self.open_task(self.reminders[reminder].task)?;
        let becomes = self.reminders[reminder].is.scheduled(at);
        if becomes.leaves(&self.reminders[reminder].is) {
            return None;
        }
        self.apply(vec![becomes]);
        self.changed(task);
        Some((reminder, self.reminders[reminder].is.version))
    }

    pub(super) fn cancel(&mut self, reminder: usize) {
        let Some(reminder) = self.shown(reminder) else { return };
        self.apply(vec![self.reminders[reminder].is.cancelled(CancelReason::User)]);
        self.changed(self.reminders[reminder].task);
    }

    /// Of the reminders that a task shows, as a command reads them.
    fn becomes(&self, task: usize, decide: impl Fn(&Reminder) -> Option<Becomes>) -> Vec<Becomes> {
        let of = self.reminders.iter().filter(|row| row.task == task);
        let shown = of.filter(|row| row.is.cancel_reason != Some(CancelReason::User));
        let read = shown.map(|row| Reminder { fired: row.fired_version == Some(row.is.version), ..row.is.clone() });
        read.filter_map(|reminder| decide(&reminder)).collect()
    }

    pub(super) fn complete(&mut self, task: usize) {
        let Some(task) = self.open_task(task) else { return };
        self.apply(self.becomes(task, Reminder::on_complete));
        self.end_of(task);
        self.tasks[task].completed = true;
        self.changed(task);
    }

    pub(super) fn reopen(&mut self, task: usize) {
        let Some(task) = self.task(task).filter(|task| self.tasks[*task].completed) else { return };
        self.apply(self.becomes(task, |reminder| reminder.on_reopen(self.now)));
        self.tasks[task].completed = false;
        self.changed(task);
    }

    pub(super) fn delete(&mut self, task: usize) {
        let Some(task) = self.task(task) else { return };
        self.apply(self.becomes(task, Reminder::on_delete));
        self.end_of(task);
        self.tasks[task].gone = true;
        self.changed(task);
    }

    pub(super) fn move_due(&mut self, task: usize, due_at: Option<DateTime<Utc>>) {
        let Some(task) = self.task(task) else { return };
        let zone = Zone::utc();
        let (from, to) = (Due { at: self.tasks[task].due_at, zone: &zone }, Due { at: due_at, zone: &zone });
        let completed = self.tasks[task].completed;
        self.apply(self.becomes(task, |reminder| reminder.on_move(from, to, completed, self.now)));
        self.tasks[task].due_at = due_at;
        self.changed(task);
    }

    /// Whatever of the task was live is so no more.
    fn end_of(&mut self, task: usize) {
        for ((reminder, _), life) in &mut self.lives {
            if self.reminders[*reminder].task == task {
                life.ended = life.ended.or(Some(self.clock));
            }
        }
    }

    /// The statement of [`apply`].
    fn apply(&mut self, changes: Vec<Becomes>) {
        for becomes in changes {
            let reminder = self.reminders.iter().position(|row| row.is.id == becomes.id).expect("a reminder");
            let is = &mut self.reminders[reminder].is;
            let live = |state| state == ReminderState::Scheduled;
            let raised = is.remind_at != becomes.remind_at || live(is.state) != live(becomes.state);
            if let Some(life) = self.lives.get_mut(&(reminder, is.version)) {
                life.ended = life.ended.or(Some(self.clock));
            }
            is.version += i32::from(raised);
            (is.remind_at, is.state, is.cancel_reason) = (becomes.remind_at, becomes.state, becomes.cancel_reason);
            if live(is.state) {
                self.lives.insert((reminder, is.version), Life { remind_at: is.remind_at, ended: None });
            }
        }
    }

    // What the functions read and write.

    fn callback(&self, reminder: usize) -> fire::Row {
        let ReminderRow { task, is, fired_version, .. } = &self.reminders[reminder];
        let there = &self.tasks[*task];
        fire::Row {
            version: is.version,
            task_id: Uuid::nil(),
            user_id: Uuid::nil(),
            state: match is.state {
                ReminderState::Scheduled => reminder::ReminderState::Scheduled,
                ReminderState::Sent => reminder::ReminderState::Sent,
                ReminderState::Failed => reminder::ReminderState::Failed,
                ReminderState::Cancelled => reminder::ReminderState::Cancelled,
            },
            cancel_reason: is.cancel_reason.map(|reason| reason.as_str().parse().unwrap()),
            fired_version: *fired_version,
            remind_at: is.remind_at,
            completed: (!there.gone).then_some(there.completed),
            now: self.now,
        }
    }

    pub(super) fn due_reminder(&self, delivery: usize) -> delivery::Reminder<'static> {
        let of = &self.deliveries[delivery];
        let ReminderRow { task, is, .. } = &self.reminders[of.reminder];
        delivery::Reminder {
            of_version: of.version,
            version: is.version,
            cancel_reason: is.cancel_reason.map(CancelReason::as_str),
            remind_at: is.remind_at,
            completed: (!self.tasks[*task].gone).then_some(self.tasks[*task].completed),
            has_address: true,
        }
    }

    /// Live, and not fired.
    pub(super) fn waits(&self, reminder: usize) -> bool {
        let ReminderRow { is, fired_version, .. } = &self.reminders[reminder];
        is.state == ReminderState::Scheduled && fired_version.is_none_or(|fired| fired < is.version)
    }

    /// The statement of `fire`: what it found of what it did not fire.
    pub(super) fn fire(&mut self, reminder: usize, version: i32) -> Option<fire::Row> {
        let ReminderRow { task, is, .. } = &self.reminders[reminder];
        let task = &self.tasks[*task];
        if self.waits(reminder) && is.version == version && is.remind_at <= self.now && !task.completed && !task.gone {
            self.reminders[reminder].fired_version = Some(version);
            self.emit(Told::Due { reminder, version });
            return None;
        }
        Some(self.callback(reminder))
    }

    pub(super) fn claim(&mut self, event: usize) -> bool {
        !std::mem::replace(&mut self.events[event].claimed, true)
    }

    pub(super) fn job(&self, name: String, due_at: DateTime<Utc>, calls: Calls) -> Job {
        Job { name, due_at, calls, armed: self.clock }
    }

    pub(super) fn job_of(&self, reminder: usize) -> Job {
        let is = &self.reminders[reminder].is;
        let (version, due_at) = (is.version, is.remind_at);
        let name = ReminderJob { reminder_id: is.id, version, due_at }.name().to_string();
        self.job(name, due_at, Calls::Reminder { reminder, version })
    }

    /// The statement of `Sender::send`.
    pub(super) fn deliveries_of(&mut self, reminder: usize, version: i32) -> Vec<usize> {
        let is_of = |row: &DeliveryRow| row.reminder == reminder && row.version == version;
        if self.reminders[reminder].is.version == version && !self.deliveries.iter().any(is_of) {
            let record = Record {
                state: State::Pending,
                created_at: self.now,
                at_dot: false,
                repeated: false,
                next_attempt_at: self.now,
            };
            let (attempts, messages, dots, refused, ended) = (0, 0, 0, false, "");
            self.deliveries.push(DeliveryRow { reminder, version, record, attempts, ended, messages, dots, refused });
        }
        (0..self.deliveries.len()).filter(|delivery| is_of(&self.deliveries[*delivery])).collect()
    }

    pub(super) fn publish_again(&mut self, event: usize) {
        let event = event % self.events.len();
        if self.events[event].published_at.is_some() {
            self.publish(event);
        }
    }

    pub(super) fn publish(&mut self, event: usize) {
        self.copies += 1;
        self.messages.push(Message { copy: self.copies, event });
    }
}

pub(super) fn id_of(reminder: usize) -> Uuid {
    Uuid::from_u128(reminder as u128 + 1)
}
