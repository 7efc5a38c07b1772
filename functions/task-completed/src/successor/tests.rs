//! A series under random commands and deliveries. Tasks are completed early, late and twice, moved, reopened and deleted. Reminders are
//! snoozed. Each event is delivered at any time, any number of times, by a process that may die before its commit.

use std::collections::BTreeSet;

use chrono::TimeDelta;
use proptest::{prelude::*, sample::select};
use shared::recurrence::{Anchor, Kind};

use super::*;

#[derive(Clone, Copy, Debug)]
enum Crash {
    Never,
    BeforeCommit,
}

/// A command on a task of the series, or a delivery of an event. A number selects a task, a reminder or an event, modulo their count.
#[derive(Clone, Copy, Debug)]
enum Step {
    Complete(usize),
    Reopen(usize),
    Delete(usize),
    /// Adds a reminder so many minutes before the due time, relative or at an instant.
    Remind(usize, u32, bool),
    CancelReminder(usize, usize),
    /// Moves the due time of this occurrence by so many minutes.
    Move(usize, i64),
    /// Snoozes a reminder for so many minutes.
    Snooze(usize, usize, i64),
    Deliver(usize, Crash),
    Pass(i64),
}

fn step() -> impl Strategy<Value = Step> {
    let any = proptest::prelude::any::<usize>;
    let crash = prop_oneof![4 => Just(Crash::Never), 1 => Just(Crash::BeforeCommit)];
    prop_oneof![
        6 => any().prop_map(Step::Complete),
        2 => any().prop_map(Step::Reopen),
        1 => any().prop_map(Step::Delete),
        3 => (any(), 0..20_000_u32, proptest::bool::ANY).prop_map(|(task, minutes, relative)| Step::Remind(task, minutes, relative)),
        1 => (any(), any()).prop_map(|(task, reminder)| Step::CancelReminder(task, reminder)),
        2 => (any(), -6_000..6_000_i64).prop_map(|(task, minutes)| Step::Move(task, minutes)),
        2 => (any(), any(), 0..6_000_i64).prop_map(|(task, reminder, minutes)| Step::Snooze(task, reminder, minutes)),
        8 => (any(), crash).prop_map(|(event, crash)| Step::Deliver(event, crash)),
        // Mostly hours, sometimes months.
        4 => prop_oneof![6 => 0..200_000_i64, 1 => 0..20_000_000_i64].prop_map(Step::Pass),
    ]
}

prop_compose! {
    fn recurrence()(
        kind in select(vec![Kind::Daily, Kind::Weekly, Kind::Monthly, Kind::Custom]),
        interval in 1..4_u32,
        anchor in select(vec![Anchor::Due, Anchor::Completion]),
    ) -> Recurrence {
        let rule = (kind == Kind::Custom).then_some("FREQ=DAILY;BYDAY=MO,FR;UNTIL=20270601T000000Z");
        Recurrence::new(kind, if rule.is_some() { 1 } else { interval }, rule, anchor).unwrap()
    }
}

/// A row of `tasks` with its reminders.
struct Task {
    number: i32,
    /// When the rule makes it due.
    due_at: DateTime<Utc>,
    moved_to: DateTime<Utc>,
    completed_at: Option<DateTime<Utc>>,
    reminders: Vec<Row>,
    deleted: bool,
    was_completed: bool,
}

impl Task {
    fn new(number: i32, due_at: DateTime<Utc>, reminders: Vec<Row>) -> Self {
        let (completed_at, deleted, was_completed) = (None, false, false);
        Self { number, due_at, moved_to: due_at, completed_at, reminders, deleted, was_completed }
    }

    fn old_reminders(&self) -> Vec<OldReminder> {
        let old = self.reminders.iter().map(|row| OldReminder {
            remind_at: row.series_remind_at.unwrap_or(row.remind_at),
            due_at: row.series_due_at.unwrap_or(self.moved_to),
            before_due: row.before_due(),
            channels: vec!["email".to_owned()],
            cancel_reason: row.cancel_reason,
        });
        old.collect()
    }
}

/// A row of `task_reminders`.
struct Row {
    remind_at: DateTime<Utc>,
    series_remind_at: Option<DateTime<Utc>>,
    series_due_at: Option<DateTime<Utc>>,
    cancel_reason: Option<CancelReason>,
    /// The minutes before the due time, of a relative reminder.
    before: Option<u32>,
    /// What the user set, in this occurrence or in an earlier one: the instant, and the due time at that moment.
    set: (DateTime<Utc>, DateTime<Utc>),
}

impl Row {
    fn before_due(&self) -> Option<String> {
        self.before.map(|minutes| format!("PT{minutes}M"))
    }
}

struct SeriesWorld {
    now: DateTime<Utc>,
    series: Series,
    tasks: Vec<Task>,
    /// `task_occurrences`.
    made: BTreeSet<i32>,
    /// The task of each event, and whether the event is claimed.
    events: Vec<(usize, bool)>,
}

impl SeriesWorld {
    fn new(recurrence: Recurrence, zone: &str) -> Self {
        let start = "2027-03-20T08:00:00Z".parse().unwrap();
        Self {
            now: start - TimeDelta::days(2),
            series: Series { recurrence, start, zone: Zone::parse(zone).unwrap() },
            tasks: vec![Task::new(1, start, Vec::new())],
            made: BTreeSet::from([1]),
            events: Vec::new(),
        }
    }

    fn step(&mut self, step: Step) {
        let now = self.now;
        let tasks = self.tasks.len();
        let which = |task: usize| task % tasks;
        match step {
            Step::Complete(task) => {
                let task = which(task);
                let row = &mut self.tasks[task];
                if row.deleted || row.completed_at.is_some() {
                    return;
                }
                row.completed_at = Some(now);
                row.was_completed = true;
                // As `tasks::liveness` does with live reminders.
                let live = row.reminders.iter_mut().filter(|old| old.cancel_reason.is_none() && old.remind_at > now);
                live.for_each(|old| old.cancel_reason = Some(CancelReason::Completed));
                self.events.push((task, false));
            }
            Step::Reopen(task) => self.tasks[which(task)].completed_at = None,
            Step::Delete(task) => self.tasks[which(task)].deleted = true,
            Step::Remind(task, minutes, relative) => {
                let row = &mut self.tasks[which(task)];
                let remind_at = row.moved_to - TimeDelta::minutes(minutes.into());
                row.reminders.push(Row {
                    remind_at,
                    series_remind_at: None,
                    series_due_at: None,
                    cancel_reason: None,
                    before: relative.then_some(minutes),
                    set: (remind_at, row.moved_to),
                });
            }
            Step::CancelReminder(task, reminder) => {
                let reminders = &mut self.tasks[which(task)].reminders;
                if !reminders.is_empty() {
                    let reminder = reminder % reminders.len();
                    reminders[reminder].cancel_reason = Some(CancelReason::User);
                }
            }
            // As `tasks::change` does.
            Step::Move(task, minutes) => {
                let row = &mut self.tasks[which(task)];
                for reminder in &mut row.reminders {
                    match reminder.before {
                        Some(_) => reminder.remind_at += TimeDelta::minutes(minutes),
                        None => drop(reminder.series_due_at.get_or_insert(row.moved_to)),
                    }
                }
                row.moved_to += TimeDelta::minutes(minutes);
            }
            // As `tasks::liveness` does.
            Step::Snooze(task, reminder, minutes) => {
                let row = &mut self.tasks[which(task)];
                let reminders = row.reminders.len().max(1);
                if row.completed_at.is_none()
                    && let Some(reminder) = row.reminders.get_mut(reminder % reminders)
                    && reminder.cancel_reason != Some(CancelReason::User)
                {
                    reminder.series_remind_at.get_or_insert(reminder.remind_at);
                    reminder.remind_at = now + TimeDelta::minutes(minutes);
                    reminder.cancel_reason = None;
                }
            }
            Step::Deliver(event, crash) if !self.events.is_empty() => self.deliver(event % self.events.len(), crash),
            Step::Deliver(..) => {}
            Step::Pass(seconds) => self.now += TimeDelta::seconds(seconds),
        }
    }

    /// The transaction of the handler. It locks the task, so that no command runs in between.
    fn deliver(&mut self, event: usize, crash: Crash) {
        let (task, claimed) = self.events[event];
        if claimed || matches!(crash, Crash::BeforeCommit) {
            return;
        }
        self.events[event].1 = true;
        let row = &self.tasks[task];
        if row.deleted {
            return;
        }
        let done = self.occurrence(row);
        if let Some(successor) = decide(&done, &row.old_reminders(), self.now)
            && self.made.insert(successor.number)
        {
            self.check(row, &successor);
            self.make(task, successor);
        }
    }

    fn occurrence(&self, row: &Task) -> Occurrence {
        let (number, due_at, completed_at) = (row.number, row.due_at, row.completed_at);
        Occurrence { series: self.series.clone(), number, due_at, completed_at }
    }

    fn make(&mut self, done: usize, successor: Successor) {
        let carried_over = successor.reminders.into_iter().zip(carried_over(&self.tasks[done]));
        let reminders = carried_over.map(|(reminder, old)| Row {
            remind_at: reminder.remind_at,
            series_remind_at: reminder.set.map(|(at, _)| at),
            series_due_at: reminder.set.map(|(_, due)| due),
            cancel_reason: reminder.has_passed.then_some(CancelReason::Completed),
            before: old.before,
            set: old.set,
        });
        let task = Task::new(successor.number, successor.due_at, reminders.collect());
        self.tasks.push(task);
    }

    fn check(&self, done: &Task, successor: &Successor) {
        let completed_at = done.completed_at.expect("only a completed task has a successor");
        assert_eq!(successor.number, done.number + 1);
        assert!(successor.due_at > completed_at, "the successor is due before its task was completed");
        if self.series.recurrence.anchor() == Anchor::Due {
            assert!(successor.due_at > done.due_at, "the series goes back in time");
            self.check_interval(done.due_at.max(completed_at), successor.due_at);
        }
        assert!(successor.next_occurrence_at.is_none_or(|next| next > successor.due_at));
        let carried_over: Vec<&Row> = carried_over(done).collect();
        assert_eq!(successor.reminders.len(), carried_over.len(), "the successor has a wrong number of reminders");
        for (reminder, old) in successor.reminders.iter().zip(carried_over) {
            assert_eq!(
                reminder.has_passed,
                reminder.remind_at <= self.now,
                "a reminder would fire although its time has passed"
            );
            let distance = |due: DateTime<Utc>, at: DateTime<Utc>| due - at;
            let (set_at, set_for) = old.set;
            if let Some(minutes) = old.before {
                assert_eq!(
                    distance(successor.due_at, reminder.remind_at),
                    TimeDelta::minutes(minutes.into()),
                    "a relative reminder has another distance to the due time"
                );
            } else {
                assert_eq!(
                    reminder.remind_at,
                    carry(&self.series.zone, set_for, successor.due_at, set_at),
                    "a reminder is not where its user set it"
                );
            }
            if self.series.zone == Zone::utc() {
                let (was, is) = (distance(set_for, set_at), distance(successor.due_at, reminder.remind_at));
                assert_eq!(was, is, "a reminder has another distance to the due time");
            }
        }
    }

    /// In UTC, where each day has 24 hours: the due time is the first one after `after` at a whole number of intervals from the start.
    fn check_interval(&self, after: DateTime<Utc>, due_at: DateTime<Utc>) {
        let days = match self.series.recurrence.kind() {
            Kind::Daily => 1,
            Kind::Weekly => 7,
            _ => return,
        };
        if self.series.zone == Zone::utc() {
            let interval = TimeDelta::days(days * i64::from(self.series.recurrence.interval()));
            assert_eq!(
                (due_at - self.series.start).num_seconds() % interval.num_seconds(),
                0,
                "the due time is no occurrence of the series"
            );
            assert!(due_at - after <= interval, "an occurrence was skipped");
        }
    }

    /// In the end each event is delivered.
    fn deliver_all(&mut self) {
        for event in 0..self.events.len() {
            self.deliver(event, Crash::Never);
        }
        let numbers: Vec<i32> = self.tasks.iter().map(|task| task.number).collect();
        let once: BTreeSet<i32> = numbers.iter().copied().collect();
        assert_eq!((once.len(), &once), (numbers.len(), &self.made), "an occurrence was created twice, or never");
        for task in &self.tasks {
            let followed = self.made.contains(&(task.number + 1));
            assert!(task.was_completed || !followed, "a task that was never completed has a successor");
            let goes_on = task.completed_at.is_some_and(|at| self.series.next(task.due_at, at).is_some());
            assert!(task.deleted || !goes_on || followed, "a completed task has no successor");
        }
    }
}

/// The reminders that the successor gets.
fn carried_over(done: &Task) -> impl Iterator<Item = &Row> {
    done.reminders.iter().filter(|row| row.cancel_reason != Some(CancelReason::User))
}

fn run(recurrence: Recurrence, zone: &str, steps: &[Step]) {
    let mut world = SeriesWorld::new(recurrence, zone);
    steps.iter().for_each(|step| world.step(*step));
    world.deliver_all();
}

proptest! {
    #[test]
    fn occurrence_n_creates_occurrence_n_plus_1_once(
        recurrence in recurrence(),
        zone in select(vec!["UTC", "Europe/Berlin", "America/New_York"]),
        steps in prop::collection::vec(step(), 0..80),
    ) {
        run(recurrence, zone, &steps);
    }
}
