//! Commands and their effects. Each acknowledged command has exactly one effect in every function, a refused command has none, and
//! every effect has a command.

use std::collections::{BTreeMap, BTreeSet};

use uuid::Uuid;

use super::{Evidence, Verdict};
use crate::{
    facts::Event,
    history::{Command, Kind, Outcome},
};

const BY_COMMAND: [&str; 4] = ["task.created", "task.updated", "task.completed", "task.deleted"];

pub(crate) fn check(evidence: &Evidence, verdict: &mut Verdict) {
    let outcomes = |wanted| evidence.commands.iter().filter(|command| command.outcome() == wanted).count();
    verdict.count("commands acknowledged", outcomes(Outcome::Done));
    verdict.count("commands refused", outcomes(Outcome::Refused));
    verdict.count("commands without a clear answer", outcomes(Outcome::Unknown));
    creations(evidence, verdict);
    events(evidence, verdict);
    tasks(evidence, verdict);
    occurrences(evidence, verdict);
}

/// I2 and I4 for creations: a creation makes at most one task with its marker, and an invalid command makes none.
fn creations(evidence: &Evidence, verdict: &mut Verdict) {
    let mut made: BTreeMap<&str, BTreeSet<Uuid>> = BTreeMap::new();
    for task in evidence.facts.tasks.values() {
        // Skips successors, which have their predecessor's title. The first task of a series has number 1.
        if task.occurrence.is_none_or(|number| number == 1) {
            made.entry(marker(&task.title)).or_default().insert(task.id);
        }
    }
    for command in &evidence.commands {
        let there = made.get(command.marker.as_str()).map_or(0, BTreeSet::len);
        let answers: BTreeSet<Uuid> = command.tasks.iter().copied().collect();
        match (command.kind, command.outcome()) {
            (Kind::Create, _) if there > 1 || answers.len() > 1 => {
                verdict.count("duplicate", 1);
                let what = format!("{there} tasks and {} answers for one Idempotency-Key", answers.len());
                verdict.find("I4", answers.first().copied(), Some(&command.marker), what);
            }
            (Kind::Refused, outcome) if there > 0 || outcome == Outcome::Done => {
                verdict.find(
                    "I2",
                    None,
                    Some(&command.marker),
                    format!("not valid, and has an effect: {}", command.request),
                );
            }
            _ => {}
        }
    }
}

/// The marker of a command: the first word of the title.
fn marker(title: &str) -> &str {
    title.split(' ').next().unwrap_or_default()
}

/// I1, I2, I3: each acknowledged version has one event, and each event has one command, one claim and one effect.
fn events(evidence: &Evidence, verdict: &mut Verdict) {
    let mut by_task: BTreeMap<Uuid, Vec<&Event>> = BTreeMap::new();
    for event in &evidence.facts.events {
        by_task.entry(event.task_id).or_default().push(event);
        let task = Some(event.task_id);
        if (event.claims, event.effects) != (1, 1) {
            let what = format!("{} {}: {} claims, {} effects", event.kind, event.id, event.claims, event.effects);
            let figure = if event.effects > 1 { "duplicate" } else { "lost" };
            verdict.count(figure, 1);
            verdict.find(if event.claims == 1 { "I1" } else { "I3" }, task, None, what);
        }
        if !event.published {
            verdict.find("I12", task, None, format!("{} {} is not published", event.kind, event.id));
        }
    }
    for (consumer, id) in &evidence.facts.unknown {
        verdict.find("I2", None, None, format!("{consumer} handled {id}, which was never committed"));
    }
    let mut asked: BTreeMap<Uuid, Vec<&Command>> = BTreeMap::new();
    let mut by_marker: BTreeMap<&str, Uuid> = BTreeMap::new();
    for command in &evidence.commands {
        if let (Kind::Create, Some(id)) = (command.kind, command.tasks.first()) {
            by_marker.insert(&command.marker, *id);
        }
    }
    for command in &evidence.commands {
        if let Some(id) = by_marker.get(command.marker.as_str()) {
            asked.entry(*id).or_default().push(command);
        }
    }
    for (task, commands) in asked {
        let events = by_task.get(&task).map(Vec::as_slice).unwrap_or_default();
        task_events(task, &commands, events, verdict);
    }
}

fn task_events(task: Uuid, commands: &[&Command], events: &[&Event], verdict: &mut Verdict) {
    let marker = commands.first().map(|command| command.marker.as_str());
    let told: Vec<&&Event> = events.iter().filter(|event| BY_COMMAND.contains(&event.kind.as_str())).collect();
    let mut explained: BTreeSet<Uuid> = BTreeSet::new();
    let mut before = 0;
    for command in commands.iter().filter(|command| command.outcome() == Outcome::Done) {
        let wanted: Vec<_> = told
            .iter()
            .filter(|event| match command.version {
                Some(version) => event.sequence == version,
                // A task that was restored may be deleted again.
                None => event.kind == "task.deleted" && !explained.contains(&event.id),
            })
            .take(if command.version.is_some() { told.len() } else { 1 })
            .collect();
        let changed = command.version.is_none_or(|version| version > before);
        before = command.version.unwrap_or(before);
        explained.extend(wanted.iter().map(|event| event.id));
        match wanted[..] {
            [_] => {}
            // The command was a no-op: the task was already completed.
            [] if !changed => {}
            [] => {
                verdict.count("lost", 1);
                verdict.find("I1", Some(task), marker, format!("acknowledged, and no event: {}", command.request));
            }
            _ => {
                verdict.count("duplicate", 1);
                verdict.find("I1", Some(task), marker, format!("{} events: {}", wanted.len(), command.request));
            }
        }
    }
    let open = commands.iter().filter(|command| command.outcome() == Outcome::Unknown).count();
    let unexplained: Vec<_> = told.iter().filter(|event| !explained.contains(&event.id)).collect();
    if unexplained.len() > open {
        let what = format!("{} events that no command explains, {open} commands are open", unexplained.len());
        verdict.find("I3", Some(task), marker, what);
    }
}

/// I5: events, feed and row of a task agree on its newest version. I10: a deleted task stays deleted until it is restored.
fn tasks(evidence: &Evidence, verdict: &mut Verdict) {
    let mut newest: BTreeMap<Uuid, (i64, i64)> = BTreeMap::new();
    for event in &evidence.facts.events {
        let (own, heard) = newest.entry(event.task_id).or_default();
        if BY_COMMAND.contains(&event.kind.as_str()) {
            *own = (*own).max(event.sequence);
        }
        if event.kind == "task.changed" && event.effects > 0 {
            *heard = (*heard).max(event.sequence);
        }
    }
    for task in evidence.facts.tasks.values() {
        let version = task.version.unwrap_or_default();
        let (own, heard) = newest.get(&task.id).copied().unwrap_or_default();
        if (own, heard) != (version, version) {
            let what = format!("the row has version {version}, its events {own}, what clients heard {heard}");
            verdict.find("I5", Some(task.id), Some(marker(&task.title)), what);
        }
    }
    for (at, command) in evidence.commands.iter().enumerate() {
        let may_restore = |later: &Command| {
            (later.kind, &later.marker) == (Kind::Restore, &command.marker) && later.outcome() != Outcome::Refused
        };
        if let (Kind::Delete, Outcome::Done, Some(id)) = (command.kind, command.outcome(), path_id(&command.request))
            && evidence.facts.tasks.contains_key(&id)
            && !command.statuses.contains(&404)
            && !evidence.commands[at..].iter().any(may_restore)
        {
            verdict.count("lost", 1);
            verdict.find("I10", Some(id), Some(&command.marker), "deleted, and there");
        }
    }
    for reminder in evidence.facts.reminders.iter().filter(|reminder| !reminder.task_exists) {
        if reminder.state == "scheduled" {
            verdict.find("I10", Some(reminder.task_id), None, format!("reminder {} outlives its task", reminder.id));
        }
    }
}

fn path_id(request: &str) -> Option<Uuid> {
    request.split(['/', ' ']).find_map(|part| part.parse().ok())
}

/// I15: each occurrence exists once, and completing a recurring task creates the next one.
fn occurrences(evidence: &Evidence, verdict: &mut Verdict) {
    let mut rows: BTreeMap<(Uuid, i32), Vec<Uuid>> = BTreeMap::new();
    for task in evidence.facts.tasks.values() {
        if let (Some(series), Some(number)) = (task.series_id, task.occurrence) {
            rows.entry((series, number)).or_default().push(task.id);
        }
    }
    for ((series, number), tasks) in &rows {
        if tasks.len() > 1 {
            verdict.count("duplicate", 1);
            verdict.find("I15", tasks.first().copied(), None, format!("{} of {series} number {number}", tasks.len()));
        }
    }
    let made: BTreeSet<(Uuid, i32)> = evidence.facts.occurrences.iter().copied().collect();
    for task in evidence.facts.tasks.values().filter(|task| task.completed && task.recurs) {
        if let (Some(series), Some(number)) = (task.series_id, task.occurrence) {
            verdict.count("occurrences completed", 1);
            if !made.contains(&(series, number + 1)) {
                verdict.count("lost", 1);
                verdict.find(
                    "I15",
                    Some(task.id),
                    Some(marker(&task.title)),
                    format!("no successor of number {number}"),
                );
            }
        }
    }
}
