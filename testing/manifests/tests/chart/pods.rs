//! What every pod may do, and how long it may take.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
};

use lab::root;
use serde_json::{Value, json};
use shared::deadlines::Deadlines;

use super::{
    ENVIRONMENTS, PLAIN, api, name, of_kind,
    render::{of_dapr, render},
};

/// The pods of a document: its own, or those its jobs make.
pub(crate) fn pod(document: &Value) -> Option<&Value> {
    let spec = &document["spec"];
    let template =
        if spec["jobTemplate"].is_null() { &spec["template"] } else { &spec["jobTemplate"]["spec"]["template"] };
    template["spec"]["containers"].is_array().then_some(template)
}

pub(crate) fn containers(pod: &Value) -> impl Iterator<Item = &Value> {
    ["initContainers", "containers"].into_iter().filter_map(|kind| pod["spec"][kind].as_array()).flatten()
}

#[test]
fn every_pod_is_restricted_and_has_no_token() {
    let restricted = json!({
        "allowPrivilegeEscalation": false,
        "capabilities": {"drop": ["ALL"]},
        "readOnlyRootFilesystem": true,
        "runAsNonRoot": true,
        "runAsUser": 65532,
        "seccompProfile": {"type": "RuntimeDefault"},
    });
    for environment in ENVIRONMENTS {
        let mut seen = 0;
        for document in &render(environment) {
            let Some(pod) = pod(document) else { continue };
            seen += 1;
            let spec = &pod["spec"];
            assert_eq!(spec["automountServiceAccountToken"], false, "{}", name(document));
            for host in ["hostNetwork", "hostPID", "hostIPC"] {
                assert!(spec[host].is_null());
            }
            for container in containers(pod) {
                assert_eq!(container["securityContext"], restricted, "{}", name(document));
                assert!(container["volumeMounts"].is_null(), "nothing is mounted into {}", name(document));
                assert!(container["resources"]["limits"]["memory"].is_string());
                assert!(container["resources"]["requests"]["cpu"].is_string());
            }
            // Knative refuses it on its own pods; there every container says it.
            if !api(document).contains("knative") {
                assert_eq!(spec["securityContext"]["seccompProfile"]["type"], "RuntimeDefault");
                assert_eq!(spec["securityContext"]["runAsNonRoot"], true);
            }
            // Dapr's injector adds the sidecar with what these say.
            let annotations = &pod["metadata"]["annotations"];
            if annotations["dapr.io/enabled"] == "true" {
                assert_eq!(annotations["dapr.io/disable-builtin-k8s-secret-store"], "true");
                assert_eq!(annotations["dapr.io/sidecar-seccomp-profile-type"], "RuntimeDefault");
                assert_eq!(annotations["dapr.io/disable-init-endpoints"], "config,subscribe");
                assert!(
                    annotations["dapr.io/api-token-secret"].is_string()
                        && annotations["dapr.io/app-token-secret"].is_string()
                );
            }
        }
        assert!(seen >= 11, "{seen}");
    }
}

/// One with a mistake in its name would be passed over without a word.
#[test]
fn the_injector_knows_every_annotation_of_the_chart() {
    let known = of_dapr("pkg/injector/annotations/annotations.go");
    for arguments in [&[], PLAIN] {
        let documents = render(arguments);
        let annotations = documents.iter().filter_map(pod).filter_map(|pod| pod["metadata"]["annotations"].as_object());
        let names: BTreeSet<&String> = annotations.flat_map(|annotations| annotations.keys()).collect();
        let names: Vec<_> = names.into_iter().filter(|name| name.starts_with("dapr.io/")).collect();
        assert!(names.len() > 15);
        for name in names {
            assert!(known.contains(&format!("= \"{name}\"")), "{name}");
        }
    }
}

#[test]
fn exactly_one_daprd_gets_a_token_of_the_api_server() {
    for arguments in [&[], PLAIN] {
        let documents = render(arguments);
        let projected: Vec<&Value> = documents
            .iter()
            .filter(|document| pod(document).is_some_and(|pod| !pod["spec"]["volumes"].is_null()))
            .collect();
        assert_eq!(projected.len(), 1);
        let pod = pod(projected[0]).unwrap();
        assert_eq!(pod["metadata"]["annotations"]["dapr.io/app-id"], "reminder-due");
        assert_eq!(pod["spec"]["serviceAccountName"], "reminder-due-daprd");
        let mount = pod["metadata"]["annotations"]["dapr.io/volume-mounts"].as_str().unwrap();
        assert_eq!(mount.split_once(':').unwrap().0, pod["spec"]["volumes"][0]["name"]);
    }
}

#[test]
fn secrets_are_referenced_and_never_contained() {
    for environment in ENVIRONMENTS {
        let documents = render(environment);
        assert_eq!(of_kind(&documents, "Secret").count(), 0);
        for container in documents.iter().filter_map(pod).flat_map(containers) {
            for variable in container["env"].as_array().into_iter().flatten() {
                let secret = [
                    "DATABASE_URL",
                    "LISTEN_DATABASE_URL",
                    "JWT_SECRET",
                    "ACTION_KEY",
                    "FORMER_ACTION_KEY",
                    "APP_API_TOKEN",
                    "DAPR_API_TOKEN",
                    "REMINDER_DUE_DAPR_API_TOKEN",
                ];
                let referred = variable["valueFrom"]["secretKeyRef"]["name"].is_string();
                assert_eq!(secret.contains(&variable["name"].as_str().unwrap()), referred, "{variable}");
            }
        }
    }
}

/// Who is handed which secret: a function that needs no token of users is not given what makes them.
#[test]
fn only_tasks_and_updates_can_check_tokens() {
    for document in &render(&[]) {
        let Some(pod) = pod(document) else { continue };
        let variables = containers(pod).flat_map(|container| container["env"].as_array().into_iter().flatten());
        let has = variables.into_iter().any(|variable| variable["name"] == "JWT_SECRET");
        assert_eq!(has, ["tasks", "updates"].contains(&&*name(document)), "{}", name(document));
    }
}

/// Knative counts a stream as a call. It must not queue streams, end them, or carry them through the activator.
#[test]
fn a_pod_of_updates_has_ten_thousand_streams_before_there_is_another() {
    let documents = render(&[]);
    let service = of_kind(&documents, "Service").find(|service| name(service) == "updates").unwrap();
    let pod = &service["spec"]["template"];
    assert_eq!(pod["spec"]["containerConcurrency"], 0);
    assert_eq!(pod["spec"]["timeoutSeconds"], 300);
    let annotations = &pod["metadata"]["annotations"];
    assert_eq!(annotations["autoscaling.knative.dev/target"], "10000");
    assert_eq!(annotations["autoscaling.knative.dev/target-burst-capacity"], "0");
    let streams = updates::Settings::default();
    assert!(streams.streams > 10_000 && streams.life.end.as_secs() < 300);
    let others = of_kind(&documents, "Service").filter(|service| name(service) != "updates");
    let annotations = others.map(|service| &service["spec"]["template"]["metadata"]["annotations"]);
    assert!(annotations.into_iter().all(|annotations| annotations["autoscaling.knative.dev/target"].is_null()));
}

/// The daprd of reminder-due reads secrets, so it has an API token of its own, which no function that clients reach is given.
#[test]
fn only_reminder_due_and_upkeep_get_the_token_of_the_daprd_that_reads_secrets() {
    const OWN: &str = "punctual-reminder-due-dapr-api-token";
    for arguments in [&[], PLAIN] {
        let documents = render(arguments);
        let mut given = BTreeMap::<String, BTreeSet<String>>::new();
        for document in &documents {
            let Some(pod) = pod(document) else { continue };
            for variable in containers(pod).flat_map(|container| container["env"].as_array().into_iter().flatten()) {
                if variable["valueFrom"]["secretKeyRef"]["name"] == OWN {
                    let variable = variable["name"].as_str().unwrap().to_owned();
                    given.entry(name(document)).or_default().insert(variable);
                }
            }
            let annotations = &pod["metadata"]["annotations"];
            if let Some(app_id) = annotations["dapr.io/app-id"].as_str() {
                assert_eq!(annotations["dapr.io/api-token-secret"] == OWN, app_id == "reminder-due", "{app_id}");
                assert_eq!(annotations["dapr.io/config"], app_id);
            }
        }
        let with = |name: &str, variable: &str| (name.to_owned(), BTreeSet::from([variable.to_owned()]));
        let expected = BTreeMap::from([
            with("reminder-due", "DAPR_API_TOKEN"),
            with("repair", "REMINDER_DUE_DAPR_API_TOKEN"),
            with("upkeep", "REMINDER_DUE_DAPR_API_TOKEN"),
        ]);
        assert_eq!(given, expected);
    }
}

#[test]
fn every_caller_has_a_longer_timeout_than_its_callee() {
    let resiliency = fs::read_to_string(root().join("dapr/resiliency/resiliency.yaml")).unwrap();
    let inbound = resiliency.lines().find_map(|line| line.trim().strip_prefix("inbound: ")).unwrap();
    let inbound = seconds(inbound.split_whitespace().next().unwrap());
    assert!(door::PATIENCE.as_secs() * 2 < inbound);
    let ours = Deadlines::default();
    assert!(ours.answer <= ours.request && ours.answer < ours.handler && ours.handler < ours.call);
    assert!(ours.call < door::ATTEMPT && door::ATTEMPT.as_secs() < inbound);
    let documents = render(&[]);
    let migrate = of_kind(&documents, "Job").next().unwrap();
    assert!(migrations::DEADLINE.as_secs() < migrate["spec"]["activeDeadlineSeconds"].as_u64().unwrap());
    let mut capacity = BTreeMap::new();
    for service in of_kind(&documents, "Service").filter(|service| api(service).contains("knative")) {
        let pod = &service["spec"]["template"];
        let (timeout, start) = (&pod["spec"]["timeoutSeconds"], &pod["spec"]["responseStartTimeoutSeconds"]);
        assert!(timeout.as_u64().unwrap() > inbound && timeout == start, "{}", name(service));
        let annotations = &pod["metadata"]["annotations"];
        assert_eq!(annotations["autoscaling.knative.dev/min-scale"], "0");
        let retention = annotations["autoscaling.knative.dev/scale-to-zero-pod-retention-period"].as_str().unwrap();
        assert!(retention == "30s" || retention == "2m", "at rest nothing stays up: {retention}");
        let most: u64 = annotations["autoscaling.knative.dev/max-scale"].as_str().unwrap().parse().unwrap();
        let concurrency = pod["spec"]["containerConcurrency"].as_u64().unwrap();
        capacity.insert(name(service), concurrency * most);
        let env = pod["spec"]["containers"][0]["env"].as_array().unwrap();
        let connections = env.iter().find(|variable| variable["name"] == "DATABASE_CONNECTIONS");
        assert_eq!(connections.is_none(), name(service) == "page");
        let Some(connections) = connections else { continue };
        // Concurrent job callbacks share one connection, and a message holds none while it is sent.
        let needed = match name(service).as_str() {
            "alarm" => 5,
            "reminder-due" => 8,
            // Its streams have none.
            "updates" => 3,
            _ => concurrency + 1,
        };
        assert_eq!(connections["value"], needed.to_string());
    }
    let plain = render(PLAIN);
    let has_daprd =
        |deployment: &&Value| !deployment["spec"]["template"]["metadata"]["annotations"]["dapr.io/app-id"].is_null();
    for deployment in of_kind(&documents, "Deployment").chain(of_kind(&plain, "Deployment")).filter(has_daprd) {
        let pod = &deployment["spec"]["template"];
        let annotation = |name: &str| pod["metadata"]["annotations"][name].as_str().unwrap().to_owned();
        let calls: u64 = annotation("dapr.io/app-max-concurrency").parse().unwrap();
        assert!(calls <= capacity[&annotation("dapr.io/app-id")]);
        let ends = seconds(&annotation("dapr.io/block-shutdown-duration"))
            + seconds(&format!("{}s", annotation("dapr.io/graceful-shutdown-seconds")));
        assert!(pod["spec"]["terminationGracePeriodSeconds"].as_u64().unwrap() > ends + 5);
    }
}

/// A pod takes `concurrency` requests, on Knative by its own limit. One user has at most a quarter of them.
#[test]
fn one_user_has_at_most_a_quarter_of_the_slots_of_a_pod() {
    for (concurrency, turns, waiting, knative) in
        [(4, 1, 0, true), (20, 3, 2, true), (20, 3, 2, false), (64, 3, 13, false)]
    {
        let settings = format!("functions.tasks.concurrency={concurrency},knative.enabled={knative}");
        let documents = render(&["--set", &settings]);
        let is_tasks = |document: &&Value| name(document) == "tasks" && pod(document).is_some();
        let pod = documents.iter().find(is_tasks).and_then(pod).unwrap();
        let function = containers(pod).find(|container| container["name"] == "function").unwrap();
        let number = |name: &str| -> u64 {
            let variable =
                function["env"].as_array().unwrap().iter().find(|variable| variable["name"] == name).unwrap();
            variable["value"].as_str().unwrap().parse().unwrap()
        };
        let given = (number("USER_REQUESTS_AT_A_TIME"), number("USER_REQUESTS_WAITING"));
        assert_eq!(given, (turns, waiting), "{settings}");
        assert!(given.0 + given.1 <= concurrency / 4);
        assert_eq!(pod["spec"]["containerConcurrency"].as_u64(), knative.then_some(concurrency));
    }
}

/// A function refuses to start with fewer.
#[test]
fn a_pod_that_takes_one_call_at_a_time_has_three_connections_to_the_database() {
    let documents = render(&["--set", "defaults.concurrency=1"]);
    let variables = documents.iter().filter_map(pod).flat_map(containers);
    let variables = variables.flat_map(|container| container["env"].as_array().into_iter().flatten());
    let connections: Vec<_> = variables.filter(|variable| variable["name"] == "DATABASE_CONNECTIONS").collect();
    assert!(connections.iter().any(|variable| variable["value"] == "3"));
    for variable in connections {
        assert!(variable["value"].as_str().unwrap().parse::<u32>().unwrap() >= 3, "{variable}");
    }
}

fn seconds(text: &str) -> u64 {
    text.strip_suffix('s')
        .and_then(|number| number.parse().ok())
        .unwrap_or_else(|| panic!("{text} is no number of seconds"))
}
