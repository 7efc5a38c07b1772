//! The relay in a world of its own: transactions that commit out of order, a broker that takes a call, a part of it, nothing, or
//! takes it and says otherwise, now or later, and relays that die between any two steps.

use proptest::{prelude::*, strategy::ValueTree as _, test_runner::TestRunner};
use sqlx::PgPool;

use super::*;

mod ids;

/// What becomes of a call.
#[derive(Clone, Debug)]
enum Answer {
    Taken,
    /// The entries in these places are refused, one by one.
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
    /// The relay's process dies, and what it had not committed with it.
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

/// A relay that holds the lock of the shard; what it marked is in its transaction.
#[derive(Default)]
struct Holding {
    marked: Vec<Uuid>,
    refused: bool,
    round: Option<Round>,
    call: Option<Vec<Unpublished>>,
}

#[derive(Default)]
struct World {
    ids: u128,
    open: [Option<Stored>; TASKS],
    stored: Vec<Stored>,
    relay: Option<Holding>,
    /// What the broker has, in its order.
    topic: Vec<Uuid>,
    late: Vec<Vec<Uuid>>,
    /// Whether something failed: until then nothing comes twice.
    failed: bool,
}

impl World {
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
                self.failed |= self.relay.is_some();
                self.relay = None;
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

    /// What `heads` reads: the test below holds it against that.
    fn heads(&self) -> Vec<Unpublished> {
        let waits = |event: &&Stored| !event.published;
        (0..TASKS)
            .filter_map(|task| self.stored.iter().filter(waits).filter(|event| event.task == task).min_by_key(|e| e.id))
            .map(|event| unpublished(event.id, task_id(event.task), event.kind))
            .collect()
    }

    /// A step of `publish`, and of `pass` around it.
    fn relay(&mut self, answer: &Answer) {
        let Some(mut relay) = self.relay.take() else {
            if !self.heads().is_empty() {
                self.relay = Some(Holding::default());
            }
            return;
        };
        if let Some(events) = relay.call.take() {
            let Some(published) = self.publish(&events, answer) else { return self.end(relay) };
            let round = relay.round.as_mut().expect("a call is of a round");
            relay.refused |= published.ids.len() < events.len();
            relay.marked.extend(round.answered(published));
        } else if let Some(mut round) = relay.round.take() {
            match round.next_call() {
                Some((topic, events)) => {
                    assert!(events.iter().all(|event| event.topic() == Some(topic)), "an event on a topic not its own");
                    (relay.call, relay.round) = (Some(events), Some(round));
                }
                None => {
                    assert_eq!(
                        round.end().is_err(),
                        relay.refused,
                        "a refusal is a failure of the pass, and nothing else"
                    );
                    return self.end(relay);
                }
            }
        } else {
            relay.round = Some(Round::of(self.heads()));
        }
        self.relay = Some(relay);
    }

    /// Ends its transaction, whatever came of the pass.
    fn end(&mut self, relay: Holding) {
        for event in self.stored.iter_mut().filter(|event| relay.marked.contains(&event.id)) {
            event.published = true;
        }
    }

    fn publish(&mut self, events: &[Unpublished], answer: &Answer) -> Option<Published> {
        let ids: Vec<Uuid> = events.iter().map(|event| event.id).collect();
        let tasks: std::collections::BTreeSet<Uuid> = events.iter().map(|event| event.task_id).collect();
        assert_eq!(tasks.len(), ids.len(), "two events of a task in flight");
        let refused = |place: usize| matches!(answer, Answer::Partly(refused) if refused[place % TASKS]);
        match answer {
            Answer::Taken | Answer::Partly(_) | Answer::Silence => {
                let taken = (0..ids.len()).filter(|place| !refused(*place));
                taken.for_each(|place| self.take(ids[place]));
            }
            Answer::Late => self.late.push(ids.clone()),
            Answer::Lost => {}
        }
        self.failed |= matches!(answer, Answer::Lost | Answer::Silence | Answer::Late);
        let answered = matches!(answer, Answer::Taken | Answer::Partly(_));
        let failed =
            (0..ids.len()).filter(|place| refused(*place)).map(|place| (ids[place].to_string(), String::new()));
        answered.then(|| Published::of(ids.clone(), failed))
    }

    /// The broker has it.
    fn take(&mut self, id: Uuid) {
        let event = self.stored.iter().find(|event| event.id == id).expect("published before it was committed");
        assert!(self.failed || !self.topic.contains(&id), "published twice without a failure");
        let skipped = self
            .stored
            .iter()
            .any(|before| before.task == event.task && before.id < id && !self.topic.contains(&before.id));
        assert!(!skipped, "published before an earlier event of its task");
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
            self.step(&Step::Relay(Answer::Taken));
        }
        assert!(self.relay.is_none() && self.stored.iter().all(|event| event.published), "the outbox is not empty");
    }
}

fn task_id(task: usize) -> Uuid {
    Uuid::from_u128(((task as u128 + 1) << 64) | 5)
}

fn unpublished(id: Uuid, task_id: Uuid, kind: EventType) -> Unpublished {
    Unpublished {
        id,
        kind: kind.as_str().to_owned(),
        task_id,
        sequence: 1,
        data: serde_json::Value::Null,
        traceparent: None,
        occurred_at: DateTime::UNIX_EPOCH,
    }
}

fn run(steps: &[Step]) {
    let mut world = World::default();
    steps.iter().for_each(|step| world.step(step));
    world.heal();
}

proptest! {
    #[test]
    fn what_is_committed_is_published_in_the_order_of_its_task_and_twice_only_after_a_failure(
        steps in prop::collection::vec(step(), 0..120),
    ) {
        run(&steps);
    }
}

#[test]
fn of_a_call_that_is_refused_in_part_the_refused_goes_again_and_what_follows_it_waits() {
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

/// The statement that `World::heads` stands for, on a real PostgreSQL.
#[sqlx::test(migrator = "migrations::MIGRATOR")]
async fn the_next_event_of_each_task_is_read_and_no_other(db: PgPool) {
    let mut conn = db.acquire().await.unwrap();
    let rows = prop::collection::vec((0..TASKS, any::<bool>(), any::<bool>()), 0..20);
    let mut runner = TestRunner::deterministic();
    for _ in 0..50 {
        sqlx::query("delete from task_events").execute(&mut *conn).await.unwrap();
        let mut world = World::default();
        for (id, (task, published, elsewhere)) in rows.new_tree(&mut runner).unwrap().current().into_iter().enumerate()
        {
            // The last bits of the task choose the shard.
            let task_id = if elsewhere { Uuid::from_u128(6) } else { task_id(task) };
            let id = Uuid::from_u128(id as u128 + 1);
            sqlx::query(
                "insert into task_events (id, type, task_id, user_id, sequence, data, published_at)
                 values ($1, 'task.created', $2, $1, 1, '{}', case when $3 then now() end)",
            )
            .bind(id)
            .bind(task_id)
            .bind(published)
            .execute(&mut *conn)
            .await
            .unwrap();
            let stored = Stored { id, task, kind: EventType::TaskCreated, published };
            world.stored.extend((!elsewhere).then_some(stored));
        }
        let read = heads(&mut conn, &[5]).await.unwrap();
        let waiting = world.stored.iter().filter(|event| !event.published).count();
        assert_eq!(read.more, waiting > read.events.len());
        let read: Vec<Uuid> = read.events.into_iter().map(|event| event.id).collect();
        assert_eq!(read, world.heads().into_iter().map(|event| event.id).collect::<Vec<_>>());
    }
}

#[sqlx::test(migrator = "migrations::MIGRATOR")]
async fn the_oldest_of_all_shards_that_are_held_go_first(db: PgPool) {
    let mut conn = db.acquire().await.unwrap();
    let events: Vec<(Uuid, Uuid)> =
        (1..=BATCH.unsigned_abs() + 1).map(|n| (Uuid::from_u64_pair(0, n), Uuid::from_u64_pair(n, n % 3))).collect();
    let (ids, tasks): (Vec<Uuid>, Vec<Uuid>) = events.iter().copied().unzip();
    sqlx::query(
        "insert into task_events (id, type, task_id, user_id, sequence, data)
         select id, 'task.created', task_id, id, 1, '{}' from unnest($1, $2) as event (id, task_id)",
    )
    .bind(&ids)
    .bind(&tasks)
    .execute(&mut *conn)
    .await
    .unwrap();
    let all = heads(&mut conn, &[0, 1, 2]).await.unwrap();
    let mut read: Vec<Uuid> = all.events.into_iter().map(|event| event.id).collect();
    read.sort();
    assert!(all.more);
    assert_eq!(read, ids[..ids.len() - 1]);
    let some = heads(&mut conn, &[0, 2]).await.unwrap();
    assert!(!some.more);
    assert_eq!(some.events.len(), tasks.iter().filter(|task| task.as_u64_pair().1 != 1).count());
}

/// Statements that write an event together with something else are inserts of their own. All of them list the columns of [`emit`].
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
        assert_eq!(listed, columns, "{path}");
    }
}
