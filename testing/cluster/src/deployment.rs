//! The release in the cluster: namespace, Secrets and values. `infra/deploy/deploy.sh` deploys every version.

use std::{
    collections::BTreeMap,
    fs,
    path::PathBuf,
    process::{Output, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context as _, ensure};
use lab::{ports, process::Run, root, secrets};
use serde_json::{Value, json};
use tokio::{process::Command, time::timeout};

use crate::{
    Arguments,
    kube::{self, Kube, text},
    parts::Parts,
};

const RELEASE: &str = "punctual";
const OURS: &str = "punctual/cluster-test";
/// The functions that have two replicas in the plain rendering: one called by clients, one by the scheduler, one by the broker.
pub(crate) const REPLICATED: [&str; 3] = ["tasks", "alarm", "task-created"];
/// Limit for a deployment with its rollback. `deploy.sh` has a shorter one for each of its waits.
const LIMIT: Duration = Duration::from_secs(20 * 60);

/// The settings with which versions are deployed.
pub(crate) struct Deployment {
    arguments: Vec<String>,
    registry: String,
    namespace: String,
    gateway: String,
    smoke_token: String,
    dir: PathBuf,
    /// The functions that a browser calls, and the ports at which it finds them: first the page, then the API and the stream.
    pub(crate) browser_ports: [(&'static str, u16); 3],
    pub(crate) jwt_secret: String,
    pub(crate) dapr_api_token: String,
}

/// The outcome of a deployment.
pub(crate) struct Deployed {
    pub(crate) works: bool,
    pub(crate) took: Duration,
    pub(crate) output: String,
}

impl Deployment {
    /// Creates the namespace and the Secrets; replaces those of an earlier test.
    pub(crate) async fn prepare(arguments: &Arguments, run: &Run, kube: &Kube, parts: &Parts) -> anyhow::Result<Self> {
        make_namespace(arguments, kube).await?;
        let (jwt, dapr, app) = (secrets::random()?, secrets::random()?, secrets::random()?);
        let reminder_due = secrets::random()?;
        let secret = |name: &str, key: &str, value: &str| json!({ "apiVersion": "v1", "kind": "Secret", "metadata": { "name": name }, "stringData": { key: value } });
        let items = [
            secret("punctual-database", "url", &parts.database_url),
            secret("punctual-state-database", "url", &parts.state_database_url),
            secret("punctual-jwt", "secret", &jwt),
            secret("punctual-dapr-api-token", "token", &dapr),
            secret("punctual-reminder-due-dapr-api-token", "token", &reminder_due),
            secret("punctual-app-api-token", "token", &app),
            secret("smtp-password", "password", "unused"),
        ];
        kube.apply(&json!({ "apiVersion": "v1", "kind": "List", "items": items })).await?;

        let browser_ports = ["page", "tasks", "updates"].map(|function| (function, ports::free()));
        let values = run.dir.join("values.json");
        fs::write(&values, serde_json::to_string_pretty(&values_of(arguments, parts, browser_ports))?)?;
        let user = secrets::token(&jwt, "0198c0de-0000-7000-8000-00000000c1a5", "smoke@punctual.test", false);
        let minikube = root().join("knative/chart/values-minikube.yaml");
        let files = arguments.plain.then_some(minikube).into_iter().chain([values]);
        let mut helm: Vec<String> =
            files.flat_map(|file| ["--values".to_owned(), file.display().to_string()]).collect();
        helm.extend(arguments.helm.iter().cloned());
        Ok(Self {
            arguments: helm,
            registry: arguments.registry.clone(),
            namespace: arguments.namespace.clone(),
            gateway: arguments.gateway.clone(),
            smoke_token: user,
            dir: run.dir.clone(),
            browser_ports,
            jwt_secret: jwt,
            dapr_api_token: dapr,
        })
    }

    /// Deploys a version as production does.
    pub(crate) async fn deploy(&self, tag: &str) -> anyhow::Result<Deployed> {
        let began = Instant::now();
        let log = self.dir.join("log").join(format!("deploy-{tag}.log"));
        let file = fs::File::create(&log)?;
        let deploy = Command::new(root().join("infra/deploy/deploy.sh"))
            .args(&self.arguments)
            .envs([("RELEASE", RELEASE), ("NAMESPACE", &self.namespace), ("GATEWAY", &self.gateway)])
            .envs([("IMAGE_REGISTRY", self.registry.as_str()), ("IMAGE_TAG", tag), ("SMOKE_TOKEN", &self.smoke_token)])
            .env("IMAGE_SECONDS", "15")
            .stdin(Stdio::null())
            .stdout(file.try_clone()?)
            .stderr(file)
            .kill_on_drop(true)
            .status();
        let ended = timeout(LIMIT, deploy).await;
        let status = ended.with_context(|| format!("deploy.sh did not end within {LIMIT:?}: {}", log.display()))?;
        let status = status.context("cannot run infra/deploy/deploy.sh")?;
        Ok(Deployed { works: status.success(), took: began.elapsed(), output: fs::read_to_string(&log)? })
    }

    /// The manifests that Helm stored last.
    pub(crate) async fn manifest(&self) -> anyhow::Result<String> {
        let output = self.helm(&["get", "manifest", RELEASE]).await?;
        ensure!(output.status.success(), "helm: {}", String::from_utf8_lossy(&output.stderr).trim());
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    /// Removes the release and its namespace.
    pub(crate) async fn remove(&self, kube: &Kube) -> anyhow::Result<()> {
        self.helm(&["uninstall", RELEASE, "--wait", "--ignore-not-found", "--timeout=180s"]).await?;
        kube.kubectl(&["delete", "namespace", &self.namespace, "--timeout=180s"]).await.map(drop)
    }

    async fn helm(&self, arguments: &[&str]) -> anyhow::Result<Output> {
        let mut command = Command::new("helm");
        command.args(arguments).args(["--namespace", &self.namespace]).stdin(Stdio::null()).kill_on_drop(true);
        let output = timeout(kube::COMMAND, command.output()).await;
        Ok(output.with_context(|| format!("helm {} did not end within {:?}", arguments.join(" "), kube::COMMAND))??)
    }
}

/// The objects of the namespace with their generations, which a second installation must not change.
pub(crate) async fn generations(kube: &Kube) -> anyhow::Result<BTreeMap<String, String>> {
    let mut found = BTreeMap::new();
    let always = [
        "apps/v1/deployments",
        "batch/v1/cronjobs",
        "networking.k8s.io/v1/networkpolicies",
        "dapr.io/v1alpha1/components",
    ];
    let knative: &[&str] =
        if kube.plain { &[] } else { &["serving.knative.dev/v1/services", "serving.knative.dev/v1/revisions"] };
    for kind in always.iter().chain(knative) {
        for object in kube.list(kind, "").await? {
            let meta = &object["metadata"];
            // Scaling changes the generation of a function's Deployment.
            let generation = if meta["labels"]["serving.knative.dev/service"].is_null() || kind.contains("services") {
                meta["generation"].to_string()
            } else {
                String::new()
            };
            found.insert(format!("{kind} {}", text(&meta["name"])), format!("{} {generation}", text(&meta["uid"])));
        }
    }
    for pod in kube.pods(&kube.namespace, "punctual/daprd").await? {
        found.insert(format!("pods {pod}"), String::new());
    }
    Ok(found)
}

/// The image tags of the functions.
pub(crate) async fn tags(kube: &Kube) -> anyhow::Result<Vec<String>> {
    let kind = if kube.plain { "apps/v1/deployments" } else { "serving.knative.dev/v1/services" };
    let functions = kube.list(kind, "app.kubernetes.io/part-of=punctual").await?;
    let image = |function: &Value| text(&function["spec"]["template"]["spec"]["containers"][0]["image"]).to_owned();
    let mut tags: Vec<String> = functions.iter().map(image).collect();
    tags.iter_mut().for_each(|image| *image = image.rsplit(':').next().unwrap_or_default().to_owned());
    tags.sort();
    tags.dedup();
    Ok(tags)
}

async fn make_namespace(arguments: &Arguments, kube: &Kube) -> anyhow::Result<()> {
    let name = arguments.namespace.as_str();
    if let Ok(existing) = kube.get(&format!("/api/v1/namespaces/{name}")).await {
        ensure!(
            !existing["metadata"]["labels"][OURS].is_null(),
            "the namespace {name} exists and was not made by this test"
        );
        kube.kubectl(&["delete", "namespace", name, "--timeout=180s"]).await?;
    }
    let mut labels = json!({ OURS: "true" });
    if arguments.restricted {
        labels["pod-security.kubernetes.io/enforce"] = "restricted".into();
    }
    kube.apply(&json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": name, "labels": labels } }))
        .await
}

/// The chart's defaults, except addresses, the retention of idle pods, the number of replicas, and repair: a lost event must stay lost,
/// or the test would not notice.
fn values_of(arguments: &Arguments, parts: &Parts, browser_ports: [(&str, u16); 3]) -> Value {
    let gateway = arguments.gateway.split('/').next().unwrap_or_default();
    let [database, broker, mail] = parts.ports();
    let any_or = |port: Option<u16>| port.map_or_else(|| json!([]), |port| json!([port]));
    let (database, broker) = (any_or(database), any_or(broker));
    // Without a port in its URL, the mail server has one of SMTP's. An empty list would allow none.
    let mail = mail.map_or_else(|| json!([25, 465, 587]), |port| json!([port]));
    let mut functions: Value = if arguments.plain {
        REPLICATED.iter().map(|name| ((*name).to_owned(), json!({ "minScale": 2 }))).collect()
    } else {
        json!({ "tasks": { "podRetention": "2s" } })
    };
    let [page, api, live] = browser_ports.map(|(_, port)| format!("http://localhost:{port}"));
    let env = json!({ "API_URL": api, "UPDATES_URL": live, "PAGE_ACCEPT_TOKEN_LINK": "true" });
    functions["page"] = json!({ "env": env, "podRetention": "2s" });
    // values-minikube.yaml never pulls.
    let pull = if arguments.plain && arguments.load.is_some() { "Never" } else { "IfNotPresent" };
    json!({
        "image": { "pullPolicy": pull },
        "defaults": { "podRetention": "2s" },
        "functions": functions,
        "page": { "origins": [page] },
        "email": { "provider": "smtp", "from": "Punctual <reminders@punctual.test>", "smtpUrl": parts.smtp_url },
        "broker": { "env": { "KAFKA_BROKERS": parts.brokers } },
        "dapr": { "namespace": arguments.dapr_namespace },
        "repair": { "afterSeconds": 86_400 },
        "networkPolicy": {
            "callers": ["knative-serving", gateway],
            "database": { "ports": database }, "broker": { "ports": broker }, "mail": { "ports": mail },
        },
    })
}
