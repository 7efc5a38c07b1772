#!/usr/bin/env bash
# Deploys one version to the cluster of the current kubeconfig and tests it. If a step fails, it rolls back to the previous version and
# exits with 1. A hook of the chart runs the migrations first. A rollback keeps them, because the schema only grows.
#
#   IMAGE_REGISTRY=ghcr.io/owner/punctual IMAGE_TAG=1.2.3 SMOKE_TOKEN=… infra/deploy/deploy.sh --values knative/chart/values-oke.yaml
#
# Passes its arguments to `helm upgrade`. SMOKE_TOKEN is a bearer token of a user that exists only for this test and receives a reminder.
# If an identity provider issues tokens for minutes only, SMOKE_TOKEN_URL names its token endpoint instead: the test then gets a token with
# the client credentials SMOKE_CLIENT_ID and SMOKE_CLIENT_SECRET (docs/tokens.md). With IMAGE_DIGESTS, which lists every image as
# `tasks@sha256:…`, exactly these images are deployed, whatever the tag points at. Needs helm, kubectl, curl and jq; and Knative, unless the
# values set `knative.enabled: false`.
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
# Timeout for the public address to answer over HTTPS; the first time its certificate is issued meanwhile. 0 does not ask it.
PUBLIC_SECONDS=${PUBLIC_SECONDS:-300}
: "${IMAGE_REGISTRY:?}" "${IMAGE_TAG:?}"
[[ -n ${SMOKE_TOKEN_URL:-} ]] || : "${SMOKE_TOKEN:?}"
chart=$(cd "$(dirname "${BASH_SOURCE[0]}")/../../knative/chart" && pwd)

say() { printf '=== %s\n' "$*" >&2; }
kube() { kubectl --namespace "$NAMESPACE" "$@"; }

digests='{}'
by_digest=()
for image in ${IMAGE_DIGESTS:-}; do
    digests=$(jq --compact-output --arg name "${image%%@*}" --arg digest "${image#*@}" '.[$name] = $digest' <<<"$digests")
    by_digest+=(--set-string "image.digests.${image%%@*}=${image#*@}")
done
# A jq function: whether an image is of the version that is deployed now.
# shellcheck disable=SC2016 # jq's variables
is_new='def is_new: if $digests == {} then endswith(":" + $tag) else split("@")[1] as $digest | any($digests[]; . == $digest) end;'

# Prints a token of the test's user.
token() {
    if [[ -z ${SMOKE_TOKEN_URL:-} ]]; then
        printf '%s\n' "$SMOKE_TOKEN"
        return
    fi
    printf 'user = "%s:%s"\n' "${SMOKE_CLIENT_ID:?}" "${SMOKE_CLIENT_SECRET:?}" |
        curl --silent --show-error --fail-with-body --max-time 30 --config - --data grant_type=client_credentials \
            ${SMOKE_AUDIENCE:+--data-urlencode "audience=$SMOKE_AUDIENCE"} "$SMOKE_TOKEN_URL" |
        jq --exit-status --raw-output .access_token
}

# Returns whether a reminder can be sent with this token. Otherwise a good version would be deployed and rolled back.
usable() {
    local claims email
    claims=$(jq --raw-input --exit-status 'split(".")[1] | gsub("-"; "+") | gsub("_"; "/") | @base64d | fromjson' <<<"$1" 2>/dev/null) || {
        say "the token of the smoke test is not a JWT"
        return 1
    }
    if ! jq --exit-status '.exp > now' <<<"$claims" >/dev/null; then
        say "the token of the smoke test has expired"
        return 1
    fi
    email=$(jq --raw-output '.email // ""' <<<"$claims")
    case ${email,,} in
    *@example.com | *@example.net | *@example.org | *@test.com)
        say "the token of the smoke test is for $email, to which email providers refuse to send: use delivered@resend.dev or a mailbox of yours"
        return 1
        ;;
    esac
}

# Prints the deployed Helm revision, or nothing before the first deployment.
deployed() {
    helm history "$RELEASE" --namespace "$NAMESPACE" --output json 2>/dev/null |
        jq --raw-output 'map(select(.status == "deployed")) | last | .revision // empty' || true
}

# Sets `kind`, the kind of the deployed functions: Knative Services, or Deployments in the plain rendering.
find_kind() {
    kind=$(helm get values "$RELEASE" --namespace "$NAMESPACE" --all --output json |
        jq --raw-output 'if .knative.enabled then "services.serving.knative.dev" else "deployments.apps" end')
}
kind=
on_knative() { [[ $kind != deployments.apps ]]; }

# Prints the functions that are not ready with their latest spec, or that do not run the new image, if a tag is given.
unready() {
    kube get "$kind" --selector app.kubernetes.io/part-of=punctual --output json |
        jq --raw-output --arg tag "${1:-}" --argjson digests "$digests" "$is_new"'
            .items[]
            | select(
                .status.observedGeneration != .metadata.generation
                or .status.latestReadyRevisionName != .status.latestCreatedRevisionName
                or ([.status.conditions[]? | select((.type == "Ready" or .type == "Available") and .status == "True")] | length) != 1
                or ($tag != "" and (.spec.template.spec.containers[0].image | is_new | not)))
            | .metadata.name'
}

# Prints the new images that a pod failed to pull. Argument: their tag.
unpullable() {
    kube get pods --selector app.kubernetes.io/part-of=punctual --output json |
        jq --raw-output --arg tag "$1" --argjson digests "$digests" "$is_new"'
            [.items[] | .status.containerStatuses[]?, .status.initContainerStatuses[]?
                | select((.state.waiting.reason? // "") | test("^(ErrImage|ImagePull|ImageInspect|InvalidImage)"))
                | .image | select(is_new)]
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
    find_kind || return 1
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

# Calls the function to which `connect` has forwarded a port. Arguments: function, path, more arguments for curl.
call() {
    local function=$1 path=$2
    shift 2
    curl --silent --show-error --fail-with-body --max-time 60 --header "Host: $function.$NAMESPACE.svc.cluster.local" "$@" \
        "http://127.0.0.1:$port$path"
}

# Wakes every function and checks its readiness. Retries, so that a brief network failure does not cause a rollback.
healthy() {
    local function functions
    functions=$(kube get "$kind" --selector app.kubernetes.io/part-of=punctual --output name)
    [[ -n $functions ]] || return 1
    for function in $functions; do
        function=${function##*/}
        { connect "$function" && call "$function" /readyz --retry 3 --retry-delay 3 >&2; } || {
            say "$function is not healthy"
            return 1
        }
        say "$function is healthy"
    done
}

# Prints the public hosts: those of the DomainMappings, or of the Ingresses with TLS in the plain rendering.
hosts() {
    if on_knative; then
        kube get domainmappings.serving.knative.dev --selector app.kubernetes.io/part-of=punctual --output json |
            jq --raw-output '.items[].metadata.name'
    else
        kube get ingresses.networking.k8s.io --selector app.kubernetes.io/part-of=punctual --output json |
            jq --raw-output '.items[].spec.tls[]?.hosts[]'
    fi
}

# Prints why Knative does not serve a host yet, or nothing.
unmapped() {
    on_knative || return 0
    kube get domainmappings.serving.knative.dev "$1" --output json | jq --raw-output '
        ([.status.conditions[]? | select(.type == "Ready")][0] // {}) as $ready
        | select(.status.observedGeneration != .metadata.generation or $ready.status != "True")
        | "the DomainMapping is not ready: \($ready.message // "not reconciled yet")"'
}

# Waits until every public host answers over HTTPS with a valid certificate, as it does for clients: through DNS and the load balancer.
published() {
    local all host why path=/openapi.json deadline=$((SECONDS + PUBLIC_SECONDS))
    # A DomainMapping maps every path to its function, and only one function has the document. An Ingress has no path of a probe.
    on_knative && path=/healthz
    ((PUBLIC_SECONDS > 0)) || return 0
    all=$(hosts) || return 1
    for host in $all; do
        until why=$(unmapped "$host" 2>&1) && [[ -z $why ]] &&
            why=$(curl --silent --show-error --fail --max-time 30 --output /dev/null "https://$host$path" 2>&1); do
            if ((SECONDS > deadline)); then
                say "https://$host does not work: $why"
                return 1
            fi
            sleep 2
        done
        say "https://$host works"
    done
}

# Prints why the provider did not take a reminder yet, from its timeline, or nothing.
refused() {
    jq --raw-output '[.entries[] | select(.what == "failed" or .what == "retrying" or .what == "unknown") | .reason // .what] | last // empty'
}

# Creates a task with a reminder and waits until the reminder is sent.
reminded() {
    local task id reminder told deadline auth why
    auth="authorization: Bearer $(token)" || return 1
    connect tasks || return 1
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
            why=$(refused <<<"$told") || true
            say "reminder $reminder was not sent: ${why:-$told}"
            case $why in
            *" 401"* | *" 403"*)
                say "the provider refuses its key, or the sender: its domain must be verified there (docs/clouds.md, \"Mail\")"
                ;;
            esac
            return 1
        fi
        sleep 2
    done
    say "reminder $reminder was sent"
    call tasks "/v1/tasks/$id" --header "$auth" --request DELETE >/dev/null || say "could not delete task $id"
}

# Forwards a local port to where a function is called, and sets `port`: to Knative's gateway, as the door of its daprd calls it, or to a pod
# in the plain rendering. A pod that stops would still answer for a while.
connect() {
    local line log pod namespace target
    if on_knative; then
        namespace=${GATEWAY%/*} target=service/${GATEWAY#*/}:80
    else
        pod=$(kube get pods --selector "punctual/function=$1" --output json | jq --raw-output '
            [.items[] | select(.metadata.deletionTimestamp == null)
                | select(any(.status.conditions[]?; .type == "Ready" and .status == "True")) | .metadata.name][0] // empty')
        [[ -n $pod ]] || { say "$1 has no ready pod"; return 1; }
        namespace=$NAMESPACE target=pod/$pod:8080
    fi
    if [[ $target == "$forwarded" ]] && kill -0 "$forward" 2>/dev/null; then return; fi
    [[ -z $forward ]] || kill "$forward" 2>/dev/null || true
    log=$(mktemp)
    kubectl --namespace "$namespace" port-forward "${target%:*}" ":${target##*:}" >"$log" 2>&1 &
    forward=$!
    for _ in {1..100}; do
        if line=$(grep --max-count 1 --only-matching '127\.0\.0\.1:[0-9]*' "$log"); then
            port=${line#*:} forwarded=$target
            return
        fi
        kill -0 "$forward" 2>/dev/null || break
        sleep 0.1
    done
    say "cannot forward a port to $target: $(cat "$log")"
    return 1
}
forward=
forwarded=
helm=
trap '[[ -z $forward ]] || kill "$forward" 2>/dev/null || true; [[ -z $helm ]] || kill "$helm" 2>/dev/null || true' EXIT

# Runs `helm upgrade`. Aborts it before its timeout if an image cannot be pulled.
upgrade() {
    helm upgrade --install "$RELEASE" "$chart" --namespace "$NAMESPACE" --create-namespace --wait --timeout "$TIMEOUT" \
        --history-max 20 --set-string "image.registry=$IMAGE_REGISTRY,image.tag=$IMAGE_TAG" "${by_digest[@]}" "$@" >&2 &
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
    upgrade "$@" && settled "$IMAGE_TAG" && healthy && published && reminded
}

smoke=$(token) || exit 1
usable "$smoke" || exit 1
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
if settled && healthy; then
    say "rolled back to revision $previous, which works; $IMAGE_TAG was NOT deployed"
else
    say "rolled back to revision $previous, which does NOT work either: manual intervention is needed"
fi
exit 1
