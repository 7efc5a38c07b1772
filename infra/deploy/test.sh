#!/usr/bin/env bash
# Tests deploy.sh with working and failing versions, against fakes of Helm, kubectl and curl. (To test on a real cluster, deploy with a
# wrong SMOKE_TOKEN: the deployment fails in the last step, after the rollout.)
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"

fake=$(mktemp -d)
trap 'rm -rf "$fake"' EXIT
export STATE=$fake/state PATH=$fake:$PATH KNATIVE=true

# A token with these claims.
token() { printf '%s.%s.x\n' e30 "$(printf '%s' "$1" | base64 --wrap 0 | tr '+/' '-_' | tr -d '=')"; }
good='{"email": "delivered@resend.dev", "exp": 4102444800}'

# $STATE contains the running tag. $STATE.releases contains Helm's history, one line `revision status tag` per release.
cat >"$fake/helm" <<'FAKE'
#!/usr/bin/env bash
echo "helm $*" >>"$STATE.calls"
releases=$STATE.releases
case $1 in
history)
    [[ -s $releases ]] || exit 1
    jq --raw-input --null-input '[inputs | split(" ") | {revision: .[0] | tonumber, status: .[1]}]' <"$releases" ;;
upgrade)
    all=$*
    tag=${all##*image.tag=}
    tag=${tag%% *}
    next=$(($(wc -l <"$releases") + 1))
    all=$*
    [[ $tag != good || $all != *image.digests* || $all == *"image.digests.tasks=sha256:good "* ]] || exit 1
    [[ $tag != bad-migration ]] || { echo "$next failed $tag" >>"$releases"; exit 1; }
    if [[ $tag == bad-image ]]; then # Helm waits; deploy.sh must kill it before it reports success
        echo "$tag" >"$STATE"
        trap 'echo "$next failed $tag" >>"$releases"; exit 1' TERM
        for _ in {1..80}; do sleep 0.1; done
    fi
    sed -i 's/deployed/superseded/' "$releases"
    echo "$next deployed $tag" >>"$releases"
    echo "$tag" >"$STATE" ;;
get) echo "{\"knative\": {\"enabled\": $KNATIVE}}" ;;
rollback) sed -n "${3}p" "$releases" | cut -d' ' -f3 >"$STATE" ;;
esac
FAKE
cat >"$fake/kubectl" <<'FAKE'
#!/usr/bin/env bash
echo "kubectl $*" >>"$STATE.calls"
tag=$(cat "$STATE")
[[ $KNATIVE == true || $* != *knative.dev* || $* == *"!serving.knative.dev"* ]] || { echo "the server has no such resource type" >&2; exit 1; }
case $* in
*port-forward*pod/stopping*) exit 1 ;;
*port-forward*) echo "Forwarding from 127.0.0.1:1 -> 8081"; exec sleep 60 ;;
*"get pods"*punctual/function=*) # during a rollout
    jq --null-input '{status: {conditions: [{type: "Ready", status: "True"}]}} as $ready | {items: [
        $ready + {metadata: {name: "stopping", deletionTimestamp: "2026-11-28T00:00:00Z"}}, {metadata: {name: "starting"}},
        $ready + {metadata: {name: "running"}}]}' ;;
*"get pods"*)
    [[ $tag != bad-image ]] || reason=ImagePullBackOff
    jq --null-input --arg image "registry/migrate:$tag" --arg reason "${reason:-}" '{items: [{status: {containerStatuses:
        [{image: $image, state: {waiting: {reason: $reason}}}]}}]}' ;;
*"get domainmappings"*--selector*) echo '{"items": [{"metadata": {"name": "tasks.example.com"}}]}' ;;
*"get ingresses"*) echo '{"items": [{"spec": {"tls": [{"hosts": ["tasks.example.com"]}]}}, {"spec": {}}]}' ;;
*"get domainmappings"*)
    ready=True
    [[ $tag != bad-certificate ]] || ready=Unknown
    jq --null-input --arg ready "$ready" '{metadata: {generation: 1},
        status: {observedGeneration: 1, conditions: [{type: "Ready", status: $ready, message: "no certificate"}]}}' ;;
*"--output name") printf 'service.serving.knative.dev/%s\n' tasks reminder-due ;;
*"--output json")
    ready=True created=1
    [[ $tag != bad-start ]] || ready=False created=2
    image=registry/tasks:$tag
    [[ -z ${RUNS:-} ]] || image=registry/tasks@$RUNS
    if [[ $KNATIVE == false ]]; then
        jq --null-input --arg image "$image" --arg ready "$ready" '{items: [{kind: "Deployment",
            metadata: {name: "tasks", generation: 2}, spec: {template: {spec: {containers: [{image: $image}]}}},
            status: {observedGeneration: 2, conditions: [{type: "Progressing", status: "True"}, {type: "Available", status: $ready}]}}]}'
        exit
    fi
    jq --null-input --arg image "$image" --arg ready "$ready" --arg created "$created" '{items: [{kind: "Service",
        metadata: {name: "tasks", generation: 2},
        spec: {template: {spec: {containers: [{image: $image}]}}},
        status: {observedGeneration: 2, latestReadyRevisionName: "1", latestCreatedRevisionName: $created,
            conditions: [{type: "Ready", status: $ready}]}}]}' ;;
esac
FAKE
cat >"$fake/curl" <<'FAKE'
#!/usr/bin/env bash
tag=$(cat "$STATE")
case $* in
*https://tasks.example.com/openapi.json) [[ $KNATIVE == false && $tag != bad-address ]] ;;
*https://tasks.example.com/healthz) [[ $KNATIVE == true && $tag != bad-address ]] ;;
*https://id.example.com/token)
    [[ $(cat) == 'user = "client:secret"' ]] || exit 9
    jq --null-input --arg token "$ISSUED" '{access_token: $token}' ;;
*/readyz) [[ $tag != bad-health ]] ;;
*/v1/tasks) echo '{"id": "t", "reminders": [{"id": "r"}]}' ;;
*/timeline)
    case $tag in
    bad-reminder) echo '{"entries": [{"what": "fired"}]}' ;;
    bad-sender) echo '{"entries": [{"what": "fired"}, {"what": "retrying", "reason": "resend 403 validation_error"}]}' ;;
    *) echo '{"entries": [{"what": "sent"}]}' ;;
    esac ;;
*DELETE*) ;;
*) exit 9 ;;
esac
FAKE
chmod +x "$fake"/*

# Arguments: the tag that runs before, the tag to deploy, the expected exit status, the tag that runs afterwards.
expect() {
    local before=$1 tag=$2 status=$3 after=$4 found=0
    : >"$STATE.releases"
    : >"$STATE.calls"
    : >"$STATE"
    if [[ $before != nothing ]]; then
        echo "1 deployed $before" >"$STATE.releases"
        echo "$before" >"$STATE"
    fi
    IMAGE_REGISTRY=registry IMAGE_TAG=$tag SMOKE_TOKEN=${SMOKE_TOKEN-$(token "$good")} READY_SECONDS=1 SMOKE_SECONDS=-9 IMAGE_SECONDS=1 \
        PUBLIC_SECONDS=${PUBLIC_SECONDS:-1} ./deploy.sh >"$fake/log" 2>&1 || found=$?
    if [[ $found != "$status" || $(cat "$STATE") != "$after" ]]; then
        printf '%s over %s: exited with %s and %s runs; expected %s and %s\n' "$tag" "$before" "$found" "$(cat "$STATE")" "$status" "$after"
        cat "$fake/log"
        exit 1
    fi
    printf '%s over %s: %s runs, status %s\n' "$tag" "$before" "$after" "$status"
}

expect nothing good 0 good
expect old good 0 good
expect old bad-migration 1 old
expect old bad-image 1 old
expect old bad-start 1 old
expect old bad-health 1 old
expect old bad-reminder 1 old
expect old bad-sender 1 old
grep -q 'was not sent: resend 403 validation_error' "$fake/log"
grep -q 'its domain must be verified' "$fake/log"
expect nothing bad-health 1 bad-health
expect old bad-certificate 1 old
expect old bad-address 1 old
PUBLIC_SECONDS=0 expect old bad-address 0 bad-address

# What runs must have the digest that was verified, whatever its tag is.
export IMAGE_DIGESTS="tasks@sha256:good door@sha256:other"
RUNS=sha256:good expect old good 0 good
RUNS=sha256:pushed-later expect old good 1 old
unset IMAGE_DIGESTS

# The plain rendering, on a cluster without Knative.
export KNATIVE=false
expect nothing good 0 good
expect old good 0 good
expect old bad-image 1 old
expect old bad-start 1 old
expect old bad-health 1 old
expect old bad-address 1 old
expect old bad-reminder 1 old
grep -q 'rolled back to revision 1, which works' "$fake/log"
export KNATIVE=true

# A token that cannot work stops the deployment before it begins.
SMOKE_TOKEN=$(token '{"email": "smoke@example.com", "exp": 4102444800}') expect old good 1 old
grep -q 'delivered@resend.dev' "$fake/log"
SMOKE_TOKEN=$(token '{"email": "delivered@resend.dev", "exp": 1}') expect old good 1 old
grep -q 'has expired' "$fake/log"
SMOKE_TOKEN=token expect old good 1 old
if grep -q upgrade "$STATE.calls"; then echo "it deployed without a token"; exit 1; fi

# A token of an identity provider is got when it is needed.
export SMOKE_TOKEN='' SMOKE_TOKEN_URL=https://id.example.com/token SMOKE_CLIENT_ID=client SMOKE_CLIENT_SECRET=secret
ISSUED=$(token "$good") expect old good 0 good
