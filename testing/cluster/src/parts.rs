//! The servers outside the cluster: PostgreSQL, a broker with the topics, a mail server. They run on this machine and listen where
//! pods can reach them, unless arguments name existing ones.

use std::{
    fs,
    net::{IpAddr, SocketAddr, UdpSocket},
    path::PathBuf,
    time::Duration,
};

use anyhow::{Context as _, ensure};
use lab::{
    kafka::{Kafka, Listeners},
    mail::{self, Catcher, Message},
    postgres::{self, Postgres},
    process::Run,
    secrets,
    topology::topics,
};

use crate::{
    Arguments,
    kube::{Kube, text},
};

/// The servers, and their addresses for pods.
pub(crate) struct Parts {
    pub(crate) database_url: String,
    pub(crate) state_database_url: String,
    pub(crate) brokers: String,
    pub(crate) smtp_url: String,
    /// The mail server, if it runs here.
    pub(crate) smtp: Option<Catcher>,
    mail_dir: PathBuf,
    postgres: Option<Postgres>,
    kafka: Option<Kafka>,
}

impl Parts {
    /// Starts the servers that no argument names.
    pub(crate) async fn start(arguments: &Arguments, run: &Run, kube: &Kube) -> anyhow::Result<Self> {
        let mail_dir = run.dir.join("mail");
        fs::create_dir_all(&mail_dir)?;
        let address = match arguments.address {
            Some(address) => address,
            None => address_for_pods(kube).await?,
        };
        let others = Some(address);
        let at = |port| SocketAddr::new(address, port);

        let (mut postgres, mut kafka, mut smtp) = (None, None, None);
        let (database_url, state_database_url) = match (&arguments.database_url, &arguments.state_database_url) {
            (Some(url), Some(state)) => (url.clone(), state.clone()),
            _ => {
                postgres::wipe(&run.dir)?;
                let server = postgres.insert(Postgres::launch_for(run, others)?);
                let password = secrets::random()?;
                // As in production, it owns its databases and may create the role for row-level security.
                server.sql("postgres", &format!("create role punctual login createrole password '{password}'"))?;
                for database in ["punctual", "dapr_state"] {
                    server.sql("postgres", &format!("create database {database} owner punctual"))?;
                }
                let url = |name| format!("postgres://punctual:{password}@{}/{name}?sslmode=disable", at(server.port));
                (url("punctual"), url("dapr_state"))
            }
        };
        let brokers = match &arguments.kafka_brokers {
            Some(brokers) => brokers.clone(),
            None => {
                let server =
                    kafka.insert(Kafka::launch_with(run, &topics(), Listeners { others, ..Listeners::default() })?);
                server.others.context("the broker does not listen for pods")?.to_string()
            }
        };
        let smtp_url = match &arguments.smtp_url {
            Some(url) => url.clone(),
            None => {
                let server = smtp.insert(Catcher::launch_for(run, &mail_dir, others)?);
                server.process.wait_ready(Duration::from_secs(30))?;
                format!("smtp://{}", at(server.port))
            }
        };
        Ok(Self { database_url, state_database_url, brokers, smtp_url, smtp, mail_dir, postgres, kafka })
    }

    /// The ports that the NetworkPolicy must allow: database, broker, mail server.
    pub(crate) fn ports(&self) -> [Option<u16>; 3] {
        let port = |url: &str| {
            let host = url.rsplit_once('@').map_or(url, |(_, host)| host);
            host.split(['/', '?']).find_map(|part| part.rsplit_once(':')?.1.parse().ok())
        };
        [port(&self.database_url), port(&self.brokers), port(&self.smtp_url)]
    }

    /// The messages that our mail server accepted for an address; `None` if the mail server is not ours.
    pub(crate) fn accepted(&self, to: &str) -> Option<Vec<Message>> {
        self.smtp.as_ref()?;
        let mut messages = mail::messages(&self.mail_dir);
        messages.retain(|message| message.header("to").is_some_and(|header| header.contains(to)));
        Some(messages)
    }

    /// Lets the servers outlive this process.
    pub(crate) fn leave_running(&self) {
        let postgres = self.postgres.as_ref().map(|server| &server.process);
        let kafka = self.kafka.as_ref().map(|server| &server.process);
        let smtp = self.smtp.as_ref().map(|server| &server.process);
        for process in [postgres, kafka, smtp].into_iter().flatten() {
            process.leave_running();
        }
    }
}

/// The address of this machine towards a node of the cluster, which pods can reach too.
async fn address_for_pods(kube: &Kube) -> anyhow::Result<IpAddr> {
    let nodes = kube.get("/api/v1/nodes").await?;
    let addresses = nodes["items"][0]["status"]["addresses"].as_array().cloned().unwrap_or_default();
    let node = addresses.iter().find(|address| address["type"] == "InternalIP").context("no node has an address")?;
    let node: IpAddr = text(&node["address"]).parse()?;
    let socket = UdpSocket::bind(if node.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" })?;
    socket.connect((node, 9))?; // sends nothing: the kernel only chooses a route
    let address = socket.local_addr()?.ip();
    ensure!(!address.is_loopback(), "pods cannot reach this machine at {address}: pass a reachable one with --address");
    Ok(address)
}
