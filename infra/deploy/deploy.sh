#!/usr/bin/env bash
# Deploys one version to the cluster of the current kubeconfig and proves that it works, else goes back to the version before and
# ends with 1. Migrations run first (a hook of the chart) and stay when it goes back: the schema only grows.
#
#   IMAGE_REGISTRY=ghcr.io/owner/punctual IMAGE_TAG=1.2.3 SMOKE_TOKEN=… infra/deploy/deploy.sh --values knative/chart/values-oke.yaml
#
# Arguments go to `helm upgrade`. SMOKE_TOKEN is a bearer token of a user that exists for this test; a reminder is mailed to it.
# Wants helm, kubectl, curl and jq, and Knative in the cluster.
set -euo pipefail

RELEASE=${RELEASE:-punctual}
NAMESPACE=${NAMESPACE:-punctual}
TIMEOUT=${TIMEOUT:-10m}
# Knative's gateway inside the cluster, as namespace/service.
GATEWAY=${GATEWAY:-kourier-system/kourier-internal}
# How long functions may take to become ready, and a reminder beyond its time.
READY_SECONDS=${READY_SECONDS:-300}
SMOKE_SECONDS=${SMOKE_SECONDS:-120}
# How long an image may be out of reach before the version counts as one that will not come.
IMAGE_SECONDS=${IMAGE_SECONDS:-60}
: "${IMAGE_REGISTRY:?}" "${IMAGE_TAG:?}" "${SMOKE_TOKEN:?}"
chart=$(cd "$(dirname "${BASH_SOURCE[0]}")/../../knative/chart" && pwd)

say() { printf '=== %s\n' "$*" >&2; }
kube() { kubectl --namespace "$NAMESPACE" "$@"; }

# The revision that works now; empty before the first one.
deployed() {
    helm history "$RELEASE" --namespace "$NAMESPACE" --output json 2>/dev/null |
        jq --raw-output 'map(select(.status == "deployed")) | last | .revision // empty' || true
}

# Names of the Services that are not ready with what they were last told to be, or do not run the image with this tag.
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

# Images with this tag for which a pod waits in vain.
unpullable() {
    kube get pods --selector app.kubernetes.io/part-of=punctual --output json |
        jq --raw-output --arg tag "$1" '
            [.items[] | .status.containerStatuses[]?, .status.initContainerStatuses[]?
                | select((.state.waiting.reason? // "") | test("^(ErrImage|ImagePull|ImageInspect|InvalidImage)"))
                | .image | select(endswith(":" + $tag))]
            | unique | .[]'
}

# Whether one of them has been out of reach for too long; asked again and again while something is waited for.
image_missing_since=
image_missing() {
    local images
    images=$(unpullable "$1" 2>/dev/null) || return 1
    [[ -n $images ]] || { image_missing_since=; return 1; }
    image_missing_since=${image_missing_since:-$SECONDS}
    ((SECONDS - image_missing_since >= IMAGE_SECONDS)) || return 1
    say "no such image: ${images//$'\n'/ }"
}

# Waits until every function is ready, and every daprd.
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
    # Not Knative's own: the one of a revision that never started stays, and never will.
    kube rollout status deployment --selector 'app.kubernetes.io/part-of=punctual,!serving.knative.dev/service' --timeout 5m >&2
}

# Calls a function through the gateway, as the door of its daprd does: function, path, further arguments of curl.
call() {
    local function=$1 path=$2
    shift 2
    curl --silent --show-error --fail-with-body --max-time 60 --header "Host: $function.$NAMESPACE.svc.cluster.local" "$@" \
        "http://127.0.0.1:$port$path"
}

# Wakes every function and asks how it is. Again where the way to it fails for a moment: a version is not to go for that.
healthy() {
    local function functions
    functions=$(kube get services.serving.knative.dev --selector app.kubernetes.io/part-of=punctual --output name)
    [[ -n $functions ]] || return 1
    for function in $functions; do
        function=${function##*/}
        call "$function" /readyz --retry 3 --retry-delay 3 >&2 || {
            say "$function is not well"
            return 1
        }
        say "$function is well"
    done
}

# Makes a task with a reminder and sees the reminder sent.
reminded() {
    local task id reminder told deadline auth="authorization: Bearer $SMOKE_TOKEN"
    task=$(call tasks /v1/tasks --header "$auth" --json \
        "{\"title\": \"Smoke test of $IMAGE_TAG\", \"remind_at\": \"$(date -u -d '+10 seconds' +%FT%TZ)\"}") || {
        say "no task: $task"
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
    call tasks "/v1/tasks/$id" --header "$auth" --request DELETE >/dev/null || say "task $id was left behind"
}

# Opens a way to the gateway: sets `port`.
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
    say "no way to $GATEWAY: $(cat "$log")"
    return 1
}
forward=
helm=
trap '[[ -z $forward ]] || kill "$forward" 2>/dev/null || true; [[ -z $helm ]] || kill "$helm" 2>/dev/null || true' EXIT

# Helm, ended before its timeout when it waits for an image that does not come.
upgrade() {
    helm upgrade --install "$RELEASE" "$chart" --namespace "$NAMESPACE" --create-namespace --wait --timeout "$TIMEOUT" \
        --history-max 20 --set-string "image.registry=$IMAGE_REGISTRY,image.tag=$IMAGE_TAG" "$@" >&2 &
    helm=$!
    while kill -0 "$helm" 2>/dev/null; do
        if image_missing "$IMAGE_TAG"; then
            kill "$helm" # it notes that this revision failed
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
say "deploying $IMAGE_TAG; now there is ${previous:+revision }${previous:-nothing}"
if deploy "$@"; then
    say "$IMAGE_TAG is deployed and works"
    exit 0
fi

if [[ -z $previous ]]; then
    say "$IMAGE_TAG does not work, and there is nothing to go back to: it stays as it is, for you to look at"
    exit 1
fi
say "$IMAGE_TAG does not work: going back to revision $previous"
helm rollback "$RELEASE" "$previous" --namespace "$NAMESPACE" --wait --timeout "$TIMEOUT" >&2
if settled && { [[ -n $forward ]] || connect; } && healthy; then
    say "revision $previous is back and works; $IMAGE_TAG was NOT deployed"
else
    say "revision $previous is back and does NOT work either: someone has to look"
fi
exit 1
