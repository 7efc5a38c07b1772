//! The documentation points at what exists: files, headings, the tests and functions that it names, and addresses of the API. It says what
//! is installed outside of the repository, and what a cluster needs. It lists every variant of the gauntlet and every module of `shared`, and no
//! module of `shared` imports one that imports it.
//!
//! A link whose text is code, such as `[`a_test_name`](../path/file.rs)`, names a function that the file must define.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

use lab::root;
use serde_json::Value;

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

/// Pages whose addresses are made up, or of the past.
const OTHER_ADDRESSES: [&str; 2] = ["docs/adding-a-function.md", "CHANGELOG.md"];

/// The routes of the functions by path, with the methods that the OpenAPI document gives them. Other routes have none.
fn routes() -> BTreeMap<String, BTreeSet<String>> {
    let document = fs::read_to_string(root().join("functions/tasks/openapi.json")).unwrap();
    let document: Value = serde_json::from_str(&document).unwrap();
    let methods = |operations: &Value| operations.as_object().unwrap().keys().map(|key| key.to_uppercase()).collect();
    let paths = document["paths"].as_object().unwrap().iter();
    let mut routes: BTreeMap<String, BTreeSet<String>> =
        paths.map(|(path, operations)| (path.clone(), methods(operations))).collect();
    for source in sources(&["functions", "shared/src"]) {
        let text = fs::read_to_string(source).unwrap();
        for route in text.split(".route(\"").skip(1).filter_map(|rest| rest.split('"').next()) {
            routes.entry(route.to_owned()).or_default();
        }
    }
    // The page's routes are its files.
    let files = fs::read_dir(root().join("functions/page/web")).unwrap();
    let files = files.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    for file in files.chain([String::new(), "docs/".to_owned()]) {
        routes.entry(format!("/{file}")).or_default();
    }
    routes
}

/// The Rust files below folders, without their tests.
fn sources(folders: &[&str]) -> Vec<PathBuf> {
    let mut sources = Vec::new();
    let mut open: Vec<PathBuf> = folders.iter().map(|folder| root().join(folder)).collect();
    while let Some(folder) = open.pop() {
        for path in fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
            if path.is_dir() && !path.ends_with("tests") {
                open.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                sources.push(path);
            }
        }
    }
    sources
}

/// Whether a route answers at an address such as `/v1/me` or `GET /v1/me`. `/v1` stands for all below it.
fn is_served(address: &str, routes: &BTreeMap<String, BTreeSet<String>>) -> bool {
    let (method, path) = address.split_once(' ').unwrap_or(("", address));
    let is_like = |(route, named): (&str, &str)| match route.split_once('{') {
        Some((start, _)) => named.starts_with(start),
        None => named == route,
    };
    routes.iter().any(|(route, methods)| {
        let same = route.split('/').count() == path.split('/').count()
            && route.split('/').zip(path.split('/')).all(is_like)
            && (method.is_empty() || methods.is_empty() || methods.contains(method));
        same || route.starts_with(&format!("{path}/"))
    })
}

/// The addresses of the API that a page names, in URLs and as code.
fn addresses(page: &str) -> Vec<&str> {
    let of_urls = page.split("http").skip(1).filter_map(|rest| {
        let url = rest.strip_prefix("s://").or_else(|| rest.strip_prefix("://"))?;
        let host = ["localhost", "127.0.0.1", "$HOST", "HOST", "tasks.example.com"];
        let url = host.iter().any(|host| url.starts_with(host)).then_some(url)?;
        let url = &url[..url.find(|c: char| c.is_whitespace() || "?#\"'`<>),".contains(c)).unwrap_or(url.len())];
        url.find('/').map(|at| &url[at..])
    });
    let prose: Vec<&str> = page.split("\n```").step_by(2).collect();
    let of_code = prose.into_iter().flat_map(code).filter(|code| {
        let path = code.split_once(' ').filter(|(method, _)| method.chars().all(|c| c.is_ascii_uppercase()));
        path.map_or(*code, |(_, path)| path).starts_with('/') && !code.contains("/.well-known/")
    });
    of_urls.chain(of_code).collect()
}

/// A stranger types the addresses that he reads.
#[test]
fn every_address_that_the_documentation_names_is_served() {
    let routes = routes();
    let (mut checked, mut found) = (0, Vec::new());
    for path in pages() {
        let name = path.strip_prefix(root()).unwrap().display().to_string();
        let page = fs::read_to_string(&path).unwrap();
        for address in addresses(&page).into_iter().filter(|_| !OTHER_ADDRESSES.contains(&&*name)) {
            checked += 1;
            if !is_served(address, &routes) {
                found.push(format!("{name}: nothing answers at {address}"));
            }
        }
    }
    assert!(checked > 25, "the addresses were not found");
    assert!(found.is_empty(), "{}", found.join("\n"));
}

#[test]
fn addresses_that_nothing_serves_are_found() {
    let page = "See `/there`, `GET /v1/me`, `PUT /v1/me`, `/v1`, `/v2`, `/.well-known/keys` and `cargo xtask up`, (http://localhost:8080/there).\n\
                ```sh\ncurl http://127.0.0.1:41233/v1/reminders/$ID/timeline https://$HOST/v1/tasks/$ID/nothing?a=b https://example.com/there\n```\n\
                <http://localhost:8025> and `https://HOST/openapi.json`\n";
    let routes = routes();
    let unserved: Vec<&str> = addresses(page).into_iter().filter(|address| !is_served(address, &routes)).collect();
    assert_eq!(unserved, ["/there", "/v1/tasks/$ID/nothing", "/there", "PUT /v1/me", "/v2"]);
}

#[test]
fn every_port_that_the_quickstart_names_is_published() {
    let compose = fs::read_to_string(root().join("compose/docker-compose.dev.yaml")).unwrap();
    let page = fs::read_to_string(root().join("docs/quickstart.md")).unwrap();
    let after = |host: &'static str| page.split(host).skip(1);
    let ports = after("localhost:").chain(after("127.0.0.1:")).map(|rest| {
        let end = rest.find(|c: char| !c.is_ascii_digit()).unwrap();
        &rest[..end]
    });
    let ports: BTreeSet<&str> = ports.collect();
    assert!(ports.len() >= 4, "{ports:?}");
    for port in ports {
        let published = [format!("127.0.0.1:{port}:"), format!(":-{port}}}:")];
        assert!(published.iter().any(|published| compose.contains(published)), "nothing listens on port {port}");
    }
}

/// How a node is replaced, for example: the tests of `infra/oke` say that it stays within the free allowance.
#[test]
fn every_terraform_output_that_a_page_names_exists() {
    let page = fs::read_to_string(root().join("docs/clouds.md")).unwrap();
    let outputs = ["oke", "aks"].map(|cloud| root().join("infra").join(cloud).join("outputs.tf"));
    let outputs: String = outputs.iter().map(|file| fs::read_to_string(file).unwrap()).collect();
    let name = |rest: &str| rest.trim_start_matches("-raw ").trim_start_matches("-json ").to_owned();
    let named: BTreeSet<String> = page
        .split("tofu output ")
        .skip(1)
        .filter_map(|rest| Some(name(rest).split(|c: char| !c.is_ascii_lowercase() && c != '_').next()?.to_owned()))
        .collect();
    assert!(named.contains("node_pool_cycling_details") && named.len() > 4, "{named:?}");
    for name in named {
        assert!(outputs.contains(&format!("output \"{name}\"")), "no Terraform has the output {name}");
    }
}

/// Someone who pastes a command wants to know what it changes outside of the repository.
#[test]
fn the_readme_names_every_package_that_is_installed_system_wide() {
    let readme = fs::read_to_string(root().join("README.md")).unwrap();
    let mut packages = BTreeSet::new();
    for source in sources(&["testing/lab/src", "xtask"]) {
        let text = fs::read_to_string(source).unwrap();
        for list in text.split("apt(&[").skip(1).filter_map(|rest| rest.split(']').next()) {
            packages.extend(list.split('"').skip(1).step_by(2).map(str::to_owned));
        }
    }
    assert!(packages.contains("postgresql") && packages.len() >= 4, "{packages:?}");
    for package in packages {
        assert!(readme.contains(&format!("`{package}`")), "README.md does not say that {package} is installed");
    }
    assert!(readme.contains("`apt-get`") && readme.contains("`sudo`"), "README.md does not say how");
}

/// Without it the autoscalers and `kubectl top` do nothing, and clusters on OKE and Minikube do not have it.
#[test]
fn what_needs_metrics_server_says_so() {
    let mut found = 0;
    for path in pages().into_iter().chain([root().join("knative/chart/values.yaml")]) {
        let page = fs::read_to_string(&path).unwrap();
        let needs = ["kubectl top", "HorizontalPodAutoscaler", "autoscaling.cpu"];
        if needs.iter().any(|needs| page.contains(needs)) && !path.ends_with("CHANGELOG.md") {
            found += 1;
            assert!(page.contains("metrics-server"), "{}", path.display());
        }
    }
    assert!(found >= 2, "the pages were not found");
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
