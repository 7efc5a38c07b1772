//! Docker Compose: a service per function and one per daprd.

use std::{io, path::Path};

use catalogue::{CALLS, FUNCTIONS, Function};

use crate::{Manifest, versions};

/// The compose file. The Dapr Dashboard finds the daprds in this one file and reads no `include`, so the list continues a head. What a
/// function needs beside the common settings is a service in the head, which names versions as `versions.env` does.
pub(crate) fn services(root: &Path) -> io::Result<Manifest> {
    let (head, path) = ("compose/docker-compose.head.yaml", "compose/docker-compose.dev.yaml");
    let written = Manifest::continuing(root, head, path, |head| {
        let own = |function: &Function| head.contains(&format!("\n  {}:\n", function.name));
        FUNCTIONS
            .iter()
            .map(|function| {
                let service = if own(function) { String::new() } else { service(function) };
                service + &if function.daprd { daprd(function) } else { String::new() }
            })
            .collect()
    })?;
    Ok(Manifest { text: versions::filled(root, &written.text)?, ..written })
}

fn service(function: &Function) -> String {
    let Function { name, daprd, database, .. } = function;
    let (mut settings, mut endpoint) = ("*environment".to_owned(), String::new());
    let mut waits = Vec::new();
    if *database {
        settings += ", *database";
        waits.push("migrate: { condition: service_completed_successfully }".to_owned());
    }
    if *daprd {
        settings += ", *dapr";
        endpoint = format!(", DAPR_GRPC_ENDPOINT: \"http://{name}-daprd:50001\"");
        waits.push(format!("{name}-daprd: {{ condition: service_healthy }}"));
    }
    let waits = if waits.is_empty() { String::new() } else { format!("    depends_on: {{ {} }}\n", waits.join(", ")) };
    format!(
        "
  {name}:
    <<: *function
    image: punctual/{name}:compose
    build: {{ <<: *build, args: {{ <<: *args, BINARY: {name} }} }}
    environment: {{ <<: [{settings}]{endpoint} }}
{waits}"
    )
}

fn daprd(function: &Function) -> String {
    let Function { name, calls, .. } = function;
    let limit = if *calls == CALLS { String::new() } else { format!(", --app-max-concurrency={calls}") };
    // The head says which functions get its token.
    let environment =
        if function.offers("secrets") { "    environment: *reminder-due-daprd-environment\n" } else { "" };
    format!(
        "
  {name}-daprd:
    <<: *daprd
{environment}    command: [--app-id, {name}, --app-channel-address, {name}, --app-port, \"8080\", --config=/dapr/configurations/{name}.yaml{limit}]
"
    )
}
