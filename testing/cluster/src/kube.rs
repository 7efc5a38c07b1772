//! The cluster: objects of the namespace, read through `kubectl proxy`, and routes from here to Services.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::{SocketAddr, TcpStream},
    process::Stdio,
    time::{Duration, Instant},
};

use anyhow::{Context as _, bail, ensure};
use lab::{
    ports,
    process::{Process, Program, Ready, Run},
};
use reqwest::{StatusCode, Url};
use serde_json::{Value, json};
use tokio::{io::AsyncWriteExt as _, process::Command, time::timeout};

/// The label of the objects that Knative creates for a Service.
const SERVICE: &str = "serving.knative.dev/service";
const LIMIT: Duration = Duration::from_secs(20);
/// Limit for a command of kubectl or Helm, longer than any `--timeout` that it is given.
pub(crate) const COMMAND: Duration = Duration::from_secs(240);

/// The API server, and the namespace of the test.
pub(crate) struct Kube {
    pub(crate) namespace: String,
    /// Whether the functions are Deployments with sidecars, and nothing of Knative is there.
    pub(crate) plain: bool,
    run: Run,
    url: String,
    http: reqwest::Client,
    _proxy: Process,
}

/// A route from this machine to a Service.
pub(crate) struct ServiceRoute {
    pub(crate) address: SocketAddr,
    _forward: Option<Process>,
}

impl Kube {
    /// Connects to the cluster of the current kubeconfig.
    pub(crate) fn connect(run: &Run, namespace: &str, plain: bool) -> anyhow::Result<Self> {
        let port = ports::free();
        let program =
            Program::new("kubectl-proxy", "kubectl").args(["proxy", &format!("--port={port}")]).ready(Ready::Tcp(port));
        let run = Run { detached: false, ..run.clone() };
        let proxy = Process::spawn(&run, program)?;
        proxy.wait_ready(LIMIT)?;
        Ok(Self {
            namespace: namespace.to_owned(),
            plain,
            run,
            url: format!("http://127.0.0.1:{port}"),
            http: reqwest::Client::builder().no_proxy().timeout(LIMIT).build()?,
            _proxy: proxy,
        })
    }

    /// Runs `kubectl` in the namespace.
    pub(crate) async fn kubectl(&self, arguments: &[&str]) -> anyhow::Result<String> {
        self.kubectl_with(arguments, None).await
    }

    /// Applies a manifest.
    pub(crate) async fn apply(&self, manifest: &Value) -> anyhow::Result<()> {
        self.kubectl_with(&["apply", "--filename", "-"], Some(manifest.to_string())).await.map(drop)
    }

    async fn kubectl_with(&self, arguments: &[&str], input: Option<String>) -> anyhow::Result<String> {
        let mut command = Command::new("kubectl");
        command.args(["--namespace", &self.namespace]).args(arguments).kill_on_drop(true);
        let stdin = if input.is_some() { Stdio::piped() } else { Stdio::null() };
        let mut child = command.stdin(stdin).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
        if let (Some(mut stdin), Some(input)) = (child.stdin.take(), input) {
            stdin.write_all(input.as_bytes()).await?;
        }
        let output = timeout(COMMAND, child.wait_with_output()).await;
        let output =
            output.with_context(|| format!("kubectl {} did not end within {COMMAND:?}", arguments.join(" ")))??;
        let told = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "kubectl {}: {}", arguments.join(" "), told.trim());
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    async fn ask(&self, path: &str, selector: &str) -> anyhow::Result<Value> {
        let selector = Url::parse_with_params(&format!("{}{path}", self.url), [("labelSelector", selector)])?;
        let answer = self.http.get(selector).send().await?;
        let status = answer.status();
        let body = answer.text().await?;
        ensure!(status.is_success(), "{path}: {status} {body}");
        Ok(serde_json::from_str(&body)?)
    }

    /// An object, by its path in the API.
    pub(crate) async fn get(&self, path: &str) -> anyhow::Result<Value> {
        self.ask(path, "").await
    }

    /// Objects of the namespace: `pods`, or `apps/v1/deployments`.
    pub(crate) async fn list(&self, kind: &str, selector: &str) -> anyhow::Result<Vec<Value>> {
        self.list_in(&self.namespace, kind, selector).await
    }

    /// Objects of a namespace.
    pub(crate) async fn list_in(&self, namespace: &str, kind: &str, selector: &str) -> anyhow::Result<Vec<Value>> {
        let path = match kind.rsplit_once('/') {
            Some((group, kind)) => format!("/apis/{group}/namespaces/{namespace}/{kind}"),
            None => format!("/api/v1/namespaces/{namespace}/{kind}"),
        };
        match self.ask(&path, selector).await?["items"].take() {
            Value::Array(items) => Ok(items),
            other => bail!("{path}: not a list: {other}"),
        }
    }

    /// The functions that Knative has scaled up, with the number of their pods, wanted or existing. Empty in the plain rendering, where no
    /// function is at zero and none has to be waited for.
    pub(crate) async fn awake(&self) -> anyhow::Result<BTreeMap<String, u64>> {
        let mut awake = BTreeMap::new();
        for deployment in self.list("apps/v1/deployments", SERVICE).await? {
            let count = |field: &Value| field.as_u64().unwrap_or_default();
            let pods = count(&deployment["spec"]["replicas"]).max(count(&deployment["status"]["replicas"]));
            if pods > 0 {
                *awake.entry(text(&deployment["metadata"]["labels"][SERVICE]).to_owned()).or_default() += pods;
            }
        }
        Ok(awake)
    }

    /// Waits until every function is at zero; returns how long that took.
    pub(crate) async fn zero(&self, limit: Duration) -> anyhow::Result<Duration> {
        let began = Instant::now();
        loop {
            let awake = self.awake().await?;
            if awake.is_empty() {
                return Ok(began.elapsed());
            }
            ensure!(began.elapsed() < limit, "not at zero after {} s: {awake:?}", limit.as_secs());
            tokio::time::sleep(Duration::from_millis(300)).await;
        }
    }

    /// The names of the pods of a namespace that are not terminating.
    pub(crate) async fn pods(&self, namespace: &str, selector: &str) -> anyhow::Result<BTreeSet<String>> {
        let pods = self.list_in(namespace, "pods", selector).await?;
        let there = pods.iter().filter(|pod| pod["metadata"]["deletionTimestamp"].is_null());
        Ok(there.map(|pod| text(&pod["metadata"]["name"]).to_owned()).collect())
    }

    /// The pods of a function.
    pub(crate) async fn pods_of(&self, function: &str) -> anyhow::Result<BTreeSet<String>> {
        self.pods(&self.namespace, &format!("punctual/function={function}")).await
    }

    /// Kills pods and returns when they are dead. The grace period is 1 s, not 0: with 0 the API server forgets the pod at once
    /// while the node still lets it end gracefully.
    pub(crate) async fn kill(&self, namespace: &str, pods: &BTreeSet<String>) -> anyhow::Result<()> {
        let path = |pod: &str| format!("{}/api/v1/namespaces/{namespace}/pods/{pod}", self.url);
        for pod in pods {
            let killed = self.http.delete(path(pod)).json(&json!({ "gracePeriodSeconds": 1 })).send().await?;
            let status = killed.status();
            ensure!(status.is_success() || status == StatusCode::NOT_FOUND, "{pod} cannot be killed: {status}");
        }
        let began = Instant::now();
        for pod in pods {
            // A StatefulSet creates a successor with the same name.
            while self.http.get(path(pod)).send().await?.text().await?.contains("deletionTimestamp") {
                ensure!(began.elapsed() < LIMIT, "{pod} does not die");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
        Ok(())
    }

    /// Runs repair now, from its CronJob, and waits for its end.
    pub(crate) async fn repair(&self, name: &str) -> anyhow::Result<()> {
        self.kubectl(&["create", "job", "--from=cronjob/repair", name]).await?;
        self.kubectl(&["wait", "--for=condition=complete", &format!("job/{name}"), "--timeout=60s"]).await?;
        self.kubectl(&["delete", "job", name]).await.map(drop)
    }

    /// The address of a Service in the cluster, which must be reachable from here. Only it leads past a pod that stops to the others.
    pub(crate) async fn address_of(&self, namespace: &str, service: &str, port: u16) -> anyhow::Result<SocketAddr> {
        let object = self.get(&format!("/api/v1/namespaces/{namespace}/services/{service}")).await?;
        let address = SocketAddr::new(text(&object["spec"]["clusterIP"]).parse()?, port);
        TcpStream::connect_timeout(&address, Duration::from_secs(2)).with_context(|| {
            format!(
                "{namespace}/{service} is not reachable from here at {address}: add a route to Services through a node"
            )
        })?;
        Ok(address)
    }

    /// A route to a Service: its cluster IP if reachable from here, else a forwarded port, which leads to one of its pods.
    pub(crate) async fn route_to(&self, namespace: &str, service: &str, port: u16) -> anyhow::Result<ServiceRoute> {
        if let Ok(address) = self.address_of(namespace, service, port).await {
            return Ok(ServiceRoute { address, _forward: None });
        }
        let local = ports::free();
        let program = Program::new(format!("forward-{service}"), "kubectl")
            .args(["--namespace", namespace, "port-forward", &format!("service/{service}"), &format!("{local}:{port}")])
            .ready(Ready::Tcp(local));
        let forward = Process::spawn(&self.run, program)?;
        forward.wait_ready(LIMIT).with_context(|| format!("no route to {namespace}/{service}"))?;
        Ok(ServiceRoute { address: SocketAddr::from(([127, 0, 0, 1], local)), _forward: Some(forward) })
    }
}

/// A string field; empty if it is missing.
pub(crate) fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}
