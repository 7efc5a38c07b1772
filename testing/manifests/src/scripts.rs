//! What shell scripts source.

use catalogue::{FUNCTIONS, Function, TOPICS, Trigger};

use crate::{FROM_CATALOGUE, MARK, Manifest};

/// The lists, each beside its script: a ConfigMap of kustomize takes no file from outside its folder.
pub(crate) fn all() -> [Manifest; 2] {
    let topics = catalogue::topics().into_iter().map(|(name, partitions)| format!("{name}:{partitions}"));
    let names = TOPICS.iter().map(|topic| topic.name.to_owned());
    let consumes = |function: &&Function| matches!(function.trigger, Trigger::Event(_) | Trigger::DeadLetters);
    let groups = FUNCTIONS.iter().filter(consumes).map(|function| function.name.to_owned());
    let images = FUNCTIONS.iter().map(|function| function.name.to_owned());
    [
        script(
            "infra/redpanda/topics/lists.sh",
            &[
                ("topics", "Every topic, dead-letter topics included, with its partitions.", topics.collect()),
                ("topic_prefixes", "Name prefixes of the topics.", names.collect()),
                ("groups", "The consumer groups.", groups.collect()),
            ],
        ),
        script("infra/minikube/images.sh", &[("functions", "The functions.", images.collect())]),
    ]
}

fn script(path: &str, arrays: &[(&str, &str, Vec<String>)]) -> Manifest {
    let mut text = format!(
        "# {FROM_CATALOGUE} {MARK}.\n# shellcheck shell=bash disable=SC2034 # used by the scripts that source this file\n"
    );
    for (name, about, values) in arrays {
        text += &format!("\n# {about}\n{name}=(\n    {}\n)\n", values.join("\n    "));
    }
    Manifest { path: path.to_owned(), text }
}
