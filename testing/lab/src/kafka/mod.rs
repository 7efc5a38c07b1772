//! A broker with the Kafka API: Redpanda if `redpanda` is on PATH, else Apache Kafka in KRaft mode from Maven's jars.
//!
//! The topics of a run are created with their partitions before anything subscribes. Other topics are created on first use, but not in a
//! run with links: there a topic that is deleted is gone.

mod guarded;
#[cfg(feature = "kafka")]
pub mod topics;

pub use guarded::Guard;

use std::{
    fs,
    net::{IpAddr, SocketAddr},
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::bail;

use crate::{
    dev,
    links::Links,
    ports,
    process::{Process, Program, READY, Ready, Run},
    progress::{self, quietly},
    tools,
};

/// The log directory of a partition that can lose its leader, and its name while it has lost it.
const APART: &str = "apart";
const APART_GONE: &str = "apart-gone";

/// A running broker.
#[derive(Debug)]
pub struct Kafka {
    /// Its process.
    pub process: Process,
    /// Its port on 127.0.0.1.
    pub port: u16,
    /// The port it advertises: that of its link, if it has one.
    advertised: u16,
    /// The address for pods or other machines, if it listens for them.
    pub others: Option<SocketAddr>,
    /// Its authenticated listeners, if it is guarded.
    pub guard: Option<Guard>,
    data: PathBuf,
    topics: Vec<(String, i32)>,
}

/// How clients reach a broker.
#[derive(Clone, Copy, Debug, Default)]
pub struct Listeners<'a> {
    /// Through a link.
    pub links: Option<&'a Links>,
    /// Also on an address of this machine that pods or other machines can reach.
    pub others: Option<IpAddr>,
    /// Also with TLS and users, who have no rights yet. Needs Apache Kafka.
    pub guarded: bool,
}

impl Kafka {
    /// Starts an empty broker on a free port and creates `topics` (name, partitions).
    pub fn launch(run: &Run, topics: &[(String, i32)]) -> anyhow::Result<Self> {
        Self::launch_with(run, topics, Listeners::default())
    }

    /// [`Kafka::launch`] with more listeners.
    pub fn launch_with(run: &Run, topics: &[(String, i32)], listeners: Listeners<'_>) -> anyhow::Result<Self> {
        let port = ports::free();
        let advertised = listeners.links.map_or(Ok(port), |links| links.to("kafka", port))?;
        // A separate listener, because each listener advertises its own address.
        let others = listeners.others.map(|address| SocketAddr::new(address, ports::free()));
        let data = run.dir.join("kafka");
        let _ = fs::remove_dir_all(&data); // fails for a mount point, which stays
        fs::create_dir_all(&data)?;
        let guard = listeners.guarded.then(|| Guard::new(&data)).transpose()?;
        let program = match tools::on_path("redpanda").filter(|_| !listeners.guarded) {
            Some(redpanda) => redpanda_program(redpanda, &data, [port, advertised], others)?,
            None => apache_program(&data, [port, advertised], others, listeners.links.is_none(), guard.as_ref())?,
        };
        let process = Process::spawn(run, program.ready(Ready::Tcp(port)))?;
        let kafka = Self { process, port, advertised, others, guard, data, topics: topics.to_vec() };
        kafka.create_topics()?;
        Ok(kafka)
    }

    fn create_topics(&self) -> anyhow::Result<()> {
        self.process.wait_ready(READY)?;
        topics::create(&self.brokers(), &self.topics)
    }

    /// Loses every message and offset: kills the broker, deletes its data, starts it again and creates its topics.
    pub fn wipe(&self) -> anyhow::Result<()> {
        self.process.kill9();
        for kept in ["log", APART, "data"].map(|folder| self.data.join(folder)).iter().filter(|folder| folder.exists())
        {
            fs::remove_dir_all(kept)?;
        }
        if properties(&self.data).exists() {
            format(&self.data, self.guard.as_ref())?;
        }
        self.process.start()?;
        self.create_topics()
    }

    /// Leaves a partition without a leader until [`Kafka::return_leader`], as if the only broker that has it were lost. Restarts the broker
    /// the first time. Needs Apache Kafka.
    ///
    /// A broker stands up without one of its log directories: it is leader of the partitions in the others. So this partition moves
    /// into a directory of its own, which then is a file. The broker notices that within 5 s, when it writes its high watermarks.
    pub fn lose_leader(&self, topic: &str, partition: u16) -> anyhow::Result<()> {
        let apart = self.data.join(APART);
        if !apart.exists() {
            let config = fs::read_to_string(properties(&self.data))?;
            let log = self.data.join("log").display().to_string();
            self.process.kill9();
            let both = format!("log.dirs={log},{}\n", apart.display());
            fs::write(properties(&self.data), config.replace(&format!("log.dirs={log}\n"), &both))?;
            format(&self.data, self.guard.as_ref())?;
            self.process.start()?;
            self.process.wait_ready(READY)?;
        }
        let moved = self.data.join("move.json");
        fs::write(
            &moved,
            format!(
                r#"{{"version": 1, "partitions": [{{"topic": "{topic}", "partition": {partition}, "replicas": [1], "log_dirs": ["{}"]}}]}}"#,
                apart.display()
            ),
        )?;
        let mut tool = Command::new(java()?);
        tool.args(heap(256)).args(["-cp".to_owned(), classes()?]);
        tool.arg("org.apache.kafka.tools.reassign.ReassignPartitionsCommand").arg("--execute");
        tool.arg("--reassignment-json-file").arg(&moved);
        quietly(tool.args(["--bootstrap-server", &format!("127.0.0.1:{}", self.port)]))?;
        // The broker first gives the copy its name, and then takes it from the original. It does not start where both have it.
        let [here, there] = [&self.data.join("log"), &apart].map(|folder| folder.join(format!("{topic}-{partition}")));
        self.process.wait_until(READY, || there.exists() && !here.exists())?;
        fs::rename(&apart, self.data.join(APART_GONE))?;
        Ok(fs::write(&apart, "")?)
    }

    /// Ends [`Kafka::lose_leader`], by a restart.
    pub fn return_leader(&self) -> anyhow::Result<()> {
        let (apart, gone) = (self.data.join(APART), self.data.join(APART_GONE));
        if gone.exists() {
            self.process.kill9();
            let _ = fs::remove_file(&apart);
            fs::rename(&gone, &apart)?;
            self.process.start()?;
        }
        self.process.wait_ready(READY)
    }

    /// The address for clients.
    #[must_use]
    pub fn brokers(&self) -> String {
        format!("127.0.0.1:{}", self.advertised)
    }

    /// Creates a topic; an existing one stays as it is. Like production's topics it keeps messages for seven days, the
    /// default of both brokers.
    pub fn create_topic(&self, name: &str, partitions: i32) -> anyhow::Result<()> {
        topics::create(&self.brokers(), &[(name.to_owned(), partitions)])
    }

    /// Deletes a topic and every message on it.
    pub fn delete_topic(&self, name: &str) -> anyhow::Result<()> {
        topics::delete(&self.brokers(), name)
    }
}

/// Stands in for the client, which takes longer to compile than everything else that `cargo xtask up` needs.
#[cfg(not(feature = "kafka"))]
mod topics {
    pub(super) fn create(_: &str, _: &[(String, i32)]) -> anyhow::Result<()> {
        anyhow::bail!("lab was built without its feature `kafka`")
    }

    pub(super) fn delete(_: &str, _: &str) -> anyhow::Result<()> {
        anyhow::bail!("lab was built without its feature `kafka`")
    }
}

fn apache_program(
    data: &Path,
    [port, advertised]: [u16; 2],
    others: Option<SocketAddr>,
    creates_topics: bool,
    guard: Option<&Guard>,
) -> anyhow::Result<Program> {
    let controller = ports::free();
    let (mut listeners, protocols) = guard.map(Guard::listeners).unwrap_or_default();
    listeners += &others.map(|address| format!(",OTHERS://{address}")).unwrap_or_default();
    fs::write(
        properties(data),
        format!(
            "process.roles=broker,controller\n\
             node.id=1\n\
             controller.quorum.bootstrap.servers=127.0.0.1:{controller}\n\
             listeners=PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller}{listeners}\n\
             advertised.listeners=PLAINTEXT://127.0.0.1:{advertised},CONTROLLER://127.0.0.1:{controller}{listeners}\n\
             controller.listener.names=CONTROLLER\n\
             listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT,OTHERS:PLAINTEXT{protocols}\n\
             log.dirs={data}/log\n\
             auto.create.topics.enable={creates_topics}\n\
             num.partitions=1\n\
             default.replication.factor=1\n\
             offsets.topic.replication.factor=1\n\
             offsets.topic.num.partitions=4\n\
             transaction.state.log.replication.factor=1\n\
             transaction.state.log.min.isr=1\n\
             share.coordinator.state.topic.replication.factor=1\n\
             share.coordinator.state.topic.min.isr=1\n\
             group.initial.rebalance.delay.ms=0\n\
             {guarded}",
            guarded = guard.map(|guard| guard.properties(data)).unwrap_or_default(),
            data = data.display()
        ),
    )?;
    format(data, guard)?;
    let program = Program::new("kafka", java()?).args(heap(512)).args(["-cp".to_owned(), classes()?]);
    Ok(program.args(["kafka.Kafka".to_owned(), properties(data).display().to_string()]))
}

fn properties(data: &Path) -> PathBuf {
    data.join("server.properties")
}

/// KRaft needs a formatted directory, with a cluster id of 16 bytes in URL-safe base64.
fn format(data: &Path, guard: Option<&Guard>) -> anyhow::Result<()> {
    let format = [
        "kafka.tools.StorageTool",
        "format",
        "--ignore-formatted",
        "--standalone",
        "-t",
        "cHVuY3R1YWwtbG9jYWwtMQ",
        "-c",
    ];
    let mut tool = Command::new(java()?);
    tool.args(heap(512)).args(["-cp".to_owned(), classes()?]).args(format).arg(properties(data));
    quietly(tool.args(guard.map(Guard::scram).unwrap_or_default()))?;
    Ok(())
}

fn heap(megabytes: u32) -> [String; 3] {
    [format!("-Xmx{megabytes}m"), "-XX:TieredStopAtLevel=1".to_owned(), "-XX:+UseSerialGC".to_owned()]
}

fn classes() -> anyhow::Result<String> {
    Ok(format!("{}/*", jars()?.display()))
}

/// Writes the Kafka tools that an operator needs into `dir`, under the names of Kafka's distribution.
pub fn operators_tools(dir: &Path) -> anyhow::Result<()> {
    for (name, class) in [
        ("kafka-acls.sh", "org.apache.kafka.tools.AclCommand"),
        ("kafka-consumer-groups.sh", "org.apache.kafka.tools.consumer.group.ConsumerGroupCommand"),
        ("kafka-console-consumer.sh", "org.apache.kafka.tools.consumer.ConsoleConsumer"),
    ] {
        let (java, classes, heap) = (java()?, classes()?, heap(256).join(" "));
        let tool = dir.join(name);
        fs::write(&tool, format!("#!/bin/sh\nexec '{}' {heap} -cp '{classes}' {class} \"$@\"\n", java.display()))?;
        fs::set_permissions(tool, fs::Permissions::from_mode(0o755))?;
    }
    Ok(())
}

/// Installs the broker, if it is missing.
pub fn binaries() -> anyhow::Result<()> {
    if tools::on_path("redpanda").is_none() {
        java()?;
        jars()?;
    }
    Ok(())
}

fn java() -> anyhow::Result<PathBuf> {
    tools::require("java", "a Java runtime, 17 or newer (Debian: apt-get install openjdk-17-jre-headless)")
}

/// The folder with Kafka's jars, which are installed if missing.
pub fn jars() -> anyhow::Result<PathBuf> {
    let dir = dev().join("kafka");
    let jars = dir.join("jars");
    let pom = include_str!("pom.xml");
    tools::pinned(&dir, pom, || {
        let mvn = tools::require("mvn", "Maven (Debian: apt-get install maven)")?;
        let _ = fs::remove_dir_all(&jars);
        fs::write(dir.join("pom.xml"), pom)?;
        progress::run(
            "Apache Kafka by Maven",
            Command::new(mvn)
                .args(["-B", "-ntp", "-f"])
                .arg(dir.join("pom.xml"))
                .arg("dependency:copy-dependencies")
                .arg(format!("-DoutputDirectory={}", jars.display())),
        )
    })?;
    let mut names = fs::read_dir(&jars).into_iter().flatten().flatten().map(|jar| jar.file_name());
    if !names.any(|name| name.to_string_lossy().starts_with("kafka_2.13-")) {
        bail!("{} is damaged: delete {} and try again", jars.display(), dir.display());
    }
    Ok(jars)
}

fn redpanda_program(
    redpanda: PathBuf,
    data: &Path,
    [port, advertised]: [u16; 2],
    others: Option<SocketAddr>,
) -> anyhow::Result<Program> {
    let (rpc, admin) = (ports::free(), ports::free());
    let others =
        others.map(|at| format!(", {{ name: others, address: {}, port: {} }}", at.ip(), at.port())).unwrap_or_default();
    let config = data.join("redpanda.yaml");
    fs::write(
        &config,
        format!(
            "redpanda:\n\
            \x20 data_directory: {data}/data\n\
            \x20 developer_mode: true\n\
            \x20 auto_create_topics_enabled: true\n\
            \x20 empty_seed_starts_cluster: true\n\
            \x20 seed_servers: []\n\
            \x20 rpc_server: {{ address: 127.0.0.1, port: {rpc} }}\n\
            \x20 kafka_api: [{{ name: local, address: 127.0.0.1, port: {port} }}{others}]\n\
            \x20 advertised_kafka_api: [{{ name: local, address: 127.0.0.1, port: {advertised} }}{others}]\n\
            \x20 admin: [{{ address: 127.0.0.1, port: {admin} }}]\n",
            data = data.display()
        ),
    )?;
    Ok(Program::new("kafka", redpanda).args(["--redpanda-cfg".to_owned(), config.display().to_string()]).args([
        "--smp",
        "1",
        "--memory",
        "512M",
        "--reserve-memory",
        "0M",
        "--overprovisioned",
    ]))
}
