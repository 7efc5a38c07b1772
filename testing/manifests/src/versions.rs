//! Writes the versions into the files that cannot read `versions.env`: kustomizations, Terraform and Docker Compose.

use std::{fs, io, path::Path};

use crate::{MARK, Manifest};

/// Files that consist of versions.
const FILES: [(&str, &str); 4] = [
    (
        "infra/images/kustomization.yaml",
        "apiVersion: kustomize.config.k8s.io/v1alpha1
kind: Component
images:
  - { name: axllent/mailpit, newTag: \"${MAILPIT_VERSION}\" }
  - { name: docker.redpanda.com/redpandadata/redpanda, newTag: \"${REDPANDA_VERSION}\" }
  - { name: postgres, newTag: \"${POSTGRES_VERSION}\" }
",
    ),
    (
        "infra/platform/knative/release/kustomization.yaml",
        "apiVersion: kustomize.config.k8s.io/v1beta1
kind: Kustomization
resources:
  - https://github.com/knative/serving/releases/download/knative-v${KNATIVE_VERSION}/serving-core.yaml
  - https://github.com/knative-extensions/net-kourier/releases/download/knative-v${KOURIER_VERSION}/kourier.yaml
",
    ),
    (
        "infra/aks/kubernetes_override.tf",
        "variable \"kubernetes_version\" {\n  default = \"${AKS_KUBERNETES_VERSION}\"\n}\n",
    ),
    (
        "infra/oke/kubernetes_override.tf",
        "variable \"kubernetes_version\" {\n  default = \"${OKE_KUBERNETES_VERSION}\"\n}\n",
    ),
];

pub(crate) fn files(root: &Path) -> io::Result<Vec<Manifest>> {
    let file = |(path, text): (&str, &str)| {
        let text = filled(root, text)?;
        Ok(Manifest { path: path.to_owned(), text: format!("# Written from versions.env {MARK}.\n{text}") })
    };
    FILES.into_iter().map(file).collect()
}

/// The text with each `${NAME_VERSION}` replaced by that version. Other variables are Docker Compose's.
pub(crate) fn filled(root: &Path, text: &str) -> io::Result<String> {
    let versions = fs::read_to_string(root.join("versions.env"))?;
    let named = versions.lines().filter_map(|line| line.split_once('='));
    let text = named.fold(text.to_owned(), |text, (name, version)| text.replace(&format!("${{{name}}}"), version));
    match text.split_once("_VERSION}") {
        None => Ok(text),
        Some((before, _)) => {
            let name = before.rsplit("${").next().unwrap_or_default();
            Err(io::Error::other(format!("versions.env names no {name}_VERSION")))
        }
    }
}
