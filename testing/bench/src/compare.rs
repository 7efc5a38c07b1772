//! `cargo xtask bench compare`: two builds in turn, so that both meet the same machine.
//!
//! One system runs, with the schema, sidecars and servers of this checkout. In each turn the functions are restarted from one of
//! the two folders. Functions that only one folder has are listed apart; those of `--after` run in every turn.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
    fs,
    os::unix::fs::{PermissionsExt as _, symlink},
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context as _, ensure};
use chrono::{DateTime, Utc};
use clap::Args;
use lab::{dev, progress::say, root, settled::settled};
use sqlx::AssertSqlSafe;
use tokio::{
    task::block_in_place,
    time::{Instant, sleep},
};

use crate::{
    Outcome, Setting,
    events::HANDLED,
    footprint,
    pace::{self, AT_WILL},
    product::pattern,
    sample::Sample,
};

/// Bound for every median: at most this much slower, larger or less.
const MARGIN: f64 = 1.05;
/// Starts per function and turn, of which the median counts.
const STARTS: usize = 5;
const LIMIT: Duration = Duration::from_secs(120);

#[derive(Args, Clone, Debug)]
#[group(skip)]
pub(super) struct Arguments {
    /// Folder with the binaries of the older build
    #[arg(long)]
    before: PathBuf,
    /// Folder with the binaries of the newer build
    #[arg(long)]
    after: PathBuf,
    /// Turns of each build
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u16).range(1..))]
    turns: u16,
    /// Tasks created per turn
    #[arg(long, default_value_t = 2000, value_parser = clap::value_parser!(u16).range(100..))]
    tasks: u16,
}

/// One measurement of a turn: its name, its value, and whether more of it is better.
type Measured = (String, f64, bool);

impl Arguments {
    /// The folder that the system runs from. It holds links to the binaries of one build.
    pub(super) fn bin_dir(&self) -> anyhow::Result<PathBuf> {
        let links = dev().join("bench-compare");
        let _ = fs::remove_dir_all(&links);
        fs::create_dir_all(&links)?;
        self.link(&self.after)?;
        Ok(links)
    }

    /// Points the links at one build, and those of binaries that it lacks at the other one.
    fn link(&self, build: &Path) -> anyhow::Result<()> {
        for name in binaries(&self.before)?.into_iter().chain(binaries(&self.after)?) {
            let link = dev().join("bench-compare").join(&name);
            let target = [build, &self.after, &self.before].map(|folder| root().join(folder).join(&name));
            let target = target.into_iter().find(|path| path.exists()).context("a binary disappeared")?;
            let _ = fs::remove_file(&link);
            symlink(target, &link)?;
        }
        Ok(())
    }
}

/// The names of the executables in a folder.
fn binaries(folder: &Path) -> anyhow::Result<BTreeSet<String>> {
    let folder = root().join(folder);
    let mut names = BTreeSet::new();
    for entry in fs::read_dir(&folder).with_context(|| format!("cannot read {}", folder.display()))? {
        let (entry, name) = entry.map(|entry| (entry.metadata(), entry.file_name()))?;
        let entry = entry?;
        if entry.is_file() && entry.permissions().mode() & 0o111 != 0 {
            names.insert(name.to_string_lossy().into_owned());
        }
    }
    ensure!(!names.is_empty(), "{} holds no binaries: build with `cargo build --release`", folder.display());
    Ok(names)
}

pub(super) async fn measure(arguments: &Arguments, setting: &Setting) -> anyhow::Result<Outcome> {
    let builds = [("before", &arguments.before), ("after", &arguments.after)];
    let mut results: BTreeMap<String, ([Vec<f64>; 2], bool)> = BTreeMap::new();
    for turn in 1..=arguments.turns {
        for (side, (name, folder)) in builds.into_iter().enumerate() {
            say(format!("turn {turn} of {}: {name}", arguments.turns));
            let title = format!("bench {name} {turn}");
            arguments.link(folder)?;
            for (what, value, more_is_better) in measure_turn(arguments, folder, &title, setting).await? {
                let entry = results.entry(what).or_insert_with(|| (Default::default(), more_is_better));
                entry.0[side].push(value);
            }
        }
    }
    let (table, missed) = table(&results);
    let [before, after] = [binaries(&arguments.before)?, binaries(&arguments.after)?];
    let list = |names: Vec<&String>| {
        if names.is_empty() {
            "none".to_owned()
        } else {
            format!("`{}`", names.iter().map(|name| name.as_str()).collect::<Vec<_>>().join("`, `"))
        }
    };
    let only_before = list(before.difference(&after).collect());
    let only_after = list(after.difference(&before).collect());
    let table = format!("{table}\nBinaries only in `--before`: {only_before}. Only in `--after`: {only_after}.\n");
    Ok(Outcome { notes: String::new(), table, missed })
}

/// Restarts every function and measures it, then `tasks` alone, then the handlers with the events of those tasks.
async fn measure_turn(
    arguments: &Arguments,
    build: &Path,
    title: &str,
    Setting { topology, product, .. }: &Setting,
) -> anyhow::Result<Vec<Measured>> {
    let mut measured = Vec::new();
    let functions = topology.functions.iter().filter(|function| root().join(build).join(&function.name).exists());
    let functions: Vec<_> = functions.collect();
    block_in_place(|| {
        for function in &functions {
            let starts = (0..STARTS).map(|_| footprint::start(function)).collect::<anyhow::Result<Sample>>()?;
            measured.push((format!("`{}`: exec → 200 of `/healthz`, ms", function.name), starts.median(), false));
        }
        topology.functions.iter().try_for_each(|function| function.process.wait_ready(LIMIT))
    })?;
    sleep(Duration::from_secs(2)).await;
    for function in functions {
        let megabytes = footprint::resident(&function.process)? as f64 / 1e6;
        measured.push((format!("`{}`: memory, idle, MB", function.name), megabytes, false));
    }

    // Nothing else takes the processor from `tasks` while the sidecars of the handlers are paused.
    let handlers = topology.functions.iter().filter(|function| function.name != "tasks");
    let sidecars: Vec<_> = handlers.filter_map(|function| Some(&function.daprd.as_ref()?.process)).collect();
    sidecars.iter().for_each(|sidecar| sidecar.pause());
    let count = arguments.tasks.into();
    let began = Instant::now();
    let created = pace::steadily(count, AT_WILL, |index| product.create(title, index, None)).await;
    let took = began.elapsed().as_secs_f64();
    sidecars.iter().for_each(|sidecar| sidecar.resume());
    created?;
    measured.push(("`tasks`: tasks created per second".to_owned(), count as f64 / took, true));

    product.wait_for("handled events", &format!("select count(*) {HANDLED}"), title, count, LIMIT).await?;
    let span = format!("select min(processed_at), max(processed_at) {HANDLED}");
    let (first, last): (DateTime<Utc>, DateTime<Utc>) =
        sqlx::query_as(AssertSqlSafe(span)).bind(pattern(title)).fetch_one(&product.db).await?;
    let rate = count as f64 / (last - first).as_seconds_f64();
    measured.push(("`task-created`: events handled per second, from Kafka through daprd".to_owned(), rate, true));
    settled(&product.db, None, LIMIT).await?;
    Ok(measured)
}

fn table(results: &BTreeMap<String, ([Vec<f64>; 2], bool)>) -> (String, Vec<String>) {
    let mut table =
        "| | before: median | after: median | after ÷ before: min | median | max |\n|---|--:|--:|--:|--:|--:|\n"
            .to_owned();
    let (mut apart, mut missed) = (String::new(), Vec::new());
    for (what, ([before, after], more_is_better)) in results {
        let [old, new] = [before, after].map(|values| values.iter().copied().collect::<Sample>());
        if before.is_empty() || after.is_empty() {
            let only = if before.is_empty() { &new } else { &old };
            let _ = writeln!(apart, "| {what} | {:.2} | {:.2} | {:.2} |", only.min(), only.median(), only.max());
            continue;
        }
        let ratios: Sample = before.iter().zip(after).map(|(before, after)| after / before).collect();
        let [min, median, max] = [ratios.min(), ratios.median(), ratios.max()];
        let _ = writeln!(
            table,
            "| {what} | {:.2} | {:.2} | {min:.3} | {median:.3} | {max:.3} |",
            old.median(),
            new.median()
        );
        let worse = if *more_is_better { 1.0 / median } else { median };
        if worse > MARGIN {
            missed.push(format!("{what}: after ÷ before is {median:.3}"));
        }
    }
    if !apart.is_empty() {
        table = format!("{table}\n| in one build only | min | median | max |\n|---|--:|--:|--:|\n{apart}");
    }
    (table, missed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_worse_median_misses_the_bound_and_a_new_function_is_listed_apart() {
        let results = BTreeMap::from([
            ("larger".to_owned(), ([vec![10.0, 20.0, 10.0], vec![11.0, 22.0, 10.0]], false)),
            ("smaller".to_owned(), ([vec![10.0; 3], vec![5.0; 3]], false)),
            ("slower".to_owned(), ([vec![10.0; 3], vec![9.0; 3]], true)),
            ("faster".to_owned(), ([vec![10.0; 3], vec![12.0; 3]], true)),
            ("new".to_owned(), ([vec![], vec![1.0, 3.0, 2.0]], false)),
        ]);
        let (table, missed) = table(&results);
        assert_eq!(missed, ["larger: after ÷ before is 1.100", "slower: after ÷ before is 0.900"]);
        assert!(table.contains("| larger | 10.00 | 11.00 | 1.000 | 1.100 | 1.100 |\n"), "{table}");
        assert!(
            table.ends_with(
                "| in one build only | min | median | max |\n|---|--:|--:|--:|\n| new | 1.00 | 2.00 | 3.00 |\n"
            ),
            "{table}"
        );
    }
}
