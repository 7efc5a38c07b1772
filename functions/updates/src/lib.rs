//! `updates`: streams a user's feed to the user's clients, as Server-Sent Events.
//!
//! Triggered by `GET /v1/updates`. Reads the database and writes nothing. A stream tells which tasks changed, by id and version; the client reads
//! the tasks from `tasks`.
//!
//! `task-changed` numbers the changes of a user without gaps. A client that names the last number it has seen (`Last-Event-ID`) gets every later
//! change once, in order, from any process. If that is impossible, it gets `reset` and reads everything again. So a stream may break anywhere.
//!
//! One listener per process (`listener.rs`) hears of changes by `NOTIFY`, which only hastens: what it does not hear, it finds within 10 s. It
//! runs while somebody listens, and at no other time. The streams wait for it (`stream.rs`), and have no connection of their own.

mod feed;
mod hub;
mod listener;
mod stream;

use std::{num::NonZeroU32, ops::Range, time::Duration};

use anyhow::Context as _;
use axum::{Router, extract::FromRef, routing::get};
use clap::Parser;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use secrecy::SecretString;
use shared::{
    auth::Auth,
    config::{self, DatabaseConfig, HostConfig},
    cors::CorsConfig,
    db::Db,
    problem::Problem,
    serve::{self, Host, connections::Limits},
};
use sqlx::postgres::PgConnectOptions;
use tokio_util::sync::CancellationToken;

use self::hub::Hub;

/// Settings of `updates`.
#[derive(Parser, Clone, Debug)]
#[command(about, long_about = None)]
pub struct UpdatesConfig {
    /// PostgreSQL for `LISTEN`, which needs a direct connection: set it if `DATABASE_URL` is the address of a transaction pooler. Default:
    /// `DATABASE_URL`
    #[arg(long, env, hide_env_values = true)]
    pub listen_database_url: Option<SecretString>,
    /// The web pages that may listen.
    #[command(flatten)]
    pub cors: CorsConfig,
}

/// The limits and times of a process; tests lower them.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Maximum streams of all users: more than Knative sends to a pod.
    pub streams: usize,
    /// Maximum streams of a user.
    pub user_streams: usize,
    /// How many streams a user may open at once. After that it is one a second, because each costs a statement.
    pub burst: NonZeroU32,
    /// The interval at which the listener compares what it knows with the database.
    pub look: Duration,
    /// The interval at which the listener checks, by a notification to itself, that it still hears.
    pub echo: Duration,
    /// How long the listener waits for the database, and for its own notification.
    pub answer: Duration,
    /// The listener's pause after a failure.
    pub pause: Duration,
    /// After this time without an event, a stream gets a comment, so that no proxy takes it for dead.
    pub comment: Duration,
    /// The length of a stream: below the limit of Knative, and random, so that clients do not come back all at once.
    pub life: Range<Duration>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            streams: 12_000,
            user_streams: 20,
            burst: const { NonZeroU32::new(40).expect("it is not zero") },
            look: Duration::from_secs(10),
            echo: Duration::from_secs(30),
            answer: Duration::from_secs(5),
            pause: Duration::from_secs(1),
            comment: Duration::from_secs(15),
            life: Duration::from_secs(210)..Duration::from_secs(240),
        }
    }
}

/// Runs the function until SIGTERM.
///
/// # Errors
/// When the configuration is invalid or the port is taken.
pub async fn run() -> anyhow::Result<()> {
    serve::prepare();
    let HostConfig { port } = config::from_env();
    let mut database: DatabaseConfig = config::from_env();
    // The listener's connection is not in the pool.
    database.database_connections -= 1;
    let db = database.open()?;
    let settings = Settings::within(raise_open_files());
    // Beside the streams there are probes, and clients that are refused.
    let limits = Limits { connections: settings.streams + 256, ..Limits::default() };
    let host = Host { limits, db: Some(db.clone()), ..Host::default() };
    let updates = Updates::from_env(db, settings, host.stop.clone());
    serve::listen(router(updates), host, port).await
}

impl Settings {
    /// The settings of a process that may open this many files. Each stream is one.
    fn within(files: u64) -> Self {
        let default = Self::default();
        let streams = usize::try_from(files).unwrap_or(usize::MAX).saturating_sub(512);
        Self { streams: default.streams.min(streams), ..default }
    }
}

/// Raises the limit of open files as far as the system allows, and returns it.
fn raise_open_files() -> u64 {
    let limit = getrlimit(Resource::Nofile);
    if let Err(error) = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit }) {
        tracing::warn!(error = %error, "updates: cannot raise the limit of open files: {error}");
    }
    getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX)
}

/// The state of the function. Cheap to clone.
#[derive(Clone, FromRef)]
pub struct Updates {
    auth: Auth,
    hub: Hub,
    /// Ends every stream.
    stop: CancellationToken,
    #[from_ref(skip)]
    cors: CorsConfig,
}

impl Updates {
    /// The state of a process, with authentication and `LISTEN_DATABASE_URL` from the environment. If it is invalid, ends the process with one
    /// line.
    #[must_use]
    pub fn from_env(db: Db, settings: Settings, stop: CancellationToken) -> Self {
        let UpdatesConfig { listen_database_url, cors } = config::from_env();
        let listen = listen_database_url.map_or_else(
            || db.connect_options().clone(),
            |url| config::or_exit(config::postgres(&url).context("LISTEN_DATABASE_URL")),
        );
        Self::new(Auth::from_env(), db, listen, settings, stop).for_pages(cors)
    }

    /// The state of a process that reads from `db` and listens at `listen`, until `stop`.
    #[must_use]
    pub fn new(auth: Auth, db: Db, listen: PgConnectOptions, settings: Settings, stop: CancellationToken) -> Self {
        Self { auth, hub: Hub::new(db, listen, settings), stop, cors: CorsConfig::default() }
    }

    /// Lets these web pages listen, besides those of its own origin.
    #[must_use]
    pub fn for_pages(self, cors: CorsConfig) -> Self {
        Self { cors, ..self }
    }
}

/// `GET /v1/updates`.
pub fn router(updates: Updates) -> Router {
    let cors = updates.cors.clone();
    let routes = Router::new().route("/v1/updates", get(stream::open)).with_state(updates);
    // Below the layer of CORS, which answers `OPTIONS` before this does. A fallback that is set later would replace the layer.
    cors.allow_on(routes.method_not_allowed_fallback(async || Problem::MethodNotAllowed))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_takes_as_many_streams_as_it_may_open_files() {
        let limit = getrlimit(Resource::Nofile);
        let low = Some(limit.maximum.unwrap_or(256).min(256));
        setrlimit(Resource::Nofile, Rlimit { current: low, ..limit }).unwrap();
        assert_eq!(raise_open_files(), limit.maximum.unwrap_or(u64::MAX));
        for (files, streams) in [(u64::MAX, 12_000), (12_512, 12_000), (1_024, 512), (256, 0)] {
            assert_eq!(Settings::within(files).streams, streams);
        }
    }
}
