//! What must always hold.

use chrono::{DateTime, TimeDelta, Utc};
use reminder_due::delivery::WINDOW;
use shared::{delivery::DeliveryState, reminder::ReminderState};

use crate::{
    mistakes::Mistake,
    world::{DeliveryRow, LEASE_AT_DOT, World},
};

/// A message on its way to the provider.
pub(crate) struct Leaving {
    /// The number of its attempt.
    pub(crate) attempts: i32,
    /// When the attempt began, by the count of steps and by the clock.
    pub(crate) begun: (u64, DateTime<Utc>),
    /// When it came to the final dot.
    pub(crate) dot_at: DateTime<Utc>,
    /// Whether the provider accepts it. Otherwise it is lost on its way.
    pub(crate) accepted: bool,
    /// The process that the provider's answer reaches, if it reaches one.
    pub(crate) answered_to: Option<usize>,
}

impl World {
    /// A message leaves.
    pub(crate) fn message_leaves(&mut self, delivery: usize, message: &Leaving) {
        let begun = message.begun;
        let latest = self.latest;
        let row = &mut self.deliveries[delivery];
        let live = &self.live_versions[&(row.reminder, row.version)];
        assert!(begun.1 >= live.remind_at, "sent before its time");
        assert!(live.ended.is_none_or(|ended| ended > begun.0), "sent by an attempt that began after the end");
        let leased = row.attempts == message.attempts && row.record.lease_until > latest;
        let on_record = message.attempts <= row.attempts && (!leased || row.record.state == DeliveryState::Sending);
        assert!(on_record, "sent by an attempt that is not on record");
        let first = row.first_accepted_at.filter(|first| self.has_key && begun.1 - *first < WINDOW);
        let key_known = first.is_some() && self.mistake != Some(Mistake::NewKey);
        if !message.accepted || key_known {
            return;
        }
        assert!(
            self.has_key || row.known.is_none_or(|(_, until)| begun.1 >= until),
            "repeated while a process knows that it was accepted"
        );
        row.messages += 1;
        row.first_accepted_at.get_or_insert(self.now);
        row.known = message.answered_to.map(|process| (process, message.dot_at + LEASE_AT_DOT));
        assert!(row.messages == 1 || !self.has_key, "sent twice though the provider knows keys");
        assert!(row.messages <= 2, "sent three times");
        assert!(row.messages == 1 || row.record.repeated, "sent twice, and nobody was told");
    }

    /// A function that had seen so many attempts reports success, so its event or job does not come again.
    pub(crate) fn check_attempt_done(&self, delivery: usize, attempts: i32) {
        let row = &self.deliveries[delivery];
        let record = row.record;
        if row.attempts != attempts || record.state.has_ended() {
            return; // Another process has begun the next attempt, or there is none.
        }
        let remind_at = self.reminders[row.reminder].is.remind_at;
        // A function that stood still before it armed the job arms it for now.
        let latest = record.next_attempt_at.max(record.lease_until).max(remind_at).max(self.now);
        let next = self.jobs.get(&self.delivery_job(delivery, attempts, latest).name);
        assert!(next.is_some_and(|job| job.due_at <= latest), "an attempt is done, and nothing makes the next");
    }

    /// A delivery ends without an accepted message, never without a reason.
    pub(crate) fn check_end(&self, delivery: usize, state: DeliveryState) {
        let row = &self.deliveries[delivery];
        // The last attempt may have been planned for up to an hour later than it was made.
        let old = self.now - row.record.created_at >= WINDOW - TimeDelta::minutes(61);
        let closed = row.refused || self.live_versions[&(row.reminder, row.version)].ended.is_some();
        match state {
            DeliveryState::Failed => assert!(row.refused || old, "failed without a refusal"),
            DeliveryState::Unknown if self.has_key => {
                assert!((old || closed) && row.attempts > 0, "given up while the key is known");
            }
            DeliveryState::Unknown => {
                assert!(row.dots >= 2 || ((old || closed) && row.dots == 1), "given up with a repeat to spare");
            }
            _ => {}
        }
        assert!(state == DeliveryState::Unknown || row.messages == 0, "accepted, and called {state}");
    }

    /// Nothing is left to do.
    pub(crate) fn check_settled(&self) {
        assert!(
            self.events.iter().all(|event| event.published_at.is_some() && event.claimed),
            "an event has no effect"
        );
        assert!(self.messages.is_empty() && self.jobs.is_empty(), "something is left over");
        for (task, row) in self.tasks.iter().enumerate() {
            assert_eq!(self.seen.get(&task), Some(&row.version), "no function has seen the last version of a task");
        }
        assert!(self.deliveries.iter().all(|row| row.record.state.has_ended()), "a delivery has not ended");
        for ((reminder, version), live) in &self.live_versions {
            let of = |row: &&DeliveryRow| row.reminder == *reminder && row.version == *version;
            let deliveries: Vec<_> = self.deliveries.iter().filter(of).collect();
            assert!(deliveries.len() <= 1, "a version fired twice");
            if live.ended.is_some() {
                continue;
            }
            let is = &self.reminders[*reminder].is;
            assert_eq!(is.version, *version, "a version ended without a command");
            let [delivery] = deliveries[..] else { panic!("a live reminder did not fire: {live:?}") };
            match delivery.record.state {
                DeliveryState::Skipped => panic!("a live reminder was skipped"),
                DeliveryState::Sent => {
                    assert!(delivery.messages > 0, "marked as sent without a message");
                    assert_eq!(is.state, ReminderState::Sent, "sent, and the reminder does not say so");
                }
                _ => assert_eq!(is.state, ReminderState::Failed, "failed, and the reminder does not say so"),
            }
        }
    }
}
