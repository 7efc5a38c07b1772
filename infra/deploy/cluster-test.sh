#!/usr/bin/env bash
# Shows on a real cluster, where deploy.sh has deployed Punctual on Knative, that functions sleep, wake in time and lose nothing. All it
# asks is asked through the HTTP API and of Kubernetes, so it works on any cluster; it takes about ten minutes.
#
#   TOKEN=… infra/deploy/cluster-test.sh
#
# TOKEN is a bearer token of a user made for this test. Wants kubectl, curl and jq. The cluster's stable window decides how long it waits.
set -euo pipefail

NAMESPACE=${NAMESPACE:-punctual}
# Knative's gateway inside the cluster, as namespace/service.
GATEWAY=${GATEWAY:-kourier-system/kourier-internal}
# How long functions may take to be at zero, and then have to stay there.
ZERO_SECONDS=${ZERO_SECONDS:-300}
IDLE_SECONDS=${IDLE_SECONDS:-60}
# A reminder may be later than its time by this: one cold start.
LATE_MS=${LATE_MS:-5000}
: "${TOKEN:?}"
scratch=$(mktemp -d)

say() { printf '[%4d s] %s\n' "$SECONDS" "$*"; }
die() { say "FAILED: $*"; exit 1; }
kube() { kubectl --namespace "$NAMESPACE" "$@"; }

# A way to the gateway: its address where this machine reaches it, else a forwarded port.
forward=
trap '[[ -z $forward ]] || kill "$forward" 2>/dev/null || true; kube delete ksvc hello --ignore-not-found >/dev/null 2>&1 || true; rm -rf "$scratch"' EXIT
address=$(kubectl --namespace "${GATEWAY%/*}" get service "${GATEWAY#*/}" --output jsonpath='{.spec.clusterIP}')
if ! curl --silent --max-time 3 --output /dev/null "http://$address/"; then
    kubectl --namespace "${GATEWAY%/*}" port-forward "service/${GATEWAY#*/}" :80 >"$scratch/forward" 2>&1 &
    forward=$!
    until address=$(grep --max-count 1 --only-matching '127\.0\.0\.1:[0-9]*' "$scratch/forward"); do
        kill -0 "$forward" || die "no way to $GATEWAY: $(cat "$scratch/forward")"
        sleep 0.2
    done
fi

# function, path, further arguments of curl.
call() {
    local function=$1 path=$2
    shift 2
    curl --silent --show-error --max-time 60 --header "Host: $function.$NAMESPACE.svc.cluster.local" \
        --header "authorization: Bearer $TOKEN" "$@" "http://$address$path"
}
create() { call tasks /v1/tasks --fail-with-body --json "$1"; }

# Functions that have or want pods.
awake() {
    kube get deployments --selector serving.knative.dev/service --output json |
        jq --raw-output '.items[] | select((.spec.replicas // 0) > 0 or (.status.replicas // 0) > 0) | .metadata.labels["serving.knative.dev/service"]' |
        sort --unique
}
zero() {
    local functions deadline=$((SECONDS + ZERO_SECONDS))
    until functions=$(awake) && [[ -z $functions ]]; do
        ((SECONDS < deadline)) || die "not at zero: ${functions//$'\n'/ }"
        sleep 1
    done
}

# Waits until the history of a task has an action and gives the milliseconds from the event to its effect. Twice is a failure.
took() {
    local task=$1 action=$2 seconds=$3 history found deadline=$((SECONDS + $3))
    until history=$(call tasks "/v1/tasks/$task/history?limit=100") &&
        found=$(jq --exit-status --raw-output --arg action "$action" '
            [.items[] | select(.action == $action)] | select(length > 0)
            | if length > 1 then error("\(length) times \($action)") else .[0] end
            | def ms: sub("(?<s>\\.[0-9]+)?(Z|\\+00:00)$"; "\(.s // ".0")") | split(".") | (.[0] + "Z" | fromdate) * 1000 + ("0." + .[1] | tonumber * 1000);
              ((.at | ms) - (.detail.occurred_at | ms)) | round' <<<"$history"); do
        ((SECONDS < deadline)) || die "$action of $task: not within $seconds s: $history"
        sleep 0.5
    done
    echo "$found"
}

say "waiting for zero"
zero
for ((second = 0; second < IDLE_SECONDS; second += 2)); do
    sleep 2
    functions=$(awake)
    [[ -z $functions ]] || die "woke while idle: ${functions//$'\n'/ }"
done
say "every function is at zero, and stayed there for $IDLE_SECONDS s"

# The least that could wake: a bare axum application, our door, which answers this path by itself.
door=$(kube get deployment tasks-daprd --output json | jq --raw-output '.spec.template.spec.containers[] | select(.name == "door") | .image')
kubectl apply --filename - >/dev/null <<Y
apiVersion: serving.knative.dev/v1
kind: Service
metadata: { name: hello, namespace: $NAMESPACE, labels: { networking.knative.dev/visibility: cluster-local } }
spec:
  template:
    spec:
      containers:
        - image: $door
          env: [{ name: TARGET, value: "http://hello.invalid" }]
          securityContext: { allowPrivilegeEscalation: false, capabilities: { drop: [ALL] }, runAsNonRoot: true, seccompProfile: { type: RuntimeDefault } }
Y
kube wait --for=condition=Ready ksvc/hello --timeout=120s >/dev/null
cold() { # function, path, further arguments: milliseconds of a call that wakes it
    local seconds
    seconds=$(call "$@" --output "$scratch/answer" --write-out '%{time_total} %{http_code}')
    [[ ${seconds#* } == 20? ]] || die "$1 answered ${seconds#* }: $(cat "$scratch/answer")"
    awk '{ printf "%d", $1 * 1000 }' <<<"$seconds"
}
for round in 1 2 3; do
    zero
    hello=$(cold hello /events/_ignore --request POST)
    request=$(cold tasks /v1/tasks --json "{\"title\": \"from zero $round\"}")
    task=$(jq --raw-output .id "$scratch/answer")
    event=$(took "$task" task.created 60)
    say "from zero, $round: hello world $hello ms; POST /v1/tasks $request ms; event to its effect $event ms ($(awk "BEGIN { printf \"%.1f\", $event / $hello }") of hello world)"
done
kube delete ksvc hello >/dev/null

due=$(date --utc --date='+90 seconds' +%FT%TZ)
task=$(create "{\"title\": \"while all sleep\", \"remind_at\": \"$due\"}")
reminder=$(jq --raw-output '.reminders[0].id' <<<"$task")
sleep 5
zero
(($(date +%s) < $(date --date="$due" +%s))) || die "at zero only after the reminder was due: the cluster's windows are too long for this"
deadline=$((SECONDS + 150))
sleep $(($(date --date="$due" +%s) - $(date +%s) + 5))
until story=$(call tasks "/v1/reminders/$reminder/timeline") && jq --exit-status '.entries | any(.what == "sent")' <<<"$story" >/dev/null; do
    ((SECONDS < deadline)) || die "not sent: $story"
    sleep 1
done
fired=$(jq '[.entries[] | select(.what == "fired")] | if length == 1 then .[0].late_ms else error("fired \(length) times") end' <<<"$story")
((fired >= 0 && fired <= LATE_MS)) || die "fired $fired ms after its time"
[[ $(jq '[.entries[] | select(.what == "sent")] | length' <<<"$story") == 1 ]] || die "not sent once: $story"
say "a reminder due while everything slept: fired $fired ms after its time, sent $(jq --raw-output '.entries[] | select(.what == "sent").at' <<<"$story") for $due"

# Many at once: prints what each call was answered with, and leaves the tasks in a file.
load() { # name, tasks, at a time, pause of each
    seq "$2" | xargs -P "$3" -I '{}' bash -c "curl --silent --max-time 60 --header 'Host: tasks.$NAMESPACE.svc.cluster.local' \
        --header 'authorization: Bearer $TOKEN' --json '{\"title\": \"$1 {}\"}' --output '$scratch/$1.{}' \
        --write-out '%{http_code}\n' http://$address/v1/tasks; sleep $4"
}
handled() { # name: every task of the load took effect once
    local file slowest=0 ms
    for file in "$scratch/$1".*; do
        ms=$(took "$(jq --raw-output .id "$file")" task.created 120)
        ((ms <= slowest)) || slowest=$ms
    done
    echo "$slowest"
}
pods() { kube get pods --selector serving.knative.dev/service="$1" --field-selector status.phase=Running --output name; }

zero
load burst 120 40 0 >"$scratch/codes" &
burst=$!
most=0
while kill -0 "$burst" 2>/dev/null; do
    now=$(kube get pods --selector serving.knative.dev/service --output name | wc -l)
    ((now <= most)) || most=$now
    sleep 0.3
done
[[ $(sort --unique "$scratch/codes") == 201 ]] || die "burst: $(sort "$scratch/codes" | uniq --count)"
slowest=$(handled burst)
[[ $(call tasks "/v1/tasks?limit=1") ]] && zero
say "a burst of 120 from zero: all answered 201, every event took effect once, the slowest after $slowest ms; up to $most pods, then zero again"

load killed 60 6 0.2 >"$scratch/codes" &
burst=$!
kills=0
while kill -0 "$burst" 2>/dev/null; do
    for function in task-created task-changed; do
        for pod in $(pods "$function"); do
            kube delete "$pod" --force --grace-period=0 >/dev/null 2>&1 && kills=$((kills + 1))
        done
    done
    sleep 1
done
[[ $(sort --unique "$scratch/codes") == 201 ]] || die "while pods were killed: $(sort "$scratch/codes" | uniq --count)"
((kills > 0)) || die "no pod was there to be killed"
say "$kills pods killed under 60 tasks: every event took effect once, the slowest after $(handled killed) ms"

load rollout 150 5 0.5 >"$scratch/codes" &
burst=$!
sleep 2
for function in tasks task-created task-changed; do
    kube patch ksvc "$function" --type merge --patch "{\"spec\":{\"template\":{\"metadata\":{\"annotations\":{\"punctual/rolled\":\"$(date +%s)\"}}}}}" >/dev/null
    kube rollout restart deployment "$function-daprd" >/dev/null
done
kube wait --for=condition=Ready ksvc --all --timeout=120s >/dev/null
for function in tasks task-created task-changed; do kube rollout status deployment "$function-daprd" --timeout=120s >/dev/null; done
kill -0 "$burst" 2>/dev/null || die "the load ended before the rollout"
wait "$burst"
[[ $(sort --unique "$scratch/codes") == 201 ]] || die "during a rollout: $(sort "$scratch/codes" | uniq --count | tr '\n' ' ')"
say "functions and their daprds rolled out under 150 tasks: all answered 201, every event took effect once, the slowest after $(handled rollout) ms"
say "passed"
