//! The report of a run: figures, and the history of the affected object for each broken promise.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
};

use serde_json::{Value, json};
use sqlx::PgPool;

use crate::{
    check::{Evidence, Verdict},
    facts::story,
};

/// The number of findings to print per invariant.
const SHOWN: usize = 5;
/// The number of findings to write per invariant.
const WRITTEN: usize = 20;

/// Prints the figures and findings, and writes each finding with its history to `<dir>/finding-<n>.json`.
pub(crate) async fn report(db: &PgPool, evidence: &Evidence, verdict: &Verdict, dir: &Path) -> anyhow::Result<()> {
    println!("\n{:>8}  faults", evidence.faults.len());
    for (figure, count) in &verdict.figures {
        println!("{count:>8}  {figure}");
    }
    for figure in ["lost", "duplicate", "early", "late beyond the bound", "after the end", "cross-user"] {
        if !verdict.figures.contains_key(figure) {
            println!("{:>8}  {figure}", 0);
        }
    }
    let broken: BTreeSet<&str> = verdict.findings.iter().map(|finding| finding.invariant).collect();
    for invariant in broken {
        let of: Vec<_> = verdict.findings.iter().filter(|finding| finding.invariant == invariant).collect();
        println!("\n{invariant} is broken {} times:", of.len());
        for finding in of.iter().take(SHOWN) {
            println!("  {} {}", finding.what, finding.marker.as_deref().unwrap_or_default());
        }
    }
    let mut written: BTreeMap<&str, usize> = BTreeMap::new();
    let some = verdict.findings.iter().filter(|finding| {
        let of = written.entry(finding.invariant).or_default();
        *of += 1;
        *of <= WRITTEN
    });
    for (number, finding) in some.enumerate() {
        let marker = finding.marker.clone().or_else(|| {
            let task = finding.task?;
            Some(evidence.commands.iter().find(|command| command.tasks.contains(&task))?.marker.clone())
        });
        let asked: Vec<Value> = evidence
            .commands
            .iter()
            .filter(|command| marker.as_deref() == Some(command.marker.as_str()))
            .map(crate::history::Command::to_json)
            .collect();
        let happened = match finding.task {
            Some(task) => story(db, task).await?,
            None => Vec::new(),
        };
        let accepted: Vec<Value> = evidence
            .facts
            .accepts
            .iter()
            .filter(|accept| marker.as_deref().is_some_and(|marker| accept.subject.contains(marker)))
            .map(|accept| json!({"at": accept.at, "delivery": accept.delivery, "subject": accept.subject}))
            .collect();
        let document = json!({
            "invariant": finding.invariant, "what": finding.what, "commands": asked, "database": happened,
            "accepted": accepted,
        });
        fs::write(dir.join(format!("finding-{number}.json")), serde_json::to_string_pretty(&document)?)?;
    }
    let faults: Vec<String> = evidence
        .faults
        .iter()
        .map(|fault| format!("{} {} {} {}", fault.started, fault.ended, fault.what, fault.target))
        .collect();
    fs::write(dir.join("faults.txt"), faults.join("\n"))?;
    if !verdict.findings.is_empty() {
        println!("\neach with its history in {}/finding-*.json, the faults in faults.txt", dir.display());
    }
    Ok(())
}
