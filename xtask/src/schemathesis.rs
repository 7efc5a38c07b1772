//! `cargo xtask schemathesis`: sends valid and invalid requests, generated from the OpenAPI document, to a real `tasks` on a real
//! PostgreSQL. Fails on a server error, an undocumented status or content type, or an answer that does not match its schema.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, ensure};
use serde_json::Value;

use lab::{
    cargo::{self, migrate, scratch},
    dev, ports,
    process::{Process, Program, READY, Ready, Run},
    progress::say,
    root, secrets, tools,
    topology::target_dir,
};

const USER: &str = "0198c0de-0000-7000-8000-000000000001";
/// The number of operations in the document, among which the cases are divided.
const OPERATIONS: u32 = 31;

/// The arguments of `schemathesis`.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Minimum number of test cases
    #[arg(long, default_value_t = 20_000)]
    cases: u32,
    /// Seed of the generator; the same seed repeats a run
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

/// A Python with schemathesis, which is installed if missing.
pub(crate) fn python() -> anyhow::Result<PathBuf> {
    tools::venv(&dev().join("schemathesis"), "schemathesis", tools::version("SCHEMATHESIS_VERSION"))
}

/// Runs schemathesis until there were enough cases.
pub(crate) fn schemathesis(arguments: &Arguments) -> anyhow::Result<()> {
    let python = python()?;
    say("building tasks");
    cargo::build()?;
    let postgres = scratch("schemathesis-run")?;
    migrate(&postgres)?;
    let run = Run { dir: dev().join("schemathesis-run"), detached: false };
    let (port, secret) = (ports::free(), secrets::random()?);
    let program = Program::new("tasks", target_dir().join("debug/tasks"))
        .env("DATABASE_URL", postgres.url("punctual"))
        .env("JWT_SECRET", &secret)
        .env("ACTION_KEY", &secret)
        .env("APP_API_TOKEN", secrets::random()?)
        .env("DAPR_GRPC_ENDPOINT", "http://127.0.0.1:9")
        .env("RUST_LOG", "warn,shared::outbox=error")
        .env("PORT", port.to_string())
        // All requests come from one user.
        .env("USER_REQUESTS_PER_SECOND", "10000")
        .env("USER_TAGS", "1000000")
        .env("USER_REMINDERS", "1000000")
        .env("USER_REMINDERS_PER_HOUR", "1000000")
        .env("USER_SENDS_NOW_PER_HOUR", "1000000")
        .ready(Ready::Http(port, "/readyz"));
    let tasks = Process::spawn(&run, program)?;
    tasks.wait_ready(READY)?;

    let mut cases = 0;
    let mut seed = arguments.seed;
    // A run may end with fewer cases than asked for, so continue with other seeds.
    while cases < arguments.cases {
        let wanted = (arguments.cases - cases) / OPERATIONS;
        cases += once(&python, port, &secret, seed, wanted.clamp(10, 1_000))?;
        seed += 1;
        say(format!("{cases} cases, every answer as documented"));
    }
    ensure!(tasks.pid().is_some(), "tasks crashed: see {}", tasks.log().display());
    Ok(())
}

/// One run with a maximum number of examples per operation; returns the number of cases.
fn once(python: &Path, port: u16, secret: &str, seed: u64, examples: u32) -> anyhow::Result<u32> {
    let report = dev().join("schemathesis-run/report.json");
    let _ = fs::remove_file(&report);
    let token = secrets::token(secret, USER, "ada@example.org", true);
    let status = Command::new(python.with_file_name("schemathesis"))
        .arg("--config-file")
        .arg(root().join("testing/schemathesis/schemathesis.toml"))
        .arg("run")
        .arg(format!("http://127.0.0.1:{port}/openapi.json"))
        .args(["--header", &format!("Authorization: Bearer {token}"), "--seed", &seed.to_string()])
        .args(["--max-examples", &examples.to_string(), "--no-shrink", "--workers", "2", "--warnings", "off"])
        .args(["--report", "json", "--report-json-path"])
        .arg(&report)
        .env("PYTHONPATH", root().join("testing/schemathesis"))
        .env("SCHEMATHESIS_HOOKS", "schemathesis_formats")
        .current_dir(dev())
        .status()?;
    let read = || -> anyhow::Result<Value> { Ok(serde_json::from_slice(&fs::read(&report)?)?) };
    let told = read().context("schemathesis wrote no report")?;
    let (counted, failed) = (&told["test_cases"]["generated"], &told["test_cases"]["with_failures"]);
    ensure!(status.success(), "{failed} of {counted} answers were not as documented (seed {seed})");
    counted.as_u64().and_then(|counted| u32::try_from(counted).ok()).context("the report has no count of cases")
}
