//! `infra/check` refuses a compose file that `docker compose up --build --wait` cannot bring up, or whose variables it would ignore later.

use std::{fs, os::unix::fs::symlink, path::Path, process::Command};

use lab::{chart, root};

const FILE: &str = "compose/docker-compose.dev.yaml";
const CHECK_OF_REPAIR: &str = "healthcheck: { <<: *healthcheck, test: [CMD, /busybox/test, -e, /tmp/repaired] }";
const BUILD_OF_UPKEEP: &str = "build: { <<: *build, args: { <<: *args, BINARY: upkeep } }";

#[test]
fn the_compose_file_is_accepted() {
    assert_eq!(refusal("accepted", "", ""), "");
}

#[test]
fn a_service_without_a_health_check_that_can_fail_is_refused() {
    for (name, check, reason) in [
        (
            "disabled",
            "healthcheck: { disable: true }",
            "`up --wait` of Compose 2 fails where a health check is disabled",
        ),
        ("always", "healthcheck: { test: [CMD, /busybox/true] }", "its health check cannot fail"),
        ("none", "x-none: {}", ""), // inherits that of every function
    ] {
        let refusal = refusal(name, CHECK_OF_REPAIR, check);
        assert!(refusal.contains(reason) && refusal.is_empty() == reason.is_empty(), "{name}: {refusal}");
    }
    let refusal = refusal("without", "healthcheck:\n      test: [CMD, wget,", "x-none:\n      test: [CMD, wget,");
    assert!(refusal.contains("service scheduler: it has no health check"), "{refusal}");
}

#[test]
fn two_builds_of_one_image_are_refused() {
    let refusal = refusal("twice", "pull_policy: never", BUILD_OF_UPKEEP);
    assert!(refusal.contains("services repair and upkeep both build punctual/upkeep:compose"), "{refusal}");
}

#[test]
fn an_image_of_another_service_is_not_asked_of_a_registry() {
    let refusal = refusal("pulled", "    pull_policy: never\n", "");
    assert!(refusal.contains("service repair: another service builds punctual/upkeep:compose"), "{refusal}");
}

#[test]
fn a_variable_that_compose_does_not_compare_is_refused() {
    let refusal =
        refusal("config", "content: create database dapr_state;", "content: create database ${NAME:-dapr_state};");
    assert!(refusal.contains("config or secret databases: Compose ignores a new value"), "{refusal}");
}

/// What the check says about a copy of the tree in which a text of the compose file is replaced. Empty if it accepts it.
fn refusal(name: &str, old: &str, new: &str) -> String {
    let tree = Path::new(env!("CARGO_TARGET_TMPDIR")).join("compose").join(name);
    let _ = fs::remove_dir_all(&tree);
    fs::create_dir_all(tree.join("compose")).unwrap();
    for part in [".github", "Dockerfile", "dapr", "infra"] {
        symlink(root().join(part), tree.join(part)).unwrap();
    }
    let text = fs::read_to_string(root().join(FILE)).unwrap();
    assert!(old.is_empty() || text.matches(old).count() == 1, "{name}: {old}");
    fs::write(tree.join(FILE), if old.is_empty() { text } else { text.replace(old, new) }).unwrap();
    let checked = Command::new(chart::compose_check().unwrap()).arg(&tree).output().unwrap();
    let said = String::from_utf8(checked.stderr).unwrap();
    assert_eq!(checked.status.success(), said.is_empty(), "{name}: {said}");
    said
}
