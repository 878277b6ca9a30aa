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

step() { # WHAT COMMAND…: goes on where it fails, and remembers
  local what=$1
  shift
  say "$what"
  "$@" || left+="$what; "
}
# The operator still records that they were deleted, with their logs up to there.
step "ending the runs" kube delete jobs --selector=slipway.dev/run --wait --timeout=90s
step "uninstalling the release" helm_ uninstall "$release" --ignore-not-found --wait --timeout 120s
step "deleting what helm's test and the pulling left" kube delete pod slipway-test slipway-pull --ignore-not-found --wait --timeout=30s
[ -n "$keep" ] || step "deleting Secrets and the master CV" kube delete secrets,configmaps --selector=slipway.dev/config --timeout=30s

say "what is left:"
kube get persistentvolumeclaims --no-headers || true
cat <<NEXT
  kubectl -n $namespace delete persistentvolumeclaim slipway-data   deletes logs, records and artifacts for good
  kubectl delete namespace $namespace                               the same, with the namespace
  /usr/local/bin/k3s-uninstall.sh                              k3s itself, and all that it holds
NEXT
[ -z "$left" ] || fail "not done: ${left}kubectl -n $namespace get all says what is there"
