#!/usr/bin/env bash
# Creates a cluster for `cargo xtask cluster-test` in Docker: kind with Knative, Kourier, HTTPS, Dapr and Redpanda, installed by
# infra/platform/up.sh as on OKE. Run it again after a change. `kind delete cluster --name punctual` removes everything.
#
# Needs Docker, kind, kubectl and Helm 3; 2 cores and 8 GB of memory.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

# shellcheck source=versions.env
source versions.env
export KUBECONFIG=$PWD/.dev/kind/kubeconfig
mkdir -p .dev/kind

if [[ $'\n'$(kind get clusters)$'\n' != *$'\npunctual\n'* ]]; then
    kind create cluster --name punctual --image "kindest/node:$KIND_NODE_VERSION" --wait 5m
fi
# Of the variants for clouds, OKE's requests the least CPU. Two cores have to be enough here too.
kubectl --namespace kube-system scale deployment coredns --replicas 1 >/dev/null
TLS_ISSUER=infra/kind/issuer.yaml REDPANDA=yes infra/platform/up.sh oke

setting() { kubectl --namespace knative-serving patch configmap "$1" --type merge --patch "$2" >/dev/null; }
# The shortest windows, because the test waits for zero about twenty times.
setting config-autoscaler '{"data": {"stable-window": "6s", "scale-to-zero-grace-period": "6s"}}'
setting config-deployment '{"data": {"queue-sidecar-cpu-request": "5m"}}'

cat <<TEXT

The cluster is ready. For \`cargo xtask cluster-test\` (docs/operations.md):

  export KUBECONFIG=$KUBECONFIG CLUSTER_LOAD='infra/kind/load.sh {image} {binary}'
TEXT
