#!/usr/bin/env bash
# Deletes the Minikube cluster of up.sh, with all its data.
set -euo pipefail
minikube --profile punctual delete
