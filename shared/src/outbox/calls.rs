//! Which calls the relay makes, and what it learns from those that fail. Does no I/O.
//!
//! A failed call does not tell which events the broker took: daprd answers a bulk publish of which a part failed with an error and an
//! empty response (dapr 1.18 `pkg/api/grpc/grpc.go`). So the events of a failed call become **suspects**: they leave the other calls,
//! and the two halves of the call are made on their own, for at most [`FAILED_CALLS`] failed calls of a pass. Sorted by partition, the events of
//! one bad partition are in one half.
//!
//! Suspects that still fail are **held**: their tasks are tried again with a doubling delay. Two held tasks and no success in a partition
//! put the failure down to the **partition**, two such partitions to the **topic**. Of a blamed partition or topic one event at a time tries
//! whether the failure is over, because a failed call can take seconds. New events wait only after a new event has failed too: held ones may
//! be unpublishable, and prove nothing about others. A success releases the events that were held for the same cause.
//!
//! This state is in the memory of one process and ends with it. It only delays events: each is published eventually.

use std::{
    cmp::min_by_key,
    collections::{HashMap, HashSet, VecDeque},
    time::{Duration, Instant},
};

use catalogue::{EventType, TOPICS, Topic};
use uuid::Uuid;

use super::{Unpublished, heads::BATCH};

/// Maximum failed calls of a pass. Each may take seconds, in which nothing else is published.
const FAILED_CALLS: usize = 4;
/// Delay after the first failure. It doubles with each failure, up to one of the next two.
const FIRST_DELAY: Duration = Duration::from_millis(50);
const LONGEST_OF_TASK: Duration = Duration::from_secs(60);
/// Shorter, because healthy events may wait for it.
const LONGEST_SHARED: Duration = Duration::from_secs(5);
/// Maximum held tasks. An event of any further task stays in the ordinary calls and fails them again.
const MEMORY: usize = 2_000;

/// The next event of a task on a topic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Head {
    pub(super) topic: Topic,
    pub(super) task: Uuid,
    pub(super) event: Uuid,
}

impl Head {
    const fn key(self) -> (Topic, Uuid) {
        (self.topic, self.task)
    }

    fn partition(self) -> Shared {
        Shared::Partition(self.topic, partition(self.topic, self.task))
    }
}

/// The partition of a task's events. A guess, because a topic may have another number of partitions. A wrong guess makes isolating a failure
/// slower and nothing else.
pub(super) fn partition(topic: Topic, task: Uuid) -> u16 {
    topic.partition_of(&task.to_string())
}

/// A cause of failure that events share.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Shared {
    Topic(Topic),
    Partition(Topic, u16),
}

#[derive(Clone, Copy, Debug)]
struct Backoff {
    failures: u32,
    until: Instant,
}

impl Backoff {
    const fn due(now: Instant) -> Self {
        Self { failures: 0, until: now }
    }

    fn fail(&mut self, now: Instant, longest: Duration) {
        let delay = FIRST_DELAY.saturating_mul(1 << self.failures.min(16)).min(longest);
        *self = Self { failures: self.failures + 1, until: now + delay };
    }
}

#[derive(Clone, Copy, Debug)]
struct Blame {
    backoff: Backoff,
    /// Until then new events wait as well.
    closed_until: Instant,
}

/// What the relay knows of failures.
#[derive(Debug, Default)]
pub(super) struct Calls {
    /// The event of a task that is to be tried again, on its own.
    held: HashMap<(Topic, Uuid), (Uuid, Backoff)>,
    /// Topics and partitions in which nothing succeeds.
    blamed: HashMap<Shared, Blame>,
    pass: Pass,
}

/// What happened in the pass that runs.
#[derive(Debug)]
struct Pass {
    began: Instant,
    /// Groups of held events to try, each in a call of its own.
    suspects: VecDeque<Vec<Head>>,
    /// Held events that failed on their own.
    failed: Vec<Head>,
    failed_calls: usize,
    /// What is blamed and was tried with a new event.
    tried: HashSet<Shared>,
    unread: bool,
    /// Topics and partitions that took something.
    healthy: HashSet<Shared>,
}

impl Default for Pass {
    fn default() -> Self {
        Self {
            began: Instant::now(),
            suspects: VecDeque::new(),
            failed: Vec::new(),
            failed_calls: 0,
            tried: HashSet::new(),
            unread: false,
            healthy: HashSet::new(),
        }
    }
}

impl Calls {
    /// Begins a pass with the held events that are due. Of a blamed topic or partition, only the event with the fewest failures is tried.
    pub(super) fn begin(&mut self, now: Instant) {
        let mut probes = HashMap::<Shared, (Backoff, Head)>::new();
        let mut due = HashMap::<Topic, Vec<Head>>::new();
        for (&(topic, task), &(event, backoff)) in &self.held {
            let head = Head { topic, task, event };
            match self.blame(head) {
                None if backoff.until <= now => due.entry(topic).or_default().push(head),
                Some(shared) if self.blamed[&shared].backoff.until <= now => {
                    let probe = probes.entry(shared).or_insert((backoff, head));
                    *probe = min_by_key(*probe, (backoff, head), |(backoff, _)| (backoff.failures, backoff.until));
                }
                _ => {}
            }
        }
        let probes = probes.into_values().map(|(_, head)| vec![head]);
        let due = due.values().flat_map(|heads| heads.chunks(BATCH).map(<[Head]>::to_vec));
        let suspects = probes.chain(due).collect();
        self.pass = Pass { began: now, suspects, ..Pass::default() };
    }

    /// The types of the topics from which new events go out.
    pub(super) fn open_types(&self) -> Vec<&'static str> {
        let open = TOPICS.into_iter().filter(|topic| !self.is_closed(Shared::Topic(*topic)));
        open.flat_map(Topic::event_types).map(EventType::as_str).collect()
    }

    /// Whether new events wait: after one has failed, in this pass or a short time ago.
    fn is_closed(&self, shared: Shared) -> bool {
        let blamed = self.blamed.get(&shared);
        blamed.is_some_and(|blame| blame.closed_until > self.pass.began || self.pass.tried.contains(&shared))
    }

    /// The held tasks, each with every type of its topic.
    pub(super) fn held_types(&self) -> (Vec<Uuid>, Vec<&'static str>) {
        let types = |(topic, task): &(Topic, Uuid)| {
            let task = *task;
            topic.event_types().map(move |kind| (task, kind.as_str()))
        };
        self.held.keys().flat_map(types).unzip()
    }

    /// The calls of a round: new heads by topic, then one event of each blamed topic and partition that is not closed, then one group of
    /// suspects.
    pub(super) fn next(&mut self, heads: Vec<Head>) -> Vec<Vec<Head>> {
        let (blamed, free): (Vec<Head>, Vec<Head>) = heads.into_iter().partition(|head| self.blame(*head).is_some());
        let of = |topic: Topic| free.iter().copied().filter(|head| head.topic == topic).collect::<Vec<Head>>();
        let mut calls = TOPICS.map(of).to_vec();
        for head in blamed {
            match self.blame(head) {
                Some(shared) if !self.is_closed(shared) => {
                    self.pass.tried.insert(shared);
                    calls.push(vec![head]);
                }
                Some(Shared::Partition(..)) => self.hold(head),
                // From now on its types are not read.
                _ => {}
            }
        }
        calls.extend(self.pass.suspects.pop_front());
        calls.retain(|call| !call.is_empty());
        calls
    }

    pub(super) fn have_suspects(&self) -> bool {
        !self.pass.suspects.is_empty()
    }

    /// Whether events can be read now that were left out since this was asked last.
    pub(super) fn take_unread(&mut self) -> bool {
        std::mem::take(&mut self.pass.unread)
    }

    /// Forgets those of a group that somebody else has published.
    pub(super) fn forget_all_but(&mut self, unpublished: &[Unpublished], group: &[Head]) {
        for head in group.iter().filter(|head| !unpublished.iter().any(|event| event.id == head.event)) {
            self.pass.unread |= self.held.remove(&head.key()).is_some();
        }
    }

    /// The broker took the events of a call.
    pub(super) fn published(&mut self, events: impl Iterator<Item = Head>) {
        for head in events {
            self.pass.unread |= self.held.remove(&head.key()).is_some();
            for shared in [Shared::Topic(head.topic), head.partition()] {
                self.pass.healthy.insert(shared);
                if let Some(blame) = self.blamed.remove(&shared) {
                    self.release(shared, blame);
                }
            }
        }
    }

    /// A call failed. The broker may have taken some of its events.
    pub(super) fn failed(&mut self, mut events: Vec<Head>) {
        self.pass.failed_calls += 1;
        events.iter().for_each(|head| self.hold(*head));
        if events.len() == 1 {
            self.pass.failed.extend(events);
            return;
        }
        events.sort_by_key(|head| (partition(head.topic, head.task), head.task));
        let half = events.split_off(events.len() / 2);
        self.pass.suspects.extend([events, half]);
    }

    /// Whether the pass must end.
    pub(super) const fn have_failed_enough(&self) -> bool {
        self.pass.failed_calls >= FAILED_CALLS
    }

    /// Ends a pass: puts each failure down to a task, a partition or a topic.
    pub(super) fn end(&mut self, now: Instant) {
        let mut pass = std::mem::take(&mut self.pass);
        pass.failed.extend(pass.suspects.into_iter().flatten());
        // Whether one of the events had not failed before.
        let mut causes = HashMap::<Shared, bool>::new();
        for head in pass.failed {
            let cause = self.cause(head, &pass.healthy);
            let Some((_, backoff)) = self.held.get_mut(&head.key()) else { continue };
            if let Some(shared) = cause {
                *causes.entry(shared).or_default() |= backoff.failures == 0;
            }
            backoff.fail(now, LONGEST_OF_TASK);
        }
        // What was due and did not fail again is not blamed any longer.
        self.blamed.retain(|shared, blame| blame.backoff.until > pass.began || causes.contains_key(shared));
        for (shared, new) in causes {
            let blame = self.blamed.entry(shared).or_insert(Blame { backoff: Backoff::due(now), closed_until: now });
            blame.backoff.fail(now, LONGEST_SHARED);
            if new {
                blame.closed_until = blame.backoff.until;
            }
        }
    }

    /// The shared cause of a held event's failure: its topic if several partitions fail, its partition if several tasks fail, otherwise none.
    fn cause(&self, head: Head, healthy: &HashSet<Shared>) -> Option<Shared> {
        let of_topic = self.held.keys().filter(|(topic, _)| *topic == head.topic);
        let partitions: Vec<u16> = of_topic.map(|(topic, task)| partition(*topic, *task)).collect();
        let own = partition(head.topic, head.task);
        let (topic, partition) = (Shared::Topic(head.topic), head.partition());
        if partitions.iter().any(|other| *other != own) && !healthy.contains(&topic) {
            Some(topic)
        } else {
            let several = partitions.iter().filter(|other| **other == own).count() > 1;
            (several && !healthy.contains(&partition)).then_some(partition)
        }
    }

    /// Makes everything that waits due.
    pub(super) fn make_due(&mut self, now: Instant) {
        self.held.values_mut().for_each(|(_, backoff)| backoff.until = now);
        for blame in self.blamed.values_mut() {
            (blame.backoff.until, blame.closed_until) = (now, now);
        }
    }

    /// When the next failed event is due.
    pub(super) fn next_due(&self) -> Option<Instant> {
        let alone = self.held.iter().filter_map(|(&(topic, task), &(event, backoff))| {
            self.blame(Head { topic, task, event }).is_none().then_some(backoff.until)
        });
        self.blamed.values().map(|blame| blame.backoff.until).chain(alone).min()
    }

    /// The number of tasks with an event that is held.
    pub(super) fn held(&self) -> usize {
        self.held.len()
    }

    fn blame(&self, head: Head) -> Option<Shared> {
        [Shared::Topic(head.topic), head.partition()].into_iter().find(|shared| self.blamed.contains_key(shared))
    }

    fn hold(&mut self, head: Head) {
        if self.held.len() < MEMORY || self.held.contains_key(&head.key()) {
            self.held.entry(head.key()).or_insert((head.event, Backoff::due(self.pass.began))).0 = head.event;
        }
    }

    /// Makes the events due that were held for this cause. An event that has failed more often has another.
    fn release(&mut self, shared: Shared, blame: Blame) {
        self.pass.unread = true;
        for (&(topic, task), (event, backoff)) in &mut self.held {
            let head = Head { topic, task, event: *event };
            if [Shared::Topic(topic), head.partition()].contains(&shared)
                && backoff.failures <= blame.backoff.failures + 1
            {
                backoff.until = self.pass.began;
            }
        }
    }
}
