//! Made-up functions, added to a copy of the tree. One for an event type takes at most eight edits by hand, and the generator writes every
//! list. One without daprd and database gets neither.
//!
//! Only the catalogue and the generator are compiled in the copy, so the test takes seconds.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    process::Command,
};

use lab::{chart, root};
use serde_json::Value;

use super::{
    PLAIN, name, names, of_kind,
    render::{GIVEN, helm_in, validate},
};

/// A hand edit is a hunk in a file that is not generated.
const LIMIT: usize = 8;

#[test]
fn an_event_type_takes_at_most_eight_edits_and_every_list_follows() {
    let mut tree = Tree::copy("event-type");
    add_function(&mut tree);
    add_event_type(&mut tree);
    add_to_embedded(&mut tree);
    let hunks = tree.hunks();
    println!("hunks by file: {hunks:?}");
    assert!(hunks.values().sum::<usize>() <= LIMIT, "{hunks:?}");

    tree.generate();
    every_list_has_it(&tree);
    the_chart_renders_it(&tree);
    tree.check_compose();
}

#[test]
fn a_function_without_daprd_and_database_gets_neither() {
    let mut tree = Tree::copy("front");
    let row = "Function { name: \"front\", trigger: Trigger::Http, daprd: false, database: false, \
               public: Some(Public { host: \"front\", paths: &[\"/front\"] }), calls: CALLS },\n";
    tree.insert("shared/catalogue/src/lib.rs", row, "    Function { name: REPAIRS");
    tree.generate();

    let compose = fs::read_to_string(tree.root.join("compose/docker-compose.dev.yaml")).unwrap();
    assert!(compose.contains("\n  front:\n") && !compose.contains("front-daprd"));
    assert!(compose.contains("BINARY: front } }\n    environment: { <<: [*environment] }\n\n"));
    tree.check_compose();
    for file in ["dapr/dapr.yaml", "dapr/pubsub/kafka/pubsub.yaml"] {
        assert!(!fs::read_to_string(tree.root.join(file)).unwrap().contains("front"), "{file}");
    }

    for (arguments, kind) in [(&[] as &[&str], "Service"), (PLAIN, "Deployment")] {
        let documents = tree.render(arguments);
        for kind in ["Deployment", "Service"] {
            assert!(!names(&documents, kind).contains("front-daprd"));
        }
        let front = of_kind(&documents, kind).find(|document| name(document) == "front").unwrap();
        let pod = &front["spec"]["template"];
        assert!(pod["spec"]["initContainers"].is_null() && pod["metadata"]["annotations"]["dapr.io/enabled"].is_null());
        let variables = pod["spec"]["containers"][0]["env"].as_array().unwrap();
        let variables: Vec<&str> = variables.iter().map(|variable| variable["name"].as_str().unwrap()).collect();
        assert!(variables.iter().all(|name| ["PORT", "RUST_LOG"].contains(name)), "{variables:?}");
        for policy in ["functions-database", "functions-daprd"] {
            let policy = of_kind(&documents, "NetworkPolicy").find(|document| name(document) == policy).unwrap();
            let functions = policy["spec"]["podSelector"]["matchExpressions"][0]["values"].as_array().unwrap();
            assert!(functions.contains(&"tasks".into()) && !functions.contains(&"front".into()));
        }
    }
}

fn add_function(tree: &mut Tree) {
    for file in ["Cargo.toml", "src/lib.rs", "src/main.rs"] {
        let text = fs::read_to_string(root().join("functions/task-deleted").join(file)).unwrap();
        let replaced =
            [("task-deleted", "task-pinned"), ("task_deleted", "task_pinned"), ("TaskDeleted", "TaskPinned")];
        let text = replaced.iter().fold(text, |text, (from, to)| text.replace(from, to));
        tree.create(&format!("functions/task-pinned/{file}"), &text);
    }
}

fn add_event_type(tree: &mut Tree) {
    let row = "    /// A task was pinned.\n    TaskPinned: \"task.pinned\", TASK_EVENTS, \"task-pinned\";\n";
    tree.insert("shared/catalogue/src/lib.rs", row, "    /// A reminder is due.\n");
    let payload = "/// A task was pinned.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct TaskPinned {
    /// The task.
    #[serde(flatten)]
    pub task: TaskRef,
}

";
    tree.insert("shared/src/schema.rs", payload, "payloads!(\n");
    tree.insert("shared/src/schema.rs", "    TaskPinned,\n", "    TaskCreated,\n");
    let sample = fs::read_to_string(root().join("shared/tests/payloads/task.deleted/0.1.0.json")).unwrap();
    tree.create("shared/tests/payloads/task.pinned/0.1.0.json", &sample);
}

fn add_to_embedded(tree: &mut Tree) {
    tree.insert("Cargo.toml", "task-pinned = { path = \"functions/task-pinned\" }\n", "task-changed = { path");
    tree.insert("xtask/embedded/Cargo.toml", "task-pinned.workspace = true\n", "task-changed.workspace");
}

fn every_list_has_it(tree: &Tree) {
    let mut expected = BTreeMap::from([
        ("dapr/dapr.yaml".to_owned(), vec!["  - appID: task-pinned\n"]),
        ("dapr/configurations/task-pinned.yaml".to_owned(), vec!["  name: task-pinned\n"]),
        (
            "dapr/subscriptions/subscriptions.yaml".to_owned(),
            vec![
                "      - match: event.type == \"task.pinned\"\n        path: /events/task-pinned\n",
                "  deadLetterTopic: task-events.dlq.task-pinned\n",
                "  topic: task-events.dlq.task-pinned\n",
            ],
        ),
        ("dapr/subscriptions-embedded/subscriptions.yaml".to_owned(), vec!["event.type == \"task.pinned\"\n"]),
        ("infra/redpanda/topics/lists.sh".to_owned(), vec!["    task-events.dlq.task-pinned:1\n", "    task-pinned\n"]),
        ("infra/minikube/images.sh".to_owned(), vec!["    task-pinned\n"]),
        ("infra/lambda/template.yaml".to_owned(), vec!["  TaskPinned:\n", "{\"value\":{\"type\":[\"task.pinned\"]}}"]),
        (".github/images.json".to_owned(), vec!["    \"task-pinned\",\n"]),
        ("xtask/embedded/src/routers.rs".to_owned(), vec!["    task_pinned::router,\n"]),
        ("compose/docker-compose.dev.yaml".to_owned(), vec!["\n  task-pinned:\n", "\n  task-pinned-daprd:\n"]),
    ]);
    for broker in ["confluent-cloud", "kafka", "redis", "redpanda-cloud"] {
        let publishes = "        task-pinned=reminders,task-events,task-updates,task-events.dlq.task-pinned;\n";
        let receives = "        task-pinned=task-events;\n";
        expected.insert(format!("dapr/pubsub/{broker}/pubsub.yaml"), vec![publishes, receives]);
    }
    for (file, parts) in expected {
        let text = fs::read_to_string(tree.root.join(&file)).unwrap();
        for part in parts {
            assert!(text.contains(part), "{file} has no {part:?}");
        }
    }
}

fn the_chart_renders_it(tree: &Tree) {
    for (arguments, daprd) in [(&[] as &[&str], "task-pinned-daprd"), (PLAIN, "task-pinned")] {
        let documents = tree.render(arguments);
        assert!(names(&documents, "Deployment").contains(daprd));
        assert!(names(&documents, "Service").contains("task-pinned-daprd"));
        assert!(names(&documents, "Configuration").contains("task-pinned"));
        assert!(
            names(&documents, "Subscription")
                .is_superset(&BTreeSet::from(["task-pinned".to_owned(), "dead-letters-task-pinned".to_owned()]))
        );
    }
}

/// A copy of the tree, without what git ignores.
struct Tree {
    root: PathBuf,
    edited: BTreeSet<String>,
}

impl Tree {
    fn copy(name: &str) -> Self {
        let tree = Self { root: scratch().join(name), edited: BTreeSet::new() };
        let _ = fs::remove_dir_all(&tree.root);
        let files = ["ls-files", "-z", "--cached", "--others", "--exclude-standard"];
        let listed = Command::new("git").args(files).current_dir(root()).output().unwrap();
        assert!(listed.status.success(), "{}", String::from_utf8_lossy(&listed.stderr));
        for file in String::from_utf8(listed.stdout).unwrap().split_terminator('\0') {
            let (from, to) = (root().join(file), tree.root.join(file));
            fs::create_dir_all(to.parent().unwrap()).unwrap();
            if let Ok(target) = fs::read_link(&from) {
                symlink(target, to).unwrap();
            } else if from.exists() {
                fs::copy(from, to).unwrap();
            }
        }
        tree
    }

    fn create(&mut self, file: &str, text: &str) {
        let path = self.root.join(file);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
        self.edited.insert(file.to_owned());
    }

    /// Inserts a text before another one.
    fn insert(&mut self, file: &str, new: &str, before: &str) {
        let path = self.root.join(file);
        let text = fs::read_to_string(&path).unwrap();
        assert_eq!(text.matches(before).count(), 1, "{file}: {before:?}");
        fs::write(path, text.replace(before, &format!("{new}{before}"))).unwrap();
        self.edited.insert(file.to_owned());
    }

    /// The hunks of each edited file, as git counts them.
    fn hunks(&self) -> BTreeMap<&str, usize> {
        let hunks = |file: &str| {
            let original = Some(root().join(file)).filter(|original| original.exists());
            let original = original.unwrap_or_else(|| PathBuf::from("/dev/null"));
            let mut diff = Command::new("git");
            diff.args(["diff", "--no-index", "--unified=3"]).arg(original).arg(self.root.join(file));
            let diff = String::from_utf8(diff.output().unwrap().stdout).unwrap();
            diff.lines().filter(|line| line.starts_with("@@ ")).count()
        };
        self.edited.iter().map(|file| (file.as_str(), hunks(file))).collect()
    }

    /// Into a target folder of its own: Cargo takes the packages of two copies for the same ones, and would run the other copy's generator.
    fn generate(&self) {
        let mut cargo = Command::new(env!("CARGO"));
        cargo.args(["run", "--quiet", "--offline", "--package", "manifests", "--", "."]);
        let done = cargo.env("CARGO_TARGET_DIR", self.root.join("target")).current_dir(&self.root).output().unwrap();
        assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    }

    fn render(&self, arguments: &[&str]) -> Vec<Value> {
        let manifests = helm_in(&self.root.join("knative/chart"), "template", &[GIVEN, arguments].concat());
        validate(&manifests.unwrap_or_else(|error| panic!("{error}")))
    }

    /// Reads the compose file with Docker Compose's parser.
    fn check_compose(&self) {
        let composed = Command::new(chart::compose_check().unwrap()).arg(&self.root).output().unwrap();
        assert!(composed.status.success(), "{}", String::from_utf8_lossy(&composed.stderr));
    }
}

fn scratch() -> &'static Path {
    Path::new(env!("CARGO_TARGET_TMPDIR"))
}
