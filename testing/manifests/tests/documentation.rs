//! The documentation points at what exists: files, headings, and the tests and functions that it names.
//!
//! A link whose text is code, such as `[`a_test_name`](../path/file.rs)`, names a function that the file must define.

use std::{
    fs,
    path::{Path, PathBuf},
};

use lab::root;

/// Pages outside of `docs/`.
const PAGES: [&str; 6] = [
    "README.md",
    "CONTRIBUTING.md",
    "CHANGELOG.md",
    "SECURITY.md",
    "infra/lambda/README.md",
    ".github/pull_request_template.md",
];

/// Folders whose paths are checked where a page names them as code.
const NAMED: [&str; 12] = [
    ".ci/",
    ".github/",
    "compose/",
    "dapr/",
    "docs/",
    "functions/",
    "infra/",
    "knative/",
    "migrations/",
    "shared/",
    "testing/",
    "xtask/",
];

fn pages() -> Vec<PathBuf> {
    let mut pages: Vec<PathBuf> = PAGES.iter().map(|page| root().join(page)).collect();
    let mut folders = vec![root().join("docs")];
    while let Some(folder) = folders.pop() {
        for path in fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "md") {
                pages.push(path);
            }
        }
    }
    pages
}

/// The page without its fenced blocks: what is in them is input and output.
fn prose(page: &str) -> String {
    page.split("\n```").step_by(2).collect()
}

/// The links of a page, as text and target.
fn links(prose: &str) -> Vec<(&str, &str)> {
    let mut links = Vec::new();
    for (at, _) in prose.match_indices("](") {
        let text = prose[..at].rsplit_once('[').map_or("", |(_, text)| text);
        let target = prose[at + 2..].split_once(')').map_or("", |(target, _)| target);
        links.push((text, target));
    }
    links
}

/// Text between single backticks.
fn code(prose: &str) -> impl Iterator<Item = &str> {
    prose.split('`').skip(1).step_by(2)
}

/// The anchor that GitHub makes of a heading.
fn anchor(heading: &str) -> String {
    let kept = heading.trim().to_lowercase().replace(' ', "-");
    kept.chars().filter(|c| c.is_alphanumeric() || "-_".contains(*c)).collect()
}

fn has_heading(page: &str, wanted: &str) -> bool {
    prose(page).lines().any(|line| line.starts_with('#') && anchor(line.trim_start_matches('#')) == wanted)
}

/// What is wrong with a link of the page at `path`, if anything.
fn broken_link(path: &Path, page: &str, text: &str, target: &str) -> Option<String> {
    if target.starts_with("http://") || target.starts_with("https://") {
        return None;
    }
    let (file, heading) = target.split_once('#').map_or((target, None), |(file, heading)| (file, Some(heading)));
    let file = if file.is_empty() { path.to_owned() } else { path.parent()?.join(file) };
    if file != path && !file.exists() {
        return Some(format!("there is no {target}"));
    }
    if let Some(heading) = heading {
        let linked = if file == path { page.to_owned() } else { fs::read_to_string(&file).ok()? };
        return (!has_heading(&linked, heading)).then(|| format!("{target} has no such heading"));
    }
    let name = text.strip_prefix('`')?.strip_suffix('`')?;
    let is_name = name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
    if is_name && file.extension().is_some_and(|extension| extension == "rs") {
        let source = fs::read_to_string(&file).ok()?;
        let defined = ["fn", "struct", "enum", "const"].iter().any(|word| {
            source
                .split(&format!("{word} {name}"))
                .skip(1)
                .any(|rest| !rest.starts_with(|c: char| c.is_alphanumeric() || c == '_'))
        });
        return (!defined).then(|| format!("{target} does not define {name}"));
    }
    None
}

/// What is wrong with a path that the page names as code, if anything.
fn broken_path(named: &str) -> Option<String> {
    let is_path = NAMED.iter().any(|folder| named.starts_with(folder))
        && named.chars().all(|c| c.is_ascii_alphanumeric() || "./-_".contains(c));
    (is_path && !root().join(named).exists()).then(|| format!("there is no {named}"))
}

fn faults(path: &Path, page: &str) -> Vec<String> {
    let prose = prose(page);
    let links = links(&prose).into_iter().filter_map(|(text, target)| broken_link(path, page, text, target));
    links.chain(code(&prose).filter_map(broken_path)).collect()
}

#[test]
fn every_link_file_and_test_that_the_documentation_names_exists() {
    let mut found = Vec::new();
    let mut checked = 0;
    for path in pages() {
        let page = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        checked += links(&prose(&page)).len();
        let name = path.strip_prefix(root()).unwrap().display().to_string();
        found.extend(faults(&path, &page).into_iter().map(|fault| format!("{name}: {fault}")));
    }
    assert!(checked > 100, "the links were not found");
    assert!(found.is_empty(), "{}", found.join("\n"));
}

#[test]
fn what_does_not_exist_is_found() {
    let path = root().join("docs/page.md");
    let page = "# A page: with a heading\n[file](no-such-file.md) [heading](#no-such-heading) [good](#a-page-with-a-heading)\n\
                [`no_such_test`](../shared/tests/outbox.rs) [`what_could`](../shared/tests/outbox.rs)\n\
                [`PAGES`](../testing/manifests/tests/documentation.rs) `testing/no-such-folder` `testing/<name>` `testing/lab`\n\
                ```\n[not](a-link)\n```\n[web](https://example.com)\n";
    let expected = [
        "there is no no-such-file.md",
        "#no-such-heading has no such heading",
        "../shared/tests/outbox.rs does not define no_such_test",
        "../shared/tests/outbox.rs does not define what_could",
        "there is no testing/no-such-folder",
    ];
    assert_eq!(faults(&path, page), expected);
}
