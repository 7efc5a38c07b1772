#!/usr/bin/env bash
# Removes the Minikube of up.sh, with everything in it.
set -euo pipefail
minikube --profile punctual delete
