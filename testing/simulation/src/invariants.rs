//! What must always hold.

use chrono::{DateTime, TimeDelta, Utc};
use reminder_due::delivery::WINDOW;
use shared::{delivery::DeliveryState, reminder::ReminderState};

use crate::{
    mistakes::Mistake,
    world::{DeliveryRow, World},
};

impl World {
    /// A message leaves and is accepted, or lost on its way. `begun` is when its attempt began.
    pub(crate) fn message_leaves(
        &mut self,
        invocation: usize,
        delivery: usize,
        begun: (u64, DateTime<Utc>),
        accepted: bool,
    ) {
        let holds_lock = self.locks.get(&delivery) == Some(&invocation);
        let row = &mut self.deliveries[delivery];
        let live = &self.live_versions[&(row.reminder, row.version)];
        assert!(begun.1 >= live.remind_at, "sent before its time");
        assert!(live.ended.is_none_or(|ended| ended > begun.0), "sent by an attempt that began after the end");
        assert!(!holds_lock || row.record.state == DeliveryState::Sending, "sent by an attempt that is not on record");
        let first = row.first_accepted_at.filter(|first| self.has_key && begun.1 - *first < WINDOW);
        let key_known = first.is_some() && self.mistake != Some(Mistake::NewKey);
        if !accepted || key_known {
            return;
        }
        row.messages += 1;
        row.first_accepted_at.get_or_insert(self.now);
        assert!(row.messages == 1 || !self.has_key, "sent twice though the provider knows keys");
        assert!(row.messages <= 2, "sent three times");
        assert!(row.messages == 1 || row.record.repeated, "sent twice, and nobody was told");
    }

    /// An attempt reports success, so its event or job does not come again.
    pub(crate) fn check_attempt_done(&self, invocation: usize, delivery: usize) {
        // Without the lock another process may have begun the next attempt.
        if self.locks.get(&delivery) != Some(&invocation) {
            return;
        }
        let DeliveryRow { record, attempts, .. } = &self.deliveries[delivery];
        let next = self.jobs.get(&self.delivery_job(delivery, *attempts, record.next_attempt_at).name);
        assert!(
            record.state.has_ended() || next.is_some_and(|job| job.due_at <= record.next_attempt_at),
            "an attempt is done, and nothing makes the next"
        );
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
        assert!(self.messages.is_empty() && self.jobs.is_empty() && self.locks.is_empty(), "something is left over");
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
