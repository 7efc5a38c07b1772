//! Reminders and accepted messages. Each live reminder has exactly one message, at its time, and none after it was moved, cancelled,
//! completed or deleted. A second message is allowed only if the provider cannot detect duplicates, and after the message was sent the SMTP
//! connection or a process died, or the database was away for most of a minute.

use std::collections::BTreeMap;

use chrono::{DateTime, TimeDelta, Utc};
use uuid::Uuid;

use super::{Evidence, Verdict, calm};
use crate::{
    doubles::Accept,
    facts::Delivery,
    faults::{Fault, LEADERLESS, PARTITION},
    history::{Command, Kind, Outcome, Shown},
    load::HOT,
};

/// How late a message may be accepted, without the time of faults in a component that every reminder needs, and by which the scheduler's
/// clock is behind: a minute and two repairs.
const BOUND: TimeDelta = TimeDelta::seconds(100);

/// An acknowledged version of a reminder.
#[derive(Clone, Debug)]
struct Promise {
    task: Uuid,
    user: usize,
    marker: String,
    due: DateTime<Utc>,
    /// The end of the first command that acknowledged it.
    known: DateTime<Utc>,
    /// The start of the first command that may have moved or ended it.
    maybe_over: Option<DateTime<Utc>>,
    /// The end of the first acknowledged command that moved or ended it.
    over: Option<DateTime<Utc>>,
}

/// How late a message may be accepted while no fault is near, whatever the hot user does.
const CALM_BOUND: TimeDelta = TimeDelta::seconds(20);

/// Consumers read again this long after a broker is back.
const REJOINED: TimeDelta = TimeDelta::seconds(20);
/// The backlog of a fault is gone after this time. Kafka needs 10 s to notice a dead consumer.
const SETTLED: TimeDelta = TimeDelta::seconds(15);
/// Orders that make a provider refuse a message permanently, so that it is not retried.
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

/// Derives the promised reminders from the answers to each task's commands, in order.
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
                // Restored as it was after it had been sent: this version is not sent.
                let is_over = command.kind == Kind::Restore && shown.state == "sent";
                promises.entry(version).or_insert_with(|| {
                    if !is_over {
                        live.push(version);
                    }
                    Promise {
                        task: *task,
                        user: command.user,
                        marker: marker.to_owned(),
                        due: shown.remind_at,
                        known: command.ended,
                        maybe_over: is_over.then_some(command.started),
                        over: is_over.then_some(command.ended),
                    }
                });
            }
        }
    }
    promises
}

/// Groups the accepted messages by version. Each delivery has at most one message, or two where a repeat is allowed.
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

/// Whether a fault around `at` can lose the provider's answer, or all that a process knows of it.
fn died_near(faults: &[Fault], at: DateTime<Utc>) -> bool {
    let loses = |fault: &Fault| {
        let of_process = fault.target.starts_with("reminder-due") && !fault.what.starts_with("route");
        ["smtp", "provider"].contains(&fault.target.as_str()) || fault.what == "crash point" || of_process
    };
    let slack = TimeDelta::seconds(2);
    let near = |fault: &Fault| fault.started - slack < at && at < fault.ended + slack;
    faults.iter().any(|fault| loses(fault) && near(fault)) || unable_to_record(faults, at)
}

/// Whether the database was away for most of the lease in which a process that knew of an acceptance at `at` could record it. The end of
/// one connection is no excuse.
fn unable_to_record(faults: &[Fault], at: DateTime<Utc>) -> bool {
    let lease_ends = at + TimeDelta::seconds(60);
    let away: TimeDelta = faults
        .iter()
        .filter(|fault| ["postgres", "pgbouncer"].contains(&fault.target.as_str()))
        .map(|fault| (fault.ended.min(lease_ends) - fault.started.max(at)).max(TimeDelta::zero()))
        .sum();
    away > TimeDelta::seconds(30)
}

/// Whether the provider refused this version permanently because of an injected order.
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

/// Whether the outcome of this version is unknown: the connection or process died at the final dot, in the first attempt and its repeat.
fn died_twice(evidence: &Evidence, id: Uuid, version: i32) -> bool {
    let of = |delivery: &&Delivery| (delivery.reminder_id, delivery.reminder_version) == (id, version);
    evidence.facts.deliveries.values().filter(of).any(|delivery| {
        delivery.state == "unknown"
            && delivery.repeated
            && delivery.started_at.is_some_and(|at| died_near(&evidence.faults, at))
    })
}

/// The time between `from` and `to` without a fault in a component that every reminder of the task needs.
fn beyond_faults(evidence: &Evidence, task: Uuid, from: DateTime<Utc>, to: DateTime<Utc>) -> TimeDelta {
    let (topic, leaderless) = LEADERLESS;
    let needed = |fault: &&Fault| {
        (fault.target == PARTITION && topic.partition_of(&task.to_string()) == leaderless)
            || ["kafka", "postgres", "pgbouncer", "scheduler", "smtp", "provider"].contains(&fault.target.as_str())
            || ["alarm", "reminder-due"].iter().any(|function| fault.target.contains(function))
    };
    let again = |fault: &Fault| {
        let restart = ["kill -9", "ended by itself", "a partition moves", "a partition returns"];
        if fault.target == "kafka" && restart.contains(&fault.what.as_str()) {
            fault.ended + REJOINED
        } else {
            fault.ended
        }
    };
    let mut faults: Vec<_> = evidence.faults.iter().filter(needed).map(|fault| (fault.started, again(fault))).collect();
    faults.sort_unstable();
    let (mut counted, mut in_order) = (from, TimeDelta::zero());
    for (started, ended) in faults {
        in_order += (started.min(to) - counted).max(TimeDelta::zero());
        counted = counted.max(ended);
    }
    in_order + (to - counted).max(TimeDelta::zero())
}

/// I6: the provider accepted each reminder that was not moved, cancelled, completed or deleted, and not too late.
fn kept(
    evidence: &Evidence,
    promises: &BTreeMap<Version, Promise>,
    accepts: &BTreeMap<Version, Vec<&Accept>>,
    verdict: &mut Verdict,
) {
    let (mut late, mut calmly, mut beyond): (Vec<i64>, Vec<i64>, Vec<i64>) = Default::default();
    let mut attempts: BTreeMap<Version, i32> = BTreeMap::new();
    for delivery in evidence.facts.deliveries.values() {
        attempts.insert((delivery.reminder_id, delivery.reminder_version), delivery.attempts);
    }
    for ((id, version), promise) in promises {
        let (task, marker) = (Some(promise.task), Some(promise.marker.as_str()));
        // A job that calls late by the scheduler's clock made the reminder due, and another one each further attempt.
        let due = (promise.due + evidence.lag).max(promise.known);
        let repeats = attempts.get(&(*id, *version)).map_or(0, |attempts| (attempts - 1).max(0));
        let bound = BOUND + evidence.lag * repeats;
        let stood = promise.maybe_over.is_none_or(|over| beyond_faults(evidence, promise.task, due, over) > bound);
        let first = accepts.get(&(*id, *version)).and_then(|all| all.first());
        let waited = beyond_faults(evidence, promise.task, due, first.map_or(evidence.checked_at, |accept| accept.at));
        if let Some(accept) = first {
            let ms = (accept.at - due).num_milliseconds();
            late.push(ms);
            beyond.push(waited.num_milliseconds());
            if calm(evidence, due - SETTLED, accept.at) {
                calmly.push(ms);
                if promise.user != HOT && accept.at - due > CALM_BOUND {
                    verdict.count("late without a fault near", 1);
                    let what = format!("reminder {id} due {due}, accepted {} without a fault near", accept.at);
                    verdict.find("I6", task, marker, what);
                }
            }
        }
        match first {
            None if refused(evidence, *id, *version) => verdict.count("refused by the provider for good", 1),
            None if died_twice(evidence, *id, *version) => {
                verdict.count("unknown after two deaths at the final dot", 1)
            }
            None if stood && waited > bound => {
                verdict.count("lost", 1);
                let what = format!("reminder {id} version {version} due {due} was never accepted");
                verdict.find("I6", task, marker, what);
            }
            Some(accept) if waited > bound => {
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

/// I6, I7, I8: no message is early, each has its version's acknowledged due time, and none was started after the end was acknowledged.
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
            let begun = delivery.begun_before(accept.at);
            if begun.is_some_and(|begun| begun > over) {
                verdict.count("after the end", 1);
                let what = format!("over since {over}, begun {begun:?}, accepted {}", accept.at);
                verdict.find("I7", task, marker, what);
            } else {
                in_flight += 1;
            }
        }
    }
    verdict.count("in flight when the end was acknowledged", in_flight);
}

/// I6 by titles, without the delivery's key: a task has at most as many messages as deliveries and allowed repeats.
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
        // The title of a deleted task is unknown.
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

/// I6: each version of a reminder has at most one `reminder.due` event.
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

/// I6: no live reminder is overdue by more than [`BOUND`]. Includes reminders that no answer showed, such as a successor's.
fn overdue(evidence: &Evidence, verdict: &mut Verdict) {
    for reminder in &evidence.facts.reminders {
        let unfired = reminder.fired_version.is_none_or(|fired| fired < reminder.version);
        let late = beyond_faults(evidence, reminder.task_id, reminder.remind_at + evidence.lag, evidence.checked_at);
        if reminder.state == "scheduled" && unfired && late > BOUND {
            verdict.count("lost", 1);
            let what = format!("reminder {} due {} has not fired", reminder.id, reminder.remind_at);
            verdict.find("I6", Some(reminder.task_id), None, what);
        }
    }
}
