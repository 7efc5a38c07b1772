#!/usr/bin/env bash
# Deploys one version to the cluster of the current kubeconfig and tests it. If a step fails, it rolls back to the previous version and
# exits with 1. A hook of the chart runs the migrations first. A rollback keeps them, because the schema only grows.
#
#   IMAGE_REGISTRY=ghcr.io/owner/punctual IMAGE_TAG=1.2.3 SMOKE_TOKEN=… infra/deploy/deploy.sh --values knative/chart/values-oke.yaml
#
# Passes its arguments to `helm upgrade`. SMOKE_TOKEN is a bearer token of a user that exists only for this test and receives a reminder.
# Needs helm, kubectl, curl and jq, and Knative in the cluster.
set -euo pipefail

RELEASE=${RELEASE:-punctual}
NAMESPACE=${NAMESPACE:-punctual}
TIMEOUT=${TIMEOUT:-10m}
# Knative's gateway inside the cluster, as namespace/service.
GATEWAY=${GATEWAY:-kourier-system/kourier-internal}
# Timeouts: for functions to become ready, and for a reminder to be sent after its due time.
READY_SECONDS=${READY_SECONDS:-300}
SMOKE_SECONDS=${SMOKE_SECONDS:-120}
# If an image cannot be pulled for this long, the deployment is aborted.
IMAGE_SECONDS=${IMAGE_SECONDS:-60}
: "${IMAGE_REGISTRY:?}" "${IMAGE_TAG:?}" "${SMOKE_TOKEN:?}"
chart=$(cd "$(dirname "${BASH_SOURCE[0]}")/../../knative/chart" && pwd)

say() { printf '=== %s\n' "$*" >&2; }
kube() { kubectl --namespace "$NAMESPACE" "$@"; }

# Prints the deployed Helm revision, or nothing before the first deployment.
deployed() {
    helm history "$RELEASE" --namespace "$NAMESPACE" --output json 2>/dev/null |
        jq --raw-output 'map(select(.status == "deployed")) | last | .revision // empty' || true
}

# Prints the Services that are not ready with their latest spec, or that do not run the image with this tag.
unready() {
    kube get services.serving.knative.dev --selector app.kubernetes.io/part-of=punctual --output json |
        jq --raw-output --arg tag "${1:-}" '
            .items[]
            | select(
                .status.observedGeneration != .metadata.generation
                or .status.latestReadyRevisionName != .status.latestCreatedRevisionName
                or ([.status.conditions[]? | select(.type == "Ready" and .status == "True")] | length) != 1
                or ($tag != "" and (.spec.template.spec.containers[0].image | endswith(":" + $tag) | not)))
            | .metadata.name'
}

# Prints the images with this tag that a pod failed to pull.
unpullable() {
    kube get pods --selector app.kubernetes.io/part-of=punctual --output json |
        jq --raw-output --arg tag "$1" '
            [.items[] | .status.containerStatuses[]?, .status.initContainerStatuses[]?
                | select((.state.waiting.reason? // "") | test("^(ErrImage|ImagePull|ImageInspect|InvalidImage)"))
                | .image | select(endswith(":" + $tag))]
            | unique | .[]'
}

# Returns whether an image could not be pulled for IMAGE_SECONDS. Callers poll it while they wait.
image_missing_since=
image_missing() {
    local images
    images=$(unpullable "$1" 2>/dev/null) || return 1
    [[ -n $images ]] || { image_missing_since=; return 1; }
    image_missing_since=${image_missing_since:-$SECONDS}
    ((SECONDS - image_missing_since >= IMAGE_SECONDS)) || return 1
    say "cannot pull image: ${images//$'\n'/ }"
}

# Waits until every function and every daprd is ready.
settled() {
    local waiting deadline=$((SECONDS + READY_SECONDS))
    until waiting=$(unready "${1:-}") && [[ -z $waiting ]]; do
        if ((SECONDS > deadline)); then
            say "not ready: ${waiting//$'\n'/ }"
            return 1
        fi
        [[ -z ${1:-} ]] || ! image_missing "$1" || return 1
        sleep 2
    done
    # Excludes Knative's Deployments: one whose revision never started remains and never becomes available.
    kube rollout status deployment --selector 'app.kubernetes.io/part-of=punctual,!serving.knative.dev/service' --timeout 5m >&2
}

# Calls a function through the gateway, as the door of its daprd does. Arguments: function, path, more arguments for curl.
call() {
    local function=$1 path=$2
    shift 2
    curl --silent --show-error --fail-with-body --max-time 60 --header "Host: $function.$NAMESPACE.svc.cluster.local" "$@" \
        "http://127.0.0.1:$port$path"
}

# Wakes every function and checks its readiness. Retries, so that a brief network failure does not cause a rollback.
healthy() {
    local function functions
    functions=$(kube get services.serving.knative.dev --selector app.kubernetes.io/part-of=punctual --output name)
    [[ -n $functions ]] || return 1
    for function in $functions; do
        function=${function##*/}
        call "$function" /readyz --retry 3 --retry-delay 3 >&2 || {
            say "$function is not healthy"
            return 1
        }
        say "$function is healthy"
    done
}

# Creates a task with a reminder and waits until the reminder is sent.
reminded() {
    local task id reminder told deadline auth="authorization: Bearer $SMOKE_TOKEN"
    task=$(call tasks /v1/tasks --header "$auth" --json \
        "{\"title\": \"Smoke test of $IMAGE_TAG\", \"remind_at\": \"$(date -u -d '+10 seconds' +%FT%TZ)\"}") || {
        say "cannot create a task: $task"
        return 1
    }
    id=$(jq --exit-status --raw-output .id <<<"$task") || return 1
    reminder=$(jq --exit-status --raw-output '.reminders[0].id' <<<"$task") || return 1
    deadline=$((SECONDS + 10 + SMOKE_SECONDS))
    until told=$(call tasks "/v1/reminders/$reminder/timeline" --header "$auth") &&
        jq --exit-status '.entries | any(.what == "sent")' <<<"$told" >/dev/null; do
        if ((SECONDS > deadline)); then
            say "reminder $reminder was not sent: $told"
            return 1
        fi
        sleep 2
    done
    say "reminder $reminder was sent"
    call tasks "/v1/tasks/$id" --header "$auth" --request DELETE >/dev/null || say "could not delete task $id"
}

# Forwards a local port to the gateway and sets `port`.
connect() {
    local line log
    log=$(mktemp)
    kubectl --namespace "${GATEWAY%/*}" port-forward "service/${GATEWAY#*/}" :80 >"$log" 2>&1 &
    forward=$!
    for _ in {1..100}; do
        if line=$(grep --max-count 1 --only-matching '127\.0\.0\.1:[0-9]*' "$log"); then
            port=${line#*:}
            return
        fi
        kill -0 "$forward" 2>/dev/null || break
        sleep 0.1
    done
    say "cannot forward a port to $GATEWAY: $(cat "$log")"
    return 1
}
forward=
helm=
trap '[[ -z $forward ]] || kill "$forward" 2>/dev/null || true; [[ -z $helm ]] || kill "$helm" 2>/dev/null || true' EXIT

# Runs `helm upgrade`. Aborts it before its timeout if an image cannot be pulled.
upgrade() {
    helm upgrade --install "$RELEASE" "$chart" --namespace "$NAMESPACE" --create-namespace --wait --timeout "$TIMEOUT" \
        --history-max 20 --set-string "image.registry=$IMAGE_REGISTRY,image.tag=$IMAGE_TAG" "$@" >&2 &
    helm=$!
    while kill -0 "$helm" 2>/dev/null; do
        if image_missing "$IMAGE_TAG"; then
            kill "$helm" # Helm then records this revision as failed
            wait "$helm" || true
            return 1
        fi
        sleep 1
    done
    wait "$helm"
}

deploy() {
    upgrade "$@" && settled "$IMAGE_TAG" && connect && healthy && reminded
}

previous=$(deployed)
say "deploying $IMAGE_TAG; currently deployed: ${previous:+revision }${previous:-nothing}"
if deploy "$@"; then
    say "$IMAGE_TAG is deployed and works"
    exit 0
fi

if [[ -z $previous ]]; then
    say "$IMAGE_TAG does not work, and there is no previous revision: the failed deployment stays for inspection"
    exit 1
fi
say "$IMAGE_TAG does not work: rolling back to revision $previous"
helm rollback "$RELEASE" "$previous" --namespace "$NAMESPACE" --wait --timeout "$TIMEOUT" >&2
if settled && { [[ -n $forward ]] || connect; } && healthy; then
    say "rolled back to revision $previous, which works; $IMAGE_TAG was NOT deployed"
else
    say "rolled back to revision $previous, which does NOT work either: manual intervention is needed"
fi
exit 1
