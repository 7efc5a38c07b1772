//! Prepares the files of `web/` and writes the table that the crate includes.
//!
//! The files of `web/a/` lose their comments (`build/strip.rs`), and share one hash of all their contents, which is part of their addresses. The
//! style sheets of the first load become one (`build/styles.rs`). Every file is compressed here, once and as well as possible, because a process
//! must start within milliseconds.

#[path = "build/strip.rs"]
mod strip;
#[path = "build/styles.rs"]
mod styles;

use std::{
    env, fs,
    path::{Path, PathBuf},
};

use sha2::{Digest as _, Sha256};

use self::styles::Files;

/// The module that `index.html` starts, and the one that it imports while it waits for the first list.
const ENTRIES: [&str; 2] = ["a/app.js", "a/shell.js"];
/// The placeholders that the process fills in when it starts. It also compresses the files that have one.
const FILLED_AT_START: [&str; 3] = ["{{META}}", "{{OPENAPI_URL}}", "{{PRECONNECT}}"];

fn main() {
    println!("cargo:rerun-if-changed=web");
    let variable = |name: &str| env::var_os(name).map(PathBuf::from).expect("Cargo sets it");
    let (web, out) = (variable("CARGO_MANIFEST_DIR").join("web"), variable("OUT_DIR"));
    let mut files = Files::new();
    read(&web, "", &mut files);
    styles::join(&mut files).unwrap_or_else(|error| panic!("web/a/first.css: {error}"));
    let first_load = first_load(&files);
    for (path, content) in &mut files {
        *content = stripped(path, content);
    }
    let hash = hash(&files);
    let urls: Vec<String> = files.keys().filter(|path| is_precached(path)).map(|path| url(path, &hash)).collect();
    // The first paint needs none of them.
    let preload =
        |path: &String| format!("<link rel=\"modulepreload\" href=\"{}\" fetchpriority=\"low\">", url(path, &hash));
    let preloads: Vec<String> = first_load.iter().map(preload).collect();
    let replaced = [
        ("{{HASH}}", hash.clone()),
        ("{{PRELOADS}}", preloads.join("\n    ")),
        ("{{FILES}}", format!("{urls:?}")),
        ("{{ICON}}", data_url(&files["icon.svg"])),
    ];
    let mut table = format!("pub(crate) const HASH: &str = {hash:?};\n\npub(crate) static FILES: &[File] = &[\n");
    for (index, (path, content)) in files.iter().enumerate() {
        let content = if path.starts_with("a/") { content.clone() } else { filled(content, &replaced) };
        let is_template = contains_any(&content, &FILLED_AT_START);
        let include = |suffix: &str, content: &[u8]| {
            let file = out.join(format!("{index}{suffix}"));
            fs::write(&file, content).expect("OUT_DIR can be written");
            format!("include_bytes!({:?})", file.to_str().expect("OUT_DIR is UTF-8"))
        };
        let compressed = |suffix: &str, compress: fn(&[u8]) -> Vec<u8>| {
            let smaller = Some(&content).filter(|_| !is_template).map(|content| compress(content));
            smaller
                .filter(|smaller| smaller.len() < content.len())
                .map_or_else(|| "&[]".to_owned(), |smaller| include(suffix, &smaller))
        };
        let (br, gzip) = (compressed(".br", compression::brotli), compressed(".gz", compression::gzip));
        table += &format!(
            "    File {{ url: {:?}, kind: {:?}, is_template: {is_template}, identity: {}, br: {br}, gzip: {gzip} }},\n",
            url(path, &hash),
            kind(path).expect("only such files were read"),
            include("", &content),
        );
    }
    fs::write(out.join("files.rs"), table + "];\n").expect("OUT_DIR can be written");
}

/// Reads the files below a folder that browsers ask for.
fn read(web: &Path, below: &str, files: &mut Files) {
    for entry in fs::read_dir(web.join(below)).expect("web/ can be read") {
        let entry = entry.expect("web/ can be read");
        let name = entry.file_name().into_string().expect("names in web/ are UTF-8");
        let path = if below.is_empty() { name } else { format!("{below}/{name}") };
        if entry.path().is_dir() {
            read(web, &path, files);
        } else if kind(&path).is_some() {
            files.insert(path, fs::read(entry.path()).expect("web/ can be read"));
        }
    }
}

/// A file without what only its authors read. What others wrote stays as it is.
fn stripped(path: &str, content: &[u8]) -> Vec<u8> {
    let stripped = match path.rsplit_once('.') {
        Some((_, "js")) if is_own(path) => strip::script(content),
        Some((_, "css")) if is_own(path) => strip::style(content),
        _ => return content.to_vec(),
    };
    stripped.unwrap_or_else(|error| panic!("web/{path}: {error}"))
}

fn is_own(path: &str) -> bool {
    path.starts_with("a/") && !path.contains("/vendor/")
}

/// The media type of a file. None for what only the type checker reads.
fn kind(path: &str) -> Option<&'static str> {
    if path.ends_with(".d.ts") {
        return None;
    }
    match Path::new(path).extension().and_then(|extension| extension.to_str()) {
        Some("html") => Some("text/html; charset=utf-8"),
        Some("js") => Some("text/javascript; charset=utf-8"),
        Some("css") => Some("text/css; charset=utf-8"),
        Some("webmanifest") => Some("application/manifest+json"),
        Some("svg") => Some("image/svg+xml"),
        Some("png") => Some("image/png"),
        Some("ico") => Some("image/x-icon"),
        Some("txt") | None => Some("text/plain; charset=utf-8"),
        Some("json" | "md") => None,
        Some(_) => panic!("build.rs knows no media type for web/{path}"),
    }
}

/// The path of a file in its address.
fn url(path: &str, hash: &str) -> String {
    match path.strip_prefix("a/") {
        Some(path) => format!("/a/{hash}/{path}"),
        None => format!("/{}", path.strip_suffix("index.html").unwrap_or(path)),
    }
}

/// Whether the service worker keeps a file, so that the page opens without a network.
fn is_precached(path: &str) -> bool {
    path.starts_with("a/") && !kind(path).is_some_and(|kind| kind.starts_with("text/plain"))
}

/// An SVG image as the value of an attribute, so that no request fetches it.
fn data_url(svg: &[u8]) -> String {
    let escapes = [("%", "%25"), ("\"", "'"), ("<", "%3C"), (">", "%3E"), ("#", "%23")];
    let svg: String = str::from_utf8(svg).expect("icon.svg is UTF-8").lines().map(str::trim).collect();
    let escaped = escapes.iter().fold(svg, |svg, (character, escape)| svg.replace(character, escape));
    format!("data:image/svg+xml,{escaped}")
}

/// The hash of all files of `web/a/`.
fn hash(files: &Files) -> String {
    let mut hash = Sha256::new();
    for (path, content) in files.iter().filter(|(path, _)| path.starts_with("a/")) {
        for part in [path.as_bytes(), content.as_slice()] {
            hash.update(part.len().to_le_bytes());
            hash.update(part);
        }
    }
    hash.finalize().iter().take(8).map(|byte| format!("{byte:02x}")).collect()
}

/// The entries and the modules that they import statically, directly or through others, in the order in which they are found. Without those that
/// `index.html` names itself.
fn first_load(files: &Files) -> Vec<String> {
    let mut found: Vec<String> = Vec::new();
    for entry in ENTRIES {
        let mut read = found.len();
        found.push(entry.to_owned());
        while let Some(path) = found.get(read).cloned() {
            read += 1;
            let text = files.get(&path).map(|content| String::from_utf8_lossy(content)).unwrap_or_default();
            for import in imports(&path, &text) {
                // A module that does not exist is reported by a test, which names it.
                if files.contains_key(&import) && !found.contains(&import) {
                    found.push(import);
                }
            }
        }
    }
    let index = String::from_utf8_lossy(&files["index.html"]);
    found.retain(|path| !index.contains(&url(path, "{{HASH}}")));
    found
}

/// The modules that a module imports statically. Types in comments do not count.
fn imports(path: &str, text: &str) -> Vec<String> {
    let code = text.lines().map(str::trim_start).filter(|line| !line.starts_with(['*', '/']));
    let targets = code.filter_map(|line| {
        let after = line.split_once(" from \"").map(|(_, after)| after).or_else(|| line.strip_prefix("import \""))?;
        after.split_once('"').map(|(target, _)| target).filter(|target| target.starts_with('.'))
    });
    targets.map(|target| resolved(path, target)).collect()
}

/// The path to which a relative path in the module `path` leads.
fn resolved(path: &str, target: &str) -> String {
    let mut parts: Vec<&str> = path.split('/').collect();
    parts.pop();
    for part in target.split('/') {
        match part {
            "." => {}
            ".." => {
                parts.pop();
            }
            name => parts.push(name),
        }
    }
    parts.join("/")
}

fn contains_any(content: &[u8], texts: &[&str]) -> bool {
    str::from_utf8(content).is_ok_and(|content| texts.iter().any(|text| content.contains(text)))
}

/// A file with its placeholders replaced. One that is not text has none.
fn filled(content: &[u8], replaced: &[(&str, String)]) -> Vec<u8> {
    let Ok(text) = str::from_utf8(content) else { return content.to_vec() };
    replaced.iter().fold(text.to_owned(), |text, (name, value)| text.replace(name, value)).into_bytes()
}
