#!/bin/bash
# Creates the ACLs of the functions' daprds on Redpanda with authentication. They allow reading and writing the topics of lists.sh and
# their dead-letter topics, and using the consumer groups, which have the functions' names. Running it again changes nothing.
# infra/kafka/rights.sh does the same on Apache Kafka.
#
# A message of any other writer becomes a dead letter (docs/operations.md).
#
# Uses rpk with the settings of topics.sh, as a user that may create ACLs, and reads PRINCIPAL, for example User:punctual.
set -euo pipefail

# shellcheck source=infra/redpanda/topics/lists.sh
source "$(dirname "${BASH_SOURCE[0]}")/lists.sh"
list() { local IFS=,; echo "$*"; }

# Prefixed, so that the ACL of a topic covers its dead-letter topics.
rpk security acl create --allow-principal "$PRINCIPAL" --resource-pattern-type prefixed \
    --operation read,write,describe --topic "$(list "${topic_prefixes[@]}")"
rpk security acl create --allow-principal "$PRINCIPAL" --resource-pattern-type prefixed \
    --operation read,describe --group "$(list "${groups[@]}")"
