#!/usr/bin/env bash
# Installs Punctual's prerequisites into the cluster of the current kubeconfig: Knative Serving with Kourier, Dapr's control plane and,
# optionally, certificates and a broker. Run it again after you change a version; it updates only the changes.
#
#   infra/platform/up.sh oke                                 # or aks, or any for another cluster
#   ACME_EMAIL=you@example.com infra/platform/up.sh oke      # HTTPS for the API's host with certificates from Let's Encrypt
#   REDPANDA=yes infra/platform/up.sh aks                    # one Redpanda node in the cluster instead of an external broker
#
# Needs kubectl, Helm 3 and cluster-admin rights. docs/clouds.md describes the steps before and after.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

KNATIVE=1.21.0 # also in knative/kustomization.yaml
DAPR=1.18.0
CERT_MANAGER=v1.18.2
REDPANDA_CHART=26.2.2

cloud=${1:-}
case $cloud in
oke) knative=infra/platform/knative-oke ;;
aks | any) knative=infra/platform/knative ;;
*)
    echo "usage: infra/platform/up.sh oke|aks|any" >&2
    exit 2
    ;;
esac

say() { printf '=== %s\n' "$*"; }
chart() { helm upgrade --install --create-namespace --wait --timeout 10m "$@" >/dev/null; }
ready() { kubectl --namespace "$1" wait --for=condition=Available deployment --all --timeout=10m >/dev/null; }

say "Cluster: $(kubectl config current-context)"

if [[ -n ${ACME_EMAIL:-} ]]; then
    say "cert-manager $CERT_MANAGER"
    chart cert-manager oci://quay.io/jetstack/charts/cert-manager --version "$CERT_MANAGER" --namespace cert-manager --set crds.enabled=true
fi

say "Knative Serving $KNATIVE and Kourier"
crds=https://github.com/knative/serving/releases/download/knative-v$KNATIVE/serving-crds.yaml
kubectl apply --filename "$crds" >/dev/null
kubectl wait --for=condition=Established --filename "$crds" --timeout=2m >/dev/null
# Retries once, because the webhook that validates the ConfigMaps may not be running at the first attempt.
kubectl apply --kustomize "$knative" >/dev/null || { sleep 20 && kubectl apply --kustomize "$knative" >/dev/null; }
ready knative-serving
ready kourier-system

if [[ -n ${ACME_EMAIL:-} ]]; then
    kubectl apply --filename - >/dev/null <<ISSUER
apiVersion: cert-manager.io/v1
kind: ClusterIssuer
metadata:
  name: letsencrypt
spec:
  acme:
    server: https://acme-v02.api.letsencrypt.org/directory
    email: $ACME_EMAIL
    privateKeySecretRef: { name: letsencrypt }
    solvers:
      - http01: { ingress: { class: kourier } }
ISSUER
    kubectl --namespace knative-serving patch configmap config-certmanager --type merge \
        --patch '{"data": {"issuerRef": "kind: ClusterIssuer\nname: letsencrypt\n"}}' >/dev/null
    kubectl --namespace knative-serving patch configmap config-network --type merge \
        --patch '{"data": {"external-domain-tls": "Enabled", "http-protocol": "Redirected"}}' >/dev/null
    kubectl --namespace knative-serving rollout restart deployment controller >/dev/null # it detects cert-manager only at its start
    kubectl --namespace knative-serving rollout status deployment controller --timeout=5m >/dev/null
fi

say "Dapr $DAPR"
chart dapr dapr --repo https://dapr.github.io/helm-charts/ --version "$DAPR" --namespace dapr-system \
    --set dapr_sidecar_injector.sidecarDropALLCapabilities=true

if [[ -n ${REDPANDA:-} ]]; then
    say "Redpanda $REDPANDA_CHART and the topics"
    chart redpanda redpanda --repo https://charts.redpanda.com --version "$REDPANDA_CHART" --namespace redpanda \
        --values infra/redpanda/values-local.yaml
    kubectl --namespace redpanda delete job topics --ignore-not-found >/dev/null # a Job is immutable
    kubectl apply --kustomize infra/redpanda/topics >/dev/null
    kubectl --namespace redpanda wait --for=condition=complete job/topics --timeout=10m >/dev/null
fi

kubectl create namespace punctual --dry-run=client --output yaml | kubectl apply --filename - >/dev/null
say "Ready. The IP address for your DNS A record: $(kubectl --namespace kourier-system get service kourier \
    --output 'jsonpath={.status.loadBalancer.ingress[0].ip}')"
