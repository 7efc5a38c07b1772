#!/bin/bash
# Builds a scheduler whose clock for jobs can be moved, for the gauntlet alone: `CLOCK_AHEAD=-90s` puts it 90 s behind. A preloaded
# library cannot move it, because Go reads the clock without libc.
#
#   build.sh FOLDER GO_BUILD_FLAGS...       # afterwards FOLDER/scheduler runs it
set -euo pipefail
clock=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
runtime=$(cd "$clock/../../../dapr/runtime" && pwd)
cd "$1"
folder=$PWD
shift
rm -rf go-etcd-cron go.work go.work.sum
module=github.com/diagridio/go-etcd-cron
(cd "$runtime" && go mod download "$module")
cp -r "$(cd "$runtime" && go list -m -f '{{.Dir}}' "$module")" go-etcd-cron
chmod -R u+w go-etcd-cron
# Without the ceiling, git would find this repository and skip the files that it ignores.
GIT_CEILING_DIRECTORIES=$folder git -C go-etcd-cron apply "$clock/go-etcd-cron.patch"
go work init "$runtime"
go work edit -replace "$module=./go-etcd-cron"
cd "$runtime"
GOWORK=$folder/go.work go build "$@" -o "$folder/scheduler" ./scheduler
rm -rf "$folder/go-etcd-cron"
