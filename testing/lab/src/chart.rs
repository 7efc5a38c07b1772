//! The programs that check manifests: Helm, a validator that decides as the API server and the webhooks would, and the check of the
//! compose file.
//!
//! Helm is an installed version 3. Otherwise Go builds it into `.dev/`, as it builds the other two.

use std::{path::PathBuf, process::Command};

use crate::{dev, progress, progress::quietly, root, tools};

/// The programs, and the schemas of Dapr's resources.
#[derive(Clone, Debug)]
pub struct Tools {
    /// Helm.
    pub helm: PathBuf,
    /// `knative/validate`: reads manifests and prints them as JSON.
    pub validate: PathBuf,
    /// The folder of Dapr's CRDs.
    pub crds: PathBuf,
}

/// Finds or builds the programs.
pub fn tools() -> anyhow::Result<Tools> {
    let installed = tools::on_path("helm").filter(|helm| {
        quietly(Command::new(helm).args(["version", "--short"])).is_ok_and(|says| says.starts_with("v3."))
    });
    let helm = match installed {
        Some(helm) => helm,
        None => tools::go_program("helm", "helm.sh/helm/v3", tools::version("HELM_VERSION"), "./cmd/helm", &[])?,
    };
    let validate = built("knative/validate", "validate")?;
    Ok(Tools { helm, validate, crds: tools::module("dapr/runtime", "github.com/dapr/dapr")?.join("charts/dapr/crds") })
}

/// `infra/check`, which reads the compose file and the Dockerfile of a tree with the parsers of Docker Compose and BuildKit.
///
/// # Errors
/// When Go is missing or fails.
pub fn compose_check() -> anyhow::Result<PathBuf> {
    built("infra/check", "check")
}

/// A program of ours in Go, built into `.dev/<name>/<name>`.
fn built(source: &str, name: &str) -> anyhow::Result<PathBuf> {
    let go = tools::go()?;
    let source = root().join(source);
    let dir = dev().join(name);
    let pin = tools::pin_of(&["go.mod", "go.sum", "main.go"].map(|file| source.join(file)))?;
    tools::pinned(&dir, &pin, || {
        let mut build = Command::new(&go);
        build.args(["build", "-mod=readonly", "-buildvcs=false", "-trimpath", "-o"]).arg(&dir).arg(".");
        build.env("CGO_ENABLED", "0").env("GOFLAGS", "").current_dir(&source);
        progress::run(&format!("building {name}"), &mut build)
    })?;
    Ok(dir.join(name))
}
