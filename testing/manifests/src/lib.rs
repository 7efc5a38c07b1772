//! `cargo xtask manifests`: writes every list of functions, event types and topics from the catalogue, except those that Rust can read from
//! it, and the versions of `versions.env` into the files that cannot read it.
//!
//! A list is a file of its own wherever its reader can include one. Dapr components, `dapr run`, the Dapr Dashboard and SAM read single
//! files only. For them a hand-written `<name>.head.yaml` ends where its list begins, and the generated file is that head with its list.

mod chart;
mod compose;
mod dapr;
mod embedded;
mod lambda;
mod scripts;
mod versions;

use std::{fs, io, path::Path};

/// Every generated file has this in its first line.
pub const MARK: &str = "by `cargo xtask manifests`";
/// The first words of a generated list.
const FROM_CATALOGUE: &str = "Written from shared/catalogue";

/// A generated file.
#[derive(Clone, Debug)]
pub struct Manifest {
    /// Its path from the top of the repository.
    pub path: String,
    /// Its content.
    pub text: String,
}

impl Manifest {
    fn yaml(path: &str, text: &str) -> Self {
        Self { path: path.to_owned(), text: format!("# {FROM_CATALOGUE} {MARK}.\n{text}") }
    }

    /// A list that continues the hand-written file `head`.
    fn continuing(root: &Path, head: &str, path: &str, list: impl FnOnce(&str) -> String) -> io::Result<Self> {
        let text = fs::read_to_string(root.join(head))?;
        let name = head.rsplit('/').next().unwrap_or(head);
        let list = list(&text);
        Ok(Self {
            path: path.to_owned(),
            text: format!("# {FROM_CATALOGUE} {MARK}: {name} and its list.\n{text}{list}"),
        })
    }
}

/// Every generated file of the tree at `root`.
///
/// # Errors
/// When a hand-written head or `versions.env` cannot be read, or a file needs a version that it does not name.
pub fn all(root: &Path) -> io::Result<Vec<Manifest>> {
    let mut manifests = vec![
        chart::catalogue(),
        chart::images(),
        dapr::subscriptions(),
        dapr::embedded_subscriptions(),
        embedded::routers(),
    ];
    manifests.extend(scripts::all());
    manifests.extend(dapr::brokers(root)?);
    manifests.extend(dapr::configurations(root)?);
    manifests.push(dapr::multi_app_run(root)?);
    manifests.push(compose::services(root)?);
    manifests.push(lambda::template(root)?);
    manifests.extend(versions::files(root)?);
    Ok(manifests)
}

/// Writes every generated file of the tree at `root`.
///
/// # Errors
/// When a file cannot be read or written.
pub fn write(root: &Path) -> io::Result<()> {
    for manifest in all(root)? {
        let path = root.join(manifest.path);
        path.parent().map_or(Ok(()), fs::create_dir_all)?;
        fs::write(path, manifest.text)?;
    }
    Ok(())
}
