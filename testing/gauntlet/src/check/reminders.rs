//! Reminders and the messages that were accepted: each live one once, at its time; none after it was moved, cancelled, completed
//! or deleted. A repeat is allowed only where the provider cannot tell and the connection or a process died after the message left.

use std::collections::BTreeMap;

use chrono::{DateTime, TimeDelta, Utc};
use uuid::Uuid;

use super::{Evidence, Verdict, calm};
use crate::{
    doubles::Accept,
    facts::Delivery,
    faults::Fault,
    history::{Command, Kind, Outcome, Shown},
};

/// How late a message may be accepted, not counting the time when something that every reminder needs was out of order: a minute and
/// two repairs.
const BOUND: TimeDelta = TimeDelta::seconds(100);

/// A version of a reminder as it was acknowledged.
#[derive(Clone, Debug)]
struct Promise {
    task: Uuid,
    marker: String,
    due: DateTime<Utc>,
    /// When it was first acknowledged.
    known: DateTime<Utc>,
    /// When what may have ended it was asked for, and when that was acknowledged.
    maybe_over: Option<DateTime<Utc>>,
    over: Option<DateTime<Utc>>,
}

/// What waited because of a fault has passed by then: Kafka misses a consumer that died for 10 s.
const SETTLED: TimeDelta = TimeDelta::seconds(15);
/// Orders to a provider after which a message is not tried again.
const FOR_GOOD: [&str; 3] = ["rcpt 550", "data 554", "Refuse(422)"];

type Version = (Uuid, i32);

pub(crate) fn check(evidence: &Evidence, verdict: &mut Verdict) {
    let promises = promises(&evidence.commands);
    let accepts = accepts(evidence, verdict);
    verdict.count("reminders promised", promises.len());
    kept(evidence, &promises, &accepts, verdict);
    accepted(evidence, &promises, &accepts, verdict);
    titles(evidence, verdict);
    fired_once(evidence, verdict);
    overdue(evidence, verdict);
}

/// What was promised, from the answers to each task's commands in order.
fn promises(commands: &[Command]) -> BTreeMap<Version, Promise> {
    let mut by_marker: BTreeMap<&str, Vec<&Command>> = BTreeMap::new();
    for command in commands.iter().filter(|command| command.kind != Kind::Refused) {
        by_marker.entry(&command.marker).or_default().push(command);
    }
    let mut promises: BTreeMap<Version, Promise> = BTreeMap::new();
    for (marker, commands) in by_marker {
        let Some(task) = commands.iter().find_map(|command| command.tasks.first()) else { continue };
        let mut live: Vec<Version> = Vec::new();
        for command in commands {
            match command.outcome() {
                Outcome::Refused => continue,
                Outcome::Unknown => {
                    for version in &live {
                        promises.entry(*version).and_modify(|one| {
                            one.maybe_over.get_or_insert(command.started);
                        });
                    }
                    continue;
                }
                Outcome::Done => {}
            }
            let is_live = |shown: &&Shown| shown.state == "scheduled" || shown.state == "sent";
            let shown: Vec<&Shown> = command.reminders.iter().filter(is_live).collect();
            live.retain(|(id, version)| {
                let stays = command.kind != Kind::Delete
                    && shown.iter().any(|shown| (shown.id, shown.version) == (*id, *version));
                if !stays && let Some(one) = promises.get_mut(&(*id, *version)) {
                    one.maybe_over.get_or_insert(command.started);
                    one.over.get_or_insert(command.ended);
                }
                stays
            });
            for shown in shown {
                let version = (shown.id, shown.version);
                promises.entry(version).or_insert_with(|| {
                    live.push(version);
                    Promise {
                        task: *task,
                        marker: marker.to_owned(),
                        due: shown.remind_at,
                        known: command.ended,
                        maybe_over: None,
                        over: None,
                    }
                });
            }
        }
    }
    promises
}

/// The accepted messages by version; each delivery once, or twice where that is allowed.
fn accepts<'a>(evidence: &'a Evidence, verdict: &mut Verdict) -> BTreeMap<Version, Vec<&'a Accept>> {
    let mut by_delivery: BTreeMap<Uuid, Vec<&Accept>> = BTreeMap::new();
    verdict.count("messages accepted", evidence.facts.accepts.len());
    for accept in &evidence.facts.accepts {
        match accept.delivery {
            Some(delivery) => by_delivery.entry(delivery).or_default().push(accept),
            None => verdict.find("I6", None, Some(&accept.subject), "a message without the key of its delivery"),
        }
    }
    for conflict in &evidence.facts.conflicts {
        verdict.find("I6", None, None, format!("the key {conflict} came with other words"));
    }
    let mut by_version: BTreeMap<Version, Vec<&Accept>> = BTreeMap::new();
    for (id, accepts) in by_delivery {
        let Some(delivery) = evidence.facts.deliveries.get(&id) else {
            verdict.find("I6", None, None, format!("delivery {id} was accepted and is not in the database"));
            continue;
        };
        if accepts.len() > 1 {
            let excused = accepts.len() == 2 && delivery.repeated && died_near(&evidence.faults, accepts[0].at);
            if excused {
                verdict.count("repeated after the final dot", 1);
            } else {
                verdict.count("duplicate", 1);
                let what = format!("delivery {id} accepted {} times, the first at {}", accepts.len(), accepts[0].at);
                verdict.find("I14", Some(delivery.task_id), None, what);
            }
        }
        if !matches!(delivery.state.as_str(), "sent" | "unknown") {
            let what = format!("delivery {id} was accepted and is {}", delivery.state);
            verdict.find("I6", Some(delivery.task_id), None, what);
        }
        by_version.entry((delivery.reminder_id, delivery.reminder_version)).or_default().extend(accepts);
    }
    for delivery in evidence.facts.deliveries.values().filter(|delivery| delivery.state == "sent") {
        if !by_version.contains_key(&(delivery.reminder_id, delivery.reminder_version)) {
            verdict.count("lost", 1);
            verdict.find("I6", Some(delivery.task_id), None, format!("delivery {} is sent, no message", delivery.id));
        }
    }
    by_version
}

/// Whether something that can swallow a provider's answer went wrong around then.
fn died_near(faults: &[Fault], at: DateTime<Utc>) -> bool {
    let swallows = |fault: &Fault| {
        ["reminder-due", "smtp", "provider", "postgres"].contains(&fault.target.as_str()) || fault.what == "crash point"
    };
    let slack = TimeDelta::seconds(2);
    faults.iter().filter(|fault| swallows(fault)).any(|fault| fault.started - slack < at && at < fault.ended + slack)
}

/// Whether the provider refused this version for good when it was told to.
fn refused(evidence: &Evidence, id: Uuid, version: i32) -> bool {
    let slack = TimeDelta::seconds(2);
    let told = |at: DateTime<Utc>| {
        evidence.faults.iter().any(|fault| {
            FOR_GOOD.iter().any(|order| fault.what.ends_with(order))
                && fault.started - slack < at
                && at < fault.ended + slack
        })
    };
    let of = |delivery: &&Delivery| (delivery.reminder_id, delivery.reminder_version) == (id, version);
    let mut deliveries = evidence.facts.deliveries.values().filter(of);
    deliveries.any(|delivery| delivery.state == "failed" && delivery.started_at.is_some_and(told))
}

/// Whether nobody knows of this version: what carried it died at the final dot, and again at that of the one repeat.
fn died_twice(evidence: &Evidence, id: Uuid, version: i32) -> bool {
    let of = |delivery: &&Delivery| (delivery.reminder_id, delivery.reminder_version) == (id, version);
    evidence.facts.deliveries.values().filter(of).any(|delivery| {
        delivery.state == "unknown"
            && delivery.repeated
            && delivery.started_at.is_some_and(|at| died_near(&evidence.faults, at))
    })
}

/// How much of the time from then to then everything that each reminder needs was in order.
fn beyond_faults(evidence: &Evidence, from: DateTime<Utc>, to: DateTime<Utc>) -> TimeDelta {
    let needed = |fault: &&Fault| {
        ["kafka", "postgres", "scheduler", "smtp", "provider"].contains(&fault.target.as_str())
            || ["alarm", "reminder-due"].iter().any(|function| fault.target.ends_with(function))
    };
    let mut faults: Vec<_> = evidence.faults.iter().filter(needed).map(|fault| (fault.started, fault.ended)).collect();
    faults.sort_unstable();
    let (mut counted, mut in_order) = (from, TimeDelta::zero());
    for (started, ended) in faults {
        in_order += (started.min(to) - counted).max(TimeDelta::zero());
        counted = counted.max(ended);
    }
    in_order + (to - counted).max(TimeDelta::zero())
}

/// I6: what was not moved, cancelled, completed or deleted was accepted, not early, not too late.
fn kept(
    evidence: &Evidence,
    promises: &BTreeMap<Version, Promise>,
    accepts: &BTreeMap<Version, Vec<&Accept>>,
    verdict: &mut Verdict,
) {
    let (mut late, mut calmly, mut beyond): (Vec<i64>, Vec<i64>, Vec<i64>) = Default::default();
    for ((id, version), promise) in promises {
        let (task, marker) = (Some(promise.task), Some(promise.marker.as_str()));
        let due = promise.due.max(promise.known);
        let stood = promise.maybe_over.is_none_or(|over| beyond_faults(evidence, due, over) > BOUND);
        let first = accepts.get(&(*id, *version)).and_then(|all| all.first());
        let waited = beyond_faults(evidence, due, first.map_or(evidence.checked_at, |accept| accept.at));
        if let Some(accept) = first {
            let ms = (accept.at - due).num_milliseconds();
            late.push(ms);
            beyond.push(waited.num_milliseconds());
            if calm(evidence, due - SETTLED, accept.at) {
                calmly.push(ms);
            }
        }
        match first {
            None if refused(evidence, *id, *version) => verdict.count("refused by the provider for good", 1),
            None if died_twice(evidence, *id, *version) => {
                verdict.count("unknown after two deaths at the final dot", 1)
            }
            None if stood && waited > BOUND => {
                verdict.count("lost", 1);
                let what = format!("reminder {id} version {version} due {due} was never accepted");
                verdict.find("I6", task, marker, what);
            }
            Some(accept) if waited > BOUND => {
                verdict.count("late beyond the bound", 1);
                verdict.find("I6", task, marker, format!("reminder {id} due {due}, accepted {}", accept.at));
            }
            _ => {}
        }
    }
    late.sort_unstable();
    calmly.sort_unstable();
    if let Some(most) = late.last() {
        verdict.figures.insert("ms late, median", late[late.len() / 2]);
        verdict.figures.insert("ms late, 99th percentile", late[late.len() * 99 / 100]);
        verdict.figures.insert("ms late, most", *most);
    }
    if let Some(most) = beyond.iter().max() {
        verdict.figures.insert("ms late beyond the faults on its way, most", *most);
    }
    if let Some(most) = calmly.last() {
        verdict.figures.insert("ms late without a fault near, median", calmly[calmly.len() / 2]);
        verdict.figures.insert("ms late without a fault near, most", *most);
    }
}

/// I6, I7, I8: each message at or after the time that was acknowledged for its version, and none begun after its end was.
fn accepted(
    evidence: &Evidence,
    promises: &BTreeMap<Version, Promise>,
    accepts: &BTreeMap<Version, Vec<&Accept>>,
    verdict: &mut Verdict,
) {
    let mut in_flight = 0;
    for delivery in evidence.facts.deliveries.values() {
        let version = (delivery.reminder_id, delivery.reminder_version);
        let task = Some(delivery.task_id);
        for accept in accepts.get(&version).into_iter().flatten() {
            if accept.at < delivery.due {
                verdict.count("early", 1);
                let what = format!("reminder {} due {}, accepted {}", delivery.reminder_id, delivery.due, accept.at);
                verdict.find("I6", task, None, what);
            }
            let Some(promise) = promises.get(&version) else { continue };
            let marker = Some(promise.marker.as_str());
            if promise.due != delivery.due {
                let what = format!("acknowledged for {}, sent for {}", promise.due, delivery.due);
                verdict.find("I8", task, marker, what);
            }
            let Some(over) = promise.over.filter(|over| accept.at > *over) else { continue };
            if delivery.started_at.is_some_and(|started| started > over) {
                verdict.count("after the end", 1);
                let what = format!("over since {over}, begun {:?}, accepted {}", delivery.started_at, accept.at);
                verdict.find("I7", task, marker, what);
            } else {
                in_flight += 1;
            }
        }
    }
    verdict.count("in flight when the end was acknowledged", in_flight);
}

/// I6 without the provider's key: a task has no more messages than deliveries.
fn titles(evidence: &Evidence, verdict: &mut Verdict) {
    let mut accepts: BTreeMap<&str, usize> = BTreeMap::new();
    for accept in &evidence.facts.accepts {
        if let Some(word) = accept.subject.split(' ').find(|word| word.starts_with("canary")) {
            *accepts.entry(word).or_default() += 1;
        }
    }
    let mut allowed: BTreeMap<&str, usize> = BTreeMap::new();
    for delivery in evidence.facts.deliveries.values() {
        let title = evidence.facts.tasks.get(&delivery.task_id).map(|task| task.title.as_str());
        // Of a task that is gone nobody knows the title any more.
        let Some(word) = title.and_then(|title| title.split(' ').next()) else { continue };
        *allowed.entry(word).or_default() += 1 + usize::from(delivery.repeated);
    }
    for (word, allowed) in allowed {
        let found = accepts.get(word).copied().unwrap_or_default();
        let gone = evidence.commands.iter().any(|command| command.marker == word && command.kind == Kind::Delete);
        if found > allowed && !gone {
            verdict.count("duplicate", 1);
            verdict.find("I6", None, Some(word), format!("{found} messages, {allowed} deliveries"));
        }
    }
}

/// A version of a reminder becomes `reminder.due` once.
fn fired_once(evidence: &Evidence, verdict: &mut Verdict) {
    let mut fired: BTreeMap<&str, usize> = BTreeMap::new();
    for event in evidence.facts.events.iter().filter(|event| event.kind == "reminder.due") {
        let times = fired.entry(event.reminder.as_deref().unwrap_or_default()).or_default();
        *times += 1;
        if *times == 2 {
            verdict.count("duplicate", 1);
            verdict.find("I6", Some(event.task_id), None, format!("{:?} fired more than once", event.reminder));
        }
    }
}

/// No live reminder has been due for long: also one that no answer has shown, a successor's.
fn overdue(evidence: &Evidence, verdict: &mut Verdict) {
    for reminder in &evidence.facts.reminders {
        let unfired = reminder.fired_version.is_none_or(|fired| fired < reminder.version);
        let late = beyond_faults(evidence, reminder.remind_at, evidence.checked_at);
        if reminder.state == "scheduled" && unfired && late > BOUND {
            verdict.count("lost", 1);
            let what = format!("reminder {} due {} has not fired", reminder.id, reminder.remind_at);
            verdict.find("I6", Some(reminder.task_id), None, what);
        }
    }
}
