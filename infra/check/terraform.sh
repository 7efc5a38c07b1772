#!/usr/bin/env bash
# Checks the Terraform of infra/oke and infra/aks: the format, the references and types against the schemas of the pinned providers
# (infra/check/schemas), and the tests. If the provider registries are reachable, the real providers also validate it. Uses an installed
# `tofu` or `terraform`; otherwise builds OpenTofu with Go.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
# Ignores the machine's own Terraform configuration.
export TF_CLI_CONFIG_FILE=$work/cli TF_IN_AUTOMATION=1 CHECKPOINT_DISABLE=1
: >"$TF_CLI_CONFIG_FILE"

tofu=
for candidate in "$PWD/.dev/bin/tofu" tofu terraform; do
    if version=$("$candidate" version 2>/dev/null) && [[ $version =~ v1\.(9|[1-9][0-9])\. ]]; then
        tofu=$candidate
        break
    fi
done
if [[ -z $tofu ]]; then
    tofu=$PWD/.dev/bin/tofu
    go build -C infra/check/tofu -ldflags="-s -w -X github.com/opentofu/opentofu/version.dev=no" -o "$tofu" \
        github.com/opentofu/opentofu/cmd/tofu
fi

"$tofu" fmt -check -diff -recursive infra

# Schema-only providers, in the layout of a filesystem mirror: host/source/version/platform/program.
go build -C infra/check/provider -o "$work/provider" .
for name in oci azurerm; do
    read -r source pin < <(sed -nE 's/^ +(source|version) += "(.*)"$/\2/p' infra/*/versions.tf | paste -d ' ' - - | grep "/$name ")
    for host in registry.opentofu.org registry.terraform.io; do
        place=$work/mirror/$host/$source/$pin/$(go env GOOS)_$(go env GOARCH)
        mkdir -p "$place"
        ln "$work/provider" "$place/terraform-provider-${name}_v$pin"
        cp "infra/check/schemas/$name-$pin.json" "$place/schema.json"
    done
done
printf 'provider_installation {\n  filesystem_mirror {\n    path = "%s"\n  }\n}\n' "$work/mirror" >"$work/schemas-only"

# Runs commands on a copy of a folder, so that `init` does not change the state of a real deployment.
on() {
    local folder=$1 command
    shift
    rm -rf "$work/copy"
    cp -r "$folder" "$work/copy"
    rm -rf "$work"/copy/.terraform "$work"/copy/backend.tf "$work"/copy/*.tfvars
    for command in "init -backend=false -input=false" "$@"; do
        # shellcheck disable=SC2086 # splits the command into words
        "$tofu" -chdir="$work/copy" $command -no-color >"$work/log" 2>&1 || return 1
    done
}
wrong() {
    cat "$work/log"
    echo "$1: INVALID"
    exit 1
}

for folder in infra/oke infra/aks; do
    TF_CLI_CONFIG_FILE=$work/schemas-only on "$folder" validate test || wrong "$folder"
    printf '%s: matches the schemas of its provider; tests: %s\n' "$folder" "$(tail -n 1 "$work/log")"
done

# Tests this check itself: it must find an argument that the provider does not have.
cp -r infra/oke "$work/broken"
sed -i 's/ is_public_ip_enabled / is_public_ip_enable /' "$work/broken/cluster.tf"
if TF_CLI_CONFIG_FILE=$work/schemas-only on "$work/broken" validate || ! grep -q "Unsupported argument" "$work/log"; then
    echo "infra/check/terraform.sh: the check did NOT FIND an unknown argument"
    exit 1
fi

for host in registry.opentofu.org registry.terraform.io; do
    if ! curl --silent --fail --max-time 10 --output /dev/null "https://$host/.well-known/terraform.json"; then
        echo "infra/oke, infra/aks: NOT VALIDATED by the real providers: $host is unreachable"
        exit 0
    fi
done
for folder in infra/oke infra/aks; do
    on "$folder" validate || wrong "$folder"
    echo "$folder: validated by its provider"
done
