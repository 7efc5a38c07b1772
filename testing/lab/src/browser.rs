//! Chromium, and the tests in it (`testing/browser`).

use std::{
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, ensure};
use serde_json::{Value, json};

use crate::{
    progress::{self, quietly},
    root, tools,
};

/// The command line of Playwright, which runs the tests, below [`folder`].
pub const PLAYWRIGHT: &str = "node_modules/@playwright/test/cli.js";
/// The oldest Node.js that the tests run on.
const NODE: u32 = 20;

/// The programs that the tests need.
#[derive(Clone, Debug)]
pub struct Parts {
    /// Node.js.
    pub node: PathBuf,
    /// Chromium, or Chrome.
    pub chromium: PathBuf,
}

impl Parts {
    /// Finds or installs the programs, and the packages of `testing/browser`.
    pub fn find() -> anyhow::Result<Self> {
        let what = format!("Node.js {NODE} or newer, with npm (https://nodejs.org)");
        let node = tools::require("node", &what)?;
        let npm = tools::require("npm", &what)?;
        let version = quietly(Command::new(&node).arg("--version"))?;
        let major =
            version.trim().trim_start_matches('v').split('.').next().and_then(|major| major.parse::<u32>().ok());
        ensure!(major >= Some(NODE), "Node.js {} is too old: install {what} and try again", version.trim());
        if installed_chromium().is_none() {
            tools::apt(&["chromium", "fonts-noto-core", "fonts-noto-cjk", "fonts-noto-color-emoji"])?;
        }
        let chromium = installed_chromium().context("the package chromium has no program chromium")?;
        let folder = folder();
        let pin = tools::pin_of(&["package.json", "package-lock.json"].map(|file| folder.join(file)))?;
        tools::pinned(&folder.join("node_modules"), &pin, || {
            progress::run("npm ci", Command::new(&npm).args(["ci", "--no-audit", "--no-fund"]).current_dir(&folder))
        })?;
        Ok(Self { node, chromium })
    }
}

/// Whether Chromium is there or can be installed.
#[must_use]
pub fn can_have_chromium() -> bool {
    installed_chromium().is_some() || tools::on_path("apt-get").is_some()
}

/// The npm project of the tests.
#[must_use]
pub fn folder() -> PathBuf {
    root().join("testing/browser")
}

/// A visit to a deployed page: a person opens a list, adds a task in a second window, and sees it in the first.
#[derive(Clone, Debug)]
pub struct Visit {
    /// The address of the page, with a token where the page accepts that: `http://localhost:8420/#token=…`.
    pub link: String,
    /// The token to paste otherwise.
    pub pasted: Option<String>,
    /// The title of a task that is due today.
    pub title: String,
    /// Ports of this machine that lead to the deployment while the visit lasts.
    pub routes: Vec<Route>,
}

/// A port that leads to an address, under the host name by which a gateway routes.
#[derive(Clone, Debug)]
pub struct Route {
    /// The port of this machine.
    pub port: u16,
    /// The host name.
    pub host: String,
    /// The address: `10.1.2.3:80`.
    pub address: SocketAddr,
}

/// How long the person waited, in milliseconds: from the click on the link, but for `seen`.
#[derive(Clone, Copy, Debug)]
pub struct Visited {
    /// The first text was painted.
    pub paint: f64,
    /// The list had its task.
    pub list: f64,
    /// The stream was open.
    pub live: f64,
    /// From Enter in the second window until the task was in the first.
    pub seen: f64,
}

impl Visit {
    /// Makes the visit in a browser that has never been there.
    pub fn make(&self, parts: &Parts, results: &Path) -> anyhow::Result<Visited> {
        fs::create_dir_all(results)?;
        let report = results.join("visit.json");
        let route =
            |route: &Route| json!({ "port": route.port, "host": route.host, "address": route.address.to_string() });
        let routes: Value = self.routes.iter().map(route).collect();
        let mut visit = Command::new(&parts.node);
        visit
            .args([PLAYWRIGHT, "test", "--project", "deployed", "--retries", "0"])
            .current_dir(folder())
            .env("CHROMIUM", &parts.chromium)
            .env("RESULTS", results)
            .env("LINK", &self.link)
            .env("TOKEN", self.pasted.as_deref().unwrap_or_default())
            .env("TITLE", &self.title)
            .env("ROUTES", routes.to_string())
            .env("REPORT", &report);
        quietly(&mut visit)?;
        let told: Value = serde_json::from_slice(&fs::read(report)?)?;
        let field = |name: &str| told[name].as_f64().with_context(|| format!("the visit did not report {name}"));
        Ok(Visited { paint: field("paint")?, list: field("list")?, live: field("live")?, seen: field("seen")? })
    }
}

fn installed_chromium() -> Option<PathBuf> {
    ["chromium", "google-chrome", "chromium-browser"].into_iter().find_map(tools::on_path)
}
