//! Dapr: subscriptions, scopes of the brokers, and `dapr run`.

use std::{collections::BTreeSet, fs, io, path::Path};

use catalogue::{EMBEDDED, EventType, FUNCTIONS, Function, INVOKED, REPAIRS, TOPICS, Trigger};

use crate::Manifest;

/// Who receives which events: one Subscription per event type, and one per dead-letter topic.
pub(crate) fn subscriptions() -> Manifest {
    let mut yaml = String::new();
    for kind in EventType::ALL {
        let name = kind.consumer();
        yaml += &subscription(name, name, kind.topic(), &[kind], &kind.dead_letter_topic());
    }
    for function in FUNCTIONS.iter().filter(|function| function.trigger == Trigger::DeadLetters) {
        for kind in EventType::ALL {
            let consumer = kind.consumer();
            yaml += &dead_letters(consumer, function.name, &kind.dead_letter_topic(), consumer);
        }
    }
    Manifest::yaml("dapr/subscriptions/subscriptions.yaml", &yaml)
}

/// The same for the process that hosts every function. Of two Subscriptions of one app-id to one topic, daprd silently uses the first.
pub(crate) fn embedded_subscriptions() -> Manifest {
    let mut yaml = String::new();
    for topic in TOPICS {
        let kinds: Vec<EventType> = topic.event_types().collect();
        let letters = topic.dead_letter_topic(EMBEDDED);
        yaml += &subscription(topic.name, EMBEDDED, topic.name, &kinds, &letters);
        yaml += &dead_letters(&format!("{}-{EMBEDDED}", topic.name), EMBEDDED, &letters, EMBEDDED);
    }
    Manifest::yaml("dapr/subscriptions-embedded/subscriptions.yaml", &yaml)
}

/// A Subscription to events. An event of any other type goes to a route that acknowledges it: with a dead-letter topic and without a
/// default route, daprd would copy it there.
fn subscription(name: &str, app: &str, topic: &str, kinds: &[EventType], dead_letter_topic: &str) -> String {
    let rule = |kind: &EventType| {
        format!("      - match: event.type == \"{}\"\n        path: /events/{}\n", kind.as_str(), kind.consumer())
    };
    let rules: String = kinds.iter().map(rule).collect();
    format!(
        "---
apiVersion: dapr.io/v2alpha1
kind: Subscription
metadata:
  name: {name}
spec:
  pubsubname: pubsub
  topic: {topic}
  routes:
    rules:
{rules}    default: /events/_ignore
  deadLetterTopic: {dead_letter_topic}
scopes:
  - {app}
"
    )
}

/// A Subscription to a dead-letter topic. It is raw: a payload that is no CloudEvent would block the topic.
fn dead_letters(name: &str, app: &str, topic: &str, consumer: &str) -> String {
    format!(
        "---
apiVersion: dapr.io/v2alpha1
kind: Subscription
metadata:
  name: dead-letters-{name}
spec:
  pubsubname: pubsub
  topic: {topic}
  routes:
    default: /events/dead-letters/{consumer}
  metadata:
    rawPayload: \"true\"
scopes:
  - {app}
"
    )
}

/// The broker components, with what each app-id may publish and receive.
pub(crate) fn brokers(root: &Path) -> io::Result<Vec<Manifest>> {
    let list = |topics: fn(Function) -> Vec<String>| {
        let scopes = with_daprd().map(|function| format!("{}={}", function.name, topics(*function).join(",")));
        scopes.collect::<Vec<_>>().join(";\n        ")
    };
    let scopes = format!(
        "    # The relay of any function publishes every unpublished event, so each may publish to every topic, and to its dead letters.
    - name: publishingScopes
      value: >-
        {}
    # An app-id with nothing after the `=` receives nothing. An app-id that is not listed could receive everything.
    - name: subscriptionScopes
      value: >-
        {}
",
        list(Function::publications),
        list(Function::subscriptions)
    );
    let mut manifests = Vec::new();
    for entry in fs::read_dir(root.join("dapr/pubsub"))? {
        let file = entry?.file_name().to_string_lossy().into_owned();
        if let Some(broker) = file.strip_suffix(".head.yaml") {
            let (head, path) = (format!("dapr/pubsub/{file}"), format!("dapr/pubsub/{broker}/pubsub.yaml"));
            manifests.push(Manifest::continuing(root, &head, &path, |_| scopes.clone())?);
        }
    }
    Ok(manifests)
}

/// The Configuration of each daprd: the Dapr APIs that it offers, and who may invoke its function.
pub(crate) fn configurations(root: &Path) -> io::Result<Vec<Manifest>> {
    let of = |name: &str, apis: &BTreeSet<&str>, access: &str| {
        let allowed = |api: &&str| format!("      - {{ name: {api}, version: v1, protocol: grpc }}\n");
        let allowed: String = apis.iter().map(allowed).collect();
        let list = format!(
            "  api:
    # daprd always allows health checks.
    allowed:
{allowed}      - {{ name: healthz, version: v1, protocol: http }}
{access}metadata:
  name: {name}
"
        );
        let path = format!("dapr/configurations/{name}.yaml");
        Manifest::continuing(root, "dapr/configuration.head.yaml", &path, |_| list)
    };
    let each = with_daprd().map(|function| {
        let access = if function.name == INVOKED { INVOKED_ACCESS } else { NO_ACCESS };
        of(function.name, &function.apis().into_iter().collect(), access)
    });
    // The process that hosts every function needs everything. It invokes itself, which is not subject to access control.
    let embedded = of(EMBEDDED, &with_daprd().flat_map(|function| function.apis()).collect(), NO_ACCESS);
    each.chain([embedded]).collect()
}

const NO_ACCESS: &str = "  # Nobody invokes this function.
  accessControl:
    defaultAction: deny
";
const INVOKED_ACCESS: &str = "  # The chart adds access control. Without mTLS a daprd does not know who invokes its function, and could only deny everybody.
";

/// Every function with a daprd, for `dapr run`. A function without one cannot be started that way.
pub(crate) fn multi_app_run(root: &Path) -> io::Result<Manifest> {
    let endpoint = |is: fn(&Function) -> bool| {
        let index = with_daprd().position(is);
        index.map_or_else(String::new, |index| format!("http://127.0.0.1:{}", 50100 + index))
    };
    let alarm = endpoint(|function| function.name == INVOKED);
    let reminder_due = endpoint(|function| function.offers("secrets"));
    let apps = with_daprd().enumerate().map(|(index, function)| {
        let Function { name, calls, .. } = function;
        let (port, grpc) = (8080 + index, 50100 + index);
        let retries = if *name == REPAIRS {
            format!("      REMINDER_DUE_DAPR_ENDPOINT: {reminder_due}\n")
        } else {
            String::new()
        };
        format!(
            "  - appID: {name}
    appDirPath: ..
    appPort: {port}
    appMaxConcurrency: {calls}
    configFilePath: dapr/configurations/{name}.yaml
    daprGRPCPort: {grpc}
    command: [target/debug/{name}]
    env:
      PORT: {port}
      DAPR_GRPC_ENDPOINT: http://127.0.0.1:{grpc}
      ALARM_DAPR_ENDPOINT: {alarm}
{retries}"
        )
    });
    let apps: String = apps.collect();
    Manifest::continuing(root, "dapr/dapr.head.yaml", "dapr/dapr.yaml", |_| apps)
}

fn with_daprd() -> impl Iterator<Item = &'static Function> {
    FUNCTIONS.iter().filter(|function| function.daprd)
}
