//! Docker and Docker Compose, by their command lines.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs::{File, OpenOptions},
    io::Write as _,
    path::PathBuf,
    process::{Output, Stdio},
    time::Duration,
};

use anyhow::{Context as _, ensure};
use lab::{root, tools, wait};
use serde_json::Value;
use tokio::{process::Command, time::timeout};

/// The file, as the documented commands name it.
const FILE: &str = "compose/docker-compose.dev.yaml";
/// Another name than the file's: a developer's containers and data stay.
const PROJECT: &str = "punctual-compose-test";
/// The compose file sets the `start_interval` of health checks, which older engines refuse.
const OLDEST_ENGINE: [u32; 2] = [25, 0];
/// The compose file has `dockerfile_inline` and merged lists, which older versions of Compose refuse.
const OLDEST_COMPOSE: [u32; 2] = [2, 24];
/// The limit for a command that only asks.
const ASK: Duration = Duration::from_secs(60);

/// How to call Docker.
pub(crate) struct Docker {
    /// The client.
    pub(crate) docker: PathBuf,
    /// A program that is Docker Compose; without it the plugin of the client.
    pub(crate) compose: Option<PathBuf>,
    /// A file that changes settings of the compose file.
    pub(crate) overrides: Option<PathBuf>,
    /// Environment variables for both.
    pub(crate) env: Vec<(String, String)>,
    /// Receives their output.
    pub(crate) log: PathBuf,
}

/// A container of the project.
#[derive(Clone, Debug)]
pub(crate) struct Container {
    pub(crate) id: String,
    /// `running`, `exited`, `restarting` …
    state: String,
    /// Empty without a health check.
    health: String,
    exit_code: i64,
}

impl Container {
    /// Whether the container is running and healthy, or has exited with code 0.
    fn is_well(&self) -> bool {
        match self.state.as_str() {
            "running" => ["", "healthy"].contains(&self.health.as_str()),
            "exited" => self.exit_code == 0,
            _ => false,
        }
    }
}

impl Docker {
    /// Runs `docker`; returns its output.
    pub(crate) async fn docker(&self, arguments: &[&str]) -> anyhow::Result<String> {
        self.docker_for(arguments, ASK).await
    }

    /// [`Docker::docker`] with another limit.
    pub(crate) async fn docker_for(&self, arguments: &[&str], limit: Duration) -> anyhow::Result<String> {
        let mut command = Command::new(&self.docker);
        command.args(arguments);
        self.output(command, &format!("docker {}", arguments.join(" ")), limit).await
    }

    /// Runs `docker compose -f compose/docker-compose.dev.yaml`; returns its output.
    pub(crate) async fn compose(&self, arguments: &[&str], limit: Duration) -> anyhow::Result<String> {
        self.compose_with(arguments, limit, &[]).await
    }

    /// [`Docker::compose`] with variables for the file.
    pub(crate) async fn compose_with(
        &self,
        arguments: &[&str],
        limit: Duration,
        variables: &[(&str, &str)],
    ) -> anyhow::Result<String> {
        let mut command = match &self.compose {
            Some(program) => Command::new(program),
            None => {
                let mut docker = Command::new(&self.docker);
                docker.arg("compose");
                docker
            }
        };
        command.args(["-f", FILE]);
        if let Some(overrides) = &self.overrides {
            command.arg("-f").arg(overrides);
        }
        command.args(arguments).env("COMPOSE_PROJECT_NAME", PROJECT).env("COMPOSE_ANSI", "never");
        // The file's own values: this shell, or a `.env`, may hold those of a real provider.
        command.envs([("EMAIL_PROVIDER", "smtp"), ("SMTP_URL", "smtp://mailpit:1025"), ("JWT_SECRET", "")]);
        command.envs(variables.iter().copied());
        self.output(command, &format!("docker compose {}", arguments.join(" ")), limit).await
    }

    async fn output(&self, mut command: Command, line: &str, limit: Duration) -> anyhow::Result<String> {
        let mut log = OpenOptions::new().create(true).append(true).open(&self.log)?;
        writeln!(log, "$ {line}")?;
        command.current_dir(root()).envs(self.env.iter().map(|(name, value)| (name, value)));
        command.env("BUILDKIT_PROGRESS", "plain").kill_on_drop(true);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let Output { status, stdout, stderr } = timeout(limit, command.output())
            .await
            .with_context(|| format!("`{line}` did not end within {} s", limit.as_secs()))?
            .with_context(|| format!("cannot start `{line}`"))?;
        let (stdout, stderr) = (String::from_utf8_lossy(&stdout), String::from_utf8_lossy(&stderr));
        write!(log, "{stdout}{stderr}")?;
        let said: Vec<&str> = stdout.lines().chain(stderr.lines()).collect();
        let tail = said[said.len().saturating_sub(20)..].join("\n");
        ensure!(status.success(), "`{line}` failed ({status}); {} ends with:\n{tail}", self.log.display());
        Ok(stdout.into_owned())
    }

    /// Checks that both programs are new enough; returns their versions.
    pub(crate) async fn versions(&self) -> anyhow::Result<[String; 2]> {
        let engine =
            self.docker(&["version", "--format", "{{.Server.Version}}"]).await.context("no Docker Engine answers")?;
        let compose = self.compose(&["version", "--short"], ASK).await.context("Docker Compose is missing")?;
        let versions = [engine, compose].map(|version| version.trim().to_owned());
        new_enough("Docker Engine", &versions[0], OLDEST_ENGINE)?;
        new_enough("Docker Compose", &versions[1], OLDEST_COMPOSE)?;
        Ok(versions)
    }

    /// The containers of the project, by service.
    pub(crate) async fn containers(&self) -> anyhow::Result<BTreeMap<String, Container>> {
        let listed = self.compose(&["ps", "--all", "--no-trunc", "--format", "json"], ASK).await?;
        // One object per line.
        let objects = serde_json::Deserializer::from_str(&listed).into_iter::<Value>();
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        objects
            .map(|object| {
                let object = object?;
                let container = Container {
                    id: text(&object["ID"]),
                    state: text(&object["State"]),
                    health: text(&object["Health"]),
                    exit_code: object["ExitCode"].as_i64().unwrap_or_default(),
                };
                Ok((text(&object["Service"]), container))
            })
            .collect()
    }

    /// Waits until every service of the file is well; returns their containers.
    pub(crate) async fn well(&self, limit: Duration) -> anyhow::Result<BTreeMap<String, Container>> {
        let services = self.compose(&["config", "--services"], ASK).await?;
        let services: BTreeSet<String> = services.lines().map(str::to_owned).collect();
        wait::poll("every container is healthy", limit, async || {
            let containers = self.containers().await.map_err(|error| format!("{error:#}"))?;
            let well = |service: &&String| containers.get(*service).is_some_and(Container::is_well);
            let ill: Vec<_> = services.iter().filter(|service| !well(service)).collect();
            if ill.is_empty() {
                return Ok(containers);
            }
            Err(ill.iter().map(|service| format!("{service}: {:?}; ", containers.get(*service))).collect())
        })
        .await
    }

    /// The hash of each service's settings: Compose recreates its container when the hash changes.
    pub(crate) async fn hashes(&self, variables: &[(&str, &str)]) -> anyhow::Result<BTreeMap<String, String>> {
        let hashes = self.compose_with(&["config", "--hash=*"], ASK, variables).await?;
        let pair = |line: &str| line.split_once(' ').map(|(service, hash)| (service.to_owned(), hash.to_owned()));
        Ok(hashes.lines().filter_map(pair).collect())
    }

    /// Kills the main process of a container, as the kernel does when memory runs out. Unlike `docker kill`, this leaves the container to
    /// its restart policy.
    pub(crate) async fn crash(&self, container: &str) -> anyhow::Result<()> {
        let pid = self.docker(&["inspect", "--format", "{{.State.Pid}}", container]).await?;
        let busybox = format!("busybox:{}", tools::version("BUSYBOX_VERSION"));
        let kill = ["run", "--rm", "--network", "none", "--pid", "host", &busybox, "kill", "-9", pid.trim()];
        self.docker(&kill).await.map(drop)
    }

    /// When the main process of a container started.
    pub(crate) async fn started(&self, container: &str) -> anyhow::Result<String> {
        self.docker(&["inspect", "--format", "{{.State.Running}} {{.State.StartedAt}}", container]).await
    }

    /// The volumes of the project.
    pub(crate) async fn volumes(&self) -> anyhow::Result<Vec<String>> {
        let filter = format!("label=com.docker.compose.project={PROJECT}");
        let volumes = self.docker(&["volume", "ls", "--quiet", "--filter", &filter]).await?;
        Ok(volumes.lines().map(str::to_owned).collect())
    }

    /// Writes the state and the logs of all containers beside our own log.
    pub(crate) async fn evidence(&self) -> anyhow::Result<()> {
        let (ps, logs) = (["ps", "--all"], ["logs", "--no-color", "--timestamps"]);
        let mut file = File::create(self.log.with_file_name("containers.log"))?;
        for arguments in [&ps[..], &logs[..]] {
            file.write_all(self.compose(arguments, ASK).await?.as_bytes())?;
        }
        Ok(())
    }
}

fn new_enough(name: &str, version: &str, oldest: [u32; 2]) -> anyhow::Result<()> {
    let mut numbers = version.trim_start_matches('v').split('.').map(str::parse);
    let mut next = || numbers.next().and_then(Result::ok);
    let found = next().zip(next()).map(|(major, minor)| [major, minor]);
    let [major, minor] = oldest;
    ensure!(
        found.is_some_and(|found| found >= oldest),
        "{name} is {version}; the compose file needs {major}.{minor} or newer"
    );
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_engine_that_does_not_know_start_interval_is_refused_with_a_reason() {
        let refused = new_enough("Docker Engine", "20.10.24", OLDEST_ENGINE).unwrap_err().to_string();
        assert_eq!(refused, "Docker Engine is 20.10.24; the compose file needs 25.0 or newer");
        assert!(new_enough("Docker Engine", "24.0.9", OLDEST_ENGINE).is_err());
        assert!(new_enough("Docker Engine", "", OLDEST_ENGINE).is_err());
        for version in ["25.0.0", "26.1.5+dfsg1", "28.2.2"] {
            new_enough("Docker Engine", version, OLDEST_ENGINE).unwrap();
        }
    }

    #[test]
    fn a_compose_that_cannot_read_the_file_is_refused() {
        for version in ["1.29.2", "v2.23.3"] {
            assert!(new_enough("Docker Compose", version, OLDEST_COMPOSE).is_err(), "{version}");
        }
        for version in ["2.24.0", "v2.40.3-desktop.1", "5.5.0"] {
            new_enough("Docker Compose", version, OLDEST_COMPOSE).unwrap();
        }
    }

    #[test]
    fn a_container_is_well_when_it_is_healthy_or_ended_successfully() {
        let well = |state: &str, health: &str, exit_code| {
            Container { id: String::new(), state: state.into(), health: health.into(), exit_code }.is_well()
        };
        assert!(well("running", "healthy", 0) && well("running", "", 0) && well("exited", "", 0));
        assert!(!well("running", "starting", 0) && !well("running", "unhealthy", 0));
        assert!(!well("exited", "", 1) && !well("restarting", "", 0) && !well("created", "", 0));
    }

    /// The test runs what readers of the documentation run.
    #[test]
    fn the_documented_command_is_the_tested_one() {
        let command = format!("docker compose -f {FILE} {}", crate::steps::UP.join(" "));
        for file in ["docs/quickstart.md", "compose/docker-compose.head.yaml"] {
            let text = std::fs::read_to_string(root().join(file)).unwrap();
            assert!(text.lines().any(|line| line.trim_start_matches('#').trim() == command), "{file}: {command}");
        }
    }
}
