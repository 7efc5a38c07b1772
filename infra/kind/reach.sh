#!/usr/bin/env bash
# Lets this Linux machine reach the cluster of up.sh as pods and clients do: routes to pods and Services, and names for Redpanda and for
# punctual.test, the public host. Needs root: it changes routes and /etc/hosts. Run it after every up.sh. Then the test can use what the
# cluster has (docs/operations.md):
#
#   cargo xtask cluster-test --kafka-brokers redpanda.redpanda.svc.cluster.local:9093 --helm=--set-string --helm=ingress.host=punctual.test
#
# .dev/kind/ca.crt contains the CA of https://punctual.test and those of this machine, for CURL_CA_BUNDLE.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
export KUBECONFIG=$PWD/.dev/kind/kubeconfig

node=$(docker inspect --format '{{.NetworkSettings.Networks.kind.IPAddress}}' punctual-control-plane)
for subnet in 10.244.0.0/16 10.96.0.0/16; do # kind's defaults for pods and Services
    ip route replace "$subnet" via "$node"
done

# Redpanda tells clients the address of the pod, whose name it ends with a dot.
redpanda=$(kubectl --namespace redpanda get pod redpanda-0 --output 'jsonpath={.status.podIP}')
kourier=$(kubectl --namespace kourier-system get service kourier --output 'jsonpath={.spec.clusterIP}')
service=redpanda.redpanda.svc.cluster.local
names=$(sed '/# punctual$/d' /etc/hosts)
cat >/etc/hosts <<HOSTS
$names
$redpanda $service redpanda-0.$service redpanda-0.$service. # punctual
$kourier punctual.test # punctual
HOSTS

{
    cat /etc/ssl/certs/ca-certificates.crt
    kubectl --namespace cert-manager get secret punctual-ca --output 'jsonpath={.data.ca\.crt}' | base64 --decode
} >.dev/kind/ca.crt
