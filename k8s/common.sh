# shellcheck shell=bash disable=SC2034
# Functions and variables that the scripts in this folder source.

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
checkout=$(cd "$here/.." && pwd)
chart=$checkout/charts/slipway
namespace=${NAMESPACE:-slipway}
release=slipway
launcher=deployment/slipway-launcher
edge_file=${EDGE_FILE:-/etc/slipway/traefik/slipway.yaml} # for a Traefik outside the cluster

say() { printf '%s: %s\n' "$(basename "$0" .sh)" "$*"; }
fail() {
  say "$*" >&2
  exit 1
}
# Prints the comment at the top of the calling script.
usage() { sed -n '2,/^[^#]/{s/^# \{0,1\}//p;}' "$0"; }
wrong() {
  say "$*; see --help" >&2
  exit 2
}
# Every call of kubectl and helm uses an explicit KUBECONFIG.
find_cluster() {
  [ -z "${KUBECONFIG:-}" ] || return 0
  KUBECONFIG=$("$here/kubeconfig.sh") || exit 1
  export KUBECONFIG
}
kubectl() { find_cluster && command kubectl "$@"; }
helm() { find_cluster && command helm "$@"; }
need() {
  local program
  for program in "$@"; do
    type -P "$program" >/dev/null || fail "$program is not installed; k8s/bootstrap.sh installs it on a server"
    case $program in kubectl | helm) find_cluster ;; esac
  done
}
kube() { kubectl --namespace "$namespace" --request-timeout=150s "$@"; }
helm_() { helm --namespace "$namespace" "$@"; }

# Runs the command line `slipway` in the launcher's pod, or locally if RUNNER_URL is set.
slipway() {
  if [ -n "${RUNNER_URL:-}" ]; then
    PATH=$checkout/.venv/bin:$PATH command slipway "$@"
  else
    kubectl --namespace "$namespace" exec "$launcher" --container launcher -- slipway "$@"
  fi
}
