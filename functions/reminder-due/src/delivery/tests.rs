//! Every order of answers, deaths and waits, against a provider that counts what it takes.

use proptest::prelude::*;

use super::*;

/// How an attempt that was begun ends.
#[derive(Clone, Copy, Debug)]
enum Ends {
    Accepted,
    Transient,
    Throttled(i64),
    Permanent,
    /// The message left and no answer came; whether it was taken only the provider knows.
    NoAnswer {
        taken: bool,
    },
    DiesBeforeDot,
    DiesAfterDot {
        taken: bool,
    },
    /// Accepted, and the process died before that was recorded.
    DiesBeforeRecord,
}

fn ends() -> impl Strategy<Value = Ends> {
    prop_oneof![
        2 => Just(Ends::Accepted),
        4 => Just(Ends::Transient),
        2 => (1_i64..=3600).prop_map(Ends::Throttled),
        1 => Just(Ends::Permanent),
        4 => any::<bool>().prop_map(|taken| Ends::NoAnswer { taken }),
        3 => Just(Ends::DiesBeforeDot),
        4 => any::<bool>().prop_map(|taken| Ends::DiesAfterDot { taken }),
        3 => Just(Ends::DiesBeforeRecord),
    ]
}

/// Seconds: mostly such as between two attempts, now and then an outage of hours or of more than a day.
fn passing() -> impl Strategy<Value = i64> {
    prop_oneof![6 => 0_i64..700, 2 => 3_600_i64..40_000, 1 => 80_000_i64..200_000]
}

/// A delivery and its provider, as `send` and the database move them.
struct World {
    has_key: bool,
    now: DateTime<Utc>,
    record: Record,
    /// Messages the user gets.
    messages: u32,
    first_taken_at: Option<DateTime<Utc>>,
    /// Whether somewhere the message left and nobody heard what became of it.
    nobody_knew: bool,
}

impl World {
    fn new(has_key: bool) -> Self {
        let now = "2027-03-01T12:00:00Z".parse().unwrap();
        let record = Record {
            state: DeliveryState::Pending,
            created_at: now,
            at_dot: false,
            repeated: false,
            next_attempt_at: now,
            lease_until: now,
        };
        Self { has_key, now, record, messages: 0, first_taken_at: None, nobody_knew: false }
    }

    fn is_over(&self) -> bool {
        self.record.state.has_ended()
    }

    fn age(&self) -> Duration {
        self.now - self.record.created_at
    }

    /// The provider takes the message, unless it knows its key.
    fn take(&mut self) {
        let known = self.has_key && self.first_taken_at.is_some_and(|first| self.now - first < WINDOW);
        if !known {
            self.messages += 1;
            self.first_taken_at.get_or_insert(self.now);
        }
    }

    /// Whoever is called about the delivery does what is to be done; `ends` is what comes of an attempt.
    fn turn(&mut self, ends: Ends) {
        let repeat = match next(&self.record, self.has_key, self.now) {
            Next::Nothing => return assert!(self.is_over()),
            Next::Wait(until) if self.record.state == DeliveryState::Sending => {
                return assert!(until > self.now && until == self.record.lease_until);
            }
            Next::Wait(until) => return assert!(until > self.now && until == self.record.next_attempt_at),
            Next::GiveUp => {
                assert!(self.record.repeated || self.age() >= WINDOW, "given up with a repeat to spare");
                self.record.state = DeliveryState::Unknown;
                return;
            }
            Next::Attempt { repeat } => repeat,
        };
        assert!(!self.is_over(), "an attempt after the end");
        assert!(
            self.record.state != DeliveryState::Retrying || self.record.next_attempt_at <= self.now,
            "an attempt before its time"
        );
        assert!(
            self.record.state != DeliveryState::Sending || self.record.lease_until <= self.now,
            "an attempt beside another"
        );
        assert!(
            self.age() < WINDOW || !self.nobody_knew || !self.has_key,
            "an attempt with a key that the provider has forgotten"
        );
        self.record.state = DeliveryState::Sending;
        self.record.repeated |= repeat;
        self.record.at_dot = false;
        self.record.lease_until = self.now + Duration::seconds(15);
        self.attempt(ends);
    }

    fn attempt(&mut self, ends: Ends) {
        match ends {
            Ends::Accepted => {
                self.take();
                self.record.state = DeliveryState::Sent;
            }
            Ends::Transient => self.answered(&SendError::Transient { reason: String::new() }),
            Ends::Throttled(seconds) => self.answered(&SendError::Throttled {
                retry_after: std::time::Duration::from_secs(seconds.unsigned_abs()),
                reason: String::new(),
            }),
            Ends::Permanent => self.answered(&SendError::Permanent { reason: String::new() }),
            Ends::NoAnswer { taken } => {
                self.leave(taken);
                self.answered(&SendError::Unknown { reason: String::new() });
            }
            // With a key nobody keeps where in the attempt a process was.
            Ends::DiesBeforeDot => self.nobody_knew |= self.has_key,
            Ends::DiesAfterDot { taken } => self.leave(taken),
            Ends::DiesBeforeRecord => self.leave(true),
        }
    }

    fn leave(&mut self, taken: bool) {
        self.record.at_dot = !self.has_key;
        if self.record.at_dot {
            self.record.lease_until = self.now + Duration::seconds(60);
        }
        self.nobody_knew = true;
        if taken {
            self.take();
        }
    }

    fn answered(&mut self, error: &SendError) {
        match after(&self.record, error, self.has_key, self.now) {
            After::Failed => {
                assert_eq!(self.messages, 0, "accepted, and called failed");
                self.record.state = DeliveryState::Failed;
            }
            After::Unknown => {
                assert!(self.nobody_knew, "refused, and called unknown");
                self.record.state = DeliveryState::Unknown;
            }
            After::Retry { at, repeat } => {
                assert!(at > self.now, "a busy loop");
                assert!(at - self.record.created_at < WINDOW, "an attempt planned after the window");
                self.record.state = DeliveryState::Retrying;
                self.record.next_attempt_at = at;
                self.record.repeated |= repeat;
            }
        }
    }

    fn holds(&self) {
        if self.has_key {
            assert!(self.messages <= 1, "a provider with a key delivered {} messages", self.messages);
        } else {
            assert!(self.messages <= 2, "{} messages", self.messages);
            assert!(
                self.messages < 2 || (self.record.repeated && self.nobody_knew),
                "a message repeated without need, or without a word about it"
            );
        }
    }
}

proptest! {
    #[test]
    fn a_message_is_accepted_once_or_repeated_once_after_an_unknown_outcome(
        has_key: bool,
        turns in prop::collection::vec((ends(), passing()), 1..60),
    ) {
        let mut world = World::new(has_key);
        for (ends, seconds) in turns {
            world.turn(ends);
            world.holds();
            world.now += Duration::seconds(seconds);
        }
    }

    #[test]
    fn every_delivery_ends_when_its_attempts_get_answers(
        has_key: bool,
        turns in prop::collection::vec((ends(), passing()), 0..20),
        answers in prop::collection::vec(any::<bool>(), 200),
    ) {
        let mut world = World::new(has_key);
        for (ends, seconds) in turns {
            world.turn(ends);
            world.now += Duration::seconds(seconds);
        }
        for transient in answers {
            world.turn(if transient { Ends::Transient } else { Ends::NoAnswer { taken: false } });
            world.now = world.now.max(world.record.next_attempt_at).max(world.record.lease_until);
        }
        prop_assert!(world.is_over(), "{:?}", world.record);
        world.holds();
    }
}

#[test]
fn the_wait_between_attempts_is_short_at_first_and_grows_to_ten_minutes() {
    let world = World::new(false);
    let wait = |seconds: i64| {
        let now = world.now + Duration::seconds(seconds);
        let record = Record { state: DeliveryState::Sending, ..world.record };
        match after(&record, &SendError::Transient { reason: String::new() }, false, now) {
            After::Retry { at, repeat: false } => (at - now).num_seconds(),
            other => panic!("{other:?}"),
        }
    };
    assert_eq!([0, 10, 24, 60, 600, 3600, 40_000].map(wait), [4, 4, 4, 10, 100, 600, 600]);
    // Whenever in its first half minute an outage ends, the next attempt is within five seconds.
    let mut at = 0;
    while at < 30 {
        assert!(wait(at) <= 5, "{at}");
        at += wait(at);
    }
}

#[test]
fn a_delivery_that_may_have_been_accepted_ends_unknown_and_not_failed() {
    let world = World::new(false);
    let last = Record { state: DeliveryState::Sending, ..world.record };
    let late = world.now + WINDOW - Duration::minutes(1);
    let reason = String::new;
    assert_eq!(after(&last, &SendError::Permanent { reason: reason() }, false, world.now), After::Failed);
    assert_eq!(after(&last, &SendError::Transient { reason: reason() }, false, late), After::Failed);
    assert_eq!(after(&last, &SendError::Unknown { reason: reason() }, false, late), After::Unknown);
    let repeated = Record { repeated: true, ..last };
    assert_eq!(after(&repeated, &SendError::Unknown { reason: reason() }, false, world.now), After::Unknown);
    // What may have been accepted has not failed, whatever was said later.
    assert_eq!(after(&repeated, &SendError::Permanent { reason: reason() }, false, world.now), After::Unknown);
    assert_eq!(after(&repeated, &SendError::Transient { reason: reason() }, true, late), After::Unknown);
}

#[test]
fn a_message_that_was_certainly_not_accepted_is_attempted_after_the_window() {
    let world = World::new(true);
    let late = world.now + WINDOW * 2;
    let waited = Record { state: DeliveryState::Retrying, ..world.record };
    assert_eq!(next(&waited, true, late), Next::Attempt { repeat: false });
    assert_eq!(next(&Record { repeated: true, ..waited }, true, late), Next::GiveUp);
}

#[test]
fn a_reminder_with_several_obstacles_reports_the_first() {
    let fine = Reminder {
        of_version: 3,
        version: 3,
        cancel_reason: None,
        remind_at: World::new(true).now,
        completed: Some(false),
        has_address: true,
        has_target: true,
    };
    let obstacle = |reminder: Reminder| reminder.obstacle().map(SkipReason::as_str);
    assert_eq!(obstacle(fine), None);
    let cancelled = Reminder { cancel_reason: Some(CancelReason::User), version: 4, completed: None, ..fine };
    assert_eq!(obstacle(cancelled), Some("user"));
    assert_eq!(obstacle(Reminder { version: 4, completed: Some(true), ..fine }), Some("moved"));
    assert_eq!(obstacle(Reminder { completed: None, has_address: false, ..fine }), Some("deleted"));
    assert_eq!(obstacle(Reminder { completed: Some(true), ..fine }), Some("completed"));
    assert_eq!(obstacle(Reminder { has_address: false, ..fine }), Some("the user is gone"));
}

#[test]
fn a_delivery_that_only_ever_waits_for_the_provider_ends_after_a_day() {
    let world = World::new(true);
    let (record, now) = (world.record, world.now);
    let soon = now + WINDOW - Duration::seconds(1);
    for repeat in [false, true] {
        assert_eq!(again(&record, repeat, soon), After::Retry { at: soon, repeat });
    }
    assert_eq!(again(&record, false, now + WINDOW), After::Failed);
    assert_eq!(again(&record, true, now + WINDOW), After::Unknown);
}
