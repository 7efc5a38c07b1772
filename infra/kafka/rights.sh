#!/bin/bash
# Creates the ACLs of the functions' daprds on Apache Kafka with an authorizer (StandardAuthorizer, allow.everyone.if.no.acl.found=false).
# They allow reading and writing the topics and dead-letter topics, and using the consumer groups, which have the functions' names.
# Running it again changes nothing. infra/redpanda/topics/rights.sh does the same on Redpanda.
#
# A message of any other writer becomes a dead letter (docs/operations.md).
#
# Needs kafka-acls.sh on PATH; BROKERS; PRINCIPAL, for example User:punctual; and, if the broker requires it, COMMAND_CONFIG: a client
# configuration file with the credentials of a user that may create ACLs.
set -euo pipefail

# shellcheck source=infra/redpanda/topics/lists.sh
source "$(dirname "${BASH_SOURCE[0]}")/../redpanda/topics/lists.sh"

login=(--bootstrap-server "$BROKERS")
if [[ -n ${COMMAND_CONFIG:-} ]]; then
    login+=(--command-config "$COMMAND_CONFIG")
fi

# Prefixed, so that the ACL of a topic covers its dead-letter topics.
kafka-acls.sh "${login[@]}" --add --allow-principal "$PRINCIPAL" --resource-pattern-type prefixed \
    --operation Read --operation Write "${topic_prefixes[@]/#/--topic=}"
kafka-acls.sh "${login[@]}" --add --allow-principal "$PRINCIPAL" --resource-pattern-type prefixed \
    --operation Read "${groups[@]/#/--group=}"
