//! `cargo xtask fuzz`: builds `testing/fuzz` with coverage instrumentation and runs it under libFuzzer. An input that makes a target
//! panic, hang or exhaust memory fails the run and is kept.
//!
//! This needs only the stable toolchain, not `cargo fuzz`. Only the workspace's own crates are instrumented (`testing/fuzz/rustc`),
//! including generic code of dependencies that they instantiate, such as JSON parsers. Dependencies are shared with ordinary
//! builds, which keeps this build short.

use std::{
    collections::BTreeSet,
    env,
    fs::{self, File},
    path::{Path, PathBuf},
    process::Command,
    sync::{Mutex, PoisonError},
    thread,
    time::Instant,
};

use anyhow::{Context as _, bail, ensure};

use lab::{cargo, dev, progress::say, root, tools, topology::target_dir};

/// No parser needs longer inputs. The timeout is far above the slowest input, even on a busy machine.
const LIMITS: [&str; 3] = ["-max_len=8192", "-timeout=20", "-rss_limit_mb=1024"];

/// The arguments of `fuzz`.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Run only this target, a file in testing/fuzz/src/targets
    #[arg(long)]
    target: Option<String>,
    /// Seconds per target
    #[arg(long, default_value_t = 20)]
    seconds: u32,
    /// Run the target once on this input, such as one that was found
    #[arg(long, requires = "target")]
    input: Option<PathBuf>,
}

/// Builds the fuzzer and runs the targets, one per processor at a time.
pub(crate) fn fuzz(arguments: &Arguments) -> anyhow::Result<()> {
    let targets = targets()?;
    if let Some(target) = &arguments.target {
        let known = targets.iter().map(String::as_str).collect::<Vec<_>>().join(", ");
        ensure!(targets.contains(target), "there is no target {target}; there are {known}");
    }
    let fuzzer = build()?;
    if let (Some(target), Some(input)) = (&arguments.target, &arguments.input) {
        let input = input.canonicalize().with_context(|| format!("cannot read {}", input.display()))?;
        let status = Command::new(fuzzer).env("FUZZ_TARGET", target).args(LIMITS).arg(input).status()?;
        ensure!(status.success(), "{target} fails on this input");
        return Ok(());
    }

    let chosen: Vec<&String> =
        targets.iter().filter(|name| arguments.target.as_ref().is_none_or(|wanted| wanted == *name)).collect();
    let (waiting, found) = (Mutex::new(chosen.into_iter()), Mutex::new(Vec::new()));
    let next = || waiting.lock().unwrap_or_else(PoisonError::into_inner).next();
    thread::scope(|scope| {
        for _ in 0..thread::available_parallelism().map_or(1, usize::from) {
            scope.spawn(|| {
                while let Some(name) = next() {
                    match run(&fuzzer, name, arguments.seconds) {
                        Ok(told) => say(format!("{name}: {told}")),
                        Err(error) => {
                            say(format!("{name}: {error:#}"));
                            found.lock().unwrap_or_else(PoisonError::into_inner).push(name.clone());
                        }
                    }
                }
            });
        }
    });
    let found = found.into_inner().unwrap_or_else(PoisonError::into_inner);
    ensure!(found.is_empty(), "failed: {}", found.join(", "));
    Ok(())
}

/// The names of the targets, which are those of their files.
fn targets() -> anyhow::Result<BTreeSet<String>> {
    let folder = root().join("testing/fuzz/src/targets");
    let names =
        fs::read_dir(folder)?.map(|file| Ok(file?.path().file_stem().unwrap_or_default().display().to_string()));
    names.collect()
}

/// Builds the instrumented fuzzer. With `--workspace`, dependencies have the same features as in ordinary builds and are reused.
fn build() -> anyhow::Result<PathBuf> {
    if env::var_os("CXX").is_none() {
        tools::require("c++", "a C++ compiler (Debian: apt-get install g++)")?;
    }
    say("building the fuzzer");
    let arguments = ["build", "--locked", "--workspace", "--bin", "fuzz", "--features", "fuzz/libfuzzer"];
    cargo::run(&arguments, |build| {
        build
            .env("RUSTC_WORKSPACE_WRAPPER", root().join("testing/fuzz/rustc"))
            .env("CARGO_INCREMENTAL", "0")
            .env("SQLX_OFFLINE", "true")
    })?;
    Ok(target_dir().join("debug/fuzz"))
}

/// Runs a target; returns a summary.
fn run(fuzzer: &Path, name: &str, seconds: u32) -> anyhow::Result<String> {
    let folder = dev().join("fuzz").join(name);
    let (corpus, found, log) = (folder.join("corpus"), folder.join("found"), folder.join("log"));
    for folder in [&corpus, &found] {
        fs::create_dir_all(folder)?;
    }
    let begun = Instant::now();
    let output = File::create(&log)?;
    let status = Command::new(fuzzer)
        .env("FUZZ_TARGET", name)
        .env("FUZZ_CORPUS", &corpus)
        .env("FUZZ_WORDS", folder.join("words"))
        .args(LIMITS)
        .arg("-print_final_stats=1")
        .arg(format!("-max_total_time={seconds}"))
        .arg(format!("-dict={}", folder.join("words").display()))
        .arg(format!("-artifact_prefix={}/", found.display()))
        .arg(&corpus)
        .stdout(output.try_clone()?)
        .stderr(output)
        .status()?;
    let told = String::from_utf8_lossy(&fs::read(&log)?).into_owned();
    if !status.success() {
        let took = begun.elapsed().as_secs();
        let input = told.lines().find_map(|line| line.split_once("Test unit written to ")).map(|(_, path)| path);
        let input = input.with_context(|| format!("the fuzzer did not start: see {}", log.display()))?;
        bail!("{}, after {took} s, by {input}: see {}", finding(&told), log.display());
    }
    let first = covered(&told, "INITED").context("no coverage: the build is not instrumented")?;
    let last = covered(&told, "DONE").context("the fuzzer did not finish")?;
    let stat = |name: &str| {
        let line = told.lines().find_map(|line| line.strip_prefix("stat::")?.strip_prefix(name));
        line.and_then(|rest| rest.trim_start_matches(':').trim().parse::<u64>().ok()).unwrap_or_default()
    };
    let (inputs, rate) = (stat("number_of_executed_units"), stat("average_exec_per_sec"));
    Ok(format!("{inputs} inputs, {rate} a second, {last} branches reached ({first} at first), nothing found"))
}

/// The number of covered edges in the line of an event: `#2 INITED cov: 1234 ft: …`.
fn covered(told: &str, event: &str) -> Option<u64> {
    let line = told.lines().find(|line| line.starts_with('#') && line.contains(event))?;
    line.split_once("cov: ")?.1.split(' ').next()?.parse().ok()
}

/// The reason of a failure in a line: the panic message, else libFuzzer's error.
fn finding(told: &str) -> String {
    let mut lines = told.lines();
    if let Some(at) = lines.by_ref().find(|line| line.starts_with("thread '") && line.contains("panicked at")) {
        let place = at.split_once("panicked at ").map_or(at, |(_, place)| place.trim_end_matches(':'));
        return format!("panicked at {place}: {}", lines.next().unwrap_or_default());
    }
    let error = told.lines().find_map(|line| line.split_once("ERROR: libFuzzer: "));
    error.map_or("unknown failure".to_owned(), |(_, error)| error.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn libfuzzers_output_is_parsed() {
        let told = "#2\tINITED cov: 812 ft: 813 corp: 1/1b exec/s: 0 rss: 44Mb\n#900\tNEW    cov: 830 ft: 835\n\
                    #1000\tDONE   cov: 840 ft: 901 corp: 9/1Kb\n";
        assert_eq!((covered(told, "INITED"), covered(told, "DONE")), (Some(812), Some(840)));
        assert_eq!(covered("INFO: no interesting inputs were found", "INITED"), None);
        let panicked =
            "x\nthread '<unnamed>' (7) panicked at shared/src/event.rs:7:9:\nindex out of bounds\nnote: run with";
        assert_eq!(finding(panicked), "panicked at shared/src/event.rs:7:9: index out of bounds");
        assert_eq!(finding("==7== ERROR: libFuzzer: timeout after 20 seconds"), "timeout after 20 seconds");
    }
}
