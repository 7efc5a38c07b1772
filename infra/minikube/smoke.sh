#!/usr/bin/env bash
# Creates a task with a reminder on the cluster of up.sh, and waits until its mail arrives in Mailpit. Needs kubectl, curl, jq and openssl.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

kube() { kubectl --context punctual --namespace punctual "$@"; }
log=$(mktemp)
forwards=()
trap 'kill "${forwards[@]}" 2>/dev/null || true; rm -f "$log"' EXIT

# Forwards a local port to a Service and sets `port`. Arguments: Service, its port.
forward() {
    kube port-forward "service/$1" ":$2" >"$log" 2>&1 &
    forwards+=($!)
    for _ in {1..100}; do
        if port=$(grep --max-count 1 --only-matching '127\.0\.0\.1:[0-9]*' "$log"); then
            port=${port#*:}
            return
        fi
        sleep 0.1
    done
    echo "cannot forward a port to $1: $(cat "$log")" >&2
    return 1
}
forward tasks 80
api=http://127.0.0.1:$port
forward mailpit 8025
mail=http://127.0.0.1:$port

JWT_SECRET=$(kube get secret punctual-jwt --output 'jsonpath={.data.secret}' | base64 --decode)
token=$(JWT_SECRET=$JWT_SECRET compose/token.sh)
title="Smoke test $(openssl rand -hex 4)"
curl --silent --show-error --fail-with-body --output /dev/null "$api/v1/tasks" --header "authorization: Bearer $token" \
    --header 'content-type: application/json' \
    --data "$(jq --null-input --arg title "$title" '{$title, remind_at: (now + 5 | floor | todate)}')"

for _ in {1..60}; do
    messages=$(curl --silent --show-error --fail "$mail/api/v1/messages")
    if jq --exit-status --arg title "$title" '[.messages[] | select(.Subject | contains($title))] | length == 1' <<<"$messages" >/dev/null; then
        echo "the mail of \"$title\" arrived"
        exit 0
    fi
    sleep 2
done
echo "no mail of \"$title\" arrived within two minutes: kubectl --context punctual --namespace punctual logs deployment/reminder-due --all-containers" >&2
exit 1
