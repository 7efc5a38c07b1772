//! Fault injection, determined by the seed. A new fault starts every 5 to 10 seconds and lasts for a while, so faults overlap. A
//! supervisor restarts processes that exit.

use std::{
    collections::BTreeSet,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use chrono::{DateTime, Utc};
use fastrand::Rng;
use lab::{kafka::topics::Record, process::Process, topology::Topology};
use serde_json::json;
use shared::{
    catalogue::{TOPICS, Topic},
    deadlines::Deadlines,
};
use tokio::runtime::Handle;
use uuid::Uuid;

use crate::{Arguments, clock, doubles::Doubles, messages, routes::Routes};

/// The time before the first fault. In it, as in every calm time, the hot user must not delay the others.
const BASELINE: Duration = Duration::from_secs(20);
/// Limit for a start: a broker or database that was killed under load first recovers its log.
const SLOWEST: Duration = Duration::from_secs(300);
/// The name of the silent peer for `--often`.
const SILENCE: &str = "silence";

/// An injected fault and its period.
#[derive(Clone, Debug)]
pub(crate) struct Fault {
    pub(crate) what: String,
    pub(crate) target: String,
    pub(crate) started: DateTime<Utc>,
    /// When everything that it affected worked again.
    pub(crate) ended: DateTime<Utc>,
}

/// An event that no function can handle, written directly to its topic.
#[derive(Clone, Debug)]
pub(crate) struct Poison {
    pub(crate) id: Uuid,
    pub(crate) consumer: &'static str,
    pub(crate) topic: &'static str,
    /// When it was on the topic.
    pub(crate) written: DateTime<Utc>,
    /// Its places on the topic: the replay of a partition copies it.
    pub(crate) copies: usize,
}

/// The running product, and the log of all faults.
#[derive(Debug)]
pub(crate) struct Faults {
    pub(crate) topology: Topology,
    /// The second process of each function.
    seconds: Vec<Process>,
    pub(crate) doubles: Doubles,
    routes: Routes,
    longest_pause: Duration,
    often: Option<String>,
    /// Whether a fault may delete all jobs, which only repair recreates.
    may_wipe: bool,
    log: Mutex<Vec<Fault>>,
    poison: Mutex<Vec<Poison>>,
    /// Processes, links, routes and disks that a fault is using. Each is locked until the fault ends.
    held: Mutex<BTreeSet<String>>,
    /// The crash points still to arm in this round. Each is armed once per round, because many are reached only rarely.
    points: Mutex<Vec<&'static str>>,
    over: AtomicBool,
    runtime: Handle,
}

/// The target of the fault that leaves a partition without a leader.
pub(crate) const PARTITION: &str = "partition";
/// That partition.
pub(crate) const LEADERLESS: (Topic, u16) = (TOPICS[0], 0);

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Faults {
    pub(crate) fn new(
        topology: Topology,
        seconds: Vec<Process>,
        doubles: Doubles,
        routes: Routes,
        arguments: &Arguments,
    ) -> Arc<Self> {
        Arc::new(Self {
            topology,
            seconds,
            doubles,
            routes,
            longest_pause: Duration::from_secs(arguments.longest_pause),
            often: arguments.often.clone(),
            may_wipe: !arguments.no_repair,
            log: Mutex::default(),
            poison: Mutex::default(),
            held: Mutex::default(),
            points: Mutex::default(),
            over: AtomicBool::new(false),
            runtime: Handle::current(),
        })
    }

    pub(crate) fn log(&self) -> Vec<Fault> {
        lock(&self.log).clone()
    }

    pub(crate) fn poison(&self) -> Vec<Poison> {
        lock(&self.poison).clone()
    }

    pub(crate) fn processes(&self) -> Vec<&Process> {
        let mut all = self.topology.processes();
        all.extend(&self.seconds);
        all
    }

    /// Restarts processes that exited by themselves or at a crash point, as a kubelet does, until the run is over.
    pub(crate) fn supervise(&self) {
        thread::scope(|scope| {
            while !self.over.load(Ordering::Relaxed) {
                for process in self.processes() {
                    let name = process.name();
                    if process.pid().is_none() && !lock(&self.held).contains(name) {
                        // A thread each: a broker that recovers its log delays no other process.
                        scope.spawn(move || self.hold(name, || self.restart(process)));
                    }
                }
                thread::sleep(Duration::from_millis(300));
            }
        });
    }

    fn restart(&self, process: &Process) {
        let started = clock::now();
        thread::sleep(Duration::from_millis(300));
        let _ = self.start(process);
        self.note("ended by itself", process.name(), started);
    }

    /// Injects faults until `until`, and returns when the last fault has ended.
    pub(crate) fn rage(self: &Arc<Self>, seed: u64, until: Instant) {
        let mut rng = Rng::with_seed(seed);
        let mut at_work = Vec::new();
        thread::sleep(BASELINE);
        while Instant::now() < until {
            let (faults, own) = (self.clone(), rng.fork());
            let round = at_work.len();
            at_work.push(thread::spawn(move || match round {
                // Every run with repair includes a fault that only repair can fix.
                4 if faults.may_wipe => faults.wipe_scheduler(),
                // Often enough to arm every point within five minutes.
                _ if round % 4 == 2 => faults.crash(own),
                _ => faults.strike(own),
            }));
            thread::sleep(Duration::from_millis(rng.u64(5_000..10_000)));
        }
        for one in at_work {
            let _ = one.join();
        }
    }

    fn strike(&self, mut rng: Rng) {
        if self.often.as_deref() == Some(SILENCE) && rng.bool() {
            return self.silence(rng);
        }
        if self.often.as_deref() == Some(PARTITION) && rng.bool() {
            return self.partition(rng, Duration::from_secs(130));
        }
        match rng.u32(..92) {
            0..20 => self.kill(rng),
            20..32 => self.pause(rng),
            32..46 => self.link(rng),
            46..50 => self.end_backend(),
            50..58 => self.mail(rng),
            58..64 => self.repeat_messages(rng),
            64..66 => self.replay(rng),
            66..71 => self.poison_topic(rng),
            71..76 => self.route(rng),
            76..79 if self.topology.options.small_disks.is_some() => self.fill_disk(rng),
            79..82 if self.may_wipe => self.wipe_scheduler(),
            82..85 => self.long_reader(rng),
            85..88 => self.silence(rng),
            88..90 if self.may_wipe => self.topic(rng),
            90..92 => {
                let length = Duration::from_secs(rng.u64(10..40));
                self.partition(rng, length);
            }
            _ => self.kill(rng),
        }
    }

    /// Locks a random process that no other fault is using. Shared servers are chosen less often than functions and daprds.
    fn victim(&self, rng: &mut Rng) -> Option<&Process> {
        let servers = ["kafka", "postgres", "pgbouncer", "scheduler", "smtp", "repair"];
        let all = self.processes();
        if let Some(often) = all.iter().find(|process| self.often.as_deref() == Some(process.name()) && rng.bool()) {
            return lock(&self.held).insert(often.name().to_owned()).then_some(*often);
        }
        let (few, many): (Vec<&Process>, Vec<&Process>) =
            all.into_iter().partition(|process| servers.contains(&process.name()));
        let of = if rng.u32(..100) < 35 { few } else { many };
        let one = of[rng.usize(..of.len())];
        lock(&self.held).insert(one.name().to_owned()).then_some(one)
    }

    fn kill(&self, mut rng: Rng) {
        let Some(process) = self.victim(&mut rng) else { return };
        let started = clock::now();
        process.kill9();
        thread::sleep(Duration::from_millis(rng.u64(..8_000)));
        let _ = self.start(process);
        lock(&self.held).remove(process.name());
        self.note("kill -9", process.name(), started);
    }

    fn pause(&self, mut rng: Rng) {
        let Some(process) = self.victim(&mut rng) else { return };
        let started = clock::now();
        process.pause();
        let longest = u64::try_from(self.longest_pause.as_millis()).unwrap_or(u64::MAX);
        thread::sleep(Duration::from_millis(rng.u64(1_000..longest)));
        process.resume();
        lock(&self.held).remove(process.name());
        self.note("SIGSTOP", process.name(), started);
    }

    fn end_backend(&self) {
        let started = clock::now();
        let one = "select pg_terminate_backend(pid) from pg_stat_activity
            where datname = 'punctual' and pid <> pg_backend_pid() order by random() limit 1";
        let _ = self.topology.postgres.sql("punctual", one);
        self.note("backend ended", "postgres", started);
    }

    /// Reads the inbox in a long transaction, as a backup does, while retention must make a partition of it: one of a later week, because
    /// that of this week holds claims.
    fn long_reader(&self, mut rng: Rng) {
        let started = clock::now();
        self.hold("inbox", || {
            let missing = "do $$ begin
                perform set_config('lock_timeout', '1s', true);
                execute (select 'drop table ' || max(inhrelid::regclass::text) from pg_inherits
                         where inhparent = 'processed_events'::regclass and inhrelid::regclass::text like '%w%' and inhrelid::regclass::text
                             > 'processed_events_' || to_char(now() at time zone 'UTC', 'IYYY\"w\"IW'));
            end $$";
            let read = format!(
                "begin; lock table processed_events in access share mode; select pg_sleep({}); commit",
                rng.u32(3..20)
            );
            let _ = self.topology.postgres.sql("punctual", missing);
            thread::scope(|scope| {
                scope.spawn(|| self.topology.postgres.sql("punctual", &read));
                thread::sleep(Duration::from_millis(500));
                let answer = self.runtime.block_on(self.retain());
                let answer = answer.map_or_else(|error| format!("{error:#}"), |status| status.to_string());
                self.note(&format!("retention beside a long reader: {answer}"), "inbox", started);
            });
        });
    }

    async fn retain(&self) -> reqwest::Result<reqwest::StatusCode> {
        let url = format!("http://127.0.0.1:{}/job/retention", self.topology.function("upkeep").port);
        let call = reqwest::Client::new().post(url).header("dapr-api-token", &self.topology.app_api_token);
        Ok(call.timeout(Duration::from_secs(30)).body("{}").send().await?.status())
    }

    /// Cuts, resets or slows a connection between two components, or blocks one direction of it.
    fn link(&self, mut rng: Rng) {
        let Some(links) = &self.topology.links else { return self.kill(rng) };
        let names = links.names();
        let name = &names[rng.usize(..names.len())];
        let stream = ["upstream", "downstream"][rng.usize(..2)];
        let slow = rng.u64(200..2_000);
        let started = clock::now();
        self.hold(&format!("link {name}"), || {
            let (what, done) = match rng.u32(..6) {
                0 | 1 => ("link cut", links.cut(name)),
                2 => ("link reset", links.spoil(name, "reset_peer", stream, &json!({"timeout": 0}))),
                3 => ("link slow", links.spoil(name, "latency", stream, &json!({"latency": slow, "jitter": slow / 2}))),
                4 => ("link narrow", links.spoil(name, "bandwidth", stream, &json!({"rate": 4}))),
                _ => ("link one-way", links.spoil(name, "timeout", stream, &json!({"timeout": 0}))),
            };
            thread::sleep(Duration::from_millis(rng.u64(1_000..15_000)));
            if let Err(error) = done.and_then(|()| links.mend(name)) {
                eprintln!("the link to {name}: {error:#}");
            }
            self.note(what, name, started);
        });
    }

    /// Silences the connections of our processes to a component. They stay open and carry nothing, as when its host vanishes.
    fn silence(&self, mut rng: Rng) {
        let Some(links) = &self.topology.links else { return self.kill(rng) };
        let names = links.silenceable();
        let name = &names[rng.usize(..names.len())];
        let started = clock::now();
        self.hold(&format!("link {name}"), || {
            links.silence(name);
            // By then every wait has ended.
            thread::sleep(Deadlines::default().call);
            self.note("silent peer", name, started);
        });
    }

    /// Makes the route of a function answer 404, 502 or 503.
    fn route(&self, mut rng: Rng) {
        let names = self.routes.names();
        if names.is_empty() {
            return self.kill(rng);
        }
        let name = names[rng.usize(..names.len())].clone();
        let status = [404, 502, 503][rng.usize(..3)];
        let started = clock::now();
        self.hold(&format!("route {name}"), || {
            self.routes.answer(&name, status);
            // Sometimes longer than a door waits.
            thread::sleep(Duration::from_millis(rng.u64(1_000..30_000)));
            self.routes.forward(&name);
            self.note(&format!("route answers {status}"), &name, started);
        });
    }

    fn fill_disk(&self, mut rng: Rng) {
        let disk = ["pg", "kafka"][rng.usize(..2)];
        let target = if disk == "pg" { "postgres" } else { "kafka" };
        let started = clock::now();
        self.hold(&format!("disk {disk}"), || {
            let filled = self.topology.fill_disk(disk);
            thread::sleep(Duration::from_millis(rng.u64(1_000..8_000)));
            self.topology.empty_disk(disk);
            if let Err(error) = filled {
                eprintln!("the disk of {disk}: {error:#}");
            }
            self.note("disk full", target, started);
        });
    }

    /// Deletes a topic, and creates it again after a while. Only repair publishes the lost events again.
    ///
    /// Before it creates the topic it kills the daprds that read it. One that lives on may commit the offset that it had on the old topic. sarama then
    /// reads the partition of the new one from its beginning after each reconnection, commits nothing until it has passed that offset, and skips
    /// what is before it (`consumer_group.go` `newConsumerGroupClaim`, `offset_manager.go` `MarkOffset`).
    fn topic(&self, mut rng: Rng) {
        let Some(kafka) = &self.topology.kafka else { return self.kill(rng) };
        let topic = TOPICS[rng.usize(..TOPICS.len())];
        self.hold("kafka", || {
            let started = clock::now();
            let deleted = kafka.delete_topic(topic.name);
            thread::sleep(Duration::from_millis(rng.u64(1_000..20_000)));
            let reads = |process: &&Process| {
                topic.event_types().any(|kind| process.name() == format!("daprd-{}", kind.consumer()))
            };
            self.processes().into_iter().filter(reads).for_each(Process::kill9);
            let created = kafka.create_topic(topic.name, i32::from(topic.partitions));
            if let Err(error) = deleted.and(created) {
                eprintln!("the topic {}: {error:#}", topic.name);
            }
            self.note(&format!("topic gone: {}", topic.name), "kafka", started);
        });
    }

    /// Leaves a partition of `reminders` without a leader: always the same, because it keeps its own log directory.
    fn partition(&self, rng: Rng, length: Duration) {
        let Some(kafka) = &self.topology.kafka else { return self.kill(rng) };
        self.hold("kafka", || {
            let before = clock::now();
            let lost = kafka.lose_leader(LEADERLESS.0.name, LEADERLESS.1);
            self.note("a partition moves", "kafka", before);
            let started = clock::now();
            thread::sleep(length);
            self.note("no leader", PARTITION, started);
            let after = clock::now();
            if let Err(error) = lost.and(kafka.return_leader()) {
                eprintln!("the partition without a leader: {error:#}");
            }
            self.note("a partition returns", "kafka", after);
        });
    }

    /// Appends all messages of a partition to it again, from the first one.
    fn replay(&self, rng: Rng) {
        let started = clock::now();
        let brokers = self.topology.kafka_brokers().unwrap_or_default();
        let done = self.runtime.block_on(messages::replay(&brokers, rng, |records| self.count_copies(records)));
        let what = done.map_or_else(|error| format!("none: {error:#}"), |count| format!("{count} messages"));
        self.note(&format!("repeated: a partition from its beginning, {what}"), "kafka", started);
    }

    fn count_copies(&self, records: &[Record]) {
        for poison in lock(&self.poison).iter_mut() {
            let id = poison.id.to_string();
            let is_copy =
                |record: &&Record| String::from_utf8_lossy(record.value.as_deref().unwrap_or_default()).contains(&id);
            poison.copies += records.iter().filter(is_copy).count();
        }
    }

    /// Makes the provider refuse messages, or accept them without an answer.
    fn mail(&self, mut rng: Rng) {
        let started = clock::now();
        let times = rng.u32(1..6);
        match &self.topology.smtp {
            Some(smtp) => {
                let orders =
                    ["rcpt 450", "rcpt 421", "rcpt 550", "data 451", "data 554", "drop", "accept-drop", "silent"];
                let order = orders[rng.usize(..orders.len())];
                let _ = smtp.order(&format!("{order} {times}"));
                thread::sleep(Duration::from_secs(10));
                let _ = smtp.order("accept");
                self.note(&format!("mail: {order}"), "smtp", started);
            }
            None => {
                let order = self.doubles.misbehave(&mut rng, times);
                thread::sleep(Duration::from_secs(10));
                self.doubles.behave();
                self.note(&format!("mail: {order}"), "provider", started);
            }
        }
    }

    fn repeat_messages(&self, rng: Rng) {
        let started = clock::now();
        let brokers = self.topology.kafka_brokers().unwrap_or_default();
        let done = self.runtime.block_on(messages::repeat(&brokers, &self.topology.database_url, rng));
        let what = done.map_or_else(|error| format!("none: {error:#}"), |count| format!("{count} messages"));
        self.note(&format!("repeated: {what}"), "kafka", started);
    }

    fn poison_topic(&self, rng: Rng) {
        let started = clock::now();
        let brokers = self.topology.kafka_brokers().unwrap_or_default();
        if let Ok(poison) = self.runtime.block_on(messages::poison(&brokers, rng)) {
            lock(&self.poison).extend(poison);
            self.note("poison", "kafka", started);
        }
    }

    fn wipe_scheduler(&self) {
        if !lock(&self.held).insert("scheduler".to_owned()) {
            return;
        }
        let started = clock::now();
        let _ = self.topology.scheduler.wipe();
        lock(&self.held).remove("scheduler");
        self.note("jobs lost", "scheduler", started);
    }

    /// Arms crash points: a process that reaches one dies, and the supervisor restarts it.
    fn crash(&self, rng: Rng) {
        let folder = self.topology.mail_dir.with_file_name("crash");
        let started = clock::now();
        let armed = self.draw(rng);
        for point in &armed {
            let _ = std::fs::write(folder.join(point), "");
        }
        thread::sleep(Duration::from_secs(8));
        let mut met = Vec::new();
        for point in &armed {
            // The file still exists if no process reached the point.
            if std::fs::remove_file(folder.join(point)).is_err() {
                met.push(*point);
            }
        }
        if !met.is_empty() {
            self.note("crash point", &met.join(", "), started);
        }
    }

    fn draw(&self, mut rng: Rng) -> Vec<&'static str> {
        let mut points = lock(&self.points);
        (0..3)
            .filter_map(|_| {
                if points.is_empty() {
                    points.extend(shared::faults::POINTS);
                    rng.shuffle(&mut points);
                }
                points.pop()
            })
            .collect()
    }

    fn hold(&self, name: &str, work: impl FnOnce()) {
        if lock(&self.held).insert(name.to_owned()) {
            work();
            lock(&self.held).remove(name);
        }
    }

    /// Starts a process and waits until it is ready, however slow the machine is: until then its fault lasts.
    fn start(&self, process: &Process) -> anyhow::Result<()> {
        if process.name() == "postgres" {
            self.topology.postgres.start()?
        } else {
            process.start()?
        }
        process.wait_ready(SLOWEST)
    }

    fn note(&self, what: &str, target: &str, started: DateTime<Utc>) {
        let fault = Fault { what: what.to_owned(), target: target.to_owned(), started, ended: clock::now() };
        lock(&self.log).push(fault);
    }

    /// Ends all faults and starts every process.
    ///
    /// # Errors
    /// When a process does not become ready within five minutes.
    pub(crate) fn heal(&self) -> anyhow::Result<()> {
        let started = Instant::now();
        let mut all = self.processes();
        for disk in ["pg", "kafka"] {
            self.topology.empty_disk(disk);
        }
        all.sort_by_key(|process| !["postgres", "pgbouncer", "kafka", "scheduler", "smtp"].contains(&process.name()));
        for process in all {
            process.resume();
            // Restarts a process that exits during the wait, such as a daprd whose broker was unavailable.
            while let Err(error) = self.start(process) {
                anyhow::ensure!(started.elapsed() < SLOWEST, "{} stays down: {error:#}", process.name());
                thread::sleep(Duration::from_millis(500));
            }
        }
        self.note("the last", "all", clock::now());
        Ok(())
    }

    pub(crate) fn over(&self) {
        self.over.store(true, Ordering::Relaxed);
    }
}
