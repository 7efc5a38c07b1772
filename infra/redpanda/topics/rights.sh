#!/bin/bash
# Grants the functions' daprds their rights on Redpanda with authentication: to read and write the topics of lists.sh, dead-letter topics
# included, and to use the consumer groups, which are named after the functions. Running it twice changes nothing. infra/kafka/rights.sh
# does the same on Apache Kafka.
#
# Any other writer to these topics can crash every function's daprd. docs/operations.md explains how, and the cure.
#
# It uses rpk with the settings of topics.sh, as a user that may grant rights, and reads PRINCIPAL, like User:punctual.
set -euo pipefail

# shellcheck source=infra/redpanda/topics/lists.sh
source "$(dirname "${BASH_SOURCE[0]}")/lists.sh"
list() { local IFS=,; echo "$*"; }

# Prefixed, so that the right to a topic includes its dead-letter topics.
rpk security acl create --allow-principal "$PRINCIPAL" --resource-pattern-type prefixed \
    --operation read,write,describe --topic "$(list "${topic_prefixes[@]}")"
rpk security acl create --allow-principal "$PRINCIPAL" --resource-pattern-type prefixed \
    --operation read,describe --group "$(list "${groups[@]}")"
