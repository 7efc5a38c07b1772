//! The whole product on this machine: one process behind one daprd, or a process and a daprd per function as in production. Every
//! part can be killed, paused and started again.

mod disks;
mod environment;
mod options;
mod rights;
mod second;
mod stop;

pub use options::{Broker, Mail, Mode, Options, target_dir};

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    thread,
};

use anyhow::{Context as _, bail, ensure};
use catalogue::{EMBEDDED, FUNCTIONS};

use crate::{
    dapr::{self, Application, Scheduler, Sidecar, SidecarPorts},
    dev,
    kafka::{self, Kafka},
    links::Links,
    mail::{self, Catcher},
    pgbouncer::PgBouncer,
    ports,
    postgres::{self, Postgres},
    process::{Process, Program, READY, Ready, Run},
    progress::{self, quietly},
    redis::{self, Redis},
    secrets,
};
use environment::Owners;
use stop::wipe;

/// A function's process, and its daprd if it has one.
#[derive(Debug)]
pub struct Function {
    /// Its app-id.
    pub name: String,
    /// Its process.
    pub process: Process,
    /// Its daprd.
    pub daprd: Option<Sidecar>,
    /// Where it listens on 127.0.0.1.
    pub port: u16,
}

/// The route behind a door: on Knative the function's route, here a server of the caller.
#[derive(Clone, Debug)]
pub struct Route {
    /// The function.
    pub name: String,
    /// The port that the door calls.
    pub port: u16,
    /// The port of the function.
    pub function: u16,
}

/// The tokens with which functions authenticate to daprds.
#[derive(Debug)]
struct ApiTokens {
    /// Of every daprd but one.
    shared: String,
    /// Of the daprd that reads secrets.
    reminder_due: String,
}

/// The running product. Dropping it kills every process, except after [`Topology::leave_running`].
#[derive(Debug)]
pub struct Topology {
    /// The options it was started with.
    pub options: Options,
    /// The address of the HTTP API.
    pub url: String,
    /// The address of the page: in embedded mode the same.
    pub page_url: String,
    /// The address of `updates`, if it is a process of its own.
    updates_url: Option<String>,
    /// The product's database.
    pub database_url: String,
    /// The mail folder, with an `.eml` file per message.
    pub mail_dir: PathBuf,
    /// The secret of bearer tokens (HS256).
    pub jwt_secret: String,
    /// The token with which daprd authenticates to a function.
    pub app_api_token: String,
    dapr_api_tokens: ApiTokens,
    /// The functions; a single one in embedded mode.
    pub functions: Vec<Function>,
    /// Runs `upkeep --repair` in a loop. The embedded process repairs by itself.
    pub repair: Option<Process>,
    /// The SMTP server.
    pub smtp: Option<Catcher>,
    /// The scheduler.
    pub scheduler: Scheduler,
    /// The broker, if it is Kafka.
    pub kafka: Option<Kafka>,
    /// The broker, if it is Redis.
    pub redis: Option<Redis>,
    /// The database server.
    pub postgres: Postgres,
    /// The pooler before the database server, if the options ask for one.
    pub pooler: Option<PgBouncer>,
    /// The links between the parts, if the options ask for them.
    pub links: Option<Links>,
    /// The routes behind the doors, if there are doors.
    pub routes: Vec<Route>,
    /// The doors, if the options ask for them.
    pub doors: Vec<Process>,
    left: bool,
}

impl Topology {
    /// Starts every part and waits until all are ready. The binaries must be built.
    ///
    /// # Errors
    /// When a part is missing, cannot be installed or does not start. The started ones are then killed.
    pub fn start(options: Options) -> anyhow::Result<Self> {
        let binaries = prerequisites(&options)?;
        let run = Run { dir: dev().join(&options.name), detached: options.detached };
        if options.fresh {
            wipe(&run.dir)?;
            let _ = fs::remove_dir_all(&run.dir);
        }
        let mail_dir = run.dir.join("mail");
        fs::create_dir_all(&mail_dir)?;
        if let Some(megabytes) = options.small_disks {
            disks::mount(&run.dir, megabytes)?;
        }
        let links = options.links.then(|| Links::launch(&run)).transpose()?;

        progress::say("starting PostgreSQL, the scheduler, the broker and the mail server");
        let (postgres, kafka, redis, smtp, scheduler) = thread::scope(|scope| {
            let postgres = scope.spawn(|| database(&run, &options));
            let kafka = scope.spawn(|| match options.broker {
                Broker::Kafka => {
                    let listeners = kafka::Listeners { links: links.as_ref(), ..kafka::Listeners::default() };
                    Kafka::launch_with(&run, &topics(), listeners).map(Some)
                }
                Broker::GuardedKafka => rights::guarded(&run, &topics()).map(Some),
                Broker::InMemory | Broker::Redis => Ok(None),
            });
            let redis = scope.spawn(|| (options.broker == Broker::Redis).then(|| Redis::launch(&run)).transpose());
            let smtp =
                scope.spawn(|| (options.mail == Mail::Smtp).then(|| Catcher::launch(&run, &mail_dir)).transpose());
            let scheduler =
                scope.spawn(|| Scheduler::launch_with(&run, &binaries, links.as_ref(), options.clocks.scheduler));
            (join(postgres), join(kafka), join(redis), join(smtp), join(scheduler))
        });
        let (postgres, kafka, redis, smtp, scheduler) = (postgres?, kafka?, redis?, smtp?, scheduler?);
        if let Some(smtp) = &smtp {
            smtp.process.wait_ready(READY)?;
        }
        scheduler.wait_ready()?;
        let pooler = options.pooler.then(|| pooler(&run, &postgres)).transpose()?;

        let port = options.port.unwrap_or_else(ports::free);
        let mut topology = Self {
            url: format!("http://127.0.0.1:{port}"),
            page_url: format!("http://127.0.0.1:{port}"),
            updates_url: None,
            database_url: postgres.url("punctual"),
            mail_dir,
            jwt_secret: secrets::random()?,
            app_api_token: secrets::random()?,
            dapr_api_tokens: ApiTokens { shared: secrets::random()?, reminder_due: secrets::random()? },
            functions: Vec::new(),
            repair: None,
            options,
            smtp,
            scheduler,
            kafka,
            redis,
            postgres,
            pooler,
            links,
            routes: Vec::new(),
            doors: Vec::new(),
            left: false,
        };
        topology.start_functions(&run, &binaries.daprd, port)?;
        Ok(topology)
    }

    fn start_functions(&mut self, run: &Run, daprd: &Path, port: u16) -> anyhow::Result<()> {
        let names: Vec<&str> = match self.options.mode {
            Mode::Embedded => vec![EMBEDDED],
            Mode::Distributed => FUNCTIONS.iter().map(|function| function.name).collect(),
        };
        match names.len() {
            1 => progress::say("starting all functions in one process, and its daprd"),
            count => progress::say(format!("starting {count} functions and their daprds")),
        }
        let parts: Vec<(&str, u16, Option<SidecarPorts>)> = names
            .into_iter()
            .map(|name| {
                let port = match name {
                    "tasks" | EMBEDDED => port,
                    "page" => self.options.page_port.unwrap_or_else(ports::free),
                    _ => ports::free(),
                };
                let has_daprd = catalogue::Function::named(name).is_none_or(|function| function.daprd);
                (name, port, has_daprd.then(SidecarPorts::free))
            })
            .collect();
        let owner = |name: &'static str| {
            let id = if self.options.mode == Mode::Embedded { EMBEDDED } else { name };
            let part = parts.iter().find(|(name, ..)| *name == id);
            part.and_then(|part| Some((id, part.2?.grpc))).with_context(|| format!("no daprd of {id}"))
        };
        let owners = Owners { alarm: owner("alarm")?, reminder_due: owner("reminder-due")? };
        let mut addresses = parts.iter().map(|(name, port, _)| (*name, format!("http://127.0.0.1:{port}")));
        self.updates_url = addresses.clone().find_map(|(name, url)| (name == "updates").then_some(url));
        if let Some((_, url)) = addresses.find(|(name, _)| *name == "page") {
            self.page_url = url;
        }
        let mut plane = self.plane(run, daprd)?;
        let sidecars = parts.iter().filter_map(|(name, _, sidecar)| Some((*name, (*sidecar)?)));
        plane.env.push(dapr::name_resolution(sidecars));
        let mut daprds = Vec::new();
        for (name, port, sidecar) in &parts {
            let Some(sidecar) = sidecar else {
                daprds.push(None);
                continue;
            };
            let door = self.options.doors.then(|| self.door(run, name, *port)).transpose()?;
            let application = Application { id: (*name).to_owned(), port: door.unwrap_or(*port) };
            daprds.push(Some(Sidecar::launch(run, &self.plane_of(name, &plane), &application, *sidecar)?));
        }
        for daprd in daprds.iter().flatten() {
            daprd.wait_callable(READY)?; // a function calls it as soon as it starts
        }
        for ((name, port, sidecar), daprd) in parts.iter().zip(daprds) {
            let binary = self.options.bin_dir.join(if *name == EMBEDDED { "embedded" } else { name });
            ensure!(binary.exists(), "{} is not built: cargo build --workspace --bins", binary.display());
            let mut program = Program::new(*name, binary).ready(Ready::Http(*port, "/readyz"));
            program.env = self.env(*port, (name, sidecar.map(|sidecar| sidecar.grpc)), &owners)?;
            let program = program.clock(self.options.clocks.process(name))?;
            let process = Process::spawn(run, program)?;
            self.functions.push(Function { name: (*name).to_owned(), process, daprd, port: *port });
        }
        for function in &self.functions {
            function.process.wait_ready(READY)?;
            function.daprd.iter().try_for_each(|daprd| daprd.process.wait_ready(READY))?;
        }
        if let Some((_, port, sidecar)) = parts.iter().find(|(name, ..)| *name == "upkeep") {
            let sidecar = sidecar.map(|sidecar| sidecar.grpc);
            self.repair = self.repair_loop(run, self.env(*port, ("upkeep", sidecar), &owners)?)?;
        }
        Ok(())
    }

    /// Starts the door of a function; returns its port.
    fn door(&mut self, run: &Run, name: &str, function: u16) -> anyhow::Result<u16> {
        let (port, route) = (ports::free(), ports::free());
        let binary = self.options.bin_dir.join("door");
        let mut program = Program::new(format!("door-{name}"), binary).ready(Ready::Tcp(port));
        program.env =
            vec![("PORT".to_owned(), port.to_string()), ("TARGET".to_owned(), format!("http://127.0.0.1:{route}"))];
        self.doors.push(Process::spawn(run, program)?);
        self.routes.push(Route { name: name.to_owned(), port: route, function });
        Ok(port)
    }

    /// Stands in for the CronJob of production.
    fn repair_loop(&self, run: &Run, env: Vec<(String, String)>) -> anyhow::Result<Option<Process>> {
        let Some(every) = self.options.repair_every else { return Ok(None) };
        let upkeep = self.options.bin_dir.join("upkeep");
        let script = format!("while :; do '{}' --repair; sleep {}; done", upkeep.display(), every.as_secs_f32());
        let mut program = Program::new("repair", "/bin/sh").args(["-c".to_owned(), script]);
        program.env = env;
        Process::spawn(run, program.clock(self.options.clocks.process("repair"))?).map(Some)
    }

    /// The function with this name. In embedded mode, the single process for any name.
    ///
    /// # Panics
    /// When there is no such function.
    #[must_use]
    pub fn function(&self, name: &str) -> &Function {
        let embedded = self.options.mode == Mode::Embedded;
        let found = self.functions.iter().find(|function| embedded || function.name == name);
        found.unwrap_or_else(|| panic!("there is no function {name}"))
    }

    /// The daprd of the function with this name.
    ///
    /// # Panics
    /// When there is no such function, or it has no daprd.
    #[must_use]
    pub fn daprd(&self, name: &str) -> &Sidecar {
        self.function(name).daprd.as_ref().unwrap_or_else(|| panic!("{name} has no daprd"))
    }

    /// Every daprd.
    pub fn daprds(&self) -> impl Iterator<Item = &Sidecar> {
        self.functions.iter().filter_map(|function| function.daprd.as_ref())
    }

    /// The token with which a function authenticates to the daprd of the function `name`.
    #[must_use]
    pub fn dapr_api_token(&self, name: &str) -> &str {
        if name == "reminder-due" { &self.dapr_api_tokens.reminder_due } else { &self.dapr_api_tokens.shared }
    }

    /// A bearer token for `user`.
    #[must_use]
    pub fn token(&self, user: &str, email: &str, operator: bool) -> String {
        secrets::token(&self.jwt_secret, user, email, operator)
    }

    /// The address for Kafka clients.
    #[must_use]
    pub fn kafka_brokers(&self) -> Option<String> {
        self.kafka.as_ref().map(Kafka::brokers)
    }
}

/// Installs the parts that `options` need, before anything starts.
///
/// # Errors
/// When a part is missing and cannot be installed, the port is taken, or the options contradict each other.
pub fn prerequisites(options: &Options) -> anyhow::Result<dapr::Binaries> {
    ensure!(
        options.mode == Mode::Embedded || options.broker != Broker::InMemory,
        "the in-memory broker works with a single daprd: use another broker"
    );
    if let Some(port) = options.port {
        ensure!(
            ports::is_free(port),
            "port {port} is taken: choose another with --port, or leave it out for a free one"
        );
    }
    postgres::binaries()?;
    match options.broker {
        Broker::InMemory => {}
        Broker::Kafka | Broker::GuardedKafka => kafka::binaries()?,
        Broker::Redis => drop(redis::binary()?),
    }
    if options.mail == Mail::Smtp {
        mail::python()?;
    }
    if (options.mode, options.broker) == (Mode::Embedded, Broker::InMemory) {
        return dapr::in_memory_binaries();
    }
    dapr::binaries()
}

/// PostgreSQL with the product's schema, and an empty database for Dapr's state.
fn database(run: &Run, options: &Options) -> anyhow::Result<Postgres> {
    let postgres = Postgres::launch_with(run, None, options.clocks.database)?;
    postgres.create_database("punctual")?;
    postgres.create_database("dapr_state")?;
    let migrate = options.bin_dir.join("migrate");
    if !migrate.exists() {
        bail!("{} is not built: cargo build --workspace --bins", migrate.display());
    }
    quietly(Command::new(migrate).env("DATABASE_URL", postgres.url("punctual")))?;
    Ok(postgres)
}

fn pooler(run: &Run, postgres: &Postgres) -> anyhow::Result<PgBouncer> {
    /// To each database. All processes of a run together want more.
    const CONNECTIONS: u32 = 40;
    let server = format!("host=127.0.0.1 port={} user=postgres", postgres.port);
    PgBouncer::launch_with(run, &server, CONNECTIONS, "")
}

/// Every topic with its partitions, dead-letter topics included.
#[must_use]
pub fn topics() -> Vec<(String, i32)> {
    catalogue::topics().into_iter().map(|(name, partitions)| (name, partitions.into())).collect()
}

fn join<T>(handle: thread::ScopedJoinHandle<'_, anyhow::Result<T>>) -> anyhow::Result<T> {
    handle.join().unwrap_or_else(|_| bail!("the start of a part panicked"))
}
