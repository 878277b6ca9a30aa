#!/usr/bin/env bash
# Installs Slipway from this checkout's chart, or upgrades it, and waits until it is healthy. Safe to run again.
#
#   install.sh --config FOLDER [--host NAME] [OPTION…]
#
#   --config FOLDER     .env, master-cv.md and, where wanted, credentials/ and registry.json, as k8s/config.py reads
#                       them; without it Secrets stay as they are
#   --host NAME         reach it as https://NAME, by k3s's Traefik, with a certificate of Let's Encrypt
#   --images PREFIX     where the images are, PREFIX/runner and PREFIX/pipeline: ghcr.io/OWNER/REPOSITORY
#   --image-tag TAG     which of them: a commit's sha, as the workflow pushes them, or latest
#   --values FILE       values of the chart, such as charts/slipway/values-4gb.yaml; may be repeated
#   --set KEY=VALUE     one value; may be repeated
#   --timeout SECONDS   how long helm may take (300)
#
# What an earlier install was given holds until it is given again. The namespace is $NAMESPACE (slipway). Every image is
# pulled before anything changes; an upgrade that does not become ready is taken back.
set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=common.sh
. "$(dirname "${BASH_SOURCE[0]}")/common.sh"

config='' host='' images='' tag='' timeout=300 files=() changes=()
while [ $# -gt 0 ]; do
  case $1 in
    -h | --help) usage && exit ;;
    --config | --host | --images | --image-tag | --values | --set | --timeout)
      [ -n "${2:-}" ] || wrong "$1 needs a value"
      case $1 in
        --config) config=$2 ;;
        --host) host=$2 ;;
        --images) images=${2%/} ;;
        --image-tag) tag=$2 ;;
        --values)
          [ -r "$2" ] || wrong "$2 cannot be read"
          files+=(--values "$2")
          ;;
        --set) changes+=(--set "$2") ;;
        --timeout) timeout=$2 ;;
      esac
      shift 2
      ;;
    *) wrong "$1 is unknown" ;;
  esac
done
[[ $timeout =~ ^[0-9]+$ ]] || wrong "--timeout takes seconds, not $timeout"
[[ -z $tag || $tag =~ ^[A-Za-z0-9_][A-Za-z0-9._-]{0,127}$ ]] || wrong "--image-tag: $tag is no tag"
need kubectl helm python3

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
if [ -n "$config" ]; then
  python3 "$here/config.py" "$config" --check
  python3 "$here/config.py" "$config" --values >"$work/values.json"
  files+=(--values "$work/values.json") # what .env says wins over a preset, and --set over both
fi

make_namespace() {
  local label=pod-security.kubernetes.io/enforce level
  if [ -z "$(kube get namespace "$namespace" --ignore-not-found -o name)" ]; then kube create namespace "$namespace"; fi
  level=$(kube get namespace "$namespace" -o jsonpath="{.metadata.labels.${label//./\\.}}")
  case $level in
    "") kube label namespace "$namespace" $label=restricted ;;
    restricted) ;;
    *) say "the namespace enforces Pod Security '$level' and not 'restricted'; it stays so" ;;
  esac
}

# Where an upgrade was cut off in its midst, helm refuses the next one for good.
mend_release() {
  local status
  status=$(helm_ status "$release" --output json 2>/dev/null | python3 -c 'import json,sys; print(json.load(sys.stdin)["info"]["status"])' 2>/dev/null) || return 0
  case $status in
    pending-install) say "an install was cut off; beginning anew" && helm_ uninstall "$release" --wait --timeout "${timeout}s" ;;
    pending-*) say "an upgrade was cut off; going back to the revision before it" && helm_ rollback "$release" --wait --timeout "${timeout}s" ;;
  esac
}

# k3s installs its Traefik on its own time; the chart needs its kinds.
configure_traefik() {
  local end=$((SECONDS + 300))
  if ! kubectl get crd helmchartconfigs.helm.cattle.io >/dev/null 2>&1; then
    say "Traefik stays as it is: this is no k3s, or it is not for this account to change"
    return
  fi
  kubectl apply --filename "$here/traefik.yaml"
  until kubectl get crd middlewares.traefik.io >/dev/null 2>&1; do
    [ "$SECONDS" -lt "$end" ] || fail "k3s has not installed Traefik: kubectl -n kube-system logs job/helm-install-traefik"
    sleep 1
  done
}

# What Traefik serves on the server's own address is not for runs either. An account that may not see nodes leaves what an
# earlier install has found; the policy's range is IPv4's.
node_addresses() {
  {
    kubectl get nodes -o jsonpath='{.items[*].status.addresses[?(@.type!="Hostname")].address}' 2>/dev/null | tr ' ' '\n' || true
    echo
    [ -z "$host" ] || getent ahostsv4 "$host" | cut -d ' ' -f 1 || true
  } | awk -F . 'NF == 4 && $1 != 127 && /^[0-9.]+$/ {print $0 "/32"}' | sort -u | paste -s -d ,
}

make_namespace
[ -z "$config" ] || NAMESPACE=$namespace python3 "$here/config.py" "$config"
for secret in slipway-env slipway-pipeline slipway-credentials; do
  kube get secret "$secret" -o name >/dev/null || fail "the Secret $secret is missing: give --config FOLDER"
done
mend_release
[ -z "$host" ] || configure_traefik

options=(--set "secrets.existing=slipway-env" --set "secrets.pipeline=slipway-pipeline"
  --set "secrets.credentials=slipway-credentials" --set "secrets.masterCv=slipway-master-cv")
registry=$(kube get secret slipway-registry --ignore-not-found -o name)
[ -z "$registry" ] || options+=(--set "imagePullSecrets={slipway-registry}")
[ -z "$images" ] || options+=(--set "image.repository=$images/runner" --set "pipelineImage.repository=$images/pipeline")
[ -z "$tag" ] || options+=(--set-string "image.tag=$tag" --set-string "pipelineImage.tag=$tag")
[ -z "$host" ] || options+=(--set "ingress.enabled=true" --set "ingress.host=$host")
nodes=$(node_addresses)
[ -z "$nodes" ] || options+=(--set "networkPolicy.nodeAddresses={$nodes}")
upgrade=(upgrade --install "$release" "$chart" --reset-then-reuse-values "${files[@]}" "${options[@]}" "${changes[@]}" --timeout "${timeout}s")

say "checking the chart against the cluster, and pulling images"
helm_ "${upgrade[@]}" --dry-run=server --hide-secret >"$work/rendered"
"$here/pull-images.sh" "$work/rendered" "${registry:+slipway-registry}"


say "helm upgrade --install"
deployed=$(helm_ list --deployed --short --filter "^$release\$")
if ! helm_ "${upgrade[@]}" --wait ${deployed:+--atomic} >"$work/said"; then
  kube get pods >&2 || true
  kube get events --sort-by=.lastTimestamp 2>/dev/null | tail -n 15 >&2 || true
  fail "${deployed:+the upgrade was taken back. }What is wrong stands above; then run this again"
fi
say "checking its health from inside"
helm_ test "$release" --timeout 120s >"$work/said" 2>&1 || {
  cat "$work/said" >&2
  kube logs "pod/slipway-test" --tail=5 >&2 || true
  fail "it runs, but is not healthy: docs/how-to/troubleshoot.md says what to look at"
}
if [ -n "$host" ]; then
  say "waiting for https://$host/health (its first certificate takes up to two minutes)"
  curl --silent --show-error --fail --output /dev/null --retry 24 --retry-delay 5 --retry-all-errors --max-time 10 "https://$host/health" ||
    fail "Slipway runs, but https://$host/health does not answer. Does the name point to this server, and are 80 and 443 open?"
fi
revision=$(helm_ history "$release" --max 1 --output json | python3 -c 'import json,sys; print(json.load(sys.stdin)[-1]["revision"])')
say "revision $revision is healthy. Next:"
cat <<NEXT
  kubectl -n $namespace exec $launcher -- slipway run 4711 --follow     a run, with its log
  kubectl -n $namespace exec $launcher -- slipway ps                    what there is
  make config CONFIG=FOLDER                   a changed .env, master-cv.md or credentials/
  make drain, make resume                     before and after work on the server
  k8s/rollback.sh                             the revision before this one
NEXT
