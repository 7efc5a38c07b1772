//! Who reaches whom, by the NetworkPolicies: the rules of Kubernetes for pods of one namespace, and for namespaces.

use std::net::IpAddr;

use serde_json::{Value, json};

use super::{PLAIN, name, of_kind, pods, render::render};

/// An end of a connection.
enum End<'a> {
    Pod(&'a Value),
    Namespace(&'static str),
    Address(&'static str),
    Outside,
}

struct Network(Vec<Value>);

impl Network {
    /// The labels of the pods of an object.
    fn labels(&self, kind: &str, called: &str) -> &Value {
        let document =
            of_kind(&self.0, kind).find(|document| name(document) == called && pods::pod(document).is_some());
        &pods::pod(document.unwrap_or_else(|| panic!("no {kind} {called}"))).unwrap()["metadata"]["labels"]
    }

    fn allowed(&self, direction: &str, pod: &Value, other: &End<'_>, port: u64) -> bool {
        let (rules, peers) = if direction == "Ingress" { ("ingress", "from") } else { ("egress", "to") };
        let of_pod = of_kind(&self.0, "NetworkPolicy").map(|policy| &policy["spec"]).filter(|spec| {
            spec["policyTypes"].as_array().unwrap().contains(&json!(direction)) && selects(&spec["podSelector"], pod)
        });
        let of_pod: Vec<&Value> = of_pod.collect();
        assert!(!of_pod.is_empty(), "a pod without a policy is open: {pod}");
        of_pod.iter().filter_map(|spec| spec[rules].as_array()).flatten().any(|rule| {
            let ports = rule["ports"].as_array();
            let port = ports.is_none_or(|ports| ports.iter().any(|listed| listed["port"] == port));
            port && rule[peers].as_array().is_none_or(|listed| listed.iter().any(|peer| is(peer, other)))
        })
    }

    /// Both ends are pods of the chart, and both must agree.
    fn connects(&self, from: &Value, to: &Value, port: u64) -> bool {
        self.allowed("Egress", from, &End::Pod(to), port) && self.allowed("Ingress", to, &End::Pod(from), port)
    }
}

fn is(peer: &Value, end: &End<'_>) -> bool {
    match end {
        End::Pod(labels) => {
            peer["namespaceSelector"].is_null()
                && !peer["podSelector"].is_null()
                && selects(&peer["podSelector"], labels)
        }
        End::Namespace(name) => {
            !peer["namespaceSelector"].is_null()
                && selects(&peer["namespaceSelector"], &json!({"kubernetes.io/metadata.name": name}))
        }
        End::Address(address) => {
            let block = &peer["ipBlock"];
            let except = block["except"].as_array().into_iter().flatten();
            block["cidr"].as_str().is_some_and(|cidr| contains(cidr, address))
                && !except.into_iter().any(|cidr| contains(cidr.as_str().unwrap(), address))
        }
        End::Outside => false, // only a rule without peers reaches there
    }
}

fn contains(cidr: &str, address: &str) -> bool {
    let (network, length) = cidr.split_once('/').unwrap();
    let length: u32 = length.parse().unwrap();
    match (network.parse().unwrap(), address.parse().unwrap()) {
        (IpAddr::V4(network), IpAddr::V4(address)) => {
            u32::from(network).checked_shr(32 - length) == u32::from(address).checked_shr(32 - length)
        }
        (IpAddr::V6(network), IpAddr::V6(address)) => {
            u128::from(network).checked_shr(128 - length) == u128::from(address).checked_shr(128 - length)
        }
        _ => false,
    }
}

fn selects(selector: &Value, labels: &Value) -> bool {
    let equal = selector["matchLabels"]
        .as_object()
        .is_none_or(|wanted| wanted.iter().all(|(key, value)| labels[key] == *value));
    let listed = selector["matchExpressions"].as_array().into_iter().flatten().all(|expression| {
        let label = &labels[expression["key"].as_str().unwrap()];
        match expression["operator"].as_str().unwrap() {
            "Exists" => !label.is_null(),
            "In" => expression["values"].as_array().unwrap().contains(label),
            "NotIn" => !expression["values"].as_array().unwrap().contains(label),
            other => panic!("{other} is not played here"),
        }
    });
    equal && listed
}

#[test]
fn each_pod_reaches_only_its_dependencies() {
    let network = Network(render(&[]));
    let function = |name: &str| network.labels("Service", name);
    let daprd = |name: &str| network.labels("Deployment", &format!("{name}-daprd"));
    let (repair, migrate) = (network.labels("CronJob", "repair"), network.labels("Job", "migrate"));

    // A function calls its daprd and alarm's; nobody calls a function but Knative. The daprd that reads secrets is called by
    // reminder-due itself, and by upkeep, which arms retries there.
    for name in ["tasks", "task-created", "reminder-due", "upkeep"] {
        assert!(network.connects(function(name), daprd(name), 50001), "{name}");
        assert!(network.connects(function(name), daprd("alarm"), 50001), "{name}");
        let trusted = ["reminder-due", "upkeep"].contains(&name);
        assert_eq!(network.connects(function(name), daprd("reminder-due"), 50001), trusted, "{name}");
        assert_eq!(
            network.allowed("Ingress", daprd("reminder-due"), &End::Pod(function(name)), 3500),
            trusted,
            "{name}"
        );
        assert!(!network.connects(function("tasks"), function(name), 8012));
        assert!(!network.connects(daprd(name), function(name), 8012), "{name}: not past its route");
        assert!(network.allowed("Ingress", function(name), &End::Namespace("knative-serving"), 8012));
        assert!(network.allowed("Ingress", function(name), &End::Namespace("kourier-system"), 8012));
        assert!(!network.allowed("Ingress", function(name), &End::Namespace("default"), 8012));
        // A daprd calls through its door, the control plane, the broker and other daprds.
        assert!(network.allowed("Egress", daprd(name), &End::Namespace("kourier-system"), 8081));
        assert!(network.allowed("Egress", daprd(name), &End::Namespace("dapr-system"), 50001));
        assert!(network.allowed("Egress", daprd(name), &End::Outside, 9092));
        assert!(!network.allowed("Ingress", daprd(name), &End::Namespace("default"), 50001));
        assert!(!network.allowed("Ingress", daprd(name), &End::Namespace("default"), 9090));
        // The database is the functions', and of the daprds only the one with a state store.
        assert!(network.allowed("Egress", function(name), &End::Outside, 5432));
        assert_eq!(network.allowed("Egress", daprd(name), &End::Outside, 5432), name == "reminder-due");
        assert_eq!(network.allowed("Egress", daprd(name), &End::Outside, 6443), name == "reminder-due");
        // Mail leaves from one function, and no function speaks to the broker.
        assert_eq!(network.allowed("Egress", function(name), &End::Outside, 587), name == "reminder-due");
        assert!(!network.allowed("Egress", function(name), &End::Outside, 9092));
    }
    // A function without a daprd reaches the database alone.
    assert!(network.allowed("Egress", function("updates"), &End::Outside, 5432));
    assert!(network.allowed("Ingress", function("updates"), &End::Namespace("kourier-system"), 8012));
    for called in ["tasks", "alarm"] {
        assert!(!network.connects(function("updates"), daprd(called), 50001), "{called}");
        assert!(!network.connects(function("page"), daprd(called), 50001), "{called}");
    }
    // The page only answers.
    assert!(network.allowed("Ingress", function("page"), &End::Namespace("kourier-system"), 8012));
    for port in [443, 5432, 9092] {
        assert!(!network.allowed("Egress", function("page"), &End::Outside, port), "port {port}");
    }
    // Only alarm is invoked, and only through the daprds of tasks and reminder-due.
    for from in ["tasks", "task-created", "reminder-due", "upkeep"] {
        for to in ["tasks", "task-created", "reminder-due", "upkeep", "alarm"] {
            let invokes = to == "alarm" && ["tasks", "reminder-due"].contains(&from);
            assert_eq!(network.connects(daprd(from), daprd(to), 50002), invokes, "{from} → {to}");
            assert!(!network.connects(function(from), daprd(to), 50002), "{from} → {to}");
        }
    }
    for called in ["upkeep", "alarm", "reminder-due"] {
        assert!(network.connects(repair, daprd(called), 50001), "{called}");
    }
    assert!(!network.connects(repair, daprd("tasks"), 50001));
    for pod in [repair, migrate, function("tasks"), daprd("tasks")] {
        assert!(network.allowed("Egress", pod, &End::Namespace("kube-system"), 53), "names");
        assert!(!network.allowed("Egress", pod, &End::Outside, 80));
    }
    assert!(network.allowed("Egress", migrate, &End::Outside, 5432));
    assert!(!network.allowed("Ingress", migrate, &End::Pod(function("tasks")), 8080));
}

#[test]
fn push_services_are_reached_and_nothing_inside_on_their_port() {
    for arguments in [&[][..], &["--values", "values-oke.yaml"], &["--values", "values-aks.yaml"]] {
        let network = Network(render(arguments));
        let reaches = |name, end: &End<'_>| network.allowed("Egress", network.labels("Service", name), end, 443);
        for address in ["142.250.185.74", "17.188.128.1", "2a00:1450:4001::200a"] {
            assert!(reaches("reminder-due", &End::Address(address)), "{address}");
            assert!(!reaches("task-created", &End::Address(address)), "{address}");
        }
        for address in [
            "10.0.0.7",
            "100.64.0.1",
            "127.0.0.1",
            "169.254.169.254",
            "172.31.0.1",
            "192.168.1.1",
            "240.0.0.1",
            "::1",
            "fd00::1",
            "fe80::1",
        ] {
            assert!(!reaches("reminder-due", &End::Address(address)), "{address}");
        }
        assert!(!reaches("reminder-due", &End::Outside) && !reaches("reminder-due", &End::Namespace("default")));
    }
}

#[test]
fn only_the_configured_identity_provider_is_reachable() {
    for (arguments, port, asked) in [
        (["--set", "auth.jwksUrl="], 443, false),
        (["--set", "auth.issuer=i,auth.audience=a,auth.jwksUrl=https://id.example.com/keys"], 443, true),
        (["--set", "auth.issuer=i,auth.audience=a,auth.jwksUrl=https://id.example.com:8443/keys"], 8443, true),
    ] {
        let network = Network(render(&arguments));
        for name in ["tasks", "updates"] {
            assert_eq!(network.allowed("Egress", network.labels("Service", name), &End::Outside, port), asked);
        }
        assert!(!network.allowed("Egress", network.labels("Service", "task-created"), &End::Outside, port));
    }
}

#[test]
fn only_daprds_reach_the_trace_collector_and_only_if_one_is_configured() {
    for (arguments, reached) in [(&[] as &[&str], false), (&["--set", "networkPolicy.traces.ports={4317}"], true)] {
        let network = Network(render(arguments));
        for name in ["tasks", "reminder-due"] {
            let daprd = network.labels("Deployment", &format!("{name}-daprd"));
            assert_eq!(network.allowed("Egress", daprd, &End::Outside, 4317), reached);
            assert!(!network.allowed("Egress", network.labels("Service", name), &End::Outside, 4317));
        }
    }
}

#[test]
fn without_knative_only_the_ingress_controller_reaches_public_functions() {
    let network = Network(render(PLAIN));
    let pod = |name: &str| network.labels("Deployment", name);
    assert!(network.allowed("Ingress", pod("tasks"), &End::Namespace("kourier-system"), 8080));
    assert!(network.allowed("Ingress", pod("updates"), &End::Namespace("kourier-system"), 8080));
    assert!(network.allowed("Ingress", pod("page"), &End::Namespace("kourier-system"), 8080));
    assert!(!network.allowed("Ingress", pod("tasks"), &End::Namespace("default"), 8080));
    assert!(!network.allowed("Ingress", pod("task-created"), &End::Namespace("kourier-system"), 8080));
    assert!(!network.connects(pod("tasks"), pod("task-created"), 8080));
    assert!(network.connects(pod("tasks"), pod("alarm"), 50001));
    assert!(network.connects(pod("tasks"), pod("alarm"), 50002));
    assert!(network.connects(pod("upkeep"), pod("reminder-due"), 50001));
    assert!(!network.connects(pod("tasks"), pod("reminder-due"), 50001));
    assert!(!network.connects(pod("tasks"), pod("reminder-due"), 50002));
    assert!(!network.connects(pod("task-created"), pod("alarm"), 50002));
    assert!(network.connects(network.labels("CronJob", "repair"), pod("upkeep"), 50001));
    assert!(network.allowed("Egress", pod("task-created"), &End::Namespace("dapr-system"), 50001));
    assert!(network.allowed("Egress", pod("task-created"), &End::Outside, 9092));
}

#[test]
fn on_minikube_each_server_is_reached_on_its_port() {
    let network = Network(render(&["--values", "values-minikube.yaml"]));
    // The API server, Mailpit, Redpanda and PostgreSQL.
    let pod = network.labels("Deployment", "reminder-due");
    for port in [8443, 1025, 9093, 5432] {
        assert!(network.allowed("Egress", pod, &End::Outside, port), "port {port}");
    }
}
