#!/usr/bin/env bash
# Renders Knative with Kourier as infra/platform installs it, and checks that every node can be drained, that no autoscaler asks for a pod that
# the free OKE node has no room for, and the CPU requests that docs/clouds.md names. Needs kubectl, Go and .dev/bin/check.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

# shellcheck source=versions.env
source versions.env

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cp -r infra/platform "$work"

from="the released manifests"
if ! curl --silent --fail --max-time 10 --output /dev/null https://github.com; then
    # The manifests of a release are made from these files. Release 1.N is version 0.(N + 27) of the Go module.
    from="the manifests in the Go modules"
    files() {
        local release=${2#1.}
        go mod download -json "$1@v0.$((${release%%.*} + 27)).${release#*.}" | sed -n 's/^\t"Dir": "\(.*\)",$/\1/p'
    }
    # A proxy need not have every module. Where it lacks one, only this check is left out.
    if ! serving=$(files knative.dev/serving "$KNATIVE_VERSION") || ! kourier=$(files knative.dev/net-kourier "$KOURIER_VERSION"); then
        echo "infra/platform/knative*: NOT CHECKED, neither GitHub nor the Go module proxy has Knative $KNATIVE_VERSION and Kourier $KOURIER_VERSION"
        exit 0
    fi
    release=$work/platform/knative/release
    cp --no-preserve=mode "$serving"/config/core/deployments/*.yaml "$serving/config/core/configmaps/features.yaml" \
        "$kourier/config/300-controller.yaml" "$kourier/config/300-gateway.yaml" "$release"
    # A link to another module, which a module's archive does not contain.
    printf 'apiVersion: v1\nkind: ConfigMap\nmetadata: { name: config-network, namespace: knative-serving }\n' >"$release/network.yaml"
    (
        cd "$release"
        printf 'resources: [%s]\n' "$(find . -name '*.yaml' ! -name kustomization.yaml -printf '%P,' | sed 's/,$//')" >kustomization.yaml
    )
fi

for overlay in knative/release knative knative-oke; do
    kubectl kustomize "$work/platform/$overlay" >"$work/${overlay##*/}.yaml"
done
.dev/bin/check knative "$work/knative.yaml" "$work/knative-oke.yaml" docs/clouds.md

# Tests this check itself: without our patches, no node with Knative could be drained.
if .dev/bin/check knative "$work/release.yaml" "$work/knative-oke.yaml" docs/clouds.md 2>"$work/log" || ! grep -q "holds the drain" "$work/log"; then
    echo "infra/check/knative.sh: the check did NOT FIND a budget that holds a drain" >&2
    exit 1
fi
echo "infra/platform/knative*: the patches apply to $from, every node can be drained, and the CPU requests are those of docs/clouds.md"
