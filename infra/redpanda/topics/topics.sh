#!/bin/bash
# Makes the topics that are not there, with their partitions, and sets the retention of all of them. Running it twice changes nothing.
#
# By rpk, Redpanda's client, which speaks to every broker with the Kafka API and takes its settings from RPK_BROKERS,
# RPK_TLS_ENABLED, RPK_SASL_MECHANISM, RPK_USER and RPK_PASS. Of our own: RETENTION_DAYS and REPLICAS.
#
# A partition is handled by one function at a time, one event after the other: partitions are the most that a function handles at
# once. They cannot be reduced, and adding some moves tasks to other partitions (no harm: nothing relies on the order).
set -euo pipefail

topics=(
    task-events:6
    reminders:12
    task-updates:6
    # What daprd could not deliver, by function.
    task-events.dlq.task-created:1
    task-events.dlq.task-updated:1
    task-events.dlq.task-completed:1
    task-events.dlq.task-deleted:1
    reminders.dlq.reminder-due:1
    reminders.dlq.reminder-sent:1
    task-updates.dlq.task-changed:1
)
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
