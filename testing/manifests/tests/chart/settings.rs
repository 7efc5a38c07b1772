//! What the values that a platform team needs do: scale, placement, volumes, the database's CA, traces, digests, drains.

use std::{collections::BTreeSet, fs};

use lab::root;
use serde_json::{Value, json};

use super::{
    PLAIN, name, names, of_kind,
    pods::{containers, pod},
    render::{GIVEN, helm, render},
};

fn find<'a>(documents: &'a [Value], kind: &str, called: &str) -> &'a Value {
    let mut found = of_kind(documents, kind).filter(|document| name(document) == called);
    found.next().unwrap_or_else(|| panic!("no {kind} {called}"))
}

fn variable<'a>(container: &'a Value, called: &str) -> Option<&'a Value> {
    container["env"].as_array()?.iter().find(|variable| variable["name"] == called)
}

#[test]
fn a_function_has_as_many_pods_as_its_settings_say() {
    let scale = ["--set", "functions.tasks.minScale=2,functions.tasks.maxScale=6"];
    let documents = render(&scale);
    let annotations = &find(&documents, "Service", "tasks")["spec"]["template"]["metadata"]["annotations"];
    assert_eq!(annotations["autoscaling.knative.dev/min-scale"], "2");
    assert_eq!(annotations["autoscaling.knative.dev/max-scale"], "6");

    let plain = render(&[PLAIN, &scale].concat());
    assert_eq!(find(&plain, "Deployment", "tasks")["spec"]["replicas"], 2);
    assert_eq!(find(&plain, "Deployment", "upkeep")["spec"]["replicas"], 1);
    assert!(names(&plain, "HorizontalPodAutoscaler").is_empty());

    // An upgrade that names the replicas would undo what the autoscaler set.
    let plain = render(&[PLAIN, &scale, &["--set", "autoscaling.cpu=200m,functions.alarm.maxScale=1"]].concat());
    assert!(find(&plain, "Deployment", "tasks")["spec"]["replicas"].is_null());
    assert_eq!(find(&plain, "Deployment", "alarm")["spec"]["replicas"], 1);
    let autoscaler = &find(&plain, "HorizontalPodAutoscaler", "tasks")["spec"];
    assert_eq!((&autoscaler["minReplicas"], &autoscaler["maxReplicas"]), (&json!(2), &json!(6)));
    assert_eq!(autoscaler["scaleTargetRef"]["name"], "tasks");
    assert_eq!(autoscaler["metrics"][0]["resource"]["target"]["averageValue"], "200m");

    assert!(helm("template", &[GIVEN, &["--set", "functions.tasks.minScale=9"]].concat()).is_err());
}

/// `migrate` refuses a transaction pooler, which the functions may use.
#[test]
fn migrate_may_have_another_address_of_the_database_than_the_functions() {
    let direct = ["--set", "secrets.migrateDatabase.name=direct,secrets.migrateDatabase.key=address"];
    for rendering in [&[], PLAIN] {
        for (setting, of_migrate) in [(&[] as &[&str], ("punctual-database", "url")), (&direct, ("direct", "address"))]
        {
            let documents = render(&[rendering, setting].concat());
            let mut seen = BTreeSet::new();
            for container in documents.iter().filter_map(pod).flat_map(containers) {
                let Some(url) = variable(container, "DATABASE_URL") else { continue };
                let is_migrate = container["name"] == "migrate";
                let (name, key) = if is_migrate { of_migrate } else { ("punctual-database", "url") };
                assert_eq!(url["valueFrom"]["secretKeyRef"], json!({"name": name, "key": key}), "{container}");
                seen.insert(is_migrate);
            }
            assert_eq!(seen, [false, true].into());
        }
    }
    assert!(helm("template", &[GIVEN, &["--set", "secrets.migrateDatabase.name=direct"]].concat()).is_err());
}

/// A transaction pooler drops notifications.
#[test]
fn updates_alone_may_listen_at_another_address_of_the_database() {
    let direct = ["--set", "secrets.listenDatabase.name=direct,secrets.listenDatabase.key=address"];
    for rendering in [&[], PLAIN] {
        for (setting, expected) in
            [(&[] as &[&str], None), (&direct, Some(json!({"name": "direct", "key": "address"})))]
        {
            for document in &render(&[rendering, setting].concat()) {
                for container in pod(document).into_iter().flat_map(containers) {
                    let listens = name(document) == "updates" && container["name"] == "function";
                    let found = variable(container, "LISTEN_DATABASE_URL").map(|url| &url["valueFrom"]["secretKeyRef"]);
                    assert_eq!(found, expected.as_ref().filter(|_| listens), "{}", name(document));
                }
            }
        }
    }
}

#[test]
fn public_functions_share_one_ingress_and_have_a_host_each_on_knative() {
    let hosts = [
        "--set",
        "ingress.host=punctual.example.com,ingress.hosts.live=live.example.com,ingress.hosts.page=page.example.com,ingress.tlsSecret=tls",
    ];
    let documents = render(&[PLAIN, &hosts].concat());
    let ingresses: Vec<&Value> = of_kind(&documents, "Ingress").collect();
    assert_eq!(ingresses.len(), 1);
    let rule = &ingresses[0]["spec"]["rules"][0];
    assert_eq!(rule["host"], "punctual.example.com");
    let paths = rule["http"]["paths"].as_array().unwrap();
    let paths: BTreeSet<_> = paths
        .iter()
        .map(|path| (path["path"].as_str().unwrap(), path["backend"]["service"]["name"].as_str().unwrap()))
        .collect();
    assert_eq!(paths, [("/", "page"), ("/openapi.json", "tasks"), ("/v1", "tasks"), ("/v1/updates", "updates")].into());

    for (hosts, expected) in [
        (
            &hosts[1],
            &[("live.example.com", "updates"), ("page.example.com", "page"), ("punctual.example.com", "tasks")][..],
        ),
        (&"ingress.host=ignored.example.com,ingress.hosts.api=api.example.com", &[("api.example.com", "tasks")]),
    ] {
        let documents = render(&["--set", hosts]);
        let mappings = of_kind(&documents, "DomainMapping");
        let mappings: BTreeSet<_> = mappings
            .map(|mapping| (name(mapping), mapping["spec"]["ref"]["name"].as_str().unwrap().to_owned()))
            .collect();
        let expected = expected.iter().map(|(host, function)| ((*host).to_owned(), (*function).to_owned()));
        assert_eq!(mappings, expected.collect());
    }
}

#[test]
fn settings_of_links_pages_and_push_reach_only_the_functions_that_read_them() {
    let keys = "secrets.action.name=action,secrets.action.key=key,secrets.formerAction.name=former,secrets.formerAction.key=key";
    let page = "page.url=https://page.example.com,page.origins={https://page.example.com,http://localhost:8081}";
    let (new, former) = (format!("B{}", "A".repeat(86)), format!("B{}", "C".repeat(86)));
    let push = format!("push.vapidPublicKeys={{{new},{former}}},push.hosts={{push.example.com,*.push.example.com}}");
    let (public, hosts) = (format!("{new},{former}"), "push.example.com,*.push.example.com");
    for rendering in [&[], PLAIN] {
        let documents = render(&[rendering, &["--set", keys, "--set", page, "--set", &push]].concat());
        let mut seen = BTreeSet::new();
        for document in &documents {
            for container in pod(document).into_iter().flat_map(containers) {
                for set in
                    ["ACTION_KEY", "FORMER_ACTION_KEY", "PAGE_URL", "CORS_ORIGINS", "PUSH_HOSTS", "VAPID_PUBLIC_KEYS"]
                {
                    let Some(variable) = variable(container, set) else { continue };
                    let secret = variable["valueFrom"]["secretKeyRef"]["name"].as_str();
                    let value = secret.or(variable["value"].as_str()).unwrap().to_owned();
                    seen.insert((name(document), set.to_owned(), value));
                }
            }
        }
        let expected = [
            ("reminder-due", "ACTION_KEY", "action"),
            ("reminder-due", "PAGE_URL", "https://page.example.com"),
            ("reminder-due", "PUSH_HOSTS", hosts),
            ("tasks", "ACTION_KEY", "action"),
            ("tasks", "CORS_ORIGINS", "https://page.example.com,http://localhost:8081"),
            ("tasks", "FORMER_ACTION_KEY", "former"),
            ("tasks", "PUSH_HOSTS", hosts),
            ("tasks", "VAPID_PUBLIC_KEYS", public.as_str()),
            ("updates", "CORS_ORIGINS", "https://page.example.com,http://localhost:8081"),
        ];
        assert_eq!(seen, expected.map(|(of, set, value)| (of.to_owned(), set.to_owned(), value.to_owned())).into());
    }
    assert!(helm("template", &[GIVEN, &["--set", page]].concat()).is_err(), "a page without a key");
    assert!(helm("template", &[GIVEN, &["--set", "push.vapidPublicKeys={short}"]].concat()).is_err(), "no public key");
}

/// Without Knative everything has one host. On Knative the page names the hosts of the others, and they admit it.
#[test]
fn the_page_finds_the_api_and_the_api_admits_the_page() {
    let hosts = "ingress.host=punctual.example,ingress.hosts.page=page.example,ingress.hosts.live=live.example,\
                 page.origins={https://other.example,https://page.example}";
    let of_oidc = "auth.issuer=https://id.example/,page.oidc.clientId=page,page.oidc.audience=punctual,page.oidc.origins={https://a.example,https://b.example}";
    let variables = |arguments: &[&str], called: &str| -> BTreeSet<String> {
        let documents = render(arguments);
        let document = documents.iter().find(|document| name(document) == called && pod(document).is_some()).unwrap();
        let container = containers(pod(document).unwrap()).find(|container| container["name"] == "function").unwrap();
        let variables = container["env"].as_array().unwrap().iter();
        let of_pages = variables.filter(|variable| {
            ["API_URL", "UPDATES_URL", "CORS_ORIGINS"].contains(&variable["name"].as_str().unwrap())
                || variable["name"].as_str().unwrap().starts_with("OIDC_")
        });
        of_pages
            .map(|variable| format!("{}={}", variable["name"].as_str().unwrap(), variable["value"].as_str().unwrap()))
            .collect()
    };
    let set = |texts: &[&str]| -> BTreeSet<String> { texts.iter().map(ToString::to_string).collect() };
    let knative = ["--set", hosts, "--set", of_oidc];
    assert_eq!(
        variables(&knative, "page"),
        set(&[
            "API_URL=https://punctual.example",
            "UPDATES_URL=https://live.example",
            "OIDC_ISSUER=https://id.example/",
            "OIDC_CLIENT_ID=page",
            "OIDC_AUDIENCE=punctual",
            "OIDC_ORIGINS=https://a.example,https://b.example",
        ])
    );
    for called in ["tasks", "updates"] {
        assert_eq!(variables(&knative, called), set(&["CORS_ORIGINS=https://page.example,https://other.example"]));
    }
    assert_eq!(
        variables(&[PLAIN, &["--set", "ingress.host=punctual.example"]].concat(), "page"),
        set(&["UPDATES_URL=/"])
    );
    assert!(variables(&[PLAIN, &["--set", "ingress.host=punctual.example"]].concat(), "tasks").is_empty());
    assert!(
        helm("template", &[GIVEN, &["--set", "page.oidc.clientId=page"]].concat()).is_err(),
        "a client without an issuer"
    );
}

#[test]
fn every_pod_runs_where_the_settings_say() {
    let settings = [
        "--set",
        "pods.spread={topology.kubernetes.io/zone},pods.priorityClassName=high,pods.nodeSelector.pool=work,pods.tolerations[0].key=work,\
         pods.annotations.team=tasks",
    ];
    for plain in [false, true] {
        let documents = render(&[if plain { PLAIN } else { &[] }, &settings].concat());
        let mut seen = 0;
        for document in &documents {
            let Some(pod) = pod(document) else { continue };
            seen += 1;
            let (spec, labels) = (&pod["spec"], &pod["metadata"]["labels"]);
            assert_eq!(spec["nodeSelector"], json!({"pool": "work"}), "{}", name(document));
            assert_eq!(spec["tolerations"], json!([{"key": "work"}]), "{}", name(document));
            assert_eq!(spec["priorityClassName"], "high", "{}", name(document));
            assert_eq!(pod["metadata"]["annotations"]["team"], "tasks", "{}", name(document));
            if labels["punctual/job"].is_null() {
                let selector = &spec["topologySpreadConstraints"][0]["labelSelector"];
                let matched = match selector["matchLabels"]["punctual/function"].as_str() {
                    Some(function) => labels["punctual/function"] == function,
                    None => {
                        selector["matchExpressions"][0]["key"] == "punctual/daprd"
                            && !labels["punctual/daprd"].is_null()
                    }
                };
                assert!(matched, "{}: spread with other pods: {selector}", name(document));
            }
        }
        assert!(seen > 10);
    }
    // The validator enables the same feature flags of Knative. Without them its webhook refuses these settings.
    let platform = fs::read_to_string(root().join("infra/platform/knative/kustomization.yaml")).unwrap();
    for flag in ["nodeselector", "tolerations", "priorityclassname", "topologyspreadconstraints"] {
        assert!(platform.contains(&format!("kubernetes.podspec-{flag}: enabled")), "{flag}");
    }
}

#[test]
fn every_pod_with_a_database_trusts_the_configured_ca() {
    let settings = [
        "--set",
        "database.ca.configMap=own-ca,pods.volumes[0].name=extra,pods.volumes[0].emptyDir.medium=Memory,pods.volumeMounts[0].name=extra,\
         pods.volumeMounts[0].mountPath=/extra",
    ];
    for arguments in [&[], PLAIN] {
        let documents = render(&[arguments, &settings].concat());
        let mut connected = 0;
        for document in &documents {
            let Some(pod) = pod(document) else { continue };
            let volumes = pod["spec"]["volumes"].as_array().unwrap();
            let is_mounted = |mount: &Value| volumes.iter().any(|volume| volume["name"] == mount["name"]);
            for container in containers(pod).filter(|container| variable(container, "DATABASE_URL").is_some()) {
                connected += 1;
                assert_eq!(variable(container, "PGSSLROOTCERT").unwrap()["value"], "/etc/punctual/ca.crt");
                let mounts = container["volumeMounts"].as_array().unwrap();
                assert!(mounts.iter().all(is_mounted), "{mounts:?}");
                assert!(mounts.iter().any(|mount| mount["mountPath"] == "/etc/punctual"));
                assert!(mounts.iter().any(|mount| mount["mountPath"] == "/extra"));
            }
            let annotations = &pod["metadata"]["annotations"];
            if annotations["dapr.io/app-id"] == "reminder-due" {
                assert!(annotations["dapr.io/env"].as_str().unwrap().contains("PGSSLROOTCERT=/etc/punctual/ca.crt"));
                let mounts = annotations["dapr.io/volume-mounts"].as_str().unwrap();
                assert_eq!(
                    mounts,
                    "secret-reader:/var/run/secrets/kubernetes.io/serviceaccount,database-ca:/etc/punctual"
                );
                // The injector mounts only volumes that the pod has.
                let source = json!({"name": "own-ca", "items": [{"key": "ca.crt", "path": "ca.crt"}]});
                let volume = volumes.iter().find(|volume| volume["name"] == "database-ca");
                assert_eq!(volume.map(|volume| &volume["configMap"]), Some(&source));
            }
        }
        assert!(connected >= 12, "{connected}");
    }
}

#[test]
fn a_daprd_is_told_where_its_traces_go() {
    let settings = [
        "--set",
        "dapr.env.OTEL_EXPORTER_OTLP_ENDPOINT=http://collector.monitoring:4317,dapr.env.OTEL_EXPORTER_OTLP_INSECURE=true",
    ];
    let documents = render(&settings);
    for deployment in of_kind(&documents, "Deployment") {
        let variables = deployment["spec"]["template"]["metadata"]["annotations"]["dapr.io/env"].as_str().unwrap();
        assert!(variables.contains(",OTEL_EXPORTER_OTLP_ENDPOINT=http://collector.monitoring:4317,"), "{variables}");
        assert!(variables.contains("KAFKA_BROKERS="), "{variables}");
    }
}

#[test]
fn images_are_pulled_by_the_given_digests() {
    let mut all = super::code::functions();
    all.extend(["door", "migrate"].map(str::to_owned));
    let digest = |image: &str| format!("sha256:{:064x}", image.len());
    let settings: Vec<String> = all.iter().map(|image| format!("image.digests.{image}={}", digest(image))).collect();
    for arguments in [&[], PLAIN] {
        let documents = render(&[arguments, &["--set-string", &settings.join(",")]].concat());
        let mut seen = BTreeSet::new();
        for image in
            documents.iter().filter_map(pod).flat_map(containers).map(|container| container["image"].as_str().unwrap())
        {
            let (reference, found) = image.split_once('@').unwrap_or_else(|| panic!("{image} has no digest"));
            let image = reference.strip_prefix("registry.example.com/punctual/").unwrap();
            assert_eq!(found, digest(image));
            seen.insert(image.to_owned());
        }
        assert!(seen.is_subset(&all) && seen.contains("migrate") && seen.contains("tasks"), "{seen:?}");
    }
    // A digest that is missing must not fall back to the tag.
    for refused in [settings[1..].join(","), "image.digests.tasks=latest".to_owned()] {
        assert!(helm("template", &[GIVEN, &["--set-string", &refused]].concat()).is_err(), "{refused}");
    }
}

#[test]
fn probing_a_door_does_not_wake_its_function() {
    let documents = render(&[]);
    let doors: Vec<&Value> =
        of_kind(&documents, "Deployment").map(|door| &door["spec"]["template"]["spec"]["containers"][0]).collect();
    assert_eq!(doors.len(), super::code::with_daprd().len());
    for door in doors {
        let health = variable(door, "HEALTH_PORT").unwrap()["value"].as_str().unwrap();
        for probe in ["readinessProbe", "livenessProbe"] {
            assert_eq!(door[probe]["httpGet"]["path"], "/healthz");
            assert_eq!(door[probe]["httpGet"]["port"].to_string(), health);
        }
        assert_ne!(health, variable(door, "PORT").unwrap()["value"], "daprd's port is on 127.0.0.1 only");
    }
}

/// On one node nothing replaces an evicted pod, so a budget that needs a replacement would hold the drain forever.
#[test]
fn no_disruption_budget_blocks_the_drain_of_the_only_node() {
    for arguments in [&[], PLAIN] {
        let documents = render(arguments);
        let budgets: Vec<&Value> = of_kind(&documents, "PodDisruptionBudget").map(|budget| &budget["spec"]).collect();
        assert!(!budgets.is_empty());
        for budget in budgets {
            let function = budget["selector"]["matchLabels"]["punctual/function"].as_str();
            assert!(function.is_some(), "it selects pods of several functions: {budget}");
            assert_eq!(budget["maxUnavailable"], 1);
        }
    }
}
