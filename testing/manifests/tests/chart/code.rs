//! The chart, `dapr/` and the code are one: the list of functions, who gets which event, what is read from the environment.

use std::{collections::BTreeSet, fs, path::Path};

use catalogue::{FUNCTIONS, Function};
use lab::root;
use serde_json::{Value, json};

use super::{
    PLAIN, api, name, names, of_kind,
    render::{GIVEN, NAMESPACE, folder, helm, render, validate},
};

/// The functions: the folders of `functions/`.
pub(crate) fn functions() -> BTreeSet<String> {
    let folders = fs::read_dir(root().join("functions")).unwrap();
    folders.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}

fn set<'a>(list: impl IntoIterator<Item = &'a Value>) -> BTreeSet<String> {
    list.into_iter().map(|value| value.as_str().unwrap().to_owned()).collect()
}

fn pod(document: &Value) -> &Value {
    &document["spec"]["template"]
}

/// The functions with a daprd.
pub(crate) fn with_daprd() -> BTreeSet<String> {
    FUNCTIONS.iter().filter(|function| function.daprd).map(|function| function.name.to_owned()).collect()
}

#[test]
fn every_function_has_a_folder_and_a_service_and_those_with_a_daprd_an_app_id() {
    let functions = functions();
    let catalogued: BTreeSet<String> = FUNCTIONS.iter().map(|function| function.name.to_owned()).collect();
    assert_eq!(catalogued, functions);
    for arguments in [&[], PLAIN] {
        let documents = render(arguments);
        let app_ids = of_kind(&documents, "Deployment")
            .map(|deployment| &pod(deployment)["metadata"]["annotations"]["dapr.io/app-id"])
            .filter(|app_id| !app_id.is_null());
        assert_eq!(set(app_ids), with_daprd());
    }
    let documents = render(&[]);
    let services: BTreeSet<String> =
        of_kind(&documents, "Service").filter(|service| api(service).contains("knative")).map(name).collect();
    assert_eq!(services, functions);
}

#[test]
fn each_door_routes_to_its_own_function_and_only_public_functions_are_exposed() {
    let documents = render(&[]);
    for Function { name: function, public, daprd, .. } in FUNCTIONS {
        let of = |kind: &str, called: &str| {
            let mut found = of_kind(&documents, kind).filter(|document| name(document) == called);
            found.next().unwrap_or_else(|| panic!("no {kind} {called}"))
        };
        let visibility = &of("Service", function)["metadata"]["labels"]["networking.knative.dev/visibility"];
        assert_eq!(visibility == "cluster-local", public.is_none(), "{function}");
        if !daprd {
            continue;
        }
        let door = pod(of("Deployment", &format!("{function}-daprd")));
        assert_eq!(door["metadata"]["annotations"]["dapr.io/app-id"], function);
        let env = door["spec"]["containers"][0]["env"].as_array().unwrap();
        let target = env.iter().find(|variable| variable["name"] == "TARGET").unwrap();
        assert_eq!(target["value"], format!("http://{function}.{NAMESPACE}.svc.cluster.local"));
        let port = env.iter().find(|variable| variable["name"] == "PORT").unwrap();
        assert_eq!(port["value"], door["metadata"]["annotations"]["dapr.io/app-port"]);
        let service = of("Service", &format!("{function}-daprd"));
        assert_eq!(service["spec"]["selector"]["punctual/daprd"], door["metadata"]["labels"]["punctual/daprd"]);
    }
}

#[test]
fn the_resources_of_dapr_are_those_of_local_runs() {
    let dapr = root().join("dapr");
    let mut files = vec!["pubsub/kafka/pubsub.yaml", "statestore/postgresql/statestore.yaml"];
    files.push("resiliency/resiliency.yaml");
    let mut files: Vec<_> = files.into_iter().map(|file| dapr.join(file)).collect();
    files.extend(with_daprd().into_iter().map(|name| dapr.join(format!("configurations/{name}.yaml"))));
    files.extend(fs::read_dir(dapr.join("subscriptions")).unwrap().map(|entry| entry.unwrap().path()));
    let text: String = files.iter().map(|file| format!("---\n{}\n", fs::read_to_string(file).unwrap())).collect();
    let mut expected = validate(&text);
    for arguments in [&[], PLAIN] {
        let mut found: Vec<Value> =
            render(arguments).into_iter().filter(|document| api(document).contains("dapr.io")).collect();
        // It has no counterpart: locally the secrets are a file.
        let store = found.iter().position(|document| document["spec"]["type"] == "secretstores.kubernetes").unwrap();
        assert_eq!(set(found.remove(store)["scopes"].as_array().unwrap()), BTreeSet::from(["reminder-due".to_owned()]));
        // Locally nobody can be told apart, so alarm's access control is the chart's.
        let alarm = found.iter_mut().find(|document| document["kind"] == "Configuration" && name(document) == "alarm");
        let access = alarm.unwrap()["spec"].as_object_mut().unwrap().remove("accessControl");
        assert!(access.is_some());
        let by_name = |document: &Value| (document["kind"].to_string(), name(document));
        expected.sort_by_key(by_name);
        found.sort_by_key(by_name);
        assert_eq!(found, expected);
    }
}

/// Dapr's default is that every application of the cluster may invoke every other one, with the application's token.
#[test]
fn only_alarm_can_be_invoked_and_only_by_tasks_and_reminder_due() {
    for arguments in [&[], PLAIN] {
        let documents = render(arguments);
        assert_eq!(names(&documents, "Configuration"), with_daprd());
        for configuration in of_kind(&documents, "Configuration") {
            let access = &configuration["spec"]["accessControl"];
            assert_eq!(access["defaultAction"], "deny", "{}", name(configuration));
            let allowed: Vec<_> = access["policies"].as_array().into_iter().flatten().collect();
            if name(configuration) != "alarm" {
                assert!(allowed.is_empty(), "{}", name(configuration));
                continue;
            }
            let send_now = json!([{"name": "/send-now", "httpVerb": ["POST"], "action": "allow"}]);
            let callers = ["reminder-due", "tasks"].map(|app_id| {
                json!({"appId": app_id, "defaultAction": "deny", "trustDomain": "public", "namespace": NAMESPACE, "operations": send_now})
            });
            assert_eq!(allowed, callers.iter().collect::<Vec<_>>());
        }
    }
}

/// Templates learn from `files/functions.yaml` who calls whom and who reads secrets. They name a function only for what it alone has and the
/// catalogue does not know: its settings in `punctual.env`, and the hint after an installation.
#[test]
fn templates_name_no_function_that_the_catalogue_could_name() {
    let mut named = BTreeSet::new();
    for template in fs::read_dir(folder().join("templates")).unwrap().map(Result::unwrap) {
        let file = template.file_name().into_string().unwrap();
        let mut text = fs::read_to_string(template.path()).unwrap();
        if file == "_helpers.tpl" {
            let of_one = |name| format!("eq $name \"{name}\"");
            text = FUNCTIONS.iter().fold(text, |text, function| text.replace(&of_one(function.name), ""));
        }
        let words = text.split(|c: char| !(c.is_ascii_alphanumeric() || c == '-' || c == '_'));
        let words = words.map(|word| word.strip_suffix("-daprd").unwrap_or(word));
        // `page` is also the word for what it serves, and the name of its values.
        let functions = words.filter_map(Function::named).filter(|function| function.name != "page");
        named.extend(functions.map(|function| (file.clone(), function.name)));
    }
    assert_eq!(
        named,
        BTreeSet::from([("NOTES.txt".to_owned(), "tasks")]),
        "ask for a fact of the function, and generate it in testing/manifests/src/chart.rs"
    );
}

#[test]
fn a_daprd_offers_what_its_function_and_its_callers_need() {
    let documents = render(&[]);
    for configuration in of_kind(&documents, "Configuration") {
        let allowed = configuration["spec"]["api"]["allowed"].as_array().unwrap();
        let apis = |protocol: &str| {
            set(allowed
                .iter()
                .filter(|api| api["protocol"] == protocol && api["version"] == "v1")
                .map(|api| &api["name"]))
        };
        let expected: &[&str] = match &*name(configuration) {
            "tasks" => &["publish", "invoke"],
            "alarm" | "upkeep" => &["publish", "jobs"],
            "reminder-due" => &["publish", "jobs", "state", "secrets", "invoke"],
            _ => &["publish"],
        };
        assert_eq!(apis("grpc"), expected.iter().map(ToString::to_string).collect(), "{}", name(configuration));
        assert_eq!(apis("http"), BTreeSet::from(["healthz".to_owned()]), "{}", name(configuration));
        assert_eq!(allowed.len(), expected.len() + 1);
    }
}

#[test]
fn every_broker_can_be_chosen() {
    for entry in fs::read_dir(root().join("dapr/pubsub")).unwrap() {
        let broker = entry.unwrap().file_name().into_string().unwrap();
        if broker == "in-memory" || broker.ends_with(".head.yaml") {
            continue; // The first works within one daprd; the others are input of the generator.
        }
        let source = fs::read_to_string(root().join(format!("dapr/pubsub/{broker}/pubsub.yaml"))).unwrap();
        let component = validate(&source).remove(0);
        let mut settings = format!("broker.component={broker}");
        for item in component["spec"]["metadata"].as_array().unwrap() {
            if let Some(variable) = item["envRef"].as_str() {
                let given = ["--set", "broker.env=null", "--set", settings.as_str()];
                assert!(helm("template", &[GIVEN, &given].concat()).is_err(), "{variable} is missing");
                settings += &format!(",broker.env.{variable}=somewhere");
            }
        }
        let documents = render(&["--set", &settings]);
        assert_eq!(of_kind(&documents, "Component").find(|found| name(found) == "pubsub"), Some(&component));
    }
}

#[test]
fn each_daprd_gets_the_variables_that_its_components_reference() {
    for arguments in [&[], PLAIN] {
        let documents = render(arguments);
        for deployment in of_kind(&documents, "Deployment") {
            let annotations = &pod(deployment)["metadata"]["annotations"];
            let app_id = &annotations["dapr.io/app-id"];
            if app_id.is_null() {
                continue; // it has no daprd
            }
            let given: BTreeSet<String> = ["dapr.io/env", "dapr.io/env-from-secret"]
                .iter()
                .filter_map(|key| annotations[key].as_str())
                .flat_map(|list| list.split(',').filter_map(|entry| entry.split_once('=')))
                .map(|(variable, _)| variable.to_owned())
                .collect();
            let seen = |component: &&Value| component["scopes"].as_array().is_none_or(|scopes| scopes.contains(app_id));
            let referred: BTreeSet<String> = of_kind(&documents, "Component")
                .filter(seen)
                .flat_map(|component| component["spec"]["metadata"].as_array().unwrap())
                .filter_map(|item| item["envRef"].as_str().map(str::to_owned))
                .collect();
            assert_eq!(given, referred, "{app_id}");
        }
    }
}

#[test]
fn every_variable_is_one_that_the_function_reads() {
    let source = |folder: &Path| -> String {
        let mut text = String::new();
        let mut open = vec![folder.to_owned()];
        while let Some(folder) = open.pop() {
            for path in fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
                if path.is_dir() {
                    open.push(path);
                } else {
                    text += &fs::read_to_string(path).unwrap();
                }
            }
        }
        text
    };
    let shared = source(&root().join("shared/src"));
    for arguments in [
        &[],
        PLAIN,
        &[
            "--set",
            "auth.jwksUrl=https://id,auth.issuer=i,auth.audience=a,auth.operatorScope=o,auth.idTokens=true,email.mailgunDomain=d,\
             page.url=https://page,page.origins={https://page},push.hosts={push.example.com},secrets.action.name=a,secrets.action.key=k,\
             secrets.formerAction.name=f,secrets.formerAction.key=k,secrets.listenDatabase.name=l,secrets.listenDatabase.key=k,\
             ingress.host=api.example,ingress.hosts.live=live.example,ingress.hosts.page=page.example,page.oidc.clientId=c,\
             page.oidc.scope=s,page.oidc.audience=a,page.oidc.origins={https://login.example}",
        ],
    ] {
        let documents = render(arguments);
        for document in &documents {
            let function = name(document);
            let containers = pod(document)["spec"]["containers"].as_array();
            let Some(container) = containers.filter(|containers| containers[0]["name"] == "function") else { continue };
            let own = source(&root().join("functions").join(&function).join("src"));
            for variable in container[0]["env"].as_array().unwrap() {
                let variable = variable["name"].as_str().unwrap();
                let field = format!("pub {}:", variable.to_lowercase());
                let read = variable == "RUST_LOG" || shared.contains(&field) || own.contains(&field);
                assert!(read, "{function} does not read {variable}");
            }
        }
    }
}

#[test]
fn only_the_keys_of_mail_providers_and_push_services_are_readable_secrets() {
    let read = |file: &str| fs::read_to_string(root().join("functions/reminder-due/src").join(file)).unwrap();
    let (email, push) = (read("email/config.rs"), read("push/mod.rs"));
    let (_, body) = email.split_once("fn secret_key(").unwrap();
    let (body, _) = body.split_once("\n    }\n").unwrap();
    let mut keys: BTreeSet<String> = body.split('"').skip(1).step_by(2).map(str::to_owned).collect();
    let (_, key) = push.split_once("const SECRET_KEY: &str = \"").unwrap();
    keys.extend(key.split('"').next().map(str::to_owned));
    let documents = render(&[]);
    let rules = of_kind(&documents, "Role").flat_map(|role| role["rules"].as_array().unwrap()).collect::<Vec<_>>();
    assert_eq!(rules.len(), 1);
    assert_eq!(set(rules[0]["resourceNames"].as_array().unwrap()), keys);
    assert_eq!(set(rules[0]["verbs"].as_array().unwrap()), BTreeSet::from(["get".to_owned()]));
    assert_eq!(names(&documents, "RoleBinding").len(), 1);
}
