#!/usr/bin/env bash
# Reads what only other machines run (the compose file, the Dockerfile, workflows, shell scripts, Kubernetes manifests) with the parsers
# of those who will run it. Wants Go; ShellCheck and kubectl are used where they are.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

ACTIONLINT=v1.7.12

go build -C infra/check -o "$PWD/.dev/bin/check" .
.dev/bin/check .

if ! .dev/bin/actionlint -version 2>/dev/null | grep -qF "$ACTIONLINT"; then
    GOBIN=$PWD/.dev/bin go install "github.com/rhysd/actionlint/cmd/actionlint@$ACTIONLINT"
fi
.dev/bin/actionlint
echo "workflows: well-formed"

mapfile -t scripts < <(git ls-files --cached --others --exclude-standard '*.sh' .ci/run)
for script in "${scripts[@]}"; do
    bash -n "$script"
done
if command -v shellcheck >/dev/null; then
    shellcheck "${scripts[@]}"
    echo "${#scripts[@]} scripts: nothing found by ShellCheck"
else
    echo "${#scripts[@]} scripts: their syntax is right; NOT CHECKED by ShellCheck, which is not here (Debian: apt-get install shellcheck)"
fi

if command -v kubectl >/dev/null; then
    for overlay in infra/redpanda/topics*; do
        kubectl kustomize "$overlay" >/dev/null
    done
    echo "infra/redpanda/topics*: well-formed"
else
    echo "infra/redpanda/topics*: NOT CHECKED, kubectl is not here"
fi
