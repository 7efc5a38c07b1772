//! `versions.env` is the only place of a version, apart from the files in which a package manager keeps its own.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    ops::RangeInclusive,
    process::Command,
};

use lab::{
    root,
    tools::{module, version},
};

use super::is_generated;

const VERSIONS: &str = include_str!("../../../../versions.env");

/// Files whose versions belong to a package manager, to a test's made-up data, or to the past.
const OTHERS: [&str; 17] = [
    ".tftest.hcl",
    "CHANGELOG.md",
    "Cargo.lock",
    "Cargo.toml",
    "Dockerfile",
    "LICENSE",
    "generated/versions.rs",
    "go.mod",
    "go.sum",
    "go.work",
    "go.work.sum",
    "package.json",
    "package-lock.json",
    "pom.xml",
    "rust-toolchain.toml",
    "versions.env",
    "versions.tf",
];

/// The product itself runs no tool. Its numbers are sections of standards and codes of SMTP.
const PRODUCT: [&str; 6] = [".sqlx/", "functions/", "infra/check/schemas/", "knative/door/", "migrations/", "shared/"];

/// Numbers that look like a version of a tool.
const NO_PINS: [(&str, &str); 12] = [
    ("0.1.0", "Punctual"),
    ("1.0", "CloudEvents, in a message"),
    ("1.0.0", "a release of Punctual, made up"),
    ("1.0.2", "CloudEvents"),
    ("1.2.3", "any version, made up"),
    ("1.18.2", "the newest Dapr that crashes on a malformed event"),
    ("1.34.0", "the oldest Kubernetes that the chart supports"),
    ("13.2.1", "a section of RFC 9110"),
    ("2.0.0", "the token of OCI"),
    ("2.8.0", "Kafka's protocol"),
    ("8.10.1", "a user agent, made up"),
    ("605.1.15", "the user agent of an iPhone"),
];

#[test]
fn no_other_file_names_a_version() {
    let (mut pins, mut seen) = (Vec::new(), BTreeSet::new());
    let read = |path: &str, text: &str| {
        let others =
            OTHERS.iter().any(|name| path.ends_with(name)) || PRODUCT.iter().any(|name| path.starts_with(name));
        !others && !is_generated(text)
    };
    for (path, text) in files().into_iter().filter(|(path, text)| read(path, text)) {
        let (text, _unit_tests) = text.split_once("#[cfg(test)]").unwrap_or((&text, ""));
        for (number, line) in (1..).zip(text.lines()) {
            for found in versions_in(&path, line) {
                if let Some((known, _)) = NO_PINS.iter().find(|(known, _)| *known == found) {
                    seen.insert(*known);
                } else {
                    pins.push(format!("{path}:{number}: {found} in `{}`", line.trim()));
                }
            }
        }
    }
    assert!(pins.is_empty(), "name these versions in versions.env and read them from there:\n{}", pins.join("\n"));
    assert_eq!(seen, NO_PINS.map(|(known, _)| known).into(), "this list has an entry that nothing needs");
}

#[test]
fn every_pinned_version_is_used_and_says_how_to_update_it() {
    let texts: Vec<String> = files()
        .into_iter()
        .filter(|(path, _)| path != "versions.env" && !path.ends_with(".md"))
        .map(|(_, text)| text)
        .collect();
    let mut names = BTreeSet::new();
    for (name, version) in entries() {
        assert!(names.insert(name), "{name} stands there twice");
        assert!(name.ends_with("_VERSION") && version.contains(|c: char| c.is_ascii_digit()), "{name}={version}");
        assert!(texts.iter().any(|text| text.contains(name)), "nothing reads {name}");
        let (before, _) = VERSIONS.split_once(&format!("\n{name}=")).unwrap();
        let comment = before.lines().last().unwrap();
        let renovated = comment.starts_with("# renovate: datasource=") && comment.contains(" depName=");
        assert!(renovated || comment.contains("By hand: "), "who raises {name}?");
    }
    assert!(names.len() > 10, "the versions were not found");
}

/// Without a tag, a cluster would run whatever is newest.
#[test]
fn every_image_without_a_tag_gets_one_from_kustomize() {
    let tags = fs::read_to_string(root().join("infra/images/kustomization.yaml")).unwrap();
    let files = files().into_iter().filter(|(path, _)| path.starts_with("infra/") && path.ends_with(".yaml"));
    let mut found = 0;
    for (path, text) in files {
        let images = text.lines().filter_map(|line| line.split_once("image: ")?.1.split_whitespace().next());
        for image in images.filter(|image| !image.contains(':')) {
            assert!(
                tags.contains(&format!("name: {image},")),
                "{path}: add {image} to testing/manifests/src/versions.rs"
            );
            found += 1;
        }
    }
    assert!(found >= 3, "the images were not found");
}

/// So tests run the versions that are deployed, and one toolchain builds everything.
#[test]
fn lock_files_agree_with_the_versions() {
    let read = |path: &str| fs::read_to_string(root().join(path)).unwrap();
    let of_module = |path: &str, module: &str| {
        let text = read(path);
        let line = text.lines().find_map(|line| line.trim().strip_prefix(module)?.strip_prefix(" v"));
        line.unwrap_or_else(|| panic!("{path} has no {module}")).to_owned()
    };
    assert_eq!(of_module("dapr/runtime/go.mod", "github.com/dapr/dapr"), version("DAPR_VERSION"));
    // Release 1.N of Knative is version 0.(N + 27) of its Go module.
    let minor = |version: &str| version.split('.').nth(1).unwrap().parse::<u32>().unwrap();
    let serving = of_module("knative/validate/go.mod", "knative.dev/serving");
    assert_eq!(minor(&serving), minor(version("KNATIVE_VERSION")) + 27);
    assert_eq!(minor(version("KIND_NODE_VERSION")), minor(version("OKE_KUBERNETES_VERSION")));

    let toolchain = read("rust-toolchain.toml");
    let (_, channel) = toolchain.split_once("channel = \"").unwrap();
    let channel = channel.split('"').next().unwrap();
    assert!(read("Dockerfile").contains(&format!("ARG RUST=rust:{channel}-alpine@sha256:")), "not Rust {channel}");
    let oldest = channel.rsplit_once('.').unwrap().0;
    assert!(read("Cargo.toml").contains(&format!("rust-version = \"{oldest}\"")), "not Rust {oldest}");

    // Workflows install the Go that the most demanding module asks for.
    let modules = files().into_iter().filter(|(path, _)| path.ends_with("go.mod"));
    let newest = modules.map(|(path, text)| (go(&text), path)).max().unwrap();
    for (path, text) in files().into_iter().filter(|(path, _)| path.starts_with(".github/workflows/")) {
        for module in text.lines().filter_map(|line| line.trim().strip_prefix("go-version-file: ")) {
            assert_eq!(go(&read(module)), newest.0, "{path}: take the Go of {}", newest.1);
        }
    }
}

#[test]
fn versions_are_found_in_every_notation() {
    let (three, two) = (concat!("9.8", ".7"), concat!("9", ".8"));
    let found = |path: &str, line: &str| versions_in(path, line).len();
    for line in [
        format!("TOOL={three}"),
        format!("tool==v{three}, and more"),
        format!("https://example.com/releases/tool-v{three}/tool.yaml"),
        format!("jars/tool_2.13-{three}.jar"),
        format!("          go-version: \"{two}\""),
        format!("FROM example.com/tool:{two} AS tool"),
        "    image: tool:17-alpine".to_owned(),
        format!("  default = \"{}\"", version("AKS_KUBERNETES_VERSION")),
    ] {
        assert_eq!(found("infra/file", &line), 1, "{line}");
    }
    for line in [
        "api: 203.0.113.7/32, 127.0.0.1:8080, redpanda:9092",
        "image: tool:${TOOL_VERSION}",
        "image: example.com:5000/tool:latest",
        "image: example.com:5000/tool",
        "{ name: publish, version: v1 }",
        "a quarter of 1.5 seconds",
        "helm --version \"$HELM_VERSION\"",
    ] {
        assert_eq!(found("infra/file", line), 0, "{line}");
    }
    assert_eq!(found(".github/workflows/ci.yaml", &format!("- uses: owner/action@0123 # v{three}")), 0);
    assert_eq!(found("docs/page.md", &format!("measured with version {two}")), 0);
}

/// Our build of Dapr differs from Dapr's own only in its list of components.
#[test]
fn the_tested_dapr_is_built_from_the_modules_of_its_release() {
    let released = module("dapr/runtime", "github.com/dapr/dapr").unwrap_or_else(|error| panic!("{error:#}"));
    let released = fs::read_to_string(released.join("go.mod")).unwrap();
    let own = fs::read_to_string(root().join("dapr/runtime/go.mod")).unwrap();

    let wanted = required(&released);
    let mut same = 0;
    for (module, version) in required(&own) {
        if let Some(wanted) = wanted.get(module) {
            assert_eq!(version, *wanted, "{module}");
            same += 1;
        }
    }
    assert!(same > 100, "the modules were not found");

    let of_dapr: BTreeSet<&str> = replacements(&released).collect();
    let others: Vec<&str> = replacements(&own).filter(|line| !of_dapr.contains(line)).collect();
    assert!(
        matches!(&others[..], [workflows] if workflows.starts_with("github.com/dapr/durabletask-go => ")),
        "{others:?}"
    );
}

#[test]
fn the_chart_refuses_the_kubernetes_that_knative_refuses() {
    let knative = module("knative/validate", "knative.dev/pkg").unwrap_or_else(|error| panic!("{error:#}"));
    let source = fs::read_to_string(knative.join("version/version.go")).unwrap();
    let (_, oldest) = source.split_once("DefaultKubernetesMinVersion = \"v").unwrap();
    let oldest = oldest.split('"').next().unwrap();
    let chart = fs::read_to_string(root().join("knative/chart/Chart.yaml")).unwrap();
    assert!(chart.contains(&format!("kubeVersion: \">={oldest}-0\"")), "Knative needs Kubernetes {oldest}");
}

/// The modules that a go.mod requires, with their versions.
fn required(module: &str) -> BTreeMap<&str, &str> {
    let lines = module.lines().filter(|line| line.starts_with('\t') && !line.contains("=>"));
    lines.filter_map(|line| line.trim().trim_end_matches(" // indirect").split_once(" v")).collect()
}

/// The replacements of a go.mod.
fn replacements(module: &str) -> impl Iterator<Item = &str> {
    module.lines().map(str::trim).filter(|line| line.contains(" => ") && !line.starts_with("//"))
}

/// The versions that a line names: every `1.2.3`, and in what machines read also each shorter pin.
fn versions_in(path: &str, line: &str) -> BTreeSet<String> {
    // After `uses: ` stand the commit of an action and, as a comment, its version.
    let action = path.starts_with(".github/workflows/") && line.contains("uses: ");
    if action || !line.contains(|c: char| c.is_ascii_digit()) {
        return BTreeSet::new();
    }
    let words = line.split(|c: char| !c.is_ascii_alphanumeric() && c != '.');
    let mut found: BTreeSet<String> = words.filter_map(|word| number(word, 3..=3)).map(str::to_owned).collect();
    if !path.ends_with(".rs") && !path.ends_with(".md") {
        found.extend(image_tag(line).map(str::to_owned));
        found.extend(keyed(line).map(str::to_owned));
        found.extend(named(line).map(str::to_owned));
    }
    found
}

/// The tag of an image, if it begins with a number.
fn image_tag(line: &str) -> Option<&str> {
    let (_, image) = line.split_once("image: ").or_else(|| line.split_once("FROM "))?;
    let (_, tag) = image.split_whitespace().next()?.trim_matches('"').rsplit_once(':')?;
    let tag = tag.trim_start_matches('v');
    (tag.starts_with(|c: char| c.is_ascii_digit()) && !tag.contains('/')).then_some(tag)
}

/// A number such as `1.2` after a key or an option whose name ends in `version`.
fn keyed(line: &str) -> Option<&str> {
    let at = line.to_ascii_lowercase().find("version")?;
    number(line[at + "version".len()..].trim_start_matches(['"', '\'', ':', '=', ' ']), 2..=3)
}

/// The versions of `versions.env` themselves: `17-alpine`.
fn named(line: &str) -> impl Iterator<Item = &str> {
    let versions: BTreeSet<&str> = entries().map(|(_, version)| version.trim_start_matches('v')).collect();
    let words = line.split(|c: char| !c.is_ascii_alphanumeric() && c != '.' && c != '-');
    words
        .map(|word| word.trim_start_matches('v'))
        .filter(move |word| word.contains(['.', '-']) && versions.contains(word))
}

/// The number at the start of a text, if it has so many parts.
fn number(text: &str, parts: RangeInclusive<usize>) -> Option<&str> {
    let text = text.trim_start_matches('v');
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let number = text[..end].trim_end_matches('.');
    (parts.contains(&number.split('.').count()) && number.split('.').all(|part| !part.is_empty())).then_some(number)
}

/// The lines of `versions.env`, as name and version.
fn entries() -> impl Iterator<Item = (&'static str, &'static str)> {
    VERSIONS.lines().filter(|line| !line.starts_with('#')).filter_map(|line| line.split_once('='))
}

/// The `go` line of a go.mod.
fn go(module: &str) -> Vec<u32> {
    let line = module.lines().find_map(|line| line.strip_prefix("go ")).unwrap();
    line.split('.').map(|number| number.parse().unwrap()).collect()
}

/// The text files of git, by path.
fn files() -> Vec<(String, String)> {
    let list = ["ls-files", "-z", "--cached", "--others", "--exclude-standard"];
    let listed = Command::new("git").args(list).current_dir(root()).output().unwrap();
    assert!(listed.status.success(), "{}", String::from_utf8_lossy(&listed.stderr));
    let paths = String::from_utf8(listed.stdout).unwrap();
    let read = |path: &str| Some((path.to_owned(), fs::read_to_string(root().join(path)).ok()?));
    paths.split_terminator('\0').filter_map(read).collect()
}
