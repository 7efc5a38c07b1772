//! The configuration of the daprds and the functions of a run.

use std::{fs, path::Path};

use serde_json::json;

use super::{Broker, Mode, Topology, rights};
use crate::{dapr::Plane, process::Run};

/// The app-ids that own jobs which other functions schedule, and the gRPC ports of their daprds.
pub(super) struct Owners {
    pub(super) alarm: (&'static str, u16),
    pub(super) reminder_due: (&'static str, u16),
}

impl Topology {
    pub(super) fn plane(&self, run: &Run, daprd: &Path) -> anyhow::Result<Plane> {
        let mut stored = self.options.secrets.clone();
        for (key, variable) in [
            ("resend-api-key", "RESEND_API_KEY"),
            ("mailgun-api-key", "MAILGUN_API_KEY"),
            ("smtp-password", "SMTP_PASSWORD"),
        ] {
            if let Ok(value) = std::env::var(variable) {
                stored.entry(key.to_owned()).or_insert(value);
            }
        }
        let secrets_file = run.dir.join("secrets.json");
        fs::write(&secrets_file, json!(stored).to_string())?;
        let mut env = vec![
            ("APP_API_TOKEN".to_owned(), self.app_api_token.clone()),
            ("SECRETS_FILE".to_owned(), secrets_file.display().to_string()),
            ("STATE_DATABASE_URL".to_owned(), self.postgres.url_at(self.database_port()?, "dapr_state")),
        ];
        if let Some(kafka) = &self.kafka {
            env.push(("KAFKA_BROKERS".to_owned(), kafka.brokers()));
            if let Some(guard) = &kafka.guard {
                env.extend(rights::secret(run, guard)?);
            }
        }
        if let Some(redis) = &self.redis {
            env.push(("REDIS_HOST".to_owned(), format!("127.0.0.1:{}", redis.port)));
        }
        let broker = match self.options.broker {
            Broker::InMemory => "pubsub/in-memory",
            Broker::Kafka | Broker::GuardedKafka => "pubsub/kafka",
            Broker::Redis => "pubsub/redis",
        };
        let resources = match self.options.mode {
            Mode::Embedded => vec![broker, "statestore/in-memory", "local", "subscriptions-embedded"],
            Mode::Distributed => vec![broker, "statestore/postgresql", "local", "subscriptions"],
        };
        Ok(Plane { daprd: daprd.to_path_buf(), resources, scheduler: self.scheduler.port, env })
    }

    /// The settings of the daprd of the function `name`. On a guarded broker, one topic uses the component for Confluent Cloud (PLAIN)
    /// and the others that for Redpanda Cloud (SCRAM), so that both are tested.
    pub(super) fn plane_of(&self, name: &str, plane: &Plane) -> Plane {
        let mut plane = plane.clone();
        plane.env.push(("DAPR_API_TOKEN".to_owned(), self.dapr_api_token(name).to_owned()));
        if self.options.broker == Broker::GuardedKafka {
            let cloud = if name.starts_with("reminder-") { "pubsub/confluent-cloud" } else { "pubsub/redpanda-cloud" };
            plane.resources = vec![cloud, "statestore/postgresql", "local", "local-cloud", "subscriptions"];
        }
        plane
    }

    pub(super) fn env(
        &self,
        port: u16,
        (name, own): (&str, Option<u16>),
        owners: &Owners,
    ) -> anyhow::Result<Vec<(String, String)>> {
        let daprd = |name: &str, port: u16| {
            self.through(&format!("daprd-{name}"), port).map(|grpc| format!("http://127.0.0.1:{grpc}"))
        };
        let every = self.options.repair_every.map_or(30, |every| every.as_secs().max(1));
        let mut env = vec![
            ("DATABASE_URL", self.postgres.url_at(self.database_port()?, "punctual")),
            (
                "LISTEN_DATABASE_URL",
                self.postgres.url_at(self.through("postgres-direct", self.postgres.port)?, "punctual"),
            ),
            ("PORT", port.to_string()),
            ("ALARM_DAPR_ENDPOINT", daprd(owners.alarm.0, owners.alarm.1)?),
            ("ALARM_APP_ID", owners.alarm.0.to_owned()),
            ("DAPR_API_TOKEN", self.dapr_api_token(name).to_owned()),
            ("APP_API_TOKEN", self.app_api_token.clone()),
            ("JWT_SECRET", self.jwt_secret.clone()),
            ("EMAIL_FROM", "Punctual <reminders@punctual.test>".to_owned()),
            ("REPAIR_INTERVAL_SECONDS", every.to_string()),
            ("LOG_FORMAT", "text".to_owned()),
            ("NO_COLOR", "1".to_owned()),
        ];
        if let Some(own) = own {
            env.push(("DAPR_GRPC_ENDPOINT", daprd(name, own)?));
        }
        if name == "upkeep" {
            env.push(("REMINDER_DUE_DAPR_ENDPOINT", daprd(owners.reminder_due.0, owners.reminder_due.1)?));
            env.push(("REMINDER_DUE_DAPR_API_TOKEN", self.dapr_api_token(owners.reminder_due.0).to_owned()));
        }
        match &self.updates_url {
            Some(updates) => {
                env.push(("API_URL", self.url.clone()));
                env.push(("UPDATES_URL", updates.clone()));
                env.push(("CORS_ORIGINS", self.page_url.clone()));
            }
            // Everything has one origin.
            None => env.push(("UPDATES_URL", "/".to_owned())),
        }
        match &self.smtp {
            Some(smtp) => {
                env.push(("EMAIL_PROVIDER", "smtp".to_owned()));
                env.push(("SMTP_URL", format!("smtp://127.0.0.1:{}", self.through("smtp", smtp.port)?)));
            }
            None => {
                env.push(("EMAIL_PROVIDER", "files".to_owned()));
                env.push(("MAIL_DIR", self.mail_dir.display().to_string()));
            }
        }
        let own = env.into_iter().map(|(name, value)| (name.to_owned(), value));
        Ok(own.chain(self.options.env.iter().cloned()).collect())
    }

    /// The port of PostgreSQL, or of the pooler before it, for the product.
    fn database_port(&self) -> anyhow::Result<u16> {
        self.through("postgres", self.pooler.as_ref().map_or(self.postgres.port, |pooler| pooler.port))
    }

    /// The port for clients of `port`: that of its link, if there are links.
    fn through(&self, name: &str, port: u16) -> anyhow::Result<u16> {
        self.links.as_ref().map_or(Ok(port), |links| links.to_silenceable(name, port))
    }
}
