//! Dapr on this machine: the scheduler, and one daprd per app-id.
//!
//! An installed pair of binaries is used if it is not older than the version that is deployed. Otherwise Go builds them from
//! `dapr/runtime` into `.dev/bin`, or without Kubernetes and the components for servers into `.dev/bin/in-memory`. A scheduler whose clock is moved is always built, into `.dev/bin/clock`.

use std::{
    env,
    ffi::OsStr,
    fs,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use catalogue::{CALLS, Function};

use crate::{
    clocks, dev, http,
    links::Links,
    ports,
    process::{Process, Program, READY, Ready, Run},
    progress::{self, quietly},
    root, tools,
};

/// The time that daprd gives calls in flight when it shuts down.
const GRACE_SECONDS: u32 = 10;

/// The two programs.
#[derive(Clone, Debug)]
pub struct Binaries {
    /// The sidecar.
    pub daprd: PathBuf,
    /// Stores and fires jobs.
    pub scheduler: PathBuf,
}

/// What the programs are built from, beside the modules.
const SOURCES: [&str; 2] = ["dapr/runtime/daprd", "dapr/runtime/scheduler"];
/// What replaces the clients of Kubernetes in a build for `cargo xtask up`.
const IN_MEMORY: &str = "dapr/runtime/in-memory";

/// Finds the programs, or builds them with all components that `dapr/` uses.
pub fn binaries() -> anyhow::Result<Binaries> {
    // `-s` and `-w` drop the debug information, so the compiler need not write it.
    installed().map_or_else(|| built(&dev().join("bin"), &pin(&SOURCES)?, "off", &["-gcflags=all=-dwarf=false"]), Ok)
}

/// Like [`binaries`], but builds only components that need no server, and no client of Kubernetes: half of it. Takes the whole
/// where only that is built.
pub fn in_memory_binaries() -> anyhow::Result<Binaries> {
    let [daprd, scheduler] = SOURCES;
    let (all, half) = (dev().join("bin"), dev().join("bin/in-memory"));
    let half_pin = pin(&[daprd, scheduler, IN_MEMORY])?;
    if !tools::is_pinned(&half, &half_pin) && tools::is_pinned(&all, &pin(&SOURCES)?) {
        return binaries();
    }
    let build = || {
        let work = root().join(IN_MEMORY).join("go.work");
        // Without inlining the compiler takes a third less time. A few reminders do not need it.
        built(&half, &half_pin, work, &["-tags", "in_memory", "-gcflags=all=-l -dwarf=false"])
    };
    installed().map_or_else(build, Ok)
}

/// Builds the programs in the Go workspace `work`.
fn built(bin: &Path, pin: &str, work: impl AsRef<OsStr>, arguments: &[&str]) -> anyhow::Result<Binaries> {
    tools::pinned(bin, pin, || {
        let go = tools::go()?;
        tools::require("git", "git (Debian: apt-get install git)")?;
        progress::say(format!(
            "no Dapr on this machine: building {} from its Go module, 2 to 6 minutes the first time",
            version()
        ));
        progress::run(
            "building daprd and scheduler",
            Command::new(go)
                .args(["build", "-v"])
                .args(flags())
                .args(arguments)
                .arg("-o")
                .arg(bin)
                .args(["./daprd", "./scheduler"])
                .env("CGO_ENABLED", "0")
                .env("GOFLAGS", "")
                .env("GOWORK", work)
                // The compiler's own garbage collector, a tenth of its time by default.
                .env("GOGC", "400")
                .current_dir(root().join("dapr/runtime")),
        )
    })?;
    Ok(Binaries { daprd: bin.join("daprd"), scheduler: bin.join("scheduler") })
}

/// Builds the scheduler whose clock is moved by the environment. Only the gauntlet uses it.
pub fn movable_scheduler() -> anyhow::Result<PathBuf> {
    let dir = dev().join("bin/clock");
    tools::pinned(&dir, &pin(&["dapr/runtime/scheduler", "testing/lab/clock"])?, || {
        tools::go()?;
        let mut build = Command::new(root().join("testing/lab/clock/build.sh"));
        build.arg(&dir).args(flags()).env("CGO_ENABLED", "0").env("GOFLAGS", "");
        progress::run("building a scheduler whose clock is moved", &mut build)
    })?;
    Ok(dir.join("scheduler"))
}

/// A pin of the versions in `dapr/runtime` and of what is in these folders.
fn pin(folders: &[&str]) -> anyhow::Result<String> {
    let source = root().join("dapr/runtime");
    let mut files = vec![source.join("go.mod"), source.join("go.sum")];
    for folder in folders {
        add(&root().join(folder), &mut files)?;
    }
    Ok(format!("{} {}", version(), tools::pin_of(&files)?))
}

/// Adds the files of a folder and of the folders in it, in order.
fn add(folder: &Path, files: &mut Vec<PathBuf>) -> anyhow::Result<()> {
    let entries = fs::read_dir(folder)?;
    let mut own = entries.map(|entry| Ok(entry?.path())).collect::<anyhow::Result<Vec<_>>>()?;
    own.sort();
    for path in own {
        if path.is_dir() {
            add(&path, files)?;
        } else {
            files.push(path);
        }
    }
    Ok(())
}

/// Arguments of `go build`.
fn flags() -> [String; 5] {
    let version = format!("-s -w -X github.com/dapr/dapr/pkg/buildinfo.version={}", version());
    ["-mod=readonly", "-buildvcs=false", "-trimpath", "-ldflags", &version].map(str::to_owned)
}

fn version() -> &'static str {
    tools::version("DAPR_VERSION")
}

/// The pair on PATH or of the Dapr CLI, if it is not older than the deployed version.
fn installed() -> Option<Binaries> {
    let path = env::var_os("PATH").unwrap_or_default();
    let cli = env::var_os("HOME").map(|home| PathBuf::from(home).join(".dapr/bin"));
    env::split_paths(&path).chain(cli).find_map(|dir| installed_in(&dir))
}

fn installed_in(dir: &Path) -> Option<Binaries> {
    let pair = Binaries { daprd: dir.join("daprd"), scheduler: dir.join("scheduler") };
    if !pair.daprd.is_file() || !pair.scheduler.is_file() {
        return None;
    }
    let found = quietly(Command::new(&pair.daprd).arg("--version")).ok()?;
    is_new_enough(&found, version()).then_some(pair)
}

fn is_new_enough(found: &str, oldest: &str) -> bool {
    let numbers = |version: &str| -> Option<[u32; 3]> {
        let mut parts = version.trim().trim_start_matches('v').split(['.', '-']).map(|part| part.parse().ok());
        Some([parts.next()??, parts.next()??, parts.next()??])
    };
    numbers(found).is_some_and(|found| Some(found) >= numbers(oldest))
}

/// A running scheduler. It stores jobs in `<run>/scheduler`.
#[derive(Debug)]
pub struct Scheduler {
    /// Its process.
    pub process: Process,
    /// The port for daprds.
    pub port: u16,
    data: PathBuf,
}

impl Scheduler {
    /// Starts it.
    pub fn launch(run: &Run, binaries: &Binaries, links: Option<&Links>) -> anyhow::Result<Self> {
        Self::launch_with(run, binaries, links, 0)
    }

    /// [`Scheduler::launch`], with a clock that is ahead by seconds, or behind if negative.
    pub fn launch_with(run: &Run, binaries: &Binaries, links: Option<&Links>, ahead: i64) -> anyhow::Result<Self> {
        let path = if ahead == 0 { binaries.scheduler.clone() } else { movable_scheduler()? };
        let data = run.dir.join("scheduler");
        let port = ports::free();
        let shown = links.map_or(Ok(port), |links| links.to("scheduler", port))?;
        let program = Program::new("scheduler", path)
            .env(clocks::VARIABLE, format!("{ahead}s"))
            .args(["--listen-address=127.0.0.1".to_owned(), format!("--port={port}")])
            .args(["--healthz-listen-address=127.0.0.1".to_owned(), format!("--healthz-port={}", ports::free())])
            .args(["--enable-metrics=false".to_owned(), format!("--etcd-data-dir={}", data.display())])
            .args([format!("--etcd-client-port={}", ports::free())])
            .args([format!("--etcd-initial-cluster=dapr-scheduler-server-0=http://localhost:{}", ports::free())])
            .args([format!("--override-broadcast-host-port=127.0.0.1:{shown}")])
            .args(["--log-level=warn"])
            // Its health check passes at once, but it accepts no job before this log line.
            .ready(Ready::Says("api is ready"));
        Ok(Self { process: Process::spawn(run, program)?, port: shown, data })
    }

    /// Waits until it accepts jobs. After a kill this takes about 20 s, until its previous lease expires.
    pub fn wait_ready(&self) -> anyhow::Result<()> {
        self.process.wait_ready(READY)
    }

    /// Loses every job: kills the scheduler, deletes its data and starts it again.
    pub fn wipe(&self) -> anyhow::Result<()> {
        self.process.kill9();
        fs::remove_dir_all(&self.data)?;
        self.process.start()?;
        self.wait_ready()
    }
}

/// The application of a daprd.
#[derive(Clone, Debug)]
pub struct Application {
    /// Its app-id.
    pub id: String,
    /// The port it listens on.
    pub port: u16,
}

/// The settings that all daprds of a run share.
#[derive(Clone, Debug)]
pub struct Plane {
    /// The program.
    pub daprd: PathBuf,
    /// Folders of components and subscriptions, below `dapr/`.
    pub resources: Vec<&'static str>,
    /// The scheduler's port.
    pub scheduler: u16,
    /// Environment variables: the tokens, and those that components refer to.
    pub env: Vec<(String, String)>,
}

/// A running daprd.
#[derive(Debug)]
pub struct Sidecar {
    /// Its process.
    pub process: Process,
    /// Dapr's HTTP API.
    pub http_port: u16,
    /// Dapr's gRPC API.
    pub grpc_port: u16,
}

/// The ports of a daprd. They are chosen before its start, because its application and other daprds need them.
#[derive(Clone, Copy, Debug)]
pub struct SidecarPorts {
    /// Dapr's HTTP API.
    pub http: u16,
    /// Dapr's gRPC API.
    pub grpc: u16,
    /// Calls of other daprds.
    pub internal: u16,
}

impl SidecarPorts {
    /// Free ports.
    #[must_use]
    pub fn free() -> Self {
        Self { http: ports::free(), grpc: ports::free(), internal: ports::free() }
    }
}

/// The variable of `dapr/local/name-resolution.yaml`: the address of each app-id, as a Go template.
#[must_use]
pub fn name_resolution<'a>(daprds: impl IntoIterator<Item = (&'a str, SidecarPorts)>) -> (String, String) {
    let address = |(id, ports): (&str, SidecarPorts)| {
        format!(r#"{{{{if eq .ID "{id}"}}}}127.0.0.1:{}{{{{end}}}}"#, ports.internal)
    };
    ("NAME_RESOLUTION".to_owned(), daprds.into_iter().map(address).collect())
}

impl Sidecar {
    /// Starts the daprd of `application`.
    pub fn launch(run: &Run, plane: &Plane, application: &Application, ports: SidecarPorts) -> anyhow::Result<Self> {
        let dapr = root().join("dapr");
        let mut program = Program::new(format!("daprd-{}", application.id), &plane.daprd)
            .args([format!("--app-id={}", application.id), format!("--app-port={}", application.port)])
            .args([format!("--dapr-http-port={}", ports.http), format!("--dapr-grpc-port={}", ports.grpc)])
            .args([format!("--dapr-internal-grpc-port={}", ports.internal)])
            .args(["--dapr-listen-addresses=127.0.0.1", "--dapr-internal-grpc-listen-address=127.0.0.1"])
            .args([format!("--scheduler-host-address=127.0.0.1:{}", plane.scheduler)])
            .args(["--placement-host-address=", "--enable-metrics=false", "--log-level=warn"])
            // These endpoints would wake a function at zero. Subscriptions are files, so daprd does not need them.
            .args(["--disable-init-endpoints=config,subscribe"])
            .args([format!(
                "--app-max-concurrency={}",
                Function::named(&application.id).map_or(CALLS, |function| function.calls)
            )])
            .args([format!("--dapr-graceful-shutdown-seconds={GRACE_SECONDS}")])
            .args(
                [&*format!("configurations/{}.yaml", application.id), "local/name-resolution.yaml"]
                    .map(|file| format!("--config={}", dapr.join(file).display())),
            )
            .args(
                plane
                    .resources
                    .iter()
                    .chain(&["resiliency"])
                    .map(|folder| format!("--resources-path={}", dapr.join(folder).display())),
            )
            .env("DAPR_HOST_IP", "127.0.0.1")
            .ready(Ready::Http(ports.http, "/v1.0/healthz"));
        program.env.extend(plane.env.iter().cloned());
        Ok(Self { process: Process::spawn(run, program)?, http_port: ports.http, grpc_port: ports.grpc })
    }

    /// Waits until its API accepts calls. It becomes ready only later, when its application listens.
    pub fn wait_callable(&self, limit: Duration) -> anyhow::Result<()> {
        self.process.wait_until(limit, || {
            http::status(self.http_port, "/v1.0/healthz/outbound").is_ok_and(|status| status == 204)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_app_id_has_the_address_of_its_daprd() {
        let at = |internal| SidecarPorts { http: 1, grpc: 2, internal };
        let (_, template) = name_resolution([("tasks", at(3)), ("alarm", at(4))]);
        assert_eq!(template, r#"{{if eq .ID "tasks"}}127.0.0.1:3{{end}}{{if eq .ID "alarm"}}127.0.0.1:4{{end}}"#);
    }

    #[test]
    fn an_installed_dapr_is_used_unless_it_is_older_than_the_deployed_one() {
        for found in ["1.17.7\n", "v1.17.7", "1.18.1-rc.1", "1.18.0", "2.0.0"] {
            assert!(is_new_enough(found, "1.17.7"), "{found}");
        }
        for found in ["1.17.6", "1.16.9", "edge", "1.17", ""] {
            assert!(!is_new_enough(found, "1.17.7"), "{found}");
        }
        assert!(is_new_enough(version(), version()));
    }
}
