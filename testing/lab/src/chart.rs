//! Tools that check the Helm chart: Helm, and a program that validates manifests as the API server and webhooks do.
//!
//! Helm 3 is used if installed, else built with Go into `.dev/`, like the validator.

use std::{path::PathBuf, process::Command};

use crate::{dev, progress, progress::quietly, root, tools};

const HELM: &str = "v3.18.4";

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
    let go = tools::require("go", "Go 1.26.4 or newer (https://go.dev/dl)")?;
    let installed = tools::on_path("helm").filter(|helm| {
        quietly(Command::new(helm).args(["version", "--short"])).is_ok_and(|says| says.starts_with("v3."))
    });
    let helm = match installed {
        Some(helm) => helm,
        None => {
            let dir = dev().join("helm");
            tools::pinned(&dir, HELM, || {
                let package = format!("helm.sh/helm/v3/cmd/helm@{HELM}");
                let mut build = Command::new(&go);
                build
                    .args(["install", "-trimpath", &package])
                    .env("GOBIN", &dir)
                    .env("CGO_ENABLED", "0")
                    .env("GOFLAGS", "");
                progress::run("building Helm", &mut build)
            })?;
            dir.join("helm")
        }
    };
    let source = root().join("knative/validate");
    let dir = dev().join("validate");
    let pin = tools::pin_of(&["go.mod", "go.sum", "main.go"].map(|file| source.join(file)))?;
    tools::pinned(&dir, &pin, || {
        let mut build = Command::new(&go);
        build.args(["build", "-mod=readonly", "-buildvcs=false", "-trimpath", "-o"]).arg(&dir).arg(".");
        progress::run(
            "building the validator of manifests",
            build.env("CGO_ENABLED", "0").env("GOFLAGS", "").current_dir(&source),
        )
    })?;
    Ok(Tools { helm, validate: dir.join("validate"), crds: dapr_module(&go)?.join("charts/dapr/crds") })
}

/// The folder of the Dapr Go module from which `dapr/runtime` is built.
fn dapr_module(go: &PathBuf) -> anyhow::Result<PathBuf> {
    let ask = |arguments: &[&str]| {
        quietly(Command::new(go).args(arguments).arg("github.com/dapr/dapr").current_dir(root().join("dapr/runtime")))
    };
    ask(&["mod", "download"])?;
    Ok(PathBuf::from(ask(&["list", "-m", "-f", "{{.Dir}}"])?.trim()))
}
