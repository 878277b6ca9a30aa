#!/usr/bin/env bash
# Removes Slipway from the cluster: its runs, the release and its Secrets. The volume with logs, records and artifacts is
# kept; the output says how to delete it. Every step has a time limit.
#
#   uninstall.sh --yes [--keep-config]     --keep-config keeps the Secrets and the master CV for the next install
set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=common.sh
. "$(dirname "${BASH_SOURCE[0]}")/common.sh"

yes='' keep=''
for each in "$@"; do
  case $each in
    -h | --help) usage && exit ;;
    --yes) yes=1 ;;
    --keep-config) keep=1 ;;
    *) wrong "$each is unknown" ;;
  esac
done
need kubectl helm
[ -n "$yes" ] || wrong "this deletes all runs in the namespace $namespace; confirm with --yes"
left=

step() { # WHAT SECONDS COMMAND…: continues after a failure or timeout, and records it
  local what=$1 seconds=$2
  shift 2
  say "$what"
  timeout --foreground "$seconds" "$@" || left+="$what; "
}
where=(--namespace "$namespace")
# Runs first, while the operator can record their outcome. Foreground: a Job is deleted after its pods.
step "deleting runs" 100 kubectl "${where[@]}" delete jobs --selector=slipway.dev/run --cascade=foreground --timeout=90s
step "uninstalling the release" 130 helm "${where[@]}" uninstall "$release" --ignore-not-found --cascade foreground --wait --timeout 120s
step "deleting temporary pods" 40 kubectl "${where[@]}" delete pod slipway-test slipway-pull slipway-redis-check --ignore-not-found --timeout=30s
if [ -e "$edge_file" ]; then step "deleting Slipway's route from the existing Traefik" 10 rm "$edge_file"; fi
[ -n "$keep" ] || step "deleting Secrets and the master CV" 40 kubectl "${where[@]}" delete secrets,configmaps --selector=slipway.dev/config --timeout=30s

say "kept:"
timeout 30 kubectl "${where[@]}" get persistentvolumeclaims --no-headers || true
cat <<NEXT
  kubectl -n $namespace delete persistentvolumeclaim slipway-data   permanently deletes logs, records and artifacts
  kubectl delete namespace $namespace                               the same, including the namespace
  kubectl delete namespace $namespace-deploy                        removes the account for deployments
  /usr/local/bin/k3s-uninstall.sh                              removes k3s and everything in it, volumes too
NEXT
[ -z "$left" ] || fail "incomplete: ${left}see kubectl -n $namespace get all"
