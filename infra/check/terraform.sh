#!/usr/bin/env bash
# Checks the Terraform of infra/oke and infra/aks: its form; its references and types against the schemas of the pinned providers
# (infra/check/schemas); by its tests what it asks for and what it refuses; and where the registry of providers answers, all of it by
# the providers themselves. `tofu` or `terraform` is taken if it is here, else OpenTofu is built with Go.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
# What the machine has set for itself is not the project's matter.
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

# Providers that have the schemas and nothing behind them, laid where `init` looks: host/source/version/platform/program.
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

# Runs commands on a folder, in a copy: what `init` writes there belongs to whoever deploys.
on() {
    local folder=$1 command
    shift
    rm -rf "$work/copy"
    cp -r "$folder" "$work/copy"
    rm -rf "$work"/copy/.terraform "$work"/copy/backend.tf "$work"/copy/*.tfvars
    for command in "init -backend=false -input=false" "$@"; do
        # shellcheck disable=SC2086 # words
        "$tofu" -chdir="$work/copy" $command -no-color >"$work/log" 2>&1 || return 1
    done
}
wrong() {
    cat "$work/log"
    echo "$1: WRONG"
    exit 1
}

for folder in infra/oke infra/aks; do
    TF_CLI_CONFIG_FILE=$work/schemas-only on "$folder" validate test || wrong "$folder"
    printf '%s: fits the schemas of its provider; tests: %s\n' "$folder" "$(tail -n 1 "$work/log")"
done

# That this finds something: an argument that the provider does not have.
cp -r infra/oke "$work/broken"
sed -i 's/ is_public_ip_enabled / is_public_ip_enable /' "$work/broken/cluster.tf"
if TF_CLI_CONFIG_FILE=$work/schemas-only on "$work/broken" validate || ! grep -q "Unsupported argument" "$work/log"; then
    echo "infra/check/terraform.sh: an argument that does not exist was NOT FOUND"
    exit 1
fi

for host in registry.opentofu.org registry.terraform.io; do
    if ! curl --silent --fail --max-time 10 --output /dev/null "https://$host/.well-known/terraform.json"; then
        echo "infra/oke, infra/aks: NOT VALIDATED by the providers themselves: $host is out of reach"
        exit 0
    fi
done
for folder in infra/oke infra/aks; do
    on "$folder" validate || wrong "$folder"
    echo "$folder: valid, says its provider"
done
