//! What a delivery is made of, what must hold of a message that leaves, and what must be so when everything has come to rest.

use chrono::TimeDelta;
use reminder_due::delivery::{State, WINDOW};

use super::super::*;
use super::{
    GOOD, Run, Step, functions,
    state::{Calls, DeliveryRow, Job, Told, World},
};

impl World {
    pub(super) fn arm(&mut self, job: Job) {
        self.jobs.insert(job.name.clone(), Job { armed: self.clock, ..job });
    }

    pub(super) fn arm_if_missing(&mut self, job: Job) {
        if !self.jobs.contains_key(&job.name) {
            self.arm(job);
        }
    }

    pub(super) fn delivery_job(&self, delivery: usize, at: DateTime<Utc>) -> Job {
        let attempts = self.deliveries[delivery].attempts;
        self.job(format!("delivery-{delivery}-{attempts}"), at, Calls::Delivery(delivery))
    }

    pub(super) fn arm_delivery(&mut self, delivery: usize, at: DateTime<Utc>) {
        let job = self.delivery_job(delivery, at);
        self.arm(job);
    }

    /// Commits that an attempt begins, and says when that was: by the count of steps and by the clock.
    pub(super) fn begin(&mut self, delivery: usize, repeat: bool) -> (u64, DateTime<Utc>) {
        let row = &mut self.deliveries[delivery];
        row.attempts += 1;
        let record = &mut row.record;
        (record.state, record.at_dot) = (State::Sending, false);
        record.repeated |= repeat;
        record.next_attempt_at = self.now + TimeDelta::minutes(1);
        (self.clock, self.now)
    }

    pub(super) fn postpone(&mut self, delivery: usize, at: DateTime<Utc>, repeat: bool) {
        let record = &mut self.deliveries[delivery].record;
        (record.state, record.next_attempt_at) = (State::Retrying, at);
        record.repeated |= repeat;
    }

    pub(super) fn sent(&mut self, delivery: usize) {
        let row = &mut self.deliveries[delivery];
        row.record.state = State::Over;
        let (reminder, version) = (row.reminder, row.version);
        if std::mem::replace(&mut row.ended, "sent") != "sent" {
            self.emit(Told::Sent { reminder, version });
        }
    }

    /// Ends a delivery that was not accepted, never without a reason.
    pub(super) fn end(&mut self, delivery: usize, how: &'static str) {
        let row = &mut self.deliveries[delivery];
        // The last attempt may have been planned for up to an hour later than it was made.
        let old = self.now - row.record.created_at >= WINDOW - TimeDelta::minutes(61);
        let closed = row.refused || self.lives[&(row.reminder, row.version)].ended.is_some();
        match how {
            "failed" => assert!(row.refused || old, "failed without a refusal"),
            "unknown" if self.has_key => {
                assert!((old || closed) && row.attempts > 0, "given up while the key is known")
            }
            "unknown" => {
                assert!(row.dots >= 2 || ((old || closed) && row.dots == 1), "given up with a repeat to spare");
            }
            _ => {}
        }
        assert!(how == "unknown" || row.messages == 0, "accepted, and called {how}");
        (row.record.state, row.ended) = (State::Over, how);
        let is = &mut self.reminders[row.reminder].is;
        if how != "skipped" && is.version == row.version && is.state == ReminderState::Scheduled {
            is.state = ReminderState::Failed;
        }
    }

    pub(super) fn mark_sent(&mut self, reminder: usize, version: i32) {
        let is = &mut self.reminders[reminder].is;
        if is.version == version && matches!(is.state, ReminderState::Scheduled | ReminderState::Failed) {
            is.state = ReminderState::Sent;
        }
    }

    /// A message leaves: `begun` is when its attempt was.
    pub(super) fn leaves(&mut self, delivery: usize, begun: (u64, DateTime<Utc>), taken: bool) {
        let row = &mut self.deliveries[delivery];
        let life = &self.lives[&(row.reminder, row.version)];
        assert!(begun.1 >= life.remind_at, "sent before its time");
        assert!(life.ended.is_none_or(|ended| ended > begun.0), "sent by an attempt that was begun after the end");
        if !taken || (self.has_key && row.messages > 0) {
            return;
        }
        row.messages += 1;
        assert!(row.messages <= 2, "sent three times");
        assert!(row.messages == 1 || row.record.repeated, "sent twice, and nobody was told");
    }

    /// Everything has come to rest.
    fn holds(&self) {
        assert!(
            self.events.iter().all(|event| event.published_at.is_some() && event.claimed),
            "an event without effect"
        );
        assert!(self.messages.is_empty() && self.jobs.is_empty() && self.leases.is_empty(), "something is left over");
        for (task, row) in self.tasks.iter().enumerate() {
            assert_eq!(self.seen.get(&task), Some(&row.version), "the last version of a task was not seen");
        }
        assert!(self.deliveries.iter().all(|row| row.record.state == State::Over), "a delivery that never ended");
        for ((reminder, version), life) in &self.lives {
            let of = |row: &&DeliveryRow| row.reminder == *reminder && row.version == *version;
            let deliveries: Vec<_> = self.deliveries.iter().filter(of).collect();
            assert!(deliveries.len() <= 1, "a version that was fired twice");
            if life.ended.is_some() {
                continue;
            }
            let is = &self.reminders[*reminder].is;
            assert_eq!(is.version, *version, "a version that ended without a command");
            let [delivery] = deliveries[..] else { panic!("a live reminder that did not fire: {life:?}") };
            assert_ne!(delivery.ended, "skipped", "a live reminder that was not sent");
            if delivery.ended == "sent" {
                assert!(
                    delivery.messages > 0 && is.state == ReminderState::Sent,
                    "a reminder that is not marked as sent"
                );
            } else {
                assert_eq!(is.state, ReminderState::Failed, "a reminder that failed, and does not say so");
            }
        }
    }
}

impl Run {
    /// From here on nothing fails, and repair comes by every five minutes.
    pub(super) fn rest(&mut self) {
        for _ in 0..1000 {
            self.settle();
            let mut world = self.world.borrow_mut();
            let job = world.jobs.values().map(|job| job.due_at).min();
            let quiet = self.going.is_empty() && world.messages.is_empty() && job.is_none();
            let waits = (0..world.reminders.len()).any(|reminder| world.waits(reminder));
            let open = world.deliveries.iter().any(|row| row.record.state != State::Over);
            if quiet && !waits && !open && world.events.iter().all(|event| event.claimed) {
                return world.holds();
            }
            // To the next job; one that is armed in a year is none of the next five minutes.
            world.now = job.filter(|due| *due > world.now).unwrap_or(world.now + TimeDelta::minutes(5));
            drop(world);
            self.begin(GOOD, functions::repair);
        }
        panic!("it does not come to rest");
    }

    /// All that can be done now.
    fn settle(&mut self) {
        for round in 0..100 {
            for function in (0..self.going.len()).rev() {
                self.go(function, GOOD);
            }
            let world = self.world.borrow();
            let now = world.now;
            let messages = world.messages.len();
            let due = world.jobs.values().filter(|job| job.due_at <= now).count();
            let unpublished = world.events.iter().any(|event| event.published_at.is_none());
            drop(world);
            if messages + due + usize::from(unpublished) == 0 && self.going.is_empty() {
                return;
            }
            self.step(Step::Relay(GOOD));
            (0..messages).rev().for_each(|message| self.step(Step::Deliver(message, GOOD)));
            (0..due).rev().for_each(|job| self.step(Step::CallIfDue(job, GOOD)));
            // Whoever waits for the clock, or for another.
            if round % 4 == 3 {
                self.step(Step::Pass(1));
            }
        }
    }
}
