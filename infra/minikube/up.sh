#!/usr/bin/env bash
# Runs the whole product in its own Minikube (profile and kubectl context `punctual`): each function is an ordinary Deployment with an
# injected daprd. Run it again after a change; it replaces only what changed. `infra/minikube/down.sh` removes everything.
#
# Needs minikube, kubectl, Helm 3, Docker 25 with BuildKit, openssl; 6 GB of memory and 4 cores (MEMORY and CPUS; two cores are enough).
# PROFILE=dev builds faster.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

PROFILE=${PROFILE:-release}
DAPR_CHARTS=https://dapr.github.io/helm-charts/
# shellcheck source=versions.env
source versions.env
# shellcheck source=infra/minikube/images.sh
source infra/minikube/images.sh

say() { printf '=== %s\n' "$*"; }
kube() { kubectl --context punctual --namespace punctual "$@"; }
chart() { helm --kube-context punctual upgrade --install --create-namespace --wait --timeout 10m "$@" >/dev/null; }

missing=0
want() {
    command -v "$1" >/dev/null || {
        echo "$1 is missing: $2"
        missing=1
    }
}
want minikube "https://minikube.sigs.k8s.io/docs/start"
want kubectl "https://kubernetes.io/docs/tasks/tools"
want helm "https://helm.sh/docs/intro/install (version 3)"
want docker "https://docs.docker.com/engine/install (25 or newer)"
want openssl "Debian: apt-get install openssl"
((missing == 0)) || exit 1
docker info >/dev/null 2>&1 || { echo "Docker does not respond: start it, or run \`docker info\` to see the error"; exit 1; }

say "Minikube"
minikube --profile punctual start --cpus "${CPUS:-4}" --memory "${MEMORY:-6g}" --kubernetes-version "$OKE_KUBERNETES_VERSION"

say "images (the first build takes a quarter of an hour)"
ids=
for image in migrate "${functions[@]}"; do
    # Attestations contain the time, so they would change every image at every build.
    docker build --quiet --provenance=false --build-arg "PROFILE=$PROFILE" --build-arg "BINARY=$image" --tag "punctual/$image:dev" . >/dev/null
    ids+=$(docker image inspect --format '{{.Id}}' "punctual/$image:dev")
done
# The tag changes with the images. With a constant tag, Minikube would not reload them and Kubernetes would not roll them out.
tag=dev-$(printf %s "$ids" | openssl dgst -sha256 -r | cut -c1-12)
loaded=$(minikube --profile punctual image ls)
for image in migrate "${functions[@]}"; do
    [[ $loaded != *"punctual/$image:$tag"* ]] || continue
    docker tag "punctual/$image:dev" "punctual/$image:$tag"
    minikube --profile punctual image load "punctual/$image:$tag"
done

say "Dapr and its dashboard"
chart dapr dapr --repo "$DAPR_CHARTS" --version "$DAPR_VERSION" --namespace dapr-system \
    --set dapr_sidecar_injector.sidecarDropALLCapabilities=true
chart dapr-dashboard dapr-dashboard --repo "$DAPR_CHARTS" --version "$DAPR_DASHBOARD_VERSION" --namespace dapr-system

say "Redpanda and the topics"
chart redpanda redpanda --repo https://charts.redpanda.com --version "$REDPANDA_CHART_VERSION" --namespace redpanda \
    --values infra/redpanda/values-local.yaml --set-string "image.tag=$REDPANDA_VERSION"
# A Job is immutable: only a changed one is refused, and then replaced.
kubectl --context punctual apply --kustomize infra/redpanda/topics >/dev/null 2>&1 || {
    kubectl --context punctual --namespace redpanda delete job topics --ignore-not-found >/dev/null
    kubectl --context punctual apply --kustomize infra/redpanda/topics >/dev/null
}
kubectl --context punctual --namespace redpanda wait --for=condition=complete job/topics --timeout=10m >/dev/null

say "PostgreSQL and Mailpit"
kubectl --context punctual create namespace punctual --dry-run=client --output yaml |
    kubectl --context punctual apply --filename - >/dev/null
kube apply --kustomize infra/minikube >/dev/null
kube rollout status deployment postgres mailpit --timeout=10m >/dev/null

# Secrets are created once: a new token would lock out running pods.
secret() { kube get secret "$1" >/dev/null 2>&1 || kube create secret generic "$1" --from-literal "$2=$3" >/dev/null; }
secret punctual-database url 'postgres://punctual:punctual@postgres:5432/punctual?sslmode=disable'
secret punctual-state-database url 'postgres://punctual:punctual@postgres:5432/dapr_state?sslmode=disable'
secret punctual-jwt secret "$(openssl rand -hex 32)"
secret punctual-dapr-api-token token "$(openssl rand -hex 32)"
secret punctual-reminder-due-dapr-api-token token "$(openssl rand -hex 32)"
secret punctual-app-api-token token "$(openssl rand -hex 32)"
secret punctual-action key "$(openssl rand -hex 32)"

say "Punctual $tag"
chart punctual knative/chart --namespace punctual --values knative/chart/values-minikube.yaml --set-string "image.tag=$tag" \
    --set page.url=http://localhost:8420,secrets.action.name=punctual-action,secrets.action.key=key

JWT_SECRET=$(kube get secret punctual-jwt --output 'jsonpath={.data.secret}' | base64 --decode)
cat <<TEXT

Punctual is running. Run these in five terminals, or in the background:

  kubectl --context punctual --namespace punctual port-forward service/page 8420:80               # http://localhost:8420, the page
  kubectl --context punctual --namespace punctual port-forward service/tasks 8080:80              # http://localhost:8080, the API
  kubectl --context punctual --namespace punctual port-forward service/updates 8081:80            # http://localhost:8081, its streams
  kubectl --context punctual --namespace punctual port-forward service/mailpit 8025:8025          # http://localhost:8025, mail
  kubectl --context punctual --namespace dapr-system port-forward service/dapr-dashboard 9999:8080  # http://localhost:9999

A token that is valid for one day. To sign in to the page, paste it there:

$(JWT_SECRET=$JWT_SECRET compose/token.sh)
TEXT
