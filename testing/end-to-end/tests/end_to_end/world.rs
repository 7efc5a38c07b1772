//! The run all tests share, who may touch it, and putting it right.

use std::{
    collections::BTreeMap,
    fs,
    path::PathBuf,
    sync::{LazyLock, PoisonError, RwLock},
    thread,
    time::Duration,
};

use chrono::{DateTime, Utc};
use clap::Parser as _;
use lab::{
    dev,
    process::READY,
    topology::{Function, Options, Topology},
};
use shared::{App, Config, sidecar::Sidecar};
use sqlx::{PgPool, postgres::PgPoolOptions};
use tokio::runtime::Runtime;

use crate::{user::User, wait};

/// How often repair runs, and how long after its publication an unclaimed event is published again.
pub(crate) const REPAIR: Duration = Duration::from_secs(10);
/// What happens by itself does so within this, on a busy machine.
pub(crate) const SOON: Duration = Duration::from_secs(30);
/// What a fault delayed happens within this of its end: Kafka's session timeout, a scheduler's lease (20 s), two repairs.
pub(crate) const HEALED: Duration = Duration::from_secs(90);

/// One for all tests: connections live on it, and a test's own would end with the test.
static RUNTIME: LazyLock<Runtime> =
    LazyLock::new(|| tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime"));
static SHARED: LazyLock<World> = LazyLock::new(|| {
    // A second run of these tests would delete this one's data.
    let lock = fs::create_dir_all(dev()).and_then(|()| fs::File::create(dev().join("end-to-end.lock")));
    let lock = lock.expect("the folder .dev can be written");
    lock.lock().expect("a file can be locked");
    std::mem::forget(lock); // until this process ends
    RUNTIME.block_on(async { World::start(Options::distributed("end-to-end")) })
});
/// Events that wait to be published or handled, and deliveries that are not over.
const LEFT: &str = "select concat_ws(' ', type, event.id, 'of', occurred_at, 'published', published_at)
    from task_events event
    where published_at is null or not exists (
        select from processed_events where consumer = replace(type, '.', '-') and event_id = event.id)
    union all
    select concat_ws(' ', 'delivery', id, state, 'next', next_attempt_at) from notification_deliveries
    where state in ('pending', 'sending', 'retrying') limit 10";

static WHOSE_TURN: RwLock<()> = RwLock::new(());

/// Runs a test beside others.
pub(crate) fn beside_others(test: impl AsyncFnOnce(&World)) {
    let world = &*SHARED;
    let _turn = WHOSE_TURN.read().unwrap_or_else(PoisonError::into_inner);
    let _told = TellLogs::of(world);
    RUNTIME.block_on(test(world));
}

/// Runs a test that breaks something, alone; it ends when everything works again and nothing is left to be done.
pub(crate) fn alone(test: impl AsyncFnOnce(&World)) {
    let world = &*SHARED;
    let _turn = WHOSE_TURN.write().unwrap_or_else(PoisonError::into_inner);
    let restored = Restore(world);
    let _told = TellLogs::of(world);
    RUNTIME.block_on(test(world));
    drop(restored);
    RUNTIME.block_on(world.settled());
}

/// Runs a test on a run of its own.
pub(crate) fn on(options: Options, test: impl AsyncFnOnce(&World)) {
    // Two whole runs at once, and a third one's faults, would be too much for a small machine.
    let _turn = WHOSE_TURN.write().unwrap_or_else(PoisonError::into_inner);
    RUNTIME.block_on(async {
        let world = World::start(options);
        let _told = TellLogs::of(&world);
        test(&world).await;
        world.settled().await;
        world.db.close().await;
    });
}

/// A running product, and ways into it.
pub(crate) struct World {
    pub(crate) topology: Topology,
    pub(crate) db: PgPool,
    pub(crate) http: reqwest::Client,
}

impl World {
    fn start(options: Options) -> Self {
        let options = Options { repair_every: Some(REPAIR), ..options };
        let options = options.env("REPAIR_AFTER_SECONDS", REPAIR.as_secs().to_string());
        let topology = Topology::start(options).unwrap_or_else(|error| panic!("the run does not start: {error:#}"));
        let db = PgPoolOptions::new().max_connections(40).connect_lazy(&topology.database_url).expect("a database URL");
        let http = reqwest::Client::builder().no_proxy().timeout(Duration::from_secs(60)).build().expect("a client");
        Self { topology, db, http }
    }

    /// Someone nobody has heard of.
    pub(crate) fn user(&self) -> User {
        User::new(self, false)
    }

    /// Someone who may see and replay dead letters.
    pub(crate) fn operator(&self) -> User {
        User::new(self, true)
    }

    /// The Dapr API as the function `name` has it.
    pub(crate) fn sidecar(&self, name: &str) -> Sidecar {
        let url = |port| format!("http://127.0.0.1:{port}");
        let config = Config::try_parse_from([
            "test".to_owned(),
            format!("--database-url={}", self.topology.database_url),
            format!("--dapr-grpc-endpoint={}", url(self.topology.daprd(name).grpc_port)),
            format!("--alarm-dapr-endpoint={}", url(self.topology.daprd("alarm").grpc_port)),
            format!("--reminder-due-dapr-endpoint={}", url(self.topology.daprd("reminder-due").grpc_port)),
            format!("--dapr-api-token={}", self.topology.dapr_api_token),
            format!("--app-api-token={}", self.topology.app_api_token),
        ]);
        App::new(config.expect("a configuration"), self.db.clone()).expect("an address").sidecar
    }

    /// A function.
    pub(crate) fn function(&self, name: &str) -> &Function {
        self.topology.function(name)
    }

    /// Kills a function without a warning and starts it again.
    pub(crate) fn kill_and_start(&self, name: &str) {
        let process = &self.function(name).process;
        process.kill9();
        process.start().unwrap_or_else(|error| panic!("{name} does not start again: {error:#}"));
    }

    /// Ends repair until the test does: what is to happen must happen without it.
    pub(crate) fn without_repair(&self) {
        self.topology.repair.as_ref().expect("repair runs in a process of its own").kill9();
    }

    /// The time by the database's clock, the only one that counts.
    pub(crate) async fn now(&self) -> DateTime<Utc> {
        sqlx::query_scalar("select clock_timestamp()").fetch_one(&self.db).await.expect("the database answers")
    }

    /// Waits for an instant of the database's clock.
    pub(crate) async fn clock_reaches(&self, instant: DateTime<Utc>) {
        let left = instant - self.now().await;
        tokio::time::sleep(left.to_std().unwrap_or_default()).await;
    }

    /// A number from the database.
    pub(crate) async fn count(&self, statement: &'static str, id: uuid::Uuid) -> i64 {
        sqlx::query_scalar(statement).bind(id).fetch_one(&self.db).await.expect("the database answers")
    }

    /// Waits until every event has been published and handled, and every delivery is over.
    pub(crate) async fn settled(&self) {
        wait::until("nothing is left to be done", HEALED, async || {
            let left: Result<Vec<String>, _> = sqlx::query_scalar(LEFT).fetch_all(&self.db).await;
            match left {
                Ok(left) if left.is_empty() => Ok(()),
                other => Err(format!("{other:?}")),
            }
        })
        .await;
    }
}

/// Puts everything right when it goes out of scope.
struct Restore<'a>(&'a World);

impl Drop for Restore<'_> {
    fn drop(&mut self) {
        let topology = &self.0.topology;
        let restored = (|| {
            for process in topology.processes() {
                process.resume();
            }
            topology.postgres.start()?;
            topology.postgres.sql("punctual", "drop function if exists broken_for_a_while cascade")?;
            for process in topology.processes().into_iter().rev() {
                process.start()?;
            }
            for process in topology.processes() {
                process.wait_ready(READY)?;
            }
            if topology.smtp.is_some() {
                let _ = fs::remove_file(dev().join(&topology.options.name).join("smtp-control"));
            }
            anyhow::Ok(())
        })();
        if let Err(error) = restored {
            eprintln!("the run could not be put right: {error:#}");
        }
    }
}

/// Shows, when a test fails, what the parts said while it ran.
struct TellLogs<'a>(&'a World, BTreeMap<PathBuf, u64>);

impl<'a> TellLogs<'a> {
    fn of(world: &'a World) -> Self {
        let logs = world.topology.processes().into_iter().map(|process| process.log());
        Self(world, logs.map(|log| (log.clone(), fs::metadata(log).map_or(0, |meta| meta.len()))).collect())
    }
}

impl Drop for TellLogs<'_> {
    fn drop(&mut self) {
        if !thread::panicking() {
            return;
        }
        let left = self.0.topology.postgres.sql("punctual", LEFT);
        eprintln!("--- left to be done:\n{}", left.unwrap_or_else(|error| error.to_string()));
        for process in self.0.topology.processes() {
            let log = fs::read(process.log()).unwrap_or_default();
            let before = self.1.get(&process.log()).copied().unwrap_or_default();
            let new = log.get(usize::try_from(before).unwrap_or_default()..).unwrap_or_default();
            let new = String::from_utf8_lossy(new);
            let lines: Vec<&str> = new.lines().collect();
            if !lines.is_empty() && process.name() != "kafka" {
                eprintln!("--- {}:\n{}", process.name(), lines[lines.len().saturating_sub(12)..].join("\n"));
            }
        }
    }
}
