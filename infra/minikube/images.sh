# Written from shared/catalogue by `cargo xtask manifests`.
# shellcheck shell=bash disable=SC2034 # used by the scripts that source this file

# The functions.
functions=(
    tasks
    updates
    page
    dead-letters
    alarm
    upkeep
    task-created
    task-updated
    task-completed
    task-deleted
    reminder-due
    reminder-sent
    task-changed
)
