//! Helm, and the validator behind it.

use std::{
    io::Write as _,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::OnceLock,
};

use lab::{chart, root, tools::version};
use serde_json::Value;

/// What every installation must give.
pub(crate) const GIVEN: &[&str] = &[
    "--set",
    "image.registry=registry.example.com/punctual,email.from=reminders@example.com",
    "--set",
    r"broker.env.KAFKA_BROKERS=kafka-0:9092\,kafka-1:9092",
];
/// The namespace it is rendered for.
pub(crate) const NAMESPACE: &str = "punctual";

fn tools() -> &'static chart::Tools {
    static TOOLS: OnceLock<chart::Tools> = OnceLock::new();
    TOOLS.get_or_init(|| chart::tools().unwrap_or_else(|error| panic!("{error:#}")))
}

/// The folder of the chart.
pub(crate) fn folder() -> PathBuf {
    root().join("knative/chart")
}

/// A file of the Go module that Dapr is built from.
pub(crate) fn of_dapr(path: &str) -> String {
    let module = tools().crds.ancestors().nth(3).unwrap();
    std::fs::read_to_string(module.join(path)).unwrap()
}

/// What `helm lint` or `helm template` says, or its complaint.
pub(crate) fn helm(command: &str, arguments: &[&str]) -> Result<String, String> {
    helm_in(&folder(), command, arguments)
}

/// The same of a chart in another folder.
pub(crate) fn helm_in(folder: &Path, command: &str, arguments: &[&str]) -> Result<String, String> {
    let mut helm = Command::new(&tools().helm);
    helm.arg(command).args((command == "template").then_some("punctual")).arg(".");
    helm.args(["--namespace", NAMESPACE, "--kube-version", version("OKE_KUBERNETES_VERSION")]).args(arguments);
    let output = helm.current_dir(folder).output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    if output.status.success() { Ok(text(output.stdout)) } else { Err(text(output.stderr) + &text(output.stdout)) }
}

/// What the chart renders, validated.
pub(crate) fn render(arguments: &[&str]) -> Vec<Value> {
    let manifests = helm("template", &[GIVEN, arguments].concat());
    validate(&manifests.unwrap_or_else(|error| panic!("{arguments:?}: {error}")))
}

/// Manifests as the cluster reads them; panics where it would refuse them.
pub(crate) fn validate(manifests: &str) -> Vec<Value> {
    let mut validate = Command::new(&tools().validate);
    validate.arg(&tools().crds).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut running = validate.spawn().unwrap();
    let mut input = running.stdin.take().unwrap();
    let manifests = manifests.to_owned();
    let writing = std::thread::spawn(move || input.write_all(manifests.as_bytes()));
    let output = running.wait_with_output().unwrap();
    let _ = writing.join().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}
