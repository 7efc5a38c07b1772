#!/bin/bash
# Grants the functions' daprds their rights on Apache Kafka with an authorizer (StandardAuthorizer, allow.everyone.if.no.acl.found=false):
# to read and write the topics, dead-letter topics included, and to use the consumer groups, which are named after the functions. Running
# it twice changes nothing. infra/redpanda/topics/rights.sh does the same on Redpanda.
#
# Any other writer to these topics can crash every function's daprd. docs/operations.md explains how, and the cure.
#
# Needs kafka-acls.sh on PATH; BROKERS; PRINCIPAL, like User:punctual; and, if the broker needs it, COMMAND_CONFIG: a file with the login
# of a user that may grant rights.
set -euo pipefail

# shellcheck source=infra/redpanda/topics/lists.sh
source "$(dirname "${BASH_SOURCE[0]}")/../redpanda/topics/lists.sh"

login=(--bootstrap-server "$BROKERS")
if [[ -n ${COMMAND_CONFIG:-} ]]; then
    login+=(--command-config "$COMMAND_CONFIG")
fi

# Prefixed, so that the right to a topic includes its dead-letter topics.
kafka-acls.sh "${login[@]}" --add --allow-principal "$PRINCIPAL" --resource-pattern-type prefixed \
    --operation Read --operation Write "${topic_prefixes[@]/#/--topic=}"
kafka-acls.sh "${login[@]}" --add --allow-principal "$PRINCIPAL" --resource-pattern-type prefixed \
    --operation Read "${groups[@]/#/--group=}"
