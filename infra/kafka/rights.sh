#!/bin/bash
# Gives the functions' daprds the rights they need, on Apache Kafka with an authorizer (StandardAuthorizer,
# allow.everyone.if.no.acl.found=false): to write and read the topics, also those of the dead letters, and to be the groups, which are
# named as the functions. Running it twice changes nothing. infra/redpanda/topics/rights.sh does the same on Redpanda.
#
# Whoever else may write to these topics can make every function's daprd crash; docs/operations.md tells how, and the cure.
#
# Wants kafka-acls.sh on PATH; BROKERS; PRINCIPAL, as User:punctual; and COMMAND_CONFIG, a file with how to log in as one who may
# give rights, where that is needed.
set -euo pipefail

login=(--bootstrap-server "$BROKERS")
if [[ -n ${COMMAND_CONFIG:-} ]]; then
    login+=(--command-config "$COMMAND_CONFIG")
fi

# Each is the beginning of names: task-events is also task-events.dlq.task-created.
kafka-acls.sh "${login[@]}" --add --allow-principal "$PRINCIPAL" --resource-pattern-type prefixed \
    --operation Read --operation Write --topic task-events --topic reminders --topic task-updates
kafka-acls.sh "${login[@]}" --add --allow-principal "$PRINCIPAL" --resource-pattern-type prefixed \
    --operation Read --group task- --group reminder- --group dead-letters
