//! The images: built from this checkout and loaded into the cluster by a command, or already in a registry.

use std::{path::PathBuf, process::Command};

use anyhow::{Context as _, ensure};
use lab::{progress::say, release, tools};
use shared::catalogue::FUNCTIONS;

use crate::Arguments;

/// The function whose image the broken version lacks.
pub(crate) const MISSING: &str = "task-created";

/// The versions, by their tags.
pub(crate) struct Images {
    pub(crate) registry: String,
    /// Deployed first.
    pub(crate) first: String,
    /// Rolled out next. The same binaries under another tag are another version to the cluster.
    pub(crate) next: String,
    /// A version without the image of [`MISSING`], or without any image if they come from a registry.
    pub(crate) broken: String,
}

impl Images {
    /// Builds and loads the images, if a command for loading was given.
    pub(crate) fn prepare(arguments: &Arguments) -> anyhow::Result<Self> {
        let registry = arguments.registry.clone();
        let Some(load) = &arguments.load else {
            let tag = |tag: &Option<String>| tag.clone().context("without --load, --tag and --next-tag are required");
            let (first, next) = (tag(&arguments.tag)?, tag(&arguments.next_tag)?);
            return Ok(Self { registry, first, next, broken: "there-is-no-such-version".to_owned() });
        };
        let folder = match &arguments.bin_dir {
            Some(folder) => folder.clone(),
            None => release::build(arguments.profile)?,
        };
        let others: &[&str] = if arguments.plain { &["migrate"] } else { &["migrate", "door", "hello"] };
        let functions = FUNCTIONS.iter().map(|function| function.name);
        let names: Vec<&str> = functions.chain(others.iter().copied()).collect();
        let binaries: Vec<PathBuf> = names.iter().map(|name| folder.join(name)).collect();
        // The tag changes with the binaries: the cluster neither replaces nor rolls out an image under a known tag.
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
