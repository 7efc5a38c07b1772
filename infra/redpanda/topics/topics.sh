#!/bin/bash
# Creates the missing topics of lists.sh and sets the retention of all topics. Running it again changes nothing.
#
# Uses rpk, Redpanda's client, which works with every Kafka-compatible broker. rpk reads RPK_BROKERS, RPK_TLS_ENABLED,
# RPK_SASL_MECHANISM, RPK_USER and RPK_PASS; this script reads RETENTION_DAYS and REPLICAS.
#
# A function handles one event per partition at a time, so the number of partitions limits its concurrency. It cannot be reduced. Adding
# partitions moves tasks to other partitions, which is harmless: nothing relies on the order.
set -euo pipefail

# shellcheck source=infra/redpanda/topics/lists.sh
source "$(dirname "${BASH_SOURCE[0]}")/lists.sh"
retention=$((RETENTION_DAYS * 24 * 60 * 60 * 1000))

list=$'\n'$(rpk topic list)

for topic in "${topics[@]}"; do
    name=${topic%:*}
    partitions=${topic#*:}
    if [[ $list != *$'\n'"$name "* ]]; then
        rpk topic create "$name" --partitions "$partitions" --replicas "$REPLICAS"
    fi
    rpk topic alter-config "$name" --set "retention.ms=$retention"
done
