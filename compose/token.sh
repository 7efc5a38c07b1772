#!/bin/sh
# Prints a bearer token that is valid for one day (or DAYS): compose/token.sh [USER_UUID [EMAIL [SCOPE]]]. The scope `operator` grants
# access to /v1/dead-letters. Signs with JWT_SECRET, by default the secret of docker-compose.dev.yaml.
set -eu

user=${1:-0198c0de-0000-7000-8000-000000000001}
email=${2:-dev@punctual.test}
scope=${3:-operator}
secret=${JWT_SECRET:-development-secret-of-32-bytes-or-more}
now=$(date +%s)
days=${DAYS:-1}

url() { openssl base64 -A | tr '+/' '-_' | tr -d '='; }

signed=$(printf '{"alg":"HS256","typ":"JWT"}' | url).$(
    printf '{"sub":"%s","email":"%s","scope":"%s","iat":%d,"exp":%d}' "$user" "$email" "$scope" "$now" $((now + days * 86400)) | url
)
printf '%s.%s\n' "$signed" "$(printf '%s' "$signed" | openssl dgst -sha256 -hmac "$secret" -binary | url)"
