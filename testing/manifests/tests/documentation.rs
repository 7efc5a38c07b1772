//! The documentation points at what exists: files, headings, and the tests and functions that it names. It lists every variant of the gauntlet
//! and every module of `shared`, and no module of `shared` imports one that imports it.
//!
//! A link whose text is code, such as `[`a_test_name`](../path/file.rs)`, names a function that the file must define.

use std::{
    collections::{BTreeMap, BTreeSet},
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
fn missing_files_headings_tests_and_folders_are_found() {
    let path = root().join("docs/page.md");
    let page = "# A page: with a heading\n[file](no-such-file.md) [heading](#no-such-heading) [good](#a-page-with-a-heading)\n\
                [`no_such_test`](../shared/tests/outbox.rs) [`an_event_that_could`](../shared/tests/outbox.rs)\n\
                [`PAGES`](../testing/manifests/tests/documentation.rs) `testing/no-such-folder` `testing/<name>` `testing/lab`\n\
                ```\n[not](a-link)\n```\n[web](https://example.com)\n";
    let expected = [
        "there is no no-such-file.md",
        "#no-such-heading has no such heading",
        "../shared/tests/outbox.rs does not define no_such_test",
        "../shared/tests/outbox.rs does not define an_event_that_could",
        "there is no testing/no-such-folder",
    ];
    assert_eq!(faults(&path, page), expected);
}

#[test]
fn every_variant_of_the_gauntlet_has_a_row() {
    let page = fs::read_to_string(root().join("docs/gauntlet.md")).unwrap();
    for entry in fs::read_dir(root().join("testing/gauntlet/variants")).unwrap() {
        let file = entry.unwrap().file_name().into_string().unwrap();
        let name = file.strip_suffix(".patch").unwrap();
        assert!(
            page.contains(&format!("\n| `{name}` |")),
            "no row for {name}: cargo xtask gauntlet --variants {name} --write"
        );
    }
}

#[test]
fn the_list_of_shared_modules_is_complete() {
    let list = fs::read_to_string(root().join("shared/src/lib.rs")).unwrap();
    for module in list.lines().filter_map(|line| line.strip_prefix("pub mod ")?.strip_suffix(';')) {
        assert!(
            module == "testing" || list.contains(&format!("[`{module}`]")),
            "shared/src/lib.rs does not list {module}"
        );
    }
}

#[test]
fn no_modules_of_shared_import_each_other_in_a_circle() {
    let mut imports: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    let mut folders = vec![root().join("shared/src")];
    while let Some(folder) = folders.pop() {
        for path in fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
            let module = path.strip_prefix(root().join("shared/src")).unwrap().iter().next().unwrap().to_str().unwrap();
            let module = module.trim_end_matches(".rs").to_owned();
            if module == "testing" || module == "lib" || path.ends_with("tests") || path.ends_with("tests.rs") {
                continue;
            }
            if path.is_dir() {
                folders.push(path);
            } else {
                let imported =
                    imported(&fs::read_to_string(path).unwrap()).into_iter().filter(|other| *other != module);
                imports.entry(module.clone()).or_default().extend(imported);
            }
        }
    }
    assert!(imports["inbox"].contains("outbox") && imports["inbox"].contains("app"), "{imports:?}");
    // Modules that import nothing that is left are taken away, again and again. A circle stays.
    while let Some(leaf) = imports.iter().find(|(_, others)| others.iter().all(|other| !imports.contains_key(other))) {
        let leaf = leaf.0.clone();
        imports.remove(&leaf);
    }
    assert!(imports.is_empty(), "in a circle, or importing one: {imports:?}");
}

/// The modules of its crate that a source names outside of comments and tests.
fn imported(source: &str) -> BTreeSet<String> {
    let source = source.split("#[cfg(test)]").next().unwrap();
    let code: String = source.lines().filter(|line| !line.trim_start().starts_with("//")).collect();
    let mut names = BTreeSet::new();
    for rest in code.split("crate::").skip(1) {
        let Some(group) = rest.strip_prefix('{') else {
            names.insert(identifier(rest));
            continue;
        };
        let mut depth = 0_usize;
        let own = group.split_inclusive(['{', '}', ',']).take_while(|part| {
            let ends = depth == 0 && part.ends_with('}');
            let starts = depth == 0;
            if starts {
                names.insert(identifier(part.trim_start()));
            }
            match part.chars().last() {
                Some('{') => depth += 1,
                Some('}') if depth > 0 => depth -= 1,
                _ => {}
            }
            !ends
        });
        own.for_each(drop);
    }
    names.remove("");
    // The crate's root re-exports types of the modules `app` and `config`.
    names.into_iter().map(|name| if name == "App" { "app".to_owned() } else { name.to_lowercase() }).collect()
}

fn identifier(text: &str) -> String {
    text.chars().take_while(|char| char.is_alphanumeric() || *char == '_').collect()
}
