//! The images: built from this checkout and handed to a command that brings them to the cluster, or in a registry already.

use std::{path::PathBuf, process::Command};

use anyhow::{Context as _, ensure};
use lab::{progress::say, release, tools};
use shared::catalogue::FUNCTIONS;

use crate::Arguments;

/// The function without which a version cannot run.
pub(crate) const MISSING: &str = "task-created";

/// Versions by their tags.
pub(crate) struct Images {
    pub(crate) registry: String,
    /// What is deployed first.
    pub(crate) first: String,
    /// What it is rolled out to: another tag of the same binaries, which is another version to a cluster.
    pub(crate) next: String,
    /// One that lacks the image of [`MISSING`], or every image where they come from a registry.
    pub(crate) broken: String,
}

impl Images {
    /// Builds and loads them, if there is a command for it.
    pub(crate) fn prepare(arguments: &Arguments) -> anyhow::Result<Self> {
        let registry = arguments.registry.clone();
        let Some(load) = &arguments.load else {
            let tag = |tag: &Option<String>| tag.clone().context("--tag and --next-tag say which versions to deploy");
            let (first, next) = (tag(&arguments.tag)?, tag(&arguments.next_tag)?);
            return Ok(Self { registry, first, next, broken: "there-is-no-such-version".to_owned() });
        };
        let folder = match &arguments.bin_dir {
            Some(folder) => folder.clone(),
            None => release::build(arguments.profile)?,
        };
        let names: Vec<&str> =
            FUNCTIONS.iter().map(|function| function.name).chain(["door", "migrate", "hello"]).collect();
        let binaries: Vec<PathBuf> = names.iter().map(|name| folder.join(name)).collect();
        // A tag that changes with the binaries: what was loaded under the same name would neither be replaced nor rolled out.
        let first = format!("t{}", &tools::pin_of(&binaries)?[..12]);
        let images =
            Self { registry, next: format!("{first}-next"), broken: format!("{first}-broken"), first: first.clone() };
        say(format!("loading {} images, three times: {first}", names.len()));
        for tag in [&images.first, &images.next, &images.broken] {
            for (name, binary) in names.iter().zip(&binaries) {
                if tag != &images.broken || *name != MISSING {
                    let image = format!("{}/{name}:{tag}", images.registry);
                    let line = load.replace("{image}", &image).replace("{binary}", &binary.display().to_string());
                    let output = Command::new("sh").args(["-c", &line]).output()?;
                    let told = String::from_utf8_lossy(&output.stderr);
                    ensure!(output.status.success(), "{line}: {}", told.trim());
                }
            }
        }
        Ok(images)
    }
}
