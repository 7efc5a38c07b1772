//! The rows, topics and jobs in memory, and what commands and statements do to them.

use std::collections::{BTreeMap, BTreeSet};

use alarm::fire;
use chrono::{DateTime, TimeDelta, Utc};
use reminder_due::{
    attempt::{Fence, Snapshot},
    delivery,
    delivery::Record,
};
use shared::{
    delivery::{DeliveryJob, DeliveryState},
    recurrence::Zone,
    reminder::{ARMING_WINDOW_HOURS, Alignment, CancelReason, ReminderJob, ReminderJobName, ReminderState},
    sidecar::pause_of_early,
};
use tasks::liveness::{Due, Reminder, ReminderChange};
use uuid::Uuid;

use crate::mistakes::Mistake;

pub(crate) struct TaskRow {
    pub(crate) version: i64,
    pub(crate) due_at: Option<DateTime<Utc>>,
    pub(crate) completed: bool,
    pub(crate) completed_at: DateTime<Utc>,
    pub(crate) gone: bool,
    /// When it was deleted, and its reminders before that.
    pub(crate) deleted: (DateTime<Utc>, Vec<Reminder>),
}

pub(crate) struct ReminderRow {
    pub(crate) task: usize,
    pub(crate) is: Reminder,
    pub(crate) fired_version: Option<i32>,
    pub(crate) job_id: Option<ReminderJobName>,
    pub(crate) armed_version: Option<i32>,
    pub(crate) aligned_version: Option<i32>,
}

/// What an event carries.
#[derive(Clone, Copy, Debug)]
pub(crate) enum EventData {
    Task { task: usize, version: i64 },
    Due { reminder: usize, version: i32 },
    Sent { reminder: usize, version: i32 },
}

pub(crate) struct EventRow {
    pub(crate) data: EventData,
    pub(crate) published_at: Option<DateTime<Utc>>,
    pub(crate) claimed: bool,
}

pub(crate) struct DeliveryRow {
    pub(crate) reminder: usize,
    pub(crate) version: i32,
    pub(crate) record: Record,
    pub(crate) attempts: i32,
    // What no row says.
    /// The messages that the user got.
    pub(crate) messages: u32,
    /// When the provider accepted the first.
    pub(crate) first_accepted_at: Option<DateTime<Utc>>,
    /// The process that heard, or is about to hear, of an acceptance, and until when it has time to record it.
    pub(crate) known: Option<(usize, DateTime<Utc>)>,
    /// The attempts that came to the dot.
    pub(crate) dots: u32,
    /// Whether an attempt was refused for good.
    pub(crate) refused: bool,
}

/// A message on a topic: one copy of an event.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Message {
    pub(crate) copy: usize,
    pub(crate) event: usize,
}

#[derive(Clone, Copy, Debug)]
pub(crate) enum Calls {
    Reminder { reminder: usize, version: i32 },
    Delivery(usize),
}

#[derive(Clone, Debug)]
pub(crate) struct Job {
    pub(crate) name: String,
    pub(crate) due_at: DateTime<Utc>,
    pub(crate) calls: Calls,
    /// When it was armed, by the count of steps: tells apart jobs of one name.
    pub(crate) armed: u64,
}

/// A version of a reminder that is or was live.
#[derive(Debug)]
pub(crate) struct LiveVersion {
    pub(crate) remind_at: DateTime<Utc>,
    /// When a command ended it, by the count of steps.
    pub(crate) ended: Option<u64>,
}

/// The lease of an attempt that begins, in seconds.
pub(crate) const LEASE: TimeDelta = TimeDelta::seconds(15);
/// The lease from the final dot on.
pub(crate) const LEASE_AT_DOT: TimeDelta = TimeDelta::seconds(60);
/// The part of it in which an acceptance is recorded.
pub(crate) const RECORD_LIMIT: TimeDelta = TimeDelta::seconds(45);

pub(crate) struct World {
    /// The database's clock.
    pub(crate) now: DateTime<Utc>,
    /// The latest that it ever showed.
    pub(crate) latest: DateTime<Utc>,
    pub(crate) database_away_until: DateTime<Utc>,
    /// Counts steps.
    pub(crate) clock: u64,
    /// How the next call turns out, see `Slice`.
    pub(crate) luck: u8,
    /// Whether the provider knows our idempotency key.
    pub(crate) has_key: bool,
    /// What the driver of attempts does wrong.
    pub(crate) mistake: Option<Mistake>,
    pub(crate) tasks: Vec<TaskRow>,
    pub(crate) reminders: Vec<ReminderRow>,
    pub(crate) events: Vec<EventRow>,
    pub(crate) deliveries: Vec<DeliveryRow>,
    pub(crate) messages: Vec<Message>,
    pub(crate) copies: usize,
    pub(crate) jobs: BTreeMap<String, Job>,
    pub(crate) throttled_until: Option<DateTime<Utc>>,
    /// In the memory of the two processes: deliveries that were accepted and are not recorded.
    pub(crate) accepted: [BTreeSet<usize>; 2],
    /// Whether the processes have got SIGTERM.
    pub(crate) stopping: [bool; 2],
    pub(crate) live_versions: BTreeMap<(usize, i32), LiveVersion>,
    /// The highest version of a task that a function has seen.
    pub(crate) seen: BTreeMap<usize, i64>,
}

impl World {
    /// A world with one task, due in 100 seconds.
    pub(crate) fn new(has_key: bool, mistake: Option<Mistake>) -> Self {
        let now = "2027-03-01T12:00:00Z".parse().unwrap();
        let mut world = Self {
            now,
            latest: now,
            database_away_until: now,
            clock: 0,
            luck: 5,
            has_key,
            mistake,
            tasks: Vec::new(),
            reminders: Vec::new(),
            events: Vec::new(),
            deliveries: Vec::new(),
            messages: Vec::new(),
            copies: 0,
            jobs: BTreeMap::new(),
            throttled_until: None,
            accepted: Default::default(),
            stopping: [false; 2],
            live_versions: BTreeMap::new(),
            seen: BTreeMap::new(),
        };
        world.create(Some(world.now + TimeDelta::seconds(100)));
        world
    }

    /// Moves the clock.
    pub(crate) fn pass(&mut self, time: TimeDelta) {
        self.now += time;
        self.latest = self.latest.max(self.now);
    }

    /// A process dies, with what it knows, and is started again.
    pub(crate) fn kill(&mut self, process: usize) {
        self.accepted[process].clear();
        self.stopping[process] = false;
        for row in &mut self.deliveries {
            row.known.take_if(|(knows, _)| *knows == process);
        }
    }

    fn emit(&mut self, data: EventData) {
        self.events.push(EventRow { data, published_at: None, claimed: false });
    }

    // Commands. `tasks::liveness` decides.

    pub(crate) fn create(&mut self, due_at: Option<DateTime<Utc>>) {
        if self.tasks.len() < 3 {
            let (completed_at, deleted) = (self.now, (self.now, Vec::new()));
            self.tasks.push(TaskRow { version: 0, due_at, completed: false, completed_at, gone: false, deleted });
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

    /// A reminder that the API shows: one that the user has not cancelled.
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
        self.emit(EventData::Task { task, version: self.tasks[task].version });
    }

    pub(crate) fn remind(&mut self, task: usize, remind_at: DateTime<Utc>, before_due: Option<String>) {
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
        self.live_versions.insert((self.reminders.len(), 1), LiveVersion { remind_at, ended: None });
        self.reminders.push(ReminderRow {
            task,
            is,
            fired_version: None,
            job_id: None,
            armed_version: None,
            aligned_version: None,
        });
        self.changed(task);
    }

    pub(crate) fn remind_before(&mut self, task: usize, seconds: u32) {
        let due = self.open_task(task).and_then(|task| self.tasks[task].due_at);
        if let Some(due) = due {
            self.remind(task, due - TimeDelta::seconds(seconds.into()), Some(format!("PT{seconds}S")));
        }
    }

    /// Snooze and send-now. Returns the reminder's new version.
    pub(crate) fn reschedule(&mut self, reminder: usize, at: DateTime<Utc>) -> Option<(usize, i32)> {
        let reminder = self.shown(reminder)?;
        let task = self.open_task(self.reminders[reminder].task)?;
        let becomes = self.reminders[reminder].is.scheduled(at);
        if becomes.is_noop_for(&self.reminders[reminder].is) {
            return None;
        }
        self.apply(vec![becomes]);
        self.changed(task);
        Some((reminder, self.reminders[reminder].is.version))
    }

    pub(crate) fn cancel(&mut self, reminder: usize) {
        let Some(reminder) = self.shown(reminder) else { return };
        self.apply(vec![self.reminders[reminder].is.cancelled(CancelReason::User)]);
        self.changed(self.reminders[reminder].task);
    }

    /// The changes to a task's reminders, which the command reads without those that the user cancelled.
    fn becomes(&self, task: usize, decide: impl Fn(&Reminder) -> Option<ReminderChange>) -> Vec<ReminderChange> {
        let of = self.reminders.iter().filter(|row| row.task == task);
        let shown = of.filter(|row| row.is.cancel_reason != Some(CancelReason::User));
        let read = shown.map(|row| Reminder { fired: row.fired_version == Some(row.is.version), ..row.is.clone() });
        read.filter_map(|reminder| decide(&reminder)).collect()
    }

    pub(crate) fn complete(&mut self, task: usize) {
        let Some(task) = self.open_task(task) else { return };
        self.apply(self.becomes(task, Reminder::on_complete));
        self.end_of(task);
        self.tasks[task].completed = true;
        self.tasks[task].completed_at = self.now;
        self.changed(task);
    }

    pub(crate) fn reopen(&mut self, task: usize) {
        let Some(task) = self.task(task).filter(|task| self.tasks[*task].completed) else { return };
        let completed_at = self.tasks[task].completed_at;
        self.apply(self.becomes(task, |reminder| reminder.on_reopen(completed_at, self.now)));
        self.tasks[task].completed = false;
        self.changed(task);
    }

    pub(crate) fn delete(&mut self, task: usize) {
        let Some(task) = self.task(task) else { return };
        let reminders = self.reminders.iter().filter(|row| row.task == task).map(|row| row.is.clone());
        self.tasks[task].deleted = (self.now, reminders.collect());
        self.apply(self.becomes(task, Reminder::on_delete));
        self.end_of(task);
        self.tasks[task].gone = true;
        self.changed(task);
    }

    /// Restores the version before the deletion.
    pub(crate) fn restore(&mut self, task: usize) {
        let task = task % self.tasks.len();
        if !self.tasks[task].gone {
            return;
        }
        let TaskRow { completed, deleted: (at, reminders), .. } = &self.tasks[task];
        let changes = self.becomes(task, |reminder| {
            let was = reminders.iter().find(|was| was.id == reminder.id)?;
            reminder.on_restore(was, *completed, *at, self.now)
        });
        self.apply(changes);
        self.tasks[task].gone = false;
        self.changed(task);
    }

    pub(crate) fn move_due(&mut self, task: usize, due_at: Option<DateTime<Utc>>) {
        let Some(task) = self.task(task) else { return };
        let zone = Zone::utc();
        let (from, to) = (Due { at: self.tasks[task].due_at, zone: &zone }, Due { at: due_at, zone: &zone });
        let completed = self.tasks[task].completed;
        self.apply(self.becomes(task, |reminder| reminder.on_move(from, to, completed, self.now)));
        self.tasks[task].due_at = due_at;
        self.changed(task);
    }

    /// Notes that no reminder of the task is live any more.
    fn end_of(&mut self, task: usize) {
        for ((reminder, _), life) in &mut self.live_versions {
            if self.reminders[*reminder].task == task {
                life.ended = life.ended.or(Some(self.clock));
            }
        }
    }

    /// The statement of `liveness::apply`.
    fn apply(&mut self, changes: Vec<ReminderChange>) {
        for becomes in changes {
            let reminder = self.reminders.iter().position(|row| row.is.id == becomes.id).expect("a reminder");
            let is = &mut self.reminders[reminder].is;
            let live = |state| state == ReminderState::Scheduled;
            let raised = is.remind_at != becomes.remind_at || live(is.state) != live(becomes.state);
            if let Some(life) = self.live_versions.get_mut(&(reminder, is.version)) {
                life.ended = life.ended.or(Some(self.clock));
            }
            is.version += i32::from(raised);
            (is.remind_at, is.state, is.cancel_reason) = (becomes.remind_at, becomes.state, becomes.cancel_reason);
            if live(is.state) {
                self.live_versions.insert((reminder, is.version), LiveVersion { remind_at: is.remind_at, ended: None });
            }
        }
    }

    // Statements of the functions.

    fn callback(&self, reminder: usize) -> fire::Row {
        let ReminderRow { task, is, fired_version, .. } = &self.reminders[reminder];
        let there = &self.tasks[*task];
        fire::Row {
            version: is.version,
            state: is.state,
            cancel_reason: is.cancel_reason,
            fired_version: *fired_version,
            remind_at: is.remind_at,
            completed: (!there.gone).then_some(there.completed),
            now: self.now,
        }
    }

    /// What an attempt reads.
    pub(crate) fn snapshot(&self, delivery: usize) -> Snapshot {
        let row = &self.deliveries[delivery];
        let ReminderRow { task, is, .. } = &self.reminders[row.reminder];
        let reminder = delivery::Reminder {
            of_version: row.version,
            version: is.version,
            cancel_reason: is.cancel_reason,
            remind_at: is.remind_at,
            completed: (!self.tasks[*task].gone).then_some(self.tasks[*task].completed),
            has_address: true,
            has_target: true,
        };
        Snapshot { record: row.record, attempts: row.attempts, reminder, now: self.now }
    }

    /// The SQL function `reminder_is_live`.
    pub(crate) fn is_live(&self, reminder: usize) -> bool {
        let ReminderRow { is, fired_version, .. } = &self.reminders[reminder];
        is.state == ReminderState::Scheduled && fired_version.is_none_or(|fired| fired < is.version)
    }

    /// The statement of `fire`. Returns the row if it did not fire it.
    pub(crate) fn fire(&mut self, reminder: usize, version: i32) -> Option<fire::Row> {
        let ReminderRow { task, is, .. } = &self.reminders[reminder];
        let task = &self.tasks[*task];
        if self.is_live(reminder) && is.version == version && is.remind_at <= self.now && !task.completed && !task.gone
        {
            self.reminders[reminder].fired_version = Some(version);
            self.emit(EventData::Due { reminder, version });
            return None;
        }
        Some(self.callback(reminder))
    }

    pub(crate) fn claim(&mut self, event: usize) -> bool {
        !std::mem::replace(&mut self.events[event].claimed, true)
    }

    fn job(&self, name: String, due_at: DateTime<Utc>, calls: Calls) -> Job {
        Job { name, due_at, calls, armed: self.clock }
    }

    pub(crate) fn reminder_job(&self, reminder: usize, job: &ReminderJob) -> Job {
        self.job(job.name().to_string(), job.due_at, Calls::Reminder { reminder, version: job.version })
    }

    /// The query of `reminder::align`.
    pub(crate) fn unaligned(&self, task: usize) -> Vec<(usize, Alignment)> {
        let alignment = |reminder: usize| {
            let row = &self.reminders[reminder];
            let alignment = Alignment {
                job: self.current_job(reminder),
                live: self.is_live(reminder),
                near: self.is_due_within(reminder, TimeDelta::hours(ARMING_WINDOW_HOURS.into())),
                recorded: row.job_id,
            };
            (row.task == task && row.aligned_version != Some(row.is.version)).then_some((reminder, alignment))
        };
        (0..self.reminders.len()).filter_map(alignment).collect()
    }

    /// The statement of `reminder::record`.
    pub(crate) fn record(&mut self, reminder: usize, job: &ReminderJob, armed: bool, aligned: bool) {
        let row = &mut self.reminders[reminder];
        let version = Some(job.version);
        let differs = (armed && row.armed_version != version) || (aligned && row.aligned_version != version);
        if differs && row.is.version == job.version {
            row.job_id = armed.then(|| job.name());
            row.armed_version = if armed { version } else { row.armed_version };
            row.aligned_version = if aligned { version } else { row.aligned_version };
        }
    }

    fn current_job(&self, reminder: usize) -> ReminderJob {
        let is = &self.reminders[reminder].is;
        ReminderJob { reminder_id: is.id, version: is.version, due_at: is.remind_at }
    }

    fn is_due_within(&self, reminder: usize, time: TimeDelta) -> bool {
        self.reminders[reminder].is.remind_at <= self.now + time
    }

    fn live_jobs(&self, time: TimeDelta, of: impl Fn(&ReminderRow) -> bool) -> Vec<(usize, ReminderJob)> {
        let due = |&reminder: &usize| {
            self.is_live(reminder) && self.is_due_within(reminder, time) && of(&self.reminders[reminder])
        };
        (0..self.reminders.len()).filter(due).map(|reminder| (reminder, self.current_job(reminder))).collect()
    }

    /// `arming::due`: within two repair intervals.
    pub(crate) fn near(&mut self) -> Vec<(usize, ReminderJob)> {
        self.live_jobs(TimeDelta::minutes(10), |_| true)
    }

    /// `arming::unarmed`.
    pub(crate) fn entering(&mut self) -> Vec<(usize, ReminderJob)> {
        let window = TimeDelta::hours(ARMING_WINDOW_HOURS.into());
        self.live_jobs(window, |row| row.armed_version != Some(row.is.version))
    }

    /// `repair::overdue`.
    pub(crate) fn overdue(&mut self) -> Vec<usize> {
        let then = self.now - TimeDelta::seconds(10);
        let open = |row: &usize| {
            let record = &self.deliveries[*row].record;
            let leased = record.state == DeliveryState::Sending && record.lease_until >= then;
            !record.state.has_ended() && record.next_attempt_at < then && !leased
        };
        (0..self.deliveries.len()).filter(open).collect()
    }

    /// `repair::unpublish_unclaimed`, without its limits.
    pub(crate) fn unpublish_unclaimed(&mut self) {
        let long_ago = self.now - TimeDelta::minutes(2);
        for event in self.events.iter_mut().filter(|event| !event.claimed) {
            event.published_at.take_if(|at| *at < long_ago);
        }
    }

    pub(crate) fn delivery_job(&self, delivery: usize, attempts: i32, at: DateTime<Utc>) -> Job {
        let job = DeliveryJob { delivery_id: id_of(delivery), attempts };
        self.job(job.name(), at, Calls::Delivery(delivery))
    }

    pub(crate) fn arm(&mut self, job: Job) {
        self.jobs.insert(job.name.clone(), Job { armed: self.clock, ..job });
    }

    /// `Jobs::call_again`, with the scheduler's clock in line with the others.
    pub(crate) fn call_again(&mut self, early: Job) {
        let due_at = self.now + pause_of_early(early.due_at - self.now);
        assert!(due_at <= early.due_at.max(self.now), "a job calls again after its instant");
        self.arm(Job { due_at, ..early });
    }

    /// `Call::IfMissingOrLate`.
    pub(crate) fn arm_if_missing_or_late(&mut self, job: Job) {
        if job.due_at < self.now - TimeDelta::minutes(1) { self.arm(job) } else { self.arm_if_missing(job) }
    }

    pub(crate) fn arm_if_missing(&mut self, job: Job) {
        if !self.jobs.contains_key(&job.name) {
            self.arm(job);
        }
    }

    pub(crate) fn arm_delivery(&mut self, delivery: usize, attempts: i32, at: DateTime<Utc>) {
        let job = self.delivery_job(delivery, attempts, at);
        self.arm(job);
    }

    /// The statement of `create::deliveries`.
    pub(crate) fn deliveries_of(&mut self, reminder: usize, version: i32) -> Vec<usize> {
        let is_of = |row: &DeliveryRow| row.reminder == reminder && row.version == version;
        if self.reminders[reminder].is.version == version && !self.deliveries.iter().any(is_of) {
            let record = Record {
                state: DeliveryState::Pending,
                created_at: self.now,
                at_dot: false,
                repeated: false,
                next_attempt_at: self.now,
                lease_until: self.now,
            };
            self.deliveries.push(DeliveryRow {
                reminder,
                version,
                record,
                attempts: 0,
                messages: 0,
                first_accepted_at: None,
                known: None,
                dots: 0,
                refused: false,
            });
        }
        (0..self.deliveries.len()).filter(|delivery| is_of(&self.deliveries[*delivery])).collect()
    }

    /// The SQL function `delivery_is_free`.
    fn is_free(&self, record: &Record) -> bool {
        match record.state {
            DeliveryState::Pending | DeliveryState::Retrying => true,
            DeliveryState::Sending => {
                record.lease_until <= self.now || self.mistake == Some(Mistake::RepeatWithoutWaiting)
            }
            _ => false,
        }
    }

    /// Whether a write of an attempt applies.
    fn holds(&self, delivery: usize, fence: Fence) -> bool {
        let row = &self.deliveries[delivery];
        let is_state = match fence {
            Fence::Held { .. } => row.record.state == DeliveryState::Sending,
            Fence::Free { .. } => self.is_free(&row.record),
        };
        is_state && row.attempts == fence.attempts()
    }

    /// `record::begin`. Returns when that was, by the count of steps and by the clock.
    pub(crate) fn begin(&mut self, delivery: usize, fence: Fence, repeat: bool) -> Option<(u64, DateTime<Utc>)> {
        if !self.holds(delivery, fence) {
            return None;
        }
        let row = &mut self.deliveries[delivery];
        row.attempts += 1;
        let record = &mut row.record;
        (record.state, record.at_dot) = (DeliveryState::Sending, false);
        record.repeated |= repeat;
        record.lease_until = self.now + LEASE;
        record.next_attempt_at = record.lease_until;
        Some((self.clock, self.now))
    }

    /// The statement between SMTP's 354 and the body.
    pub(crate) fn at_dot(&mut self, delivery: usize, attempts: i32) -> bool {
        if !self.holds(delivery, Fence::Held { attempts }) {
            return false;
        }
        let row = &mut self.deliveries[delivery];
        row.record.at_dot = true;
        row.dots += 1;
        if self.mistake != Some(Mistake::KeepShortLease) {
            row.record.lease_until = self.now + LEASE_AT_DOT;
        }
        true
    }

    /// `record::postpone`. Returns whether it applied.
    pub(crate) fn postpone(&mut self, delivery: usize, fence: Fence, at: DateTime<Utc>, repeat: bool) -> bool {
        let applies = self.holds(delivery, fence) || self.mistake == Some(Mistake::WriteWithoutFence);
        if applies {
            let record = &mut self.deliveries[delivery].record;
            (record.state, record.next_attempt_at) = (DeliveryState::Retrying, at);
            record.repeated |= repeat;
        }
        applies
    }

    /// `record::sent`.
    pub(crate) fn sent(&mut self, delivery: usize) {
        let row = &mut self.deliveries[delivery];
        assert!(row.messages > 0, "recorded as sent, and no provider has accepted it");
        let (reminder, version) = (row.reminder, row.version);
        if std::mem::replace(&mut row.record.state, DeliveryState::Sent) != DeliveryState::Sent {
            self.emit(EventData::Sent { reminder, version });
        }
    }

    /// `record::end`. Returns whether it applied.
    pub(crate) fn end(&mut self, delivery: usize, fence: Fence, state: DeliveryState) -> bool {
        if !self.holds(delivery, fence) && self.mistake != Some(Mistake::WriteWithoutFence) {
            return false;
        }
        self.check_end(delivery, state);
        let row = &mut self.deliveries[delivery];
        row.record.state = state;
        let is = &mut self.reminders[row.reminder].is;
        if state != DeliveryState::Skipped && is.version == row.version && is.state == ReminderState::Scheduled {
            is.state = ReminderState::Failed;
        }
        true
    }

    /// The handler of `reminder.sent`.
    pub(crate) fn mark_sent(&mut self, reminder: usize, version: i32) {
        let is = &mut self.reminders[reminder].is;
        if is.version == version && matches!(is.state, ReminderState::Scheduled | ReminderState::Failed) {
            is.state = ReminderState::Sent;
        }
    }

    pub(crate) fn publish_again(&mut self, event: usize) {
        let event = event % self.events.len();
        if self.events[event].published_at.is_some() {
            self.publish(event);
        }
    }

    pub(crate) fn publish(&mut self, event: usize) {
        self.copies += 1;
        self.messages.push(Message { copy: self.copies, event });
    }
}

pub(crate) fn id_of(reminder: usize) -> Uuid {
    Uuid::from_u128(reminder as u128 + 1)
}
