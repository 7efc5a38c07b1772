//! One run: prepare, run the steps, remove.

use std::{
    env, fs,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use anyhow::bail;
use lab::{api::Api, browser, cargo, process::Run, progress::say, tools, topology::target_dir};
use tokio::signal::unix::{SignalKind, signal};

use crate::{
    Arguments,
    docker::Docker,
    engine::{self, Engine},
    mailpit::Mailpit,
    standins::{self, Parts},
    steps,
};

/// The secret of the compose file's tokens.
const JWT_SECRET: &str = "development-secret-of-32-bytes-or-more";

/// A run of the test.
pub(crate) struct ComposeTest {
    pub(crate) docker: Docker,
    pub(crate) api: Api,
    pub(crate) mailpit: Mailpit,
    /// The limit for `up`, which builds.
    pub(crate) up: Duration,
    /// Where the page is to be visited.
    pub(crate) browser: Option<browser::Parts>,
    started: Instant,
}

impl ComposeTest {
    /// Prints an observation.
    pub(crate) fn say(&self, line: impl AsRef<str>) {
        println!("[{:>4} s] {}", self.started.elapsed().as_secs(), line.as_ref());
    }
}

/// Runs the whole test.
pub(crate) fn run(arguments: &Arguments) -> anyhow::Result<()> {
    let dir = standins::dir();
    let run = Run { dir: dir.clone(), detached: false };
    let logs = dir.join("log");
    let runtime = tokio::runtime::Runtime::new()?;
    let compose = arguments.compose.as_deref().map(standins::compose).transpose()?;
    let browser = arguments.browser.then(browser::Parts::find).transpose()?;
    if !arguments.stand_ins {
        let docker = tools::require("docker", "Docker Engine 25 or newer (https://docs.docker.com/engine/install)")?;
        let docker = Docker { docker, compose, overrides: None, env: Vec::new(), log: empty_log(&logs)? };
        // The first build compiles the workspace and its dependencies in a container.
        return runtime.block_on(test(docker, Duration::from_secs(2400), browser));
    }
    let parts = Parts::install(&dir, compose.is_some())?;
    let Some(binaries) = engine::inside() else {
        let binaries = match &arguments.bin_dir {
            Some(folder) => fs::canonicalize(folder)?,
            None => {
                cargo::build()?;
                target_dir().join("debug")
            }
        };
        return Err(engine::enter(&binaries));
    };
    let log = empty_log(&logs)?;
    let overrides = Some(standins::overrides(&dir, &binaries)?);
    say("starting a Docker Engine");
    let engine = Engine::start(&run, &dir, &parts)?;
    let docker = Docker { docker: engine.docker.clone(), compose, overrides, env: engine.env.clone(), log };
    runtime.block_on(async {
        say("building images that stand in for the published ones");
        parts.build(&docker).await?;
        test(docker, Duration::from_secs(600), browser).await
    })
}

/// The log of Docker's commands, in an empty folder.
fn empty_log(logs: &Path) -> anyhow::Result<PathBuf> {
    let _ = fs::remove_dir_all(logs);
    fs::create_dir_all(logs)?;
    Ok(logs.join("docker.log"))
}

async fn test(docker: Docker, up: Duration, browser: Option<browser::Parts>) -> anyhow::Result<()> {
    let port = env::var("PORT").unwrap_or_else(|_| "8080".to_owned());
    let api = Api::at([format!("http://127.0.0.1:{port}")], JWT_SECRET);
    let test = ComposeTest { docker, api, mailpit: Mailpit::new()?, up, browser, started: Instant::now() };
    let [engine, compose] = test.docker.versions().await?;
    test.say(format!("Docker Engine {engine}, Docker Compose {compose}"));
    steps::remove(&test).await?; // left by a run that was killed
    let outcome = tokio::select! {
        outcome = steps::all(&test) => outcome,
        () = interrupted() => Err(anyhow::anyhow!("interrupted")),
    };
    if let Err(error) = outcome {
        test.say(format!("FAILED: {error:#}"));
        let (evidence, log) = (test.docker.evidence().await, test.docker.log.display());
        test.say(
            evidence.map_or_else(|error| format!("{error:#}"), |()| format!("logs of the containers are beside {log}")),
        );
        steps::remove(&test).await?;
        bail!("the Compose test failed");
    }
    test.say("passed");
    Ok(())
}

/// Returns at Ctrl-C and at SIGTERM.
async fn interrupted() {
    let mut terminate = signal(SignalKind::terminate()).expect("a handler of SIGTERM");
    tokio::select! {
        _ = tokio::signal::ctrl_c() => {}
        _ = terminate.recv() => {}
    }
}
