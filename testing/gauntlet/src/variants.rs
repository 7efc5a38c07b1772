//! Every broken variant of the product, one run each: a checker that finds nothing in them would find nothing anywhere.

use std::fs;

use anyhow::Context as _;
use lab::root;

use crate::{Arguments, Provider, UPKEEP, check::Verdict, run};

/// The broken variants, and what each does.
const BROKEN: &[(&str, &str)] = &[
    ("no-claim", "an event that was handled before is handled again"),
    ("claim-in-another-transaction", "the claim is committed before what it claims"),
    ("ack-before-commit", "an event is acknowledged, and handled then"),
    ("publish-before-commit", "an event is published before the change it tells of is committed"),
    ("relay-after-the-last", "the relay looks for events after the last it saw, not for unpublished ones"),
    ("job-without-version", "all versions of a reminder share a job"),
    ("arm-after-the-commit", "jobs are armed when the event is claimed already"),
    ("mark-before-the-ack", "an event counts as published before the broker has it"),
    ("default-failure-policy", "a job that fails is called three times more, a second apart, and forgotten"),
    ("no-second-look", "a reminder is fired and sent as its job says, whatever became of it"),
    ("no-user-filter", "a task is read by its id alone, past row-level security"),
    ("no-idempotency-key", "an attempt at a message does not carry the key of its delivery"),
    ("job-answers-404", "the job's route answers 404 when it fails"),
];

const PAGE: &str = "docs/gauntlet.md";
const BEGIN: &str = "<!-- cargo xtask gauntlet --every-variant --write: begin -->";
const END: &str = "<!-- cargo xtask gauntlet --every-variant --write: end -->";

/// A short run may not meet what shows a variant: what it misses gets a run of so many minutes, and must be found there.
const AT_MOST: f64 = 5.0;

/// Runs each and says whether each was found.
///
/// # Errors
/// When one does not start or does not heal, or the page cannot be written.
pub(crate) async fn every(arguments: &Arguments) -> anyhow::Result<bool> {
    let upkeep = (UPKEEP, "nobody runs `upkeep --repair`");
    let mut table = String::from("| variant | what it does | found by | times | in minutes |\n|---|---|---|--:|--:|\n");
    let mut missed = Vec::new();
    for (variant, what) in BROKEN.iter().chain([&upkeep]) {
        println!("\n--- {variant}: {what}");
        // The key is Resend's.
        let provider = if *variant == "no-idempotency-key" { Provider::Resend } else { arguments.provider };
        // Repair puts right what several of them break, which is what it is for; without it the product as it is holds all the same.
        let no_repair = *variant != UPKEEP;
        // Seen where callbacks fail; a door tries each for 20 s, and makes of a 404 what is tried again.
        let callbacks = ["default-failure-policy", "job-answers-404"].contains(variant);
        let often = if callbacks { Some("postgres".to_owned()) } else { arguments.often.clone() };
        let no_doors = callbacks || arguments.no_doors;
        let mut one = Arguments {
            broken: Some((*variant).to_owned()),
            provider,
            no_repair,
            no_doors,
            often,
            ..arguments.clone()
        };
        let mut verdict = run::run(one.clone()).await.with_context(|| (*variant).to_owned())?;
        if verdict.findings.is_empty() && one.minutes < AT_MOST {
            one.minutes = AT_MOST;
            verdict = run::run(one.clone()).await.with_context(|| (*variant).to_owned())?;
        }
        if verdict.findings.is_empty() {
            missed.push(*variant);
        }
        let (found_by, times) = (names(&verdict), verdict.findings.len());
        table += &format!("| `{variant}` | {what} | {found_by} | {times} | {} |\n", one.minutes);
    }
    println!("\n{table}");
    if arguments.write {
        let (users, seed) = (arguments.users, seed(arguments));
        write(&format!("{users} users, seed {seed}:\n\n{table}"))?;
    }
    if !missed.is_empty() {
        println!("NOT FOUND: {}", missed.join(", "));
    }
    Ok(missed.is_empty())
}

fn seed(arguments: &Arguments) -> String {
    arguments.seed.map_or_else(|| "new for each".to_owned(), |seed| seed.to_string())
}

/// The invariants that were broken, the one broken most first.
fn names(verdict: &Verdict) -> String {
    let mut names: Vec<&str> = verdict.findings.iter().map(|finding| finding.invariant).collect();
    let times = |name: &str| verdict.findings.iter().filter(|finding| finding.invariant == name).count();
    names.sort_by_key(|name| (usize::MAX - times(name), *name));
    names.dedup();
    if names.is_empty() { "**not found**".to_owned() } else { names.join(", ") }
}

/// Replaces the table in the page.
fn write(table: &str) -> anyhow::Result<()> {
    let path = root().join(PAGE);
    let page = fs::read_to_string(&path)?;
    let (before, rest) = page.split_once(BEGIN).with_context(|| format!("{PAGE} has no place for the table"))?;
    let (_, after) = rest.split_once(END).with_context(|| format!("{PAGE} has no end of the table"))?;
    fs::write(path, format!("{before}{BEGIN}\n{table}{END}{after}"))?;
    Ok(())
}
