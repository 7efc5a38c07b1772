#!/usr/bin/env bash
# Tests up.sh against fakes of Helm and kubectl: what a second run touches, and which issuers it refuses.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"

fake=$(mktemp -d)
trap 'rm -rf "$fake"' EXIT
export CALLS=$fake/calls PATH=$fake:$PATH

cat >"$fake/helm" <<'FAKE'
#!/usr/bin/env bash
echo "helm $*" >>"$CALLS"
FAKE
# Answers a patch and the Job of the topics as kubectl does at the first run (FIRST=yes), at the same one again, and after a change.
cat >"$fake/kubectl" <<'FAKE'
#!/usr/bin/env bash
echo "kubectl $*" >>"$CALLS"
case $* in
*"patch configmap"*) [[ -n ${FIRST:-} ]] && echo "configmap/x patched" || echo "configmap/x patched (no change)" ;;
*"delete job topics"*) touch "$CALLS.deleted" ;;
*"apply --kustomize infra/redpanda/topics"*) [[ -z ${CHANGED:-} || -e $CALLS.deleted ]] || { echo "field is immutable" >&2; exit 1; } ;;
esac
FAKE
chmod +x "$fake"/*
dns01='{kind: ClusterIssuer, metadata: {name: punctual}, spec: {acme: {solvers: [{dns01: {cloudflare: {}}}]}}}'

run() {
    rm -f "$CALLS" "$CALLS.deleted"
    echo "$dns01" >"$fake/issuer.yaml"
    TLS_ISSUER=$fake/issuer.yaml REDPANDA=yes ./up.sh any >"$fake/log" 2>&1 || { cat "$fake/log"; exit 1; }
}
# Arguments: what the run must, or must not, have called, and a pattern.
called() { grep -q "$2" "$CALLS" || { echo "$1: not called: $2"; exit 1; }; }
spared() { ! grep -q "$2" "$CALLS" || { echo "$1: called: $2"; exit 1; }; }

FIRST=yes run
called "first run" "rollout restart deployment controller"
called "first run" "http-protocol.*Redirected"
run
spared "second run" "rollout restart"
spared "second run" "delete"
CHANGED=yes run
called "run after a change" "delete job topics"
spared "run after a change" "rollout restart"
echo "infra/platform/up.sh: a second run restarts and replaces nothing"

rm -f "$CALLS"
echo "${dns01/dns01/http01}" >"$fake/issuer.yaml"
if TLS_ISSUER=$fake/issuer.yaml ./up.sh any >"$fake/log" 2>&1 || [[ -e $CALLS ]]; then
    echo "an issuer with HTTP-01 was accepted, whose certificates Knative cannot renew"
    exit 1
fi
echo "infra/platform/up.sh: HTTP-01 is refused"
