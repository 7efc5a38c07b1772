//! Puts the style sheets of the first load into one file.

use std::collections::BTreeMap;

/// The served files, by their paths below `web/`.
pub(crate) type Files = BTreeMap<String, Vec<u8>>;

/// The sheet that `index.html` names. It is a list of `@import`.
const FIRST: &str = "a/first.css";

/// Replaces each `@import "x.css";` of the first sheet by that file, which is then served only if a document names it itself.
///
/// # Errors
/// When it imports a file that does not exist.
pub(crate) fn join(files: &mut Files) -> Result<(), String> {
    let first = text(files, FIRST)?;
    let names: Vec<&str> =
        first.lines().filter_map(|line| line.strip_prefix("@import \"")?.strip_suffix("\";")).collect();
    let mut joined = String::new();
    for name in names {
        let path = format!("a/{name}");
        joined += &text(files, &path)?;
        let is_named =
            files.iter().any(|(page, html)| page.ends_with(".html") && contains(html, &format!("/{name}\"")));
        if !is_named {
            files.remove(&path);
        }
    }
    files.insert(FIRST.to_owned(), joined.into_bytes());
    Ok(())
}

fn text(files: &Files, path: &str) -> Result<String, String> {
    let content = files.get(path).ok_or_else(|| format!("{path} does not exist"))?;
    String::from_utf8(content.clone()).map_err(|_| format!("{path} is not UTF-8"))
}

fn contains(content: &[u8], name: &str) -> bool {
    str::from_utf8(content).is_ok_and(|content| content.contains(name))
}
