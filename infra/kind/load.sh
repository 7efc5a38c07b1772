#!/usr/bin/env bash
# Builds an image from a static binary with the Dockerfile of production, and loads it into the cluster of up.sh: load.sh IMAGE BINARY.
set -euo pipefail
image=$1
binary=$(realpath "$2")
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
architecture=$(docker version --format '{{.Server.Arch}}')
mkdir "$folder/$architecture"
cp "$binary" "$folder/$architecture/"
cp /etc/ssl/certs/ca-certificates.crt "$folder/"
# `kind load` fails for an image with attestations (kubernetes-sigs/kind#3795). Without RUST=scratch, BuildKit asks the registry for the image of
# the stage that `binaries` replaces.
docker build --quiet --provenance=false --build-context "binaries=$folder" --build-arg RUST=scratch \
    --build-arg "BINARY=$(basename "$binary")" --tag "$image" . >/dev/null
kind load docker-image --name punctual "$image"
