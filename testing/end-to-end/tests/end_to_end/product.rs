//! The running product that all tests share, the turns they take, and its restoration after a fault.

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
    api::Api,
    dev,
    process::READY,
    push::{PushService, VapidKey},
    settled,
    topology::{Function, Options, Topology},
};
use shared::{App, Config, sidecar::Sidecar};
use sqlx::{PgPool, postgres::PgPoolOptions};
use tokio::{runtime::Runtime, task::JoinSet};

use crate::user::User;

/// The interval of repair, and the age at which repair publishes an unclaimed event again.
pub(crate) const REPAIR: Duration = Duration::from_secs(10);
/// The limit for work that needs no repair, on a busy machine.
pub(crate) const SOON: Duration = Duration::from_secs(30);
/// The limit for work that a fault delayed: Kafka's session timeout, the scheduler's lease (20 s) and two repairs.
pub(crate) const HEALED: Duration = Duration::from_secs(90);

/// One runtime for all tests: pooled connections live on it and must survive the test that opened them.
static RUNTIME: LazyLock<Runtime> =
    LazyLock::new(|| tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime"));
static SHARED: LazyLock<RunningProduct> = LazyLock::new(|| {
    // A second run of these tests would delete this one's data.
    let lock = fs::create_dir_all(dev()).and_then(|()| fs::File::create(dev().join("end-to-end.lock")));
    let lock = lock.expect("the folder .dev can be written");
    lock.lock().expect("a file can be locked");
    std::mem::forget(lock); // until this process ends
    RunningProduct::start(Options::distributed("end-to-end"))
});

/// The push service of all products, and the key that they sign with.
pub(crate) static PUSH: LazyLock<Push> = LazyLock::new(|| {
    let (service, key) = (RUNTIME.block_on(PushService::start()), VapidKey::new());
    let certificate = dev().join("end-to-end-push.pem");
    fs::write(&certificate, service.certificate_pem()).expect("the folder .dev can be written");
    Push { service, key, certificate }
});

pub(crate) struct Push {
    pub(crate) service: PushService,
    pub(crate) key: VapidKey,
    certificate: PathBuf,
}

static TURN: RwLock<()> = RwLock::new(());

/// Runs a test on the shared product, concurrently with others.
pub(crate) fn beside_others(test: impl AsyncFnOnce(&RunningProduct)) {
    let product = &*SHARED;
    let _turn = TURN.read().unwrap_or_else(PoisonError::into_inner);
    let _logs = LogsOnFailure::of(product);
    RUNTIME.block_on(test(product));
}

/// Runs a test that injects faults into the shared product, alone. Afterwards restores every part and waits until the
/// product has settled.
pub(crate) fn alone(test: impl AsyncFnOnce(&RunningProduct)) {
    let product = &*SHARED;
    let _turn = TURN.write().unwrap_or_else(PoisonError::into_inner);
    let restore = Restore(product);
    let _logs = LogsOnFailure::of(product);
    RUNTIME.block_on(test(product));
    drop(restore);
    RUNTIME.block_on(product.settled());
}

/// Runs a test on a product of its own.
pub(crate) fn on(options: Options, test: impl AsyncFnOnce(&RunningProduct)) {
    // A small machine cannot carry two more products while another test injects faults.
    let _turn = TURN.write().unwrap_or_else(PoisonError::into_inner);
    let product = RunningProduct::start(options);
    let _logs = LogsOnFailure::of(&product);
    RUNTIME.block_on(async {
        test(&product).await;
        product.settled().await;
        product.db.close().await;
    });
}

/// A running product, its API and its database.
pub(crate) struct RunningProduct {
    pub(crate) topology: Topology,
    pub(crate) db: PgPool,
    /// For requests to a function that bypass its daprd.
    pub(crate) http: reqwest::Client,
    api: Api,
}

impl RunningProduct {
    fn start(options: Options) -> Self {
        let options = Options { repair_every: Some(REPAIR), ..options };
        let mut options = options
            .env("REPAIR_AFTER_SECONDS", REPAIR.as_secs().to_string())
            // Races are between more requests of a user than production allows at a time.
            .env("USER_REQUESTS_PER_SECOND", "20")
            .env("USER_REQUESTS_WAITING", "100")
            .env("REQUESTS_IN_FLIGHT", "512")
            .env("PUSH_HOSTS", PUSH.service.host())
            .env("VAPID_PUBLIC_KEYS", PUSH.key.public.as_str())
            // What a process trusts instead of the authorities of the system.
            .env("SSL_CERT_FILE", PUSH.certificate.display().to_string());
        options.secrets.insert("vapid-private-keys".to_owned(), PUSH.key.pem.clone());
        let topology = Topology::start(options).unwrap_or_else(|error| panic!("the product does not start: {error:#}"));
        let _runtime = RUNTIME.enter(); // the pool starts a task
        let db = PgPoolOptions::new().max_connections(40).connect_lazy(&topology.database_url).expect("a database URL");
        let http = reqwest::Client::builder().no_proxy().timeout(Duration::from_secs(60)).build().expect("a client");
        Self { api: Api::of(&topology), topology, db, http }
    }

    /// A new user.
    pub(crate) fn user(&self) -> User {
        User::new(self.api.user(), self.db.clone())
    }

    /// A new user who may list and replay dead letters.
    pub(crate) fn operator(&self) -> User {
        User::new(self.api.operator(), self.db.clone())
    }

    /// The Dapr API of the function `name`.
    pub(crate) fn sidecar(&self, name: &str) -> Sidecar {
        self.sidecar_as(name, self.topology.dapr_api_token(name), "alarm")
    }

    /// The Dapr API of the function `name` for a caller with this token, who invokes `invoked` instead of `alarm`.
    pub(crate) fn sidecar_as(&self, name: &str, token: &str, invoked: &str) -> Sidecar {
        let url = |port| format!("http://127.0.0.1:{port}");
        let config = Config::try_parse_from([
            "test".to_owned(),
            format!("--database-url={}", self.topology.database_url),
            format!("--dapr-grpc-endpoint={}", url(self.topology.daprd(name).grpc_port)),
            format!("--alarm-dapr-endpoint={}", url(self.topology.daprd("alarm").grpc_port)),
            format!("--reminder-due-dapr-endpoint={}", url(self.topology.daprd("reminder-due").grpc_port)),
            format!("--alarm-app-id={invoked}"),
            format!("--dapr-api-token={token}"),
            format!("--reminder-due-dapr-api-token={}", self.topology.dapr_api_token("reminder-due")),
            format!("--app-api-token={}", self.topology.app_api_token),
        ]);
        App::new(config.expect("a configuration"), &self.db).expect("an address").sidecar
    }

    /// A function's processes and port.
    pub(crate) fn function(&self, name: &str) -> &Function {
        self.topology.function(name)
    }

    /// Kills a function and starts it again.
    pub(crate) fn kill_and_start(&self, name: &str) {
        let process = &self.function(name).process;
        process.kill9();
        process.start().unwrap_or_else(|error| panic!("{name} does not start again: {error:#}"));
    }

    /// Stops repair until the end of the test, to show that recovery does not need it.
    pub(crate) fn without_repair(&self) {
        self.topology.repair.as_ref().expect("repair runs in a process of its own").kill9();
    }

    /// The database's clock.
    pub(crate) async fn now(&self) -> DateTime<Utc> {
        sqlx::query_scalar("select clock_timestamp()").fetch_one(&self.db).await.expect("the database answers")
    }

    /// Sleeps until the database's clock shows `instant`.
    pub(crate) async fn clock_reaches(&self, instant: DateTime<Utc>) {
        let left = instant - self.now().await;
        tokio::time::sleep(left.to_std().unwrap_or_default()).await;
    }

    /// The result of a counting statement with one parameter.
    pub(crate) async fn count(&self, statement: &'static str, id: uuid::Uuid) -> i64 {
        sqlx::query_scalar(statement).bind(id).fetch_one(&self.db).await.expect("the database answers")
    }

    /// Waits until nothing is left to do for any user.
    pub(crate) async fn settled(&self) {
        settled::settled(&self.db, None, HEALED).await.unwrap_or_else(|error| panic!("{error}"));
    }
}

/// Runs futures concurrently and returns their results in order.
pub(crate) async fn together<T: Send + 'static>(
    futures: impl IntoIterator<Item = impl Future<Output = T> + Send + 'static>,
) -> Vec<T> {
    let mut running = JoinSet::new();
    for (index, future) in futures.into_iter().enumerate() {
        running.spawn(async move { (index, future.await) });
    }
    let mut results = running.join_all().await;
    results.sort_by_key(|(index, _)| *index);
    results.into_iter().map(|(_, result)| result).collect()
}

/// Restores every part when dropped.
struct Restore<'a>(&'a RunningProduct);

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
            eprintln!("the product could not be restored: {error:#}");
        }
    }
}

/// Prints, when the test fails, what is left to do and what each part has logged since the test began.
struct LogsOnFailure<'a> {
    product: &'a RunningProduct,
    lengths: BTreeMap<PathBuf, u64>,
}

impl<'a> LogsOnFailure<'a> {
    fn of(product: &'a RunningProduct) -> Self {
        let logs = product.topology.processes().into_iter().map(|process| process.log());
        let lengths = logs.map(|log| (log.clone(), fs::metadata(log).map_or(0, |meta| meta.len()))).collect();
        Self { product, lengths }
    }
}

impl Drop for LogsOnFailure<'_> {
    fn drop(&mut self) {
        if !thread::panicking() {
            return;
        }
        eprintln!("--- left to do:\n{:#?}", RUNTIME.block_on(settled::left(&self.product.db, None)));
        for process in self.product.topology.processes() {
            let log = fs::read(process.log()).unwrap_or_default();
            let before = self.lengths.get(&process.log()).copied().unwrap_or_default();
            let new = log.get(usize::try_from(before).unwrap_or_default()..).unwrap_or_default();
            let new = String::from_utf8_lossy(new);
            let lines: Vec<&str> = new.lines().collect();
            if !lines.is_empty() && process.name() != "kafka" {
                eprintln!("--- {}:\n{}", process.name(), lines[lines.len().saturating_sub(12)..].join("\n"));
            }
        }
    }
}
