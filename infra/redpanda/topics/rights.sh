#!/bin/bash
# Gives the functions' daprds the rights they need, on Redpanda where users must log in: to write and read the topics, also those of the
# dead letters, and to be the groups, which are named as the functions. Running it twice changes nothing. infra/kafka/rights.sh does
# the same on Apache Kafka.
#
# Whoever else may write to these topics can make every function's daprd crash; docs/operations.md tells how, and the cure.
#
# By rpk, with the settings that topics.sh has, of one who may give rights; of our own: PRINCIPAL, as User:punctual.
set -euo pipefail

# Each is the beginning of names: task-events is also task-events.dlq.task-created.
rpk security acl create --allow-principal "$PRINCIPAL" --resource-pattern-type prefixed \
    --operation read,write,describe --topic task-events,reminders,task-updates
rpk security acl create --allow-principal "$PRINCIPAL" --resource-pattern-type prefixed \
    --operation read,describe --group task-,reminder-,dead-letters
