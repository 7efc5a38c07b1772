//! Generated files are what the catalogue, the payload types and `versions.env` say, and no other file contains such a list or version.
//! With `UPDATE_MANIFESTS`, which `cargo xtask manifests` sets, the JSON Schemas are written instead.

mod versions;

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

use lab::root;
use manifests::MARK;
use schemars::schema_for;
use shared::{
    catalogue::{EventType, FUNCTIONS, TOPICS},
    schema::{self, Payload, PayloadVisitor},
};

/// The folders whose hand-written files contain no list.
const FOLDERS: [&str; 7] = [".github", "compose", "dapr", "infra", "knative", "testing/lab", "xtask/embedded/src"];

#[test]
fn every_generated_file_is_what_the_catalogue_says() {
    for manifest in manifests::all(&root()).unwrap() {
        let found = fs::read_to_string(root().join(&manifest.path)).unwrap_or_default();
        assert!(found == manifest.text, "{} is out of date: run `cargo xtask manifests`", manifest.path);
    }
}

#[test]
fn every_file_that_says_it_is_generated_is_generated() {
    let generated: BTreeSet<String> =
        manifests::all(&root()).unwrap().into_iter().map(|manifest| manifest.path).collect();
    let marked = texts().into_iter().filter(|(_, text)| is_generated(text)).map(|(path, _)| path);
    assert_eq!(marked.collect::<BTreeSet<_>>(), generated);
}

#[test]
fn no_hand_written_file_contains_a_list_of_functions_topics_or_event_types() {
    let texts = texts();
    let lists = |path: &str| listed(&texts[path]);
    // The search finds the lists where they are.
    assert_eq!(lists("infra/redpanda/topics/lists.sh")[0].len(), EventType::ALL.len() + 1 + 2);
    assert_eq!(lists("dapr/subscriptions/subscriptions.yaml")[1].len(), EventType::ALL.len());
    for (path, text) in &texts {
        if !is_generated(text) {
            for list in listed(text) {
                assert!(list.len() < 3, "{path} lists {list:?}: generate the list, by testing/manifests");
            }
        }
    }
}

/// The functions and topics, and the event types, that a text names. Names of one word, like `tasks`, are ordinary words and do not count.
fn listed(text: &str) -> [BTreeSet<&'static str>; 2] {
    let in_name = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_' || c == '.';
    let words: BTreeSet<&str> = text
        .split(|c| !in_name(c))
        .flat_map(|word| word.split(".dlq."))
        .map(|word| word.trim_matches(['.', '-']))
        .collect();
    let functions = FUNCTIONS.iter().map(|function| function.name).chain(TOPICS.map(|topic| topic.name));
    let named = |name: &&str| words.contains(name);
    [
        functions.filter(|name| name.contains('-')).filter(named).collect(),
        EventType::ALL.map(EventType::as_str).into_iter().filter(named).collect(),
    ]
}

fn is_generated(text: &str) -> bool {
    text.lines().next().is_some_and(|line| line.contains(MARK))
}

/// The text files of [`FOLDERS`], by path. Links and what tools leave behind do not count.
fn texts() -> BTreeMap<String, String> {
    let mut texts = BTreeMap::new();
    let mut open: Vec<PathBuf> = FOLDERS.map(|folder| root().join(folder)).into();
    while let Some(folder) = open.pop() {
        for entry in fs::read_dir(folder).unwrap().map(Result::unwrap) {
            let (path, kind) = (entry.path(), entry.file_type().unwrap());
            if kind.is_dir() && entry.file_name() != ".terraform" {
                open.push(path);
            } else if let (true, Ok(text)) = (kind.is_file(), fs::read_to_string(&path)) {
                texts.insert(relative(&path), text);
            }
        }
    }
    texts
}

fn relative(path: &Path) -> String {
    path.strip_prefix(root()).unwrap().to_str().unwrap().to_owned()
}

#[test]
fn every_event_type_has_the_json_schema_of_its_payload() {
    struct Schemas(BTreeSet<&'static str>);
    impl PayloadVisitor for Schemas {
        fn visit<T: Payload>(&mut self) {
            let name = T::TYPE.as_str();
            let expected = serde_json::to_string_pretty(&schema_for!(T)).unwrap() + "\n";
            let file = root().join("shared/schema").join(format!("{name}.json"));
            if std::env::var_os("UPDATE_MANIFESTS").is_some() {
                fs::write(&file, &expected).unwrap();
            }
            let found = fs::read_to_string(&file).unwrap_or_default();
            assert!(found == expected, "{} is out of date: run `cargo xtask manifests`", file.display());
            assert!(self.0.insert(name), "{name} has two payloads");
        }
    }
    let mut schemas = Schemas(BTreeSet::new());
    schema::visit_payloads(&mut schemas);
    assert_eq!(schemas.0, EventType::ALL.map(EventType::as_str).into());
}
