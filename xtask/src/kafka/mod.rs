//! One broker with the Kafka API: Redpanda when `redpanda` is on PATH, else Apache Kafka in KRaft mode from Maven's jars.
//!
//! A run's topics are made with their partitions before anything subscribes; every other topic makes itself.

mod admin;

use std::{
    fs,
    net::{IpAddr, SocketAddr},
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use anyhow::bail;

use crate::{
    dev, ports,
    process::{Process, Program, Ready, Run},
    progress::{self, quietly},
    tools,
};

const WEEK_MS: u64 = 7 * 24 * 60 * 60 * 1000;

/// A running broker.
#[derive(Debug)]
pub struct Kafka {
    /// Its process.
    pub process: Process,
    /// Where it listens on 127.0.0.1.
    pub port: u16,
    /// What others than this machine connect to, if it listens for them.
    pub others: Option<SocketAddr>,
}

impl Kafka {
    /// Starts an empty broker on a free port and makes `topics` (name, partitions).
    ///
    /// # Errors
    /// When there is neither Redpanda nor Java, or it does not start.
    pub fn launch(run: &Run, topics: &[(String, i32)]) -> anyhow::Result<Self> {
        Self::launch_for(run, topics, None)
    }

    /// The same, that also listens on an address of this machine which others reach.
    ///
    /// # Errors
    /// As those of [`Kafka::launch`].
    pub fn launch_for(run: &Run, topics: &[(String, i32)], others: Option<IpAddr>) -> anyhow::Result<Self> {
        let port = ports::free();
        // A port of its own: each listener tells its clients where to come back to.
        let others = others.map(|address| SocketAddr::new(address, ports::free()));
        let data = run.dir.join("kafka");
        let _ = fs::remove_dir_all(&data);
        fs::create_dir_all(&data)?;
        let program = match tools::on_path("redpanda") {
            Some(redpanda) => redpanda_program(redpanda, &data, port, others)?,
            None => apache_program(&data, port, others)?,
        };
        let kafka = Self { process: Process::spawn(run, program.ready(Ready::Tcp(port)))?, port, others };
        kafka.process.wait_ready(Duration::from_secs(60))?;
        for (name, partitions) in topics {
            kafka.create_topic(name, *partitions)?;
        }
        Ok(kafka)
    }

    /// What a client connects to.
    #[must_use]
    pub fn brokers(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// Makes a topic that keeps its messages for seven days; one that is there stays as it is.
    ///
    /// # Errors
    /// When the broker refuses or does not answer.
    pub fn create_topic(&self, name: &str, partitions: i32) -> anyhow::Result<()> {
        admin::create_topic(self.port, name, partitions, &[("retention.ms", &WEEK_MS.to_string())])
    }

    /// Deletes a topic and every message on it.
    ///
    /// # Errors
    /// When the broker refuses or does not answer.
    pub fn delete_topic(&self, name: &str) -> anyhow::Result<()> {
        admin::delete_topic(self.port, name)
    }
}

fn apache_program(data: &Path, port: u16, others: Option<SocketAddr>) -> anyhow::Result<Program> {
    let java = java()?;
    let classes = format!("{}/*", jars()?.display());
    let controller = ports::free();
    let others = others.map(|address| format!(",OTHERS://{address}")).unwrap_or_default();
    let properties = data.join("server.properties");
    fs::write(
        &properties,
        format!(
            "process.roles=broker,controller\n\
             node.id=1\n\
             controller.quorum.bootstrap.servers=127.0.0.1:{controller}\n\
             listeners=PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller}{others}\n\
             advertised.listeners=PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller}{others}\n\
             controller.listener.names=CONTROLLER\n\
             listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT,OTHERS:PLAINTEXT\n\
             log.dirs={data}/log\n\
             auto.create.topics.enable=true\n\
             num.partitions=1\n\
             default.replication.factor=1\n\
             offsets.topic.replication.factor=1\n\
             offsets.topic.num.partitions=4\n\
             transaction.state.log.replication.factor=1\n\
             transaction.state.log.min.isr=1\n\
             share.coordinator.state.topic.replication.factor=1\n\
             share.coordinator.state.topic.min.isr=1\n\
             group.initial.rebalance.delay.ms=0\n",
            data = data.display()
        ),
    )?;
    // KRaft wants its directory formatted once, with an identity of the cluster: 16 bytes in URL-safe base64.
    let heap = ["-Xmx512m", "-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "-cp", &classes];
    let format = ["kafka.tools.StorageTool", "format", "--standalone", "-t", "cHVuY3R1YWwtbG9jYWwtMQ", "-c"];
    quietly(Command::new(&java).args(heap).args(format).arg(&properties))?;
    Ok(Program::new("kafka", java).args(heap).args(["kafka.Kafka".to_owned(), properties.display().to_string()]))
}

/// Installs what is missing.
///
/// # Errors
/// When there is neither Redpanda nor Java and Maven.
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

/// The folder with Kafka's jars.
fn jars() -> anyhow::Result<PathBuf> {
    let dir = dev().join("kafka");
    let jars = dir.join("jars");
    let pom = include_str!("pom.xml");
    tools::pinned(&dir, pom, || {
        let mvn = tools::require("mvn", "Maven (Debian: apt-get install maven)")?;
        let _ = fs::remove_dir_all(&jars);
        fs::write(dir.join("pom.xml"), pom)?;
        progress::run(
            "Apache Kafka 4.1.1 by Maven",
            Command::new(mvn)
                .args(["-B", "-ntp", "-f"])
                .arg(dir.join("pom.xml"))
                .arg("dependency:copy-dependencies")
                .arg(format!("-DoutputDirectory={}", jars.display())),
        )
    })?;
    if !jars.join("kafka_2.13-4.1.1.jar").exists() {
        bail!("{} is damaged: delete {} and try again", jars.display(), dir.display());
    }
    Ok(jars)
}

fn redpanda_program(redpanda: PathBuf, data: &Path, port: u16, others: Option<SocketAddr>) -> anyhow::Result<Program> {
    let others =
        others.map(|at| format!(", {{ name: others, address: {}, port: {} }}", at.ip(), at.port())).unwrap_or_default();
    let (rpc, admin) = (ports::free(), ports::free());
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
            \x20 advertised_kafka_api: [{{ name: local, address: 127.0.0.1, port: {port} }}{others}]\n\
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
