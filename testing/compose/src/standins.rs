//! Images under the names that the compose file uses, for a machine without a container registry. They are made of what package registries
//! have: Debian's packages, the Go modules of Dapr, Mailpit and BuildKit, and Apache Kafka.
//!
//! They do not test: Redpanda (Kafka runs behind its flags and four `rpk` commands), the published images of Dapr, PostgreSQL and
//! distroless, the Dockerfile's stage that compiles (the functions are this machine's, with glibc), the dashboard and Mailpit's page.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use anyhow::Context as _;
use catalogue::FUNCTIONS;
use lab::{
    dapr, dev, kafka,
    progress::{self, say},
    root,
    tools::{self, version},
};
use serde_json::json;

use crate::{docker::Docker, engine};

/// The image of the root file system of Debian.
const DEBIAN: &str = "punctual/debian:stand-in";
/// The Debian packages in the images.
const PACKAGES: &str = "busybox-static,ca-certificates,gosu,openjdk-21-jre-headless,postgresql-17,tzdata";
const BUILD: Duration = Duration::from_secs(300);

/// The installed parts.
pub(crate) struct Parts {
    /// The unpacked engine.
    pub(crate) engine: PathBuf,
    /// The plugin of Docker that builds, if not the engine's.
    pub(crate) buildx: Option<PathBuf>,
    debian: PathBuf,
    /// Folders by the names that `standins/Dockerfile` gives them.
    contexts: [(&'static str, PathBuf); 4],
}

impl Parts {
    /// Finds or installs the parts. A newer Docker Compose needs a newer plugin than Debian's.
    pub(crate) fn install(dir: &Path, newer_buildx: bool) -> anyhow::Result<Self> {
        // Quick ones first, so that a missing prerequisite is reported before the long builds.
        let engine = engine::unpacked(dir)?;
        let jars = kafka::jars()?;
        let debian = dir.join("debian");
        let release = engine::RELEASE;
        tools::pinned(&debian, &format!("{release} {PACKAGES}"), || {
            let _ = fs::remove_dir_all(dir.join("data")); // images of the former one
            let mut bootstrap = Command::new("mmdebstrap");
            bootstrap.args(["--variant=minbase".to_owned(), format!("--include={PACKAGES}")]);
            progress::run("Debian for the images", bootstrap.arg(release).arg(debian.join("base.tar")))
        })?;
        let buildx = newer_buildx.then(buildx).transpose()?;
        let mailpit = tools::go_program("mailpit", "github.com/axllent/mailpit", version("MAILPIT_VERSION"), ".", &[])?;
        let frontend = "./frontend/dockerfile/cmd/dockerfile-frontend";
        let frontend = tools::go_program("dockerfile-frontend", "github.com/moby/buildkit", buildkit(), frontend, &[])?;
        let daprd = dapr::binaries()?.daprd;
        let folder = |program: PathBuf| program.parent().map(PathBuf::from).unwrap_or_default();
        let contexts = [
            ("go-dapr", folder(daprd)),
            ("go-frontend", folder(frontend)),
            ("jars", jars),
            ("go-mailpit", folder(mailpit)),
        ];
        Ok(Self { engine, buildx, debian, contexts })
    }

    /// Builds the images.
    pub(crate) async fn build(&self, docker: &Docker) -> anyhow::Result<()> {
        let tar = self.debian.join("base.tar").display().to_string();
        // Imported again it would be another image, and everything would be built again.
        if docker.docker(&["image", "inspect", DEBIAN]).await.is_err() {
            docker.docker_for(&["import", &tar, DEBIAN], BUILD).await?;
        }
        let folder = root().join("testing/compose/standins").display().to_string();
        let contexts: Vec<String> =
            self.contexts.iter().map(|(name, folder)| format!("--build-context={name}={}", folder.display())).collect();
        for (target, image) in images() {
            let mut arguments = vec!["buildx", "build", "--quiet", "--load", "--target", target, "--tag", &image];
            arguments.extend(contexts.iter().map(String::as_str));
            arguments.push(&folder);
            docker.docker_for(&arguments, BUILD).await?;
        }
        Ok(())
    }
}

/// The targets of `standins/Dockerfile`, and the images for which they stand in.
fn images() -> [(&'static str, String); 9] {
    [
        ("busybox", format!("busybox:{}", version("BUSYBOX_VERSION"))),
        ("daprd", format!("ghcr.io/dapr/daprd:{}", version("DAPR_VERSION"))),
        ("dashboard", format!("daprio/dashboard:{}", version("DAPR_DASHBOARD_VERSION"))),
        ("distroless", "gcr.io/distroless/static-debian12:debug-nonroot".to_owned()),
        ("frontend", "docker/dockerfile:1".to_owned()),
        ("mailpit", format!("axllent/mailpit:{}", version("MAILPIT_VERSION"))),
        ("postgres", format!("postgres:{}", version("POSTGRES_VERSION"))),
        ("redpanda", format!("docker.redpanda.com/redpandadata/redpanda:{}", version("REDPANDA_VERSION"))),
        ("scheduler", format!("ghcr.io/dapr/scheduler:{}", version("DAPR_VERSION"))),
    ]
}

/// The version of BuildKit whose parser checks the Dockerfile; its frontend builds it here.
fn buildkit() -> &'static str {
    let module = include_str!("../../../infra/check/go.mod");
    let version = module.lines().find_map(|line| line.trim().strip_prefix("github.com/moby/buildkit "));
    version.and_then(|version| version.split(' ').next()).expect("infra/check/go.mod names BuildKit")
}

/// Docker's plugin that builds, built by Go.
fn buildx() -> anyhow::Result<PathBuf> {
    let (version, module) = (version("DOCKER_BUILDX_VERSION"), "github.com/docker/buildx");
    let named = format!("-X {module}/version.Version={version}");
    tools::go_program("buildx", module, version, "./cmd/buildx", &["-ldflags", &named])
}

/// Docker Compose of a version, built by Go.
pub(crate) fn compose(version: &str) -> anyhow::Result<PathBuf> {
    let major = version.split('.').next().context("a version of Docker Compose begins with its major version")?;
    let module = format!("github.com/docker/compose/{major}");
    let named = format!("-X {module}/internal.Version={version}");
    tools::go_program(&format!("compose-{version}"), &module, version, "./cmd", &["-ldflags", &named])
}

/// Writes the file by which Compose takes the functions from a folder of binaries, in place of the Dockerfile's stage that compiles.
pub(crate) fn overrides(dir: &Path, built: &Path) -> anyhow::Result<PathBuf> {
    let binaries = dir.join("binaries");
    let _ = fs::remove_dir_all(&binaries);
    let architecture = if env::consts::ARCH == "aarch64" { "arm64" } else { "amd64" };
    fs::create_dir_all(binaries.join(architecture))?;
    let certificates = Path::new("/etc/ssl/certs/ca-certificates.crt");
    fs::copy(certificates, binaries.join("ca-certificates.crt")).context("the package ca-certificates is missing")?;
    let names: Vec<&str> = FUNCTIONS.iter().map(|function| function.name).chain(["migrate"]).collect();
    for name in &names {
        let (from, to) = (built.join(name), binaries.join(architecture).join(name));
        fs::hard_link(&from, &to)
            .or_else(|_| fs::copy(&from, &to).map(drop))
            .with_context(|| format!("cannot copy {}", from.display()))?;
    }
    // RUST=scratch: BuildKit asks for the base image of the stage that compiles, although it does not build that stage.
    let build = json!({ "build": { "additional_contexts": { "binaries": binaries }, "args": { "RUST": "scratch" } } });
    let services: serde_json::Map<String, serde_json::Value> =
        names.iter().map(|name| ((*name).to_owned(), build.clone())).collect();
    let file = dir.join("override.yaml");
    fs::write(&file, json!({ "services": services }).to_string())?;
    say(format!("{} functions from {}", names.len(), built.display()));
    Ok(file)
}

/// The folder of a run: logs, and what is kept for the next one.
pub(crate) fn dir() -> PathBuf {
    dev().join("compose-test")
}
