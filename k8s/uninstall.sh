#!/usr/bin/env bash
# Takes Slipway out of the cluster: ends its runs, the release, and its Secrets. The volume with logs, records and artifacts
# stays, and it says how to delete that, too. Every step has a limit.
#
#   uninstall.sh --yes [--keep-config]     --keep-config leaves the Secrets and the master CV for the next install
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
[ -n "$yes" ] || wrong "this ends all runs in the namespace $namespace; say --yes"
left=

step() { # WHAT SECONDS COMMAND…: goes on where it fails or does not end, and remembers
  local what=$1 seconds=$2
  shift 2
  say "$what"
  timeout --foreground "$seconds" "$@" || left+="$what; "
}
where=(--namespace "$namespace")
# First the runs, while the operator is there to record their end. Foreground: a Job goes after its pods.
step "ending the runs" 100 kubectl "${where[@]}" delete jobs --selector=slipway.dev/run --cascade=foreground --timeout=90s
step "uninstalling the release" 130 helm "${where[@]}" uninstall "$release" --ignore-not-found --wait --timeout 120s
step "deleting what a test or a pull left" 40 kubectl "${where[@]}" delete pod slipway-test slipway-pull --ignore-not-found --timeout=30s
[ -n "$keep" ] || step "deleting Secrets and the master CV" 40 kubectl "${where[@]}" delete secrets,configmaps --selector=slipway.dev/config --timeout=30s

say "what is left:"
timeout 30 kubectl "${where[@]}" get persistentvolumeclaims --no-headers || true
cat <<NEXT
  kubectl -n $namespace delete persistentvolumeclaim slipway-data   deletes logs, records and artifacts for good
  kubectl delete namespace $namespace                               the same, with the namespace
  /usr/local/bin/k3s-uninstall.sh                              k3s itself, and all that it holds
NEXT
[ -z "$left" ] || fail "not done: ${left}kubectl -n $namespace get all says what is there"
