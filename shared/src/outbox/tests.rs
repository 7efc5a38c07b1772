//! The relay in a world of its own. Transactions commit out of order. The broker takes a call, a part of it or nothing, or takes it and says
//! otherwise, now or later. Relays die between any two steps.

use std::collections::{BTreeSet, VecDeque};

use proptest::prelude::*;

use super::*;

mod failures;
mod ids;
mod reading;

/// What becomes of a call.
#[derive(Clone, Debug)]
enum Answer {
    Taken,
    /// The entries in these places are refused, the others are taken, and the answer is an error that does not say which.
    Partly(Vec<bool>),
    Lost,
    /// Taken, and the answer was lost.
    Silence,
    /// The deadline passed; the broker takes it later.
    Late,
}

#[derive(Clone, Debug)]
enum Step {
    /// A transaction that writes an event of this task and type begins: the event has its id. It ends the one before of the task,
    /// whose lock it needs.
    Begin(usize, usize),
    Commit(usize),
    /// The relay goes on; what a call is answered if it makes one.
    Relay(Answer),
    /// The relay's process dies, with the marks of its call and what it knows.
    Die,
    /// What was thought lost arrives.
    Arrive(usize),
    /// Repair has an event published again.
    Unpublish(usize),
}

fn answer() -> impl Strategy<Value = Answer> {
    prop_oneof![
        5 => Just(Answer::Taken),
        3 => prop::collection::vec(any::<bool>(), TASKS).prop_map(Answer::Partly),
        1 => Just(Answer::Lost),
        1 => Just(Answer::Silence),
        1 => Just(Answer::Late),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        5 => (0..TASKS, 0..EventType::ALL.len()).prop_map(|(task, kind)| Step::Begin(task, kind)),
        5 => (0..TASKS).prop_map(Step::Commit),
        12 => answer().prop_map(Step::Relay),
        1 => Just(Step::Die),
        1 => any::<usize>().prop_map(Step::Arrive),
        1 => any::<usize>().prop_map(Step::Unpublish),
    ]
}

const TASKS: usize = 4;

#[derive(Clone, Debug)]
struct Stored {
    id: Uuid,
    task: usize,
    kind: EventType,
    published: bool,
}

/// A relay in a pass.
#[derive(Default)]
struct Passing {
    to_call: VecDeque<Vec<Head>>,
    /// Whether there was nothing to call when it read the heads last.
    idle: bool,
    call: Option<Vec<Unpublished>>,
    failed_calls: usize,
}

struct World {
    ids: u128,
    now: Instant,
    open: [Option<Stored>; TASKS],
    stored: Vec<Stored>,
    /// What the process of the relay knows.
    calls: Calls,
    relay: Option<Passing>,
    /// What the broker has, in its order.
    topic: Vec<Uuid>,
    late: Vec<Vec<Uuid>>,
    /// Whether something failed: until then nothing comes twice.
    failed: bool,
}

impl World {
    fn new() -> Self {
        Self {
            ids: 0,
            now: Instant::now(),
            open: Default::default(),
            stored: Vec::new(),
            calls: Calls::default(),
            relay: None,
            topic: Vec::new(),
            late: Vec::new(),
            failed: false,
        }
    }

    fn step(&mut self, step: &Step) {
        match step {
            Step::Begin(task, kind) => {
                self.commit(*task);
                self.ids += 1;
                let kind = EventType::ALL[*kind];
                self.open[*task] = Some(Stored { id: Uuid::from_u128(self.ids), task: *task, kind, published: false });
            }
            Step::Commit(task) => self.commit(*task),
            Step::Relay(answer) => self.relay(answer),
            Step::Die => {
                // The broker may have taken the call that was on its way.
                if let Some(events) = self.relay.take().and_then(|relay| relay.call) {
                    self.publish(&events, &Answer::Silence);
                }
                self.calls = Calls::default();
            }
            Step::Arrive(which) if !self.late.is_empty() => {
                let ids = self.late.remove(which % self.late.len());
                ids.into_iter().for_each(|id| self.take(id));
            }
            Step::Unpublish(which) if !self.stored.is_empty() => {
                let which = which % self.stored.len();
                self.failed |= self.stored[which].published;
                self.stored[which].published = false;
            }
            Step::Arrive(_) | Step::Unpublish(_) => {}
        }
        self.holds();
    }

    fn commit(&mut self, task: usize) {
        self.stored.extend(self.open[task].take());
    }

    /// What `heads::read` reads: the test below holds it against that.
    fn heads(&self) -> Vec<Head> {
        let (tasks, types) = self.calls.held_types();
        let held: Vec<(Uuid, &str)> = tasks.into_iter().zip(types).collect();
        let open = self.calls.open_types();
        let waits = |event: &&Stored| {
            let kind = event.kind.as_str();
            !event.published && open.contains(&kind) && !held.contains(&(task_id(event.task), kind))
        };
        let mut heads = Vec::<Head>::new();
        let mut waiting: Vec<&Stored> = self.stored.iter().filter(waits).collect();
        waiting.sort_by_key(|event| event.id);
        for event in waiting {
            let head = Head { topic: event.kind.on(), task: task_id(event.task), event: event.id };
            if !heads.iter().any(|other| (other.topic, other.task) == (head.topic, head.task)) {
                heads.push(head);
            }
        }
        heads
    }

    /// A step of `rounds`, of `call`, and of `pass` around them.
    fn relay(&mut self, answer: &Answer) {
        self.now += Duration::from_millis(20);
        let Some(mut relay) = self.relay.take() else {
            self.calls.begin(self.now);
            self.relay = Some(Passing::default());
            return;
        };
        if let Some(events) = relay.call.take() {
            let heads = events.iter().map(Unpublished::head).collect::<Vec<Head>>();
            if self.publish(&events, answer) {
                self.mark(&events);
                self.calls.published(heads.into_iter());
            } else {
                relay.failed_calls += 1;
                assert!(relay.failed_calls <= 4, "more failed calls than a pass may make");
                self.calls.failed(heads);
            }
        } else if self.calls.have_failed_enough() {
            return self.calls.end(self.now);
        } else if let Some(group) = relay.to_call.pop_front() {
            let events: Vec<Unpublished> = self.unpublished(&group);
            self.calls.forget_all_but(&events, &group);
            relay.call = Some(events).filter(|events| !events.is_empty());
        } else if relay.idle {
            return self.calls.end(self.now);
        } else {
            relay.to_call.extend(self.calls.next(self.heads()));
            relay.idle = relay.to_call.is_empty() && !self.calls.take_unread();
        }
        self.relay = Some(relay);
    }

    fn unpublished(&self, group: &[Head]) -> Vec<Unpublished> {
        let find = |head: &Head| self.stored.iter().find(|event| event.id == head.event && !event.published);
        let events = group.iter().filter_map(find);
        events.map(|event| unpublished(event.id, task_id(event.task), event.kind)).collect()
    }

    fn mark(&mut self, events: &[Unpublished]) {
        for event in &mut self.stored {
            event.published |= events.iter().any(|marked| marked.id == event.id);
        }
    }

    /// Whether the answer is a success. daprd answers a partial failure with an error, and does not say which entries failed.
    fn publish(&mut self, events: &[Unpublished], answer: &Answer) -> bool {
        let ids: Vec<Uuid> = events.iter().map(|event| event.id).collect();
        let tasks: BTreeSet<Uuid> = events.iter().map(|event| event.task_id).collect();
        assert_eq!(tasks.len(), ids.len(), "two events of a task in flight");
        let topic = events[0].kind.on();
        assert!(events.iter().all(|event| event.kind.on() == topic), "an event on a topic not its own");
        match answer {
            Answer::Taken | Answer::Silence => ids.iter().for_each(|id| self.take(*id)),
            Answer::Partly(refused) => {
                let taken = ids.iter().enumerate().filter(|(place, _)| !refused[place % TASKS]);
                taken.for_each(|(_, id)| self.take(*id));
            }
            Answer::Late => self.late.push(ids),
            Answer::Lost => {}
        }
        let taken = matches!(answer, Answer::Taken);
        self.failed |= !taken;
        taken
    }

    /// The broker has it.
    fn take(&mut self, id: Uuid) {
        let event = self.stored.iter().find(|event| event.id == id).expect("published before it was committed");
        assert!(self.failed || !self.topic.contains(&id), "published twice without a failure");
        let skipped = self.stored.iter().any(|before| {
            (before.task, before.kind.on()) == (event.task, event.kind.on())
                && before.id < id
                && !self.topic.contains(&before.id)
        });
        assert!(!skipped, "published before an earlier event of its task and topic");
        self.topic.push(id);
    }

    fn holds(&self) {
        let lost = |event: &&Stored| event.published && !self.topic.contains(&event.id);
        assert!(!self.stored.iter().any(|event| lost(&event)), "marked as published, and the broker does not have it");
    }

    /// Everything works from here on.
    fn heal(&mut self) {
        (0..TASKS).for_each(|task| self.commit(task));
        for _ in 0..20 * (self.stored.len() + 1) {
            self.now += Duration::from_secs(1);
            self.step(&Step::Relay(Answer::Taken));
        }
        assert!(self.stored.iter().all(|event| event.published), "the outbox is not empty");
        assert_eq!((self.calls.held(), self.calls.next_due()), (0, None), "something is still held");
    }
}

fn task_id(task: usize) -> Uuid {
    Uuid::from_u128(((task as u128 + 1) << 64) | 5)
}

fn unpublished(id: Uuid, task_id: Uuid, kind: EventType) -> Unpublished {
    Unpublished {
        id,
        kind,
        task_id,
        sequence: 1,
        data: serde_json::Value::Null,
        traceparent: None,
        occurred_at: DateTime::UNIX_EPOCH,
    }
}

fn run(steps: &[Step]) {
    let mut world = World::new();
    steps.iter().for_each(|step| world.step(step));
    world.heal();
}

proptest! {
    #[test]
    fn committed_events_are_published_in_task_order_and_twice_only_after_a_failure(
        steps in prop::collection::vec(step(), 0..120),
    ) {
        run(&steps);
    }
}

#[test]
fn a_partly_refused_call_repeats_the_refused_events_before_their_successors() {
    let taken = || Step::Relay(Answer::Taken);
    run(&[
        Step::Begin(0, 0),
        Step::Begin(0, 1),
        Step::Begin(1, 0),
        Step::Begin(1, 1),
        Step::Commit(0),
        taken(),
        taken(),
        taken(),
        Step::Relay(Answer::Partly(vec![true, false, false, false])),
        taken(),
        taken(),
    ]);
}

/// Statements that write an event together with something else are inserts of their own. All of them list the columns of [`emit`]; only the
/// time of the event may stand there too.
#[test]
fn every_insert_of_an_event_lists_the_columns_of_emit() {
    fn collect(folder: &std::path::Path, found: &mut Vec<(String, String)>) {
        for entry in std::fs::read_dir(folder).expect("a folder").flatten() {
            let path = entry.path();
            if path.is_dir() {
                collect(&path, found);
            } else if path.extension().is_some_and(|extension| extension == "rs") && !path.ends_with("tests.rs") {
                let text = std::fs::read_to_string(&path).expect("a source");
                let inserts = text.split("insert into task_events (").skip(1);
                let columns = inserts.map(|rest| rest.split(')').next().expect("columns").to_owned());
                found.extend(columns.map(|columns| (path.display().to_string(), columns)));
            }
        }
    }
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the workspace");
    let mut found = Vec::new();
    collect(&root.join("shared/src"), &mut found);
    found.retain(|(path, _)| !path.contains("/tests/"));
    let [(_, columns)] = found.clone().try_into().expect("one insert, in `emit`");
    for function in std::fs::read_dir(root.join("functions")).expect("a folder").flatten() {
        collect(&function.path().join("src"), &mut found);
    }
    assert!(found.len() > 1);
    for (path, listed) in found {
        assert_eq!(listed.replacen("occurred_at, ", "", 1), columns, "{path}");
    }
}
