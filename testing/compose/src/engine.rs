//! A Docker Engine of its own for Debian, from the packages of a newer release: unpacked, not installed. It runs in namespaces of its own: its
//! ports and packet filter rules meet nobody's, and the kernel ends its containers when this program ends.

use std::{
    env, fs,
    os::unix::{fs::symlink, process::CommandExt as _},
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use anyhow::{Context as _, anyhow, ensure};
use lab::{
    process::{Process, Program, Run},
    progress::{self, quietly},
    tools,
};

use crate::standins::Parts;

/// The Debian release that has Docker Engine 25 or newer.
pub(crate) const RELEASE: &str = "trixie";
const PACKAGES: [&str; 5] = ["docker.io", "docker-cli", "docker-compose", "docker-buildx", "containerd"];
/// Set inside the namespaces, to the folder of binaries.
const INSIDE: &str = "PUNCTUAL_COMPOSE_TEST_INSIDE";
const START: Duration = Duration::from_secs(60);

/// Unpacks the engine into `dir`; returns the folder.
pub(crate) fn unpacked(dir: &Path) -> anyhow::Result<PathBuf> {
    ensure!(tools::is_root(), "--stand-ins starts a Docker Engine, which needs root");
    tools::require("apt-get", "Debian: --stand-ins takes the Docker Engine from its packages")?;
    let programs = [("runc", "runc"), ("iptables", "iptables"), ("ip", "iproute2"), ("mmdebstrap", "mmdebstrap")];
    let missing: Vec<&str> =
        programs.iter().filter(|(name, _)| tools::on_path(name).is_none()).map(|(_, package)| *package).collect();
    if !missing.is_empty() {
        tools::apt(&missing)?;
    }
    let dir = dir.join("engine");
    tools::pinned(&dir, &format!("{RELEASE} {}", PACKAGES.join(" ")), || {
        let mut script = Command::new("bash");
        script.args(["-euo", "pipefail", "-c", include_str!("../standins/unpack.sh"), "unpack.sh"]);
        progress::run("Docker Engine from Debian", script.arg(RELEASE).args(PACKAGES).current_dir(&dir))
    })?;
    Ok(dir.join("root"))
}

/// Inside the namespaces, the folder of binaries that [`enter`] was given.
pub(crate) fn inside() -> Option<PathBuf> {
    env::var_os(INSIDE).map(PathBuf::from)
}

/// Replaces this process by the same program in namespaces of its own, where no network can be reached. Returns only if that fails.
pub(crate) fn enter(binaries: &Path) -> anyhow::Error {
    let mut unshare = Command::new("unshare");
    unshare.args(["--net", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc"]);
    // A shell is the first process there, because that one must collect processes whose parent ended. It calls this program by the name that
    // this process was called by: building the functions may have replaced the file by an equal one since then.
    unshare.args(["sh", "-c", "ip link set lo up && \"$0\" \"$@\"; exit $?"]).args(env::args_os());
    anyhow!(unshare.env(INSIDE, binaries).exec()).context("cannot start unshare")
}

/// A running engine.
pub(crate) struct Engine {
    process: Process,
    /// The client.
    pub(crate) docker: PathBuf,
    /// Environment variables that point the client to this engine.
    pub(crate) env: Vec<(String, String)>,
}

impl Engine {
    /// Starts the unpacked engine. Its images stay in `dir` for the next run.
    pub(crate) fn start(run: &Run, dir: &Path, parts: &Parts) -> anyhow::Result<Self> {
        let root = &parts.engine;
        // Sockets, and ids of processes that are others in these namespaces.
        let state = dir.join("run");
        let _ = fs::remove_dir_all(&state);
        fs::create_dir_all(&state)?;
        let plugins = dir.join("config/cli-plugins");
        let _ = fs::remove_dir_all(&plugins);
        fs::create_dir_all(&plugins)?;
        let packaged = root.join("usr/libexec/docker/cli-plugins");
        symlink(packaged.join("docker-compose"), plugins.join("docker-compose"))?;
        symlink(parts.buildx.clone().unwrap_or(packaged.join("docker-buildx")), plugins.join("docker-buildx"))?;
        let text = |path: &Path| path.display().to_string();
        let socket = format!("unix://{}", text(&dir.join("docker.sock")));
        let path = env::var("PATH").unwrap_or_default();
        let path = format!("{0}/usr/sbin:{0}/usr/bin:{path}", root.display());
        let program = Program::new("dockerd", root.join("usr/sbin/dockerd"))
            .args([format!("--host={socket}"), format!("--data-root={}", text(&dir.join("data")))])
            .args([format!("--exec-root={}", text(&state)), format!("--pidfile={}", text(&state.join("pid")))])
            .env("PATH", path);
        let process = Process::spawn(run, program)?;
        let env = vec![("DOCKER_HOST".to_owned(), socket), ("DOCKER_CONFIG".to_owned(), text(&dir.join("config")))];
        let engine = Self { process, docker: root.join("usr/bin/docker"), env };
        let answers = || quietly(Command::new(&engine.docker).arg("version").envs(engine.env.iter().cloned())).is_ok();
        engine.process.wait_until(START, answers).context("the Docker Engine does not start")?;
        Ok(engine)
    }
}

impl Drop for Engine {
    /// Lets it write its state, which the next run reads.
    fn drop(&mut self) {
        self.process.stop(Duration::from_secs(20));
    }
}
