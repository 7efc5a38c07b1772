#!/usr/bin/env bash
# Checks files that only other machines run (Compose, Dockerfile, workflows, shell scripts, Kubernetes manifests, Terraform) with the
# parsers of their runtimes. Needs Go. Uses ShellCheck and kubectl if they are installed.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

# shellcheck source=versions.env
source versions.env

go build -C infra/check -o "$PWD/.dev/bin/check" .
.dev/bin/check .

if ! .dev/bin/actionlint -version 2>/dev/null | grep -qF "$ACTIONLINT_VERSION"; then
    GOBIN=$PWD/.dev/bin go install "github.com/rhysd/actionlint/cmd/actionlint@$ACTIONLINT_VERSION"
fi
.dev/bin/actionlint
# Actions must be pinned to a commit hash, because a tag can move to other code. Each job must declare its own permissions.
if grep -nE '^[[:space:]-]*uses:' .github/workflows/*.yaml | grep -vE 'uses: (\./|[^@[:space:]]+@[0-9a-f]{40} # v[0-9.]+$)'; then
    echo "these actions are not pinned to a commit hash with a version comment" >&2
    exit 1
fi
for workflow in .github/workflows/*.yaml; do
    grep -qxF 'permissions: {}' "$workflow" || { echo "$workflow: \`permissions: {}\` is missing at the top level" >&2; exit 1; }
done
echo "workflows: well-formed, actions pinned, no permissions by default"

mapfile -t scripts < <(git ls-files --cached --others --exclude-standard '*.sh' .ci/run versions.env)
for script in "${scripts[@]}"; do
    bash -n "$script"
done
if command -v shellcheck >/dev/null; then
    shellcheck "${scripts[@]}"
    echo "${#scripts[@]} scripts: ShellCheck found nothing"
else
    echo "${#scripts[@]} scripts: syntax is valid; NOT CHECKED by ShellCheck, which is not installed (Debian: apt-get install shellcheck)"
fi

if command -v kubectl >/dev/null; then
    for overlay in infra/redpanda/topics* infra/minikube; do
        kubectl kustomize "$overlay" >/dev/null
    done
    echo "infra/redpanda/topics*, infra/minikube: well-formed"
    infra/check/knative.sh
else
    echo "infra/redpanda/topics*, infra/minikube, infra/platform/knative*: NOT CHECKED, kubectl is not installed"
fi

infra/platform/test.sh

infra/check/terraform.sh

# Transforms the SAM template as AWS does, and runs AWS's linter on the result.
LINTERS=("cfn-lint==$CFN_LINT_VERSION" "aws-sam-translator==$SAM_TRANSLATOR_VERSION")
lint=.dev/venv-cfn-lint
if ! python3 -c 'import ensurepip' 2>/dev/null; then
    echo "infra/lambda/template.yaml: NOT CHECKED, Python's venv is not installed (Debian: apt-get install python3-venv)"
else
    if [ "$(cat "$lint/.pin" 2>/dev/null)" != "${LINTERS[*]}" ]; then
        python3 -m venv "$lint"
        "$lint/bin/pip" install -q --disable-pip-version-check "${LINTERS[@]}"
        echo "${LINTERS[*]}" >"$lint/.pin"
    fi
    "$lint/bin/python" infra/lambda/check.py infra/lambda/template.yaml >"$lint/transformed.json"
    "$lint/bin/cfn-lint" infra/lambda/template.yaml "$lint/transformed.json"
    echo "infra/lambda/template.yaml: cfn-lint found nothing"
fi

if command -v jq >/dev/null; then
    infra/deploy/test.sh
else
    echo "infra/deploy/test.sh: NOT RUN, jq is not installed (Debian: apt-get install jq)"
fi
