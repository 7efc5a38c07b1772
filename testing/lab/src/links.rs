//! Network links between the parts of a run, which can be cut, slowed, stopped in one direction and restored. Each link is a port of
//! toxiproxy (github.com/Shopify/toxiproxy, MIT) in front of a part. The kernel's netem needs a module that many machines lack.
//!
//! Connections of our own processes pass a [`Forwarder`] first, so that they can also fall silent.

use std::{
    collections::{BTreeMap, btree_map::Entry},
    path::PathBuf,
    process::Command,
    sync::{Mutex, PoisonError},
};

use anyhow::ensure;
use serde_json::{Value, json};

use crate::{
    dev,
    forwarder::Forwarder,
    http, ports,
    process::{Process, Program, READY, Ready, Run},
    progress, tools,
};

/// The name of a toxic. A link has at most one.
const TOXIC: &str = "toxic";

/// A running toxiproxy and its links.
#[derive(Debug)]
pub struct Links {
    /// Its process.
    pub process: Process,
    api: u16,
    made: Mutex<BTreeMap<String, u16>>,
    forwarders: Mutex<BTreeMap<String, Forwarder>>,
}

impl Links {
    /// Starts toxiproxy, without links.
    pub fn launch(run: &Run) -> anyhow::Result<Self> {
        let api = ports::free();
        let program = Program::new("links", binary()?)
            .args(["-host", "127.0.0.1", "-port", &api.to_string()])
            .ready(Ready::Http(api, "/version"));
        let process = Process::spawn(run, program)?;
        process.wait_ready(READY)?;
        Ok(Self { process, api, made: Mutex::default(), forwarders: Mutex::default() })
    }

    /// The port of the link `name` to `port`. The first call creates the link.
    pub fn to(&self, name: &str, port: u16) -> anyhow::Result<u16> {
        let mut made = self.made.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = made.get(name) {
            return Ok(*known);
        }
        let listen = ports::free();
        let link = json!({
            "name": name, "listen": format!("127.0.0.1:{listen}"), "upstream": format!("127.0.0.1:{port}"), "enabled": true,
        });
        self.ask("POST", "/proxies", &link)?;
        made.insert(name.to_owned(), listen);
        Ok(listen)
    }

    /// [`Links::to`], for clients that are our own processes: see [`Links::silence`].
    pub fn to_silenceable(&self, name: &str, port: u16) -> anyhow::Result<u16> {
        let link = self.to(name, port)?;
        let mut forwarders = self.forwarders.lock().unwrap_or_else(PoisonError::into_inner);
        match forwarders.entry(name.to_owned()) {
            Entry::Occupied(made) => Ok(made.get().port),
            Entry::Vacant(free) => Ok(free.insert(Forwarder::to("127.0.0.1", link)?).port),
        }
    }

    /// Silences the connections of a link that are open now, forever. They stay open, and new ones work.
    pub fn silence(&self, name: &str) {
        if let Some(forwarder) = self.forwarders.lock().unwrap_or_else(PoisonError::into_inner).get(name) {
            forwarder.silence();
        }
    }

    /// The names of the links that can be silenced.
    #[must_use]
    pub fn silenceable(&self) -> Vec<String> {
        self.forwarders.lock().unwrap_or_else(PoisonError::into_inner).keys().cloned().collect()
    }

    /// The names of the links.
    #[must_use]
    pub fn names(&self) -> Vec<String> {
        self.made.lock().unwrap_or_else(PoisonError::into_inner).keys().cloned().collect()
    }

    /// Adds a toxic (toxiproxy's README, "Toxics") to a link, until [`Links::mend`]. Fails if it has one already.
    pub fn spoil(&self, name: &str, kind: &str, stream: &str, attributes: &Value) -> anyhow::Result<()> {
        let toxic = json!({"name": TOXIC, "type": kind, "stream": stream, "attributes": attributes});
        self.ask("POST", &format!("/proxies/{name}/toxics"), &toxic)
    }

    /// Closes every connection of the link and refuses new ones, until [`Links::mend`].
    pub fn cut(&self, name: &str) -> anyhow::Result<()> {
        self.ask("POST", &format!("/proxies/{name}"), &json!({"enabled": false}))
    }

    /// Restores the link. Open connections flow again.
    pub fn mend(&self, name: &str) -> anyhow::Result<()> {
        // A link that was cut has no toxic.
        let _ = self.ask("DELETE", &format!("/proxies/{name}/toxics/{TOXIC}"), &json!({}));
        self.ask("POST", &format!("/proxies/{name}"), &json!({"enabled": true}))
    }

    fn ask(&self, method: &str, path: &str, body: &Value) -> anyhow::Result<()> {
        let status = http::send(self.api, method, path, &body.to_string())?;
        ensure!((200..300).contains(&status), "toxiproxy answers {status} to {method} {path} {body}");
        Ok(())
    }
}

/// Finds or builds toxiproxy's server.
pub fn binary() -> anyhow::Result<PathBuf> {
    if let Some(installed) = tools::on_path("toxiproxy-server") {
        return Ok(installed);
    }
    let dir = dev().join("toxiproxy");
    let version = tools::version("TOXIPROXY_VERSION");
    tools::pinned(&dir, version, || {
        let go = tools::go()?;
        let package = format!("github.com/Shopify/toxiproxy/v2/cmd/server@{version}");
        let mut build = Command::new(go);
        build.args(["install", "-trimpath", &package]).env("GOBIN", &dir).env("CGO_ENABLED", "0").env("GOFLAGS", "");
        progress::run("building toxiproxy", &mut build)
    })?;
    Ok(dir.join("server"))
}
