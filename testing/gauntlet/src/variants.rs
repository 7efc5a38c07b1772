//! Broken variants of the product. The gauntlet builds and runs each, and must find each defect. A checker that misses them proves
//! nothing about the product.
//!
//! The folder `testing/gauntlet/variants` contains the patches. The first line of a patch describes the defect.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use anyhow::{Context as _, ensure};
use clap::Parser as _;
use lab::root;

use crate::{Arguments, check::Verdict, run, scratch, table};

/// A short run may miss a defect. It is then followed by one run of this many minutes, which must find the defect.
const RETRY_MINUTES: f64 = 5.0;

/// The variant that needs no patch: the run never starts repair.
const UPKEEP: &str = "upkeep-never-woken";

/// A variant of the product that breaks one promise.
#[derive(Debug)]
pub(crate) struct Variant {
    /// The patch's file name without its extension.
    pub(crate) name: String,
    /// The description of the defect.
    pub(crate) breaks: String,
    /// Options of the gauntlet that a run needs to trigger the defect reliably.
    pub(crate) options: Vec<String>,
    /// The patch to the product; `None` if only the run differs.
    pub(crate) patch: Option<PathBuf>,
}

impl Variant {
    /// Parses `command_line`, overridden by the options of this variant.
    fn arguments(&self, command_line: impl Iterator<Item = String>) -> anyhow::Result<Arguments> {
        Ok(Arguments::try_parse_from(command_line.chain(self.options.iter().cloned()))?)
    }
}

/// The outcome of one variant.
pub(crate) struct Outcome {
    /// The broken invariants, the one with the most findings first.
    pub(crate) found_by: Vec<&'static str>,
    pub(crate) findings: usize,
    /// The duration of the faults in the last run.
    pub(crate) minutes: f64,
    pub(crate) build: Duration,
    /// The duration of all runs, from start to verdict.
    pub(crate) search: Duration,
}

/// Builds and runs the chosen variants one after another. Returns whether every variant was found.
pub(crate) async fn series(arguments: &Arguments) -> anyhow::Result<bool> {
    let all = all()?;
    let names: Vec<&str> = all.iter().map(|variant| variant.name.as_str()).collect();
    for name in &arguments.variants {
        ensure!(names.contains(&name.as_str()), "no variant {name}; there are {}", names.join(", "));
    }
    let chosen = all.iter().filter(|variant| arguments.every_variant || arguments.variants.contains(&variant.name));
    let mut rows = Vec::new();
    let mut missed = Vec::new();
    for variant in chosen {
        println!("\n--- {}: {}", variant.name, variant.breaks);
        let outcome = search(variant).await.with_context(|| variant.name.clone())?;
        let (build, search) = (table::minutes(outcome.build), table::minutes(outcome.search));
        println!("{}: {build} minutes to build, {search} to find", variant.name);
        rows.push(table::row(variant, &outcome));
        if outcome.findings == 0 {
            missed.push(variant.name.as_str());
        }
        if arguments.write {
            table::write(&names, &rows)?;
        }
    }
    println!("\n{}", table::merged("", &names, &rows));
    if !missed.is_empty() {
        println!("NOT FOUND: {}", missed.join(", "));
    }
    Ok(missed.is_empty())
}

async fn search(variant: &Variant) -> anyhow::Result<Outcome> {
    let mut arguments = variant.arguments(std::env::args())?;
    let began = Instant::now();
    match &variant.patch {
        Some(patch) => {
            arguments.bin_dir = scratch::build(&variant.name, patch)?;
            // Repair would mask some of the defects. The unpatched product also keeps every promise without repair.
            arguments.no_repair = true;
            // The table says what a variant's own defect shows.
            (arguments.same_clock, arguments.pooler) = (true, Some(false));
        }
        None => arguments.upkeep_never_woken = true,
    }
    let build = began.elapsed();
    let began = Instant::now();
    let mut verdict = run::run(arguments.clone()).await?;
    if verdict.findings.is_empty() && arguments.minutes < RETRY_MINUTES {
        arguments.minutes = RETRY_MINUTES;
        verdict = run::run(arguments.clone()).await?;
    }
    if variant.patch.is_some() {
        fs::remove_dir_all(&arguments.bin_dir)?;
    }
    let findings = verdict.findings.len();
    Ok(Outcome { found_by: found_by(&verdict), findings, minutes: arguments.minutes, build, search: began.elapsed() })
}

fn found_by(verdict: &Verdict) -> Vec<&'static str> {
    let invariants: BTreeSet<&'static str> = verdict.findings.iter().map(|finding| finding.invariant).collect();
    let mut found_by: Vec<&'static str> = invariants.into_iter().collect();
    let findings = |name| verdict.findings.iter().filter(|finding| finding.invariant == name).count();
    found_by.sort_by_key(|name| std::cmp::Reverse(findings(*name)));
    found_by
}

/// Every variant, sorted by name.
fn all() -> anyhow::Result<Vec<Variant>> {
    let mut variants = vec![Variant {
        name: UPKEEP.to_owned(),
        breaks: "Nobody runs `upkeep --repair`".to_owned(),
        options: Vec::new(),
        patch: None,
    }];
    for entry in fs::read_dir(root().join("testing/gauntlet/variants"))? {
        let path = entry?.path();
        variants.push(read(&path).with_context(|| path.display().to_string())?);
    }
    variants.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(variants)
}

fn read(path: &Path) -> anyhow::Result<Variant> {
    let text = fs::read_to_string(path)?;
    let mut header = text.lines().take_while(|line| !line.starts_with("diff --git"));
    let breaks = header.next().filter(|line| !line.is_empty()).context("the first line must say what it breaks")?;
    let options = header.find_map(|line| line.strip_prefix("Run with: ")).unwrap_or_default();
    Ok(Variant {
        name: path.file_stem().context("no name")?.to_string_lossy().into_owned(),
        breaks: breaks.trim_end_matches('.').to_owned(),
        options: options.split_whitespace().map(str::to_owned).collect(),
        patch: Some(path.to_owned()),
    })
}

#[cfg(test)]
mod tests {
    use std::process::Output;

    use sha2::{Digest as _, Sha256};

    use super::*;

    fn git(folder: &Path, arguments: &[&str], patch: &Path) -> Output {
        scratch::git(folder).args(arguments).arg(patch).output().expect("git")
    }

    fn patches() -> Vec<PathBuf> {
        all().expect("every patch has a header").into_iter().filter_map(|variant| variant.patch).collect()
    }

    #[test]
    fn every_patch_applies_to_the_working_tree() {
        let patches = patches();
        assert!(!patches.is_empty());
        for patch in patches {
            let check = git(&root(), &["apply", "--check"], &patch);
            assert!(
                check.status.success(),
                "docs/gauntlet.md says how to refresh:\n{}",
                String::from_utf8_lossy(&check.stderr)
            );
        }
    }

    #[test]
    fn the_options_of_a_variant_override_the_command_line() {
        let given = "gauntlet --bin-dir unused --often kafka --no-doors --provider smtp --every-variant --write";
        let given = || given.split(' ').map(str::to_owned);
        for variant in all().unwrap() {
            variant.arguments(given()).expect(&variant.name);
        }
        let options = ["--often", "postgres", "--no-doors", "--provider", "resend"].map(str::to_owned).to_vec();
        let variant = Variant { name: String::new(), breaks: String::new(), options, patch: None };
        let arguments = variant.arguments(given()).unwrap();
        assert_eq!((arguments.often.as_deref(), arguments.provider), (Some("postgres"), crate::Provider::Resend));
        assert!(arguments.no_doors && arguments.every_variant);
    }

    /// Checks what `query!` checks at compile time, without compiling the variant.
    #[test]
    fn every_checked_statement_of_a_variant_is_prepared() {
        let tree = std::env::temp_dir().join(format!("punctual-variant-{}", std::process::id()));
        for patch in patches() {
            let changed = patched_files(&patch, &tree);
            let (descriptions, sources): (Vec<&PathBuf>, Vec<&PathBuf>) =
                changed.iter().partition(|path| path.starts_with(".sqlx"));
            let mut prepared = statements(&root().join(".sqlx"));
            for path in descriptions {
                let (hash, statement) = statement(&tree.join(path));
                assert_eq!(path.file_stem().unwrap().to_str(), Some(format!("query-{hash}").as_str()), "{patch:?}");
                let used =
                    sources.iter().any(|source| fs::read_to_string(tree.join(source)).unwrap().contains(&statement));
                assert!(used, "{patch:?}: no source file that it changes contains the statement of {path:?}");
                prepared.push(statement);
            }
            for source in sources.iter().filter(|path| path.extension().is_some_and(|extension| extension == "rs")) {
                let text = fs::read_to_string(tree.join(source)).unwrap();
                let unprepared = unprepared(&text, &prepared);
                assert!(
                    unprepared.is_empty(),
                    "{patch:?} lacks the .sqlx file of a statement in {source:?}:\n{unprepared:?}"
                );
            }
        }
        fs::remove_dir_all(tree).unwrap();
    }

    #[test]
    fn a_statement_without_a_description_is_noticed() {
        let source = "sqlx::query!(\"select 1\").x; sqlx::query_as!(\n    Row,\n    r#\"select 2 as \"n!\"\"#, id)";
        let prepared = |statements: &[&str]| statements.iter().map(|&s| s.to_owned()).collect::<Vec<_>>();
        assert!(unprepared(source, &prepared(&["select 1", "select 2 as \"n!\""])).is_empty());
        assert_eq!(unprepared(source, &prepared(&["select 1"])).len(), 1);
        assert_eq!(unprepared(source, &prepared(&["select 2 as \"n!\"", "select"])).len(), 1);
    }

    /// Makes `tree` a copy of the working tree with `patch` applied. Returns the files that the patch changed or added.
    fn patched_files(patch: &Path, tree: &Path) -> Vec<PathBuf> {
        scratch::sync(tree).unwrap();
        let applied = git(tree, &["apply", "--apply", "--numstat", "-z"], patch);
        assert!(applied.status.success(), "{patch:?}: {}", String::from_utf8_lossy(&applied.stderr));
        let numstat = String::from_utf8(applied.stdout).unwrap();
        let paths = numstat.split_terminator('\0').filter_map(|line| line.rsplit('\t').next()).map(PathBuf::from);
        paths.filter(|path| tree.join(path).exists()).collect()
    }

    fn statements(folder: &Path) -> Vec<String> {
        fs::read_dir(folder).unwrap().map(|entry| statement(&entry.unwrap().path()).1).collect()
    }

    /// The SHA-256 and the text of the statement in a file of `.sqlx`.
    fn statement(path: &Path) -> (String, String) {
        let description: serde_json::Value = serde_json::from_slice(&fs::read(path).unwrap()).unwrap();
        let text = description["query"].as_str().expect("a statement").to_owned();
        let hash: String = Sha256::digest(text.as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(description["hash"].as_str(), Some(hash.as_str()), "{}", path.display());
        (hash, text)
    }

    /// The statements (plain or raw literals) in calls of sqlx's macros that `prepared` does not contain.
    fn unprepared<'a>(source: &'a str, prepared: &[String]) -> Vec<&'a str> {
        let macros = ["query!(", "query_as!(", "query_scalar!("];
        let calls =
            macros.iter().flat_map(|name| source.match_indices(name).map(|(at, name)| &source[at + name.len()..]));
        let literal = |call: &'a str| {
            let quote = call.find('"').unwrap_or(call.len());
            let raw = call[..quote].ends_with("r#");
            call.get(quote + 1..)?.split(if raw { "\"#" } else { "\"" }).next()
        };
        calls.filter_map(literal).filter(|statement| !prepared.iter().any(|prepared| prepared == statement)).collect()
    }
}
