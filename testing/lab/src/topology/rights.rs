//! A guarded broker for a run. Its users have the rights that `infra/kafka/rights.sh` grants, and the daprds log in with the same
//! Secret as in a cluster.

use std::{env, fs, process::Command};

use serde_json::json;

use crate::{
    kafka::{self, Guard, Kafka, Listeners},
    process::Run,
    progress::quietly,
    root,
};

/// Starts a guarded broker on which the user `punctual` has the rights that the functions need, and other users have none.
pub(super) fn guarded(run: &Run, topics: &[(String, i32)]) -> anyhow::Result<Kafka> {
    let kafka = Kafka::launch_with(run, topics, Listeners { guarded: true, ..Listeners::default() })?;
    let tools = run.dir.join("bin");
    fs::create_dir_all(&tools)?;
    kafka::operators_tools(&tools)?;
    let path = env::join_paths([tools].into_iter().chain(env::split_paths(&env::var_os("PATH").unwrap_or_default())))?;
    let mut rights = Command::new("bash");
    rights.arg(root().join("infra/kafka/rights.sh")).env("PATH", path);
    quietly(rights.env("BROKERS", kafka.brokers()).env("PRINCIPAL", "User:punctual"))?;
    Ok(kafka)
}

/// The Secret `punctual-kafka`, and the certificate to trust. A cloud's broker has one from a public authority.
pub(super) fn secret(run: &Run, guard: &Guard) -> anyhow::Result<[(String, String); 2]> {
    let file = run.dir.join("cloud-secrets.json");
    let brokers = format!("127.0.0.1:{}", guard.tls_port);
    let secret = json!({"brokers": brokers, "username": "punctual", "password": guard.password("punctual")});
    fs::write(&file, json!({"punctual-kafka": secret}).to_string())?;
    let variables = [("CLOUD_SECRETS_FILE", &file), ("SSL_CERT_FILE", &guard.certificate)];
    Ok(variables.map(|(name, path)| (name.to_owned(), path.display().to_string())))
}
