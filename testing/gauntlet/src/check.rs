//! Checks the promises, in linear passes over the commands, the faults and the final state.

mod commands;
mod reminders;

use std::collections::BTreeMap;

use chrono::{DateTime, TimeDelta, Utc};
use uuid::Uuid;

use crate::{
    facts::{Event, Facts},
    faults::{Fault, Poison},
    history::{Command, Leak},
    listen::{Heard, Streams},
};

/// A broken promise and the object that breaks it.
#[derive(Clone, Debug)]
pub(crate) struct Finding {
    /// The invariant's name in `docs/gauntlet.md`.
    pub(crate) invariant: &'static str,
    pub(crate) what: String,
    pub(crate) task: Option<Uuid>,
    pub(crate) marker: Option<String>,
}

/// The input of the checker.
#[derive(Debug)]
pub(crate) struct Evidence {
    pub(crate) commands: Vec<Command>,
    pub(crate) heard: Streams,
    pub(crate) leaks: Vec<Leak>,
    pub(crate) faults: Vec<Fault>,
    pub(crate) poison: Vec<Poison>,
    pub(crate) facts: Facts,
    /// Work that was still open when the time limit for settling ended.
    pub(crate) unsettled: Vec<String>,
    /// Jobs of reminders that need none.
    pub(crate) orphans: Vec<String>,
    pub(crate) canaries: Vec<String>,
    pub(crate) checked_at: DateTime<Utc>,
    /// How much later than the database's clock the scheduler's reaches an instant.
    pub(crate) lag: TimeDelta,
}

/// The result of a run.
#[derive(Debug, Default)]
pub(crate) struct Verdict {
    pub(crate) findings: Vec<Finding>,
    pub(crate) figures: BTreeMap<&'static str, i64>,
}

impl Verdict {
    fn find(&mut self, invariant: &'static str, task: Option<Uuid>, marker: Option<&str>, what: impl Into<String>) {
        self.findings.push(Finding { invariant, what: what.into(), task, marker: marker.map(str::to_owned) });
    }

    fn count(&mut self, figure: &'static str, by: usize) {
        *self.figures.entry(figure).or_default() += i64::try_from(by).unwrap_or(i64::MAX);
    }
}

/// Checks every invariant.
pub(crate) fn check(evidence: &Evidence) -> Verdict {
    let mut verdict = Verdict::default();
    commands::check(evidence, &mut verdict);
    reminders::check(evidence, &mut verdict);
    streams(evidence, &mut verdict);
    walls(evidence, &mut verdict);
    dead_letters(evidence, &mut verdict);
    rest(evidence, &mut verdict);
    success(evidence, &mut verdict);
    verdict
}

/// I5: over all its streams, each client has heard its user's feed, every change once and in order. Only a client that was more than 500 changes behind
/// may have been reset instead.
fn streams(evidence: &Evidence, verdict: &mut Verdict) {
    for (user, events) in &evidence.heard {
        let feed = evidence.facts.feeds.get(user).map(Vec::as_slice).unwrap_or_default();
        let mut last = 0;
        for Heard { seq, task } in events {
            let is_right = match task {
                Some(task) => *seq == last + 1 && usize::try_from(last).is_ok_and(|at| feed.get(at) == Some(task)),
                None => *seq > last + 500,
            };
            verdict.count(if task.is_some() { "changes heard" } else { "clients reset" }, 1);
            if !is_right {
                let what = format!("after number {last}, the stream of {user} had {seq}: {task:?}");
                verdict.find("I5", task.map(|(task, _)| task), None, what);
            }
            last = *seq;
        }
        if usize::try_from(last).ok() != Some(feed.len()) {
            verdict.find(
                "I5",
                None,
                None,
                format!("the feed of {user} has {} changes, its client heard {last}", feed.len()),
            );
        }
    }
}

/// I9: no answer and no message to one user contains another user's data.
fn walls(evidence: &Evidence, verdict: &mut Verdict) {
    verdict.count("cross-user", evidence.leaks.len());
    for leak in &evidence.leaks {
        verdict.find("I9", None, None, format!("at {}: {}", leak.at, leak.what));
    }
    for accept in &evidence.facts.accepts {
        let others = evidence.canaries.iter().filter(|canary| !accept.to.contains(canary.as_str()));
        for canary in others.filter(|canary| accept.subject.contains(canary.as_str())) {
            verdict.count("cross-user", 1);
            verdict.find("I9", None, Some(canary), format!("{} got mail about it: {}", accept.to, accept.subject));
        }
    }
}

/// I11: each event that no function can handle is in the dead letters, once for each place on the topic, and no other event is. One that was
/// still in the backlog of its function when its topic was deleted may be missing: the outbox does not have it, so nobody publishes it again.
fn dead_letters(evidence: &Evidence, verdict: &mut Verdict) {
    let mut letters: BTreeMap<(&str, Uuid), usize> = BTreeMap::new();
    for (consumer, event) in &evidence.facts.letters {
        if let Some(event) = event {
            *letters.entry((consumer, *event)).or_default() += 1;
        }
    }
    verdict.count("poison", evidence.poison.len());
    for poison in &evidence.poison {
        let Poison { id, consumer, copies, .. } = poison;
        let found = letters.remove(&(*consumer, *id)).unwrap_or_default();
        if found == 0 && was_in_a_lost_backlog(evidence, poison) {
            verdict.count("poison lost with its topic", 1);
            continue;
        }
        // A copy whose append failed may be on the topic or not.
        if !(1..=*copies).contains(&found) {
            let what =
                format!("poison {id} of {consumer}, {copies} times on the topic, is in the dead letters {found} times");
            verdict.find("I11", None, None, what);
        }
    }
    for ((consumer, event), _) in letters {
        if let Some(known) = evidence.facts.events.iter().find(|known| known.id == event) {
            verdict.find("I11", Some(known.task_id), None, format!("{consumer} rejected {} {event}", known.kind));
        }
    }
}

/// Whether the topic of a poison was deleted while its function still had older messages to handle: an event that occurred before the poison
/// was written was claimed after the deletion.
fn was_in_a_lost_backlog(evidence: &Evidence, poison: &Poison) -> bool {
    let gone = format!("topic gone: {}", poison.topic);
    let deleted = |fault: &&Fault| fault.what == gone && fault.started > poison.written;
    let older = |event: &&Event| event.kind.replace('.', "-") == poison.consumer && event.occurred_at < poison.written;
    evidence.faults.iter().filter(deleted).any(|fault| {
        evidence.facts.events.iter().filter(older).any(|event| event.claimed_at.is_some_and(|at| at > fault.started))
    })
}

/// I12: no work is left.
fn rest(evidence: &Evidence, verdict: &mut Verdict) {
    for left in &evidence.unsettled {
        verdict.find("I12", None, None, format!("still to be done: {left}"));
    }
    for orphan in &evidence.orphans {
        verdict.find("I12", None, None, format!("a job without a reminder: {orphan}"));
    }
}

/// Whether no fault was active between `from` and `to`, nor shortly before.
fn calm(evidence: &Evidence, from: DateTime<Utc>, to: DateTime<Utc>) -> bool {
    let (before, after) = (TimeDelta::seconds(2), TimeDelta::seconds(1));
    let near = |fault: &Fault| {
        !fault.what.starts_with("repeated")
            && !fault.what.starts_with("route") // API requests do not use the routes
            && fault.started - after < to
            && from < fault.ended + before
    };
    !evidence.faults.iter().any(near)
}

/// I13: commands succeed if no fault is active and the last one ended some seconds ago. So a run cannot pass by failing.
fn success(evidence: &Evidence, verdict: &mut Verdict) {
    let valid = evidence.commands.iter().filter(|command| command.kind != crate::history::Kind::Refused);
    let tried: Vec<&Command> = valid.filter(|command| calm(evidence, command.started, command.ended)).collect();
    let open = |command: &&&Command| command.statuses.iter().all(|status| *status == 0 || *status >= 500);
    let failed = tried.iter().filter(open).count();
    verdict.count("commands without a fault near", tried.len());
    verdict.count("of them failed", failed);
    if tried.len() < 20 {
        verdict.find("I13", None, None, format!("only {} commands had no fault near", tried.len()));
    } else if failed * 20 > tried.len() {
        verdict.find("I13", None, None, format!("{failed} of {} commands failed without a fault near", tried.len()));
    }
}
