# Written from shared/catalogue by `cargo xtask manifests`.
# shellcheck shell=bash disable=SC2034 # used by the scripts that source this file

# Every topic, dead-letter topics included, with its partitions.
topics=(
    reminders:12
    task-events:6
    task-updates:6
    task-events.dlq.task-created:1
    task-events.dlq.task-updated:1
    task-events.dlq.task-completed:1
    task-events.dlq.task-deleted:1
    reminders.dlq.reminder-due:1
    reminders.dlq.reminder-sent:1
    task-updates.dlq.task-changed:1
)

# Name prefixes of the topics.
topic_prefixes=(
    reminders
    task-events
    task-updates
)

# The consumer groups.
groups=(
    dead-letters
    task-created
    task-updated
    task-completed
    task-deleted
    reminder-due
    reminder-sent
    task-changed
)
