#!/usr/bin/env bash
# Prints the KUBECONFIG to use: your own, else ~/.kube/config, else k3s's, which only root can read. It must be set, because
# k3s's kubectl uses /etc/rancher/k3s/k3s.yaml if that exists, and helm never does.
#
#   kubeconfig.sh
set -euo pipefail

if [ "${1:-}" = --help ]; then
  sed -n '2,/^[^#]/{s/^# \{0,1\}//p;}' "$0"
  exit
fi
k3s=${BOOTSTRAP_ROOT:-}/etc/rancher/k3s/k3s.yaml # BOOTSTRAP_ROOT: another root folder, for tests
if [ -n "${KUBECONFIG:-}" ]; then
  printf '%s\n' "$KUBECONFIG"
  exit
fi
for file in "${HOME:-/root}/.kube/config" "$k3s"; do
  if [ -r "$file" ]; then
    printf '%s\n' "$file"
    exit
  fi
done
if [ -e "$k3s" ]; then
  echo "${0##*/}: $k3s is readable only by root; use sudo, or set KUBECONFIG to a file that you can read" >&2
else
  echo "${0##*/}: no cluster configured; set KUBECONFIG, or create ~/.kube/config" >&2
fi
exit 1
