//! The Helm chart: what it renders is what a cluster takes (Knative's and Dapr's own schemas say so), the same as what local
//! runs use, and what the code needs. And the compose file, in [`compose`].

mod code;
mod compose;
mod network;
mod new_function;
mod pods;
mod render;
mod settings;

use std::collections::BTreeSet;

use catalogue::Function;
use render::{GIVEN, helm, render, validate};
use serde_json::Value;

/// The environments, by their values beside those that must be given.
const ENVIRONMENTS: [&[&str]; 6] = [
    &[],
    &["--values", "values-minikube.yaml"],
    &["--values", "values-oke.yaml"],
    &["--values", "values-aks.yaml"],
    &[
        "--set",
        "ingress.host=tasks.example.com,ingress.hosts.live=live.example.com,ingress.hosts.page=page.example.com,ingress.tlsSecret=tls,\
         auth.jwksUrl=https://id.example.com:8443/keys,auth.issuer=https://id.example.com,\
         auth.audience=punctual,auth.operatorScope=punctual:operator,auth.emailVerifiedRequired=false,auth.idTokens=true,\
         page.url=https://page.example.com,page.origins={https://other.example.com},page.oidc.clientId=page,secrets.action.name=action,secrets.action.key=key,\
         secrets.formerAction.name=former,secrets.formerAction.key=key,push.hosts={push.example.com},\
         secrets.listenDatabase.name=listen,secrets.listenDatabase.key=url",
    ],
    &[
        "--set",
        "knative.enabled=false,ingress.host=tasks.example.com,ingress.tlsSecret=tls,image.pullSecrets={registry}",
    ],
];
const PLAIN: &[&str] = &["--set", "knative.enabled=false"];

/// The names of the objects of a kind.
fn names(documents: &[Value], kind: &str) -> BTreeSet<String> {
    of_kind(documents, kind).map(name).collect()
}

fn of_kind<'a>(documents: &'a [Value], kind: &str) -> impl Iterator<Item = &'a Value> {
    documents.iter().filter(move |document| document["kind"] == kind)
}

fn name(document: &Value) -> String {
    document["metadata"]["name"].as_str().unwrap().to_owned()
}

fn api(document: &Value) -> &str {
    document["apiVersion"].as_str().unwrap()
}

#[test]
fn the_chart_is_valid_in_every_environment() {
    for environment in ENVIRONMENTS {
        assert!(render(environment).len() > 40); // validated in there
        let linted = helm("lint", &[&["--strict", "--quiet"], GIVEN, environment].concat());
        assert!(linted.is_ok(), "{environment:?}: {linted:?}");
    }
}

#[test]
fn the_servers_of_minikube_are_valid() {
    let read = |file: &str| std::fs::read_to_string(lab::root().join("infra/minikube").join(file)).unwrap();
    let servers = validate(&[read("postgres.yaml"), read("mailpit.yaml")].join("\n---\n"));
    assert_eq!(names(&servers, "Service"), ["mailpit", "postgres"].map(str::to_owned).into());
}

#[test]
fn installing_twice_changes_nothing() {
    for environment in ENVIRONMENTS {
        assert_eq!(render(environment), render(environment));
    }
}

#[test]
fn a_setting_that_does_not_exist_is_refused() {
    for typo in [
        "networkpolicy.enabled=true",
        "functions.task-craeted.maxScale=1",
        "functions.tasks.maxscale=1",
        "functions.tasks.concurrency=0",
        "broker.component=rabbitmq",
        "email.from=",
        "broker.env.KAFKA_BROKERS=",
        "image.registry=",
        "auth.jwksUrl=https://id.example.com/keys",
        "auth.jwksUrl=https://id.example.com/keys,auth.issuer=https://id.example.com",
        "auth.jwksUrl=https://id.example.com/keys,auth.audience=punctual",
    ] {
        assert!(helm("template", &[GIVEN, &["--set", typo]].concat()).is_err(), "{typo}");
    }
}

#[test]
fn without_knative_a_function_is_an_ordinary_deployment() {
    let plain = render(PLAIN);
    assert!(plain.iter().all(|document| !api(document).contains("knative")));
    assert_eq!(names(&plain, "Deployment"), code::functions());
    // Migrations: before each pod here, before the rollout with Knative.
    let migrates =
        |deployment: &Value| deployment["spec"]["template"]["spec"]["initContainers"][0]["name"] == "migrate";
    for deployment in of_kind(&plain, "Deployment") {
        let function = Function::named(&name(deployment)).unwrap();
        assert_eq!(migrates(deployment), function.database, "{}", function.name);
    }
    assert!(names(&plain, "Job").is_empty());
    let knative = render(&[]);
    assert!(!of_kind(&knative, "Deployment").any(migrates));
    let job = of_kind(&knative, "Job").next().unwrap();
    assert_eq!(job["metadata"]["annotations"]["helm.sh/hook"], "pre-install,pre-upgrade");
}

#[test]
fn a_change_of_a_dapr_resource_restarts_the_daprds() {
    let versions = |arguments: &[&str]| -> BTreeSet<String> {
        let documents = render(arguments);
        let deployments = of_kind(&documents, "Deployment");
        deployments
            .map(|deployment| deployment["spec"]["template"]["metadata"]["annotations"]["punctual/dapr"].to_string())
            .collect()
    };
    let kafka = versions(&[]);
    assert_eq!(kafka.len(), 1);
    assert_eq!(kafka, versions(&["--set", "image.tag=other"]));
    assert_ne!(kafka, versions(&["--set", "broker.component=redis,broker.env.REDIS_HOST=redis:6379"]));
}
