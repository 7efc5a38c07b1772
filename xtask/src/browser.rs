//! `cargo xtask browser-test`: the page in a real Chromium, against the real product.
//!
//! One embedded product serves page, API and stream from one origin. Beside it stand a page of three origins, whose stream comes through a
//! forwarder, and a page with sign-in, whose `tasks` trusts the identity provider that a test runs. All of them share one database.

use std::{env, path::PathBuf, process::Command};

use anyhow::ensure;
use catalogue::EMBEDDED;
use lab::{
    browser::{self, PLAYWRIGHT, Parts},
    cargo, dev,
    forwarder::Forwarder,
    ports,
    process::{Process, Program, READY, Ready, Run},
    progress::{quietly, say},
    secrets, signals,
    topology::{Options, Topology, target_dir},
};

const RUN: &str = "browser";
/// The page at the identity provider, and the API that its tokens are for.
const CLIENT_ID: &str = "punctual-page";
const AUDIENCE: &str = "https://api.punctual.test";
/// The requests that a user may send in a second, in place of ten.
const REQUESTS: &str = "20";
/// The command that runs the tests.
const TESTS: [&str; 4] = [PLAYWRIGHT, "test", "--project", "tests"];

/// The arguments of `browser-test`.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Run only tests whose names contain one of these words
    filter: Vec<String>,
    /// Take a picture of every view in every state into this folder, instead of testing
    #[arg(long, value_name = "DIR", conflicts_with = "filter")]
    screenshots: Option<PathBuf>,
    /// Measure the first visit of a slow phone, instead of testing
    #[arg(long, conflicts_with_all = ["filter", "screenshots"])]
    lighthouse: bool,
}

/// Runs the tests, takes the pictures, or measures.
pub(crate) fn browser_test(arguments: &Arguments) -> anyhow::Result<()> {
    let parts = Parts::find()?;
    say("building every binary");
    cargo::build()?;
    if arguments.lighthouse {
        return run(&parts, &["lighthouse.mjs"], &[]);
    }
    match &arguments.screenshots {
        Some(folder) => {
            let folder = env::current_dir()?.join(folder).display().to_string();
            run(&parts, &[PLAYWRIGHT, "test", "--project", "screenshots"], &[("SCREENSHOTS", folder)])
        }
        None => test(&parts, &arguments.filter),
    }
}

/// Runs the tests whose names contain one of `filters`, as the last part of `cargo xtask test`. The binaries must be built.
pub(crate) fn after_others(filters: &[String]) -> anyhow::Result<()> {
    if !browser::can_have_chromium() {
        say("browser tests: NOT RUN, Chromium is missing and there is no apt-get to install it");
        return Ok(());
    }
    let parts = Parts::find()?;
    if !filters.is_empty() && !has_any(&parts, filters)? {
        return Ok(());
    }
    say("running the browser tests");
    test(&parts, filters)
}

/// Installs the missing parts that the tests need, where that is possible.
pub(crate) fn install() -> anyhow::Result<()> {
    if browser::can_have_chromium() { Parts::find().map(drop) } else { Ok(()) }
}

fn test(parts: &Parts, filters: &[String]) -> anyhow::Result<()> {
    run(parts, &TESTS, &[("FILTER", filters.join("\n"))])
}

/// Whether a test has one of the words in its name.
fn has_any(parts: &Parts, filters: &[String]) -> anyhow::Result<bool> {
    let mut list = Command::new(&parts.node);
    list.args(TESTS).args(["--list", "--reporter", "list"]).current_dir(browser::folder());
    let listed = quietly(&mut list)?;
    Ok(filters.iter().any(|word| listed.contains(word.as_str())))
}

/// Starts the product, runs a program of `testing/browser` and stops everything.
fn run(parts: &Parts, program: &[&str], more: &[(&str, String)]) -> anyhow::Result<()> {
    signals::catch();
    let site = Site::start()?;
    let status = Command::new(&parts.node)
        .args(program)
        .current_dir(browser::folder())
        .env("CHROMIUM", &parts.chromium)
        .env("RESULTS", dev().join(RUN).join("results"))
        .envs(site.environment())
        .envs(more.iter().map(|(name, value)| (*name, value)))
        .status()?;
    site.stop();
    ensure!(status.success(), "the browser tests failed; logs are in {}", dev().join(RUN).join("log").display());
    Ok(())
}

/// The running product in all its layouts.
struct Site {
    topology: Topology,
    /// The page of three origins, `tasks` of sign-in, and its page.
    processes: Vec<Process>,
    stream: Forwarder,
    three_origins: String,
    sign_in: String,
    issuer: String,
}

impl Site {
    fn start() -> anyhow::Result<Self> {
        let [port, three_origins, sign_in, sign_in_api, issuer] = [(); 5].map(|()| ports::free());
        let url = |port: u16| format!("http://127.0.0.1:{port}");
        let (vapid_private, vapid_public) = secrets::vapid_key()?;
        let mut options = Options::embedded(RUN)
            .env("PAGE_URL", url(port))
            .env("PAGE_ACCEPT_TOKEN_LINK", "true")
            .env("ACTION_KEY", secrets::random()?)
            .env("VAPID_PUBLIC_KEYS", vapid_public)
            // Nothing listens there: tests hand messages to the browser themselves.
            .env("PUSH_HOSTS", "push.test=127.0.0.1:9")
            .env("CORS_ORIGINS", url(three_origins))
            // A test opens tabs and loads them again faster than a person does.
            .env("USER_REQUESTS_PER_SECOND", REQUESTS);
        options.port = Some(port);
        options.secrets.insert("vapid-private-keys".to_owned(), vapid_private);
        lab::topology::prerequisites(&options)?;
        let topology = Topology::start(options)?;
        let stream = Forwarder::to("127.0.0.1", port)?;
        let run = Run { dir: dev().join(RUN), detached: false };
        let page = |name: &str, port: u16| {
            Program::new(name, binary("page")).env("PORT", port.to_string()).ready(Ready::Http(port, "/readyz"))
        };
        let of_three = page("page-three-origins", three_origins)
            .env("API_URL", &topology.url)
            .env("UPDATES_URL", url(stream.port))
            .env("PAGE_ACCEPT_TOKEN_LINK", "true");
        let with_sign_in = page("page-sign-in", sign_in)
            .env("API_URL", url(sign_in_api))
            .env("OIDC_ISSUER", url(issuer))
            .env("OIDC_CLIENT_ID", CLIENT_ID)
            .env("OIDC_AUDIENCE", AUDIENCE);
        let daprd = topology.daprd(EMBEDDED);
        let of_sign_in = Program::new("tasks-sign-in", binary("tasks"))
            .env("PORT", sign_in_api.to_string())
            .env("DATABASE_URL", &topology.database_url)
            .env("DAPR_GRPC_ENDPOINT", url(daprd.grpc_port))
            .env("DAPR_API_TOKEN", topology.dapr_api_token(EMBEDDED))
            .env("ALARM_APP_ID", EMBEDDED)
            .env("APP_API_TOKEN", &topology.app_api_token)
            .env("JWKS_URL", format!("{}/jwks", url(issuer)))
            .env("JWT_ISSUER", url(issuer))
            .env("JWT_AUDIENCE", AUDIENCE)
            .env("USER_REQUESTS_PER_SECOND", REQUESTS)
            .env("CORS_ORIGINS", url(sign_in))
            .ready(Ready::Http(sign_in_api, "/readyz"));
        let processes = [of_three, with_sign_in, of_sign_in]
            .into_iter()
            .map(|program| Process::spawn(&run, program))
            .collect::<anyhow::Result<Vec<_>>>()?;
        processes.iter().try_for_each(|process| process.wait_ready(READY))?;
        let (three_origins, sign_in, issuer) = (url(three_origins), url(sign_in), url(issuer));
        Ok(Self { topology, processes, stream, three_origins, sign_in, issuer })
    }

    /// The variables by which the tests find it.
    fn environment(&self) -> Vec<(&'static str, String)> {
        let topology = &self.topology;
        vec![
            ("ONE_ORIGIN", topology.url.clone()),
            ("THREE_ORIGINS", self.three_origins.clone()),
            ("STREAM_PORT", self.stream.port.to_string()),
            ("SIGN_IN", self.sign_in.clone()),
            ("ISSUER", self.issuer.clone()),
            ("AUDIENCE", AUDIENCE.to_owned()),
            ("CLIENT_ID", CLIENT_ID.to_owned()),
            ("JWT_SECRET", topology.jwt_secret.clone()),
            ("APP_API_TOKEN", topology.app_api_token.clone()),
            ("MAIL_DIR", topology.mail_dir.display().to_string()),
            ("DATABASE_URL", topology.database_url.clone()),
            ("PSQL", topology.postgres.programs().join("psql").display().to_string()),
        ]
    }

    fn stop(self) {
        drop(self.processes);
        self.topology.stop();
    }
}

fn binary(name: &str) -> PathBuf {
    target_dir().join("debug").join(name)
}
