#!/usr/bin/env bash
# Installs Punctual's prerequisites into the cluster of the current kubeconfig: Knative Serving with Kourier, Dapr's control plane and,
# optionally, certificates and a broker. Run it again after you change a version: what did not change is neither restarted nor replaced.
#
#   infra/platform/up.sh oke                                 # or aks, or any for another cluster
#   TLS_ISSUER=issuer.yaml infra/platform/up.sh oke          # HTTPS for the API's host with certificates from that ClusterIssuer
#   REDPANDA=yes infra/platform/up.sh aks                    # one Redpanda node in the cluster instead of an external broker
#
# Needs kubectl, Helm 3 and cluster-admin rights. docs/clouds.md describes the steps before and after.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

# shellcheck source=versions.env
source versions.env

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

# Knative does not route the HTTP-01 challenges with which the certificate of a DomainMapping is renewed (1.21 to 1.23: `tls` in
# pkg/reconciler/domainmapping/reconciler.go), so the certificate would expire after 90 days. And Kourier redirects the challenges of the
# first certificate to an HTTPS port that it does not open before it has one.
if [[ -n ${TLS_ISSUER:-} ]] && grep -qi http01 "$TLS_ISSUER"; then
    echo "$TLS_ISSUER: HTTP-01 does not work with Knative's DomainMapping: use dns01 (docs/clouds.md)" >&2
    exit 2
fi

say "Cluster: $(kubectl config current-context)"

if [[ -n ${TLS_ISSUER:-} ]]; then
    say "cert-manager $CERT_MANAGER_VERSION"
    chart cert-manager oci://quay.io/jetstack/charts/cert-manager --version "$CERT_MANAGER_VERSION" \
        --namespace cert-manager --set crds.enabled=true
fi

say "Knative Serving $KNATIVE_VERSION and Kourier $KOURIER_VERSION"
crds=https://github.com/knative/serving/releases/download/knative-v$KNATIVE_VERSION/serving-crds.yaml
kubectl apply --filename "$crds" >/dev/null
kubectl wait --for=condition=Established --filename "$crds" --timeout=2m >/dev/null
# Retries once, because the webhook that validates the ConfigMaps may not be running at the first attempt.
kubectl apply --kustomize "$knative" >/dev/null || { sleep 20 && kubectl apply --kustomize "$knative" >/dev/null; }
ready knative-serving
ready kourier-system

if [[ -n ${TLS_ISSUER:-} ]]; then
    say "Certificates"
    kubectl apply --filename "$TLS_ISSUER" >/dev/null
    kubectl wait --for=condition=Ready clusterissuer/punctual --timeout=2m >/dev/null
    setting() { kubectl --namespace knative-serving patch configmap "$1" --type merge --patch "$2"; }
    patched=$(
        setting config-certmanager '{"data": {"issuerRef": "kind: ClusterIssuer\nname: punctual\n"}}'
        setting config-network '{"data": {"external-domain-tls": "Enabled", "http-protocol": "Redirected"}}'
    )
    # The controller detects cert-manager only at its start.
    if grep -qvF '(no change)' <<<"$patched"; then
        kubectl --namespace knative-serving rollout restart deployment controller >/dev/null
        kubectl --namespace knative-serving rollout status deployment controller --timeout=5m >/dev/null
    fi
fi

say "Dapr $DAPR_VERSION"
chart dapr dapr --repo https://dapr.github.io/helm-charts/ --version "$DAPR_VERSION" --namespace dapr-system \
    --set dapr_sidecar_injector.sidecarDropALLCapabilities=true

if [[ -n ${REDPANDA:-} ]]; then
    say "Redpanda $REDPANDA_VERSION and the topics"
    chart redpanda redpanda --repo https://charts.redpanda.com --version "$REDPANDA_CHART_VERSION" --namespace redpanda \
        --values infra/redpanda/values-local.yaml --set-string "image.tag=$REDPANDA_VERSION"
    # A Job is immutable: only a changed one is refused, and then replaced.
    kubectl apply --kustomize infra/redpanda/topics >/dev/null 2>&1 || {
        kubectl --namespace redpanda delete job topics --ignore-not-found >/dev/null
        kubectl apply --kustomize infra/redpanda/topics >/dev/null
    }
    kubectl --namespace redpanda wait --for=condition=complete job/topics --timeout=10m >/dev/null
fi

kubectl create namespace punctual --dry-run=client --output yaml | kubectl apply --filename - >/dev/null
say "Ready. The IP address for your DNS A record: $(kubectl --namespace kourier-system get service kourier \
    --output 'jsonpath={.status.loadBalancer.ingress[0].ip}')"
