#!/usr/bin/env bash
# Installs or upgrades Slipway with this checkout's chart, and waits until it is healthy. Safe to run again.
#
#   install.sh --config FOLDER [--host NAME] [OPTION…]
#
#   --config FOLDER     .env, master-cv.md and, optionally, credentials/ and registry.json, see k8s/config.py;
#                       without it, Secrets stay unchanged
#   --host NAME         make it accessible at https://NAME through k3s's Traefik, with a Let's Encrypt certificate
#   --images PREFIX     the images PREFIX/runner and PREFIX/pipeline, for example ghcr.io/OWNER/REPOSITORY
#   --image-tag TAG     their tag: a commit's SHA, as pushed by the workflow, or latest
#   --values FILE       chart values, for example charts/slipway/values-4gb.yaml; can be repeated
#   --set KEY=VALUE     a single chart value; can be repeated
#   --timeout SECONDS   helm's timeout (default: 300)
#   --no-verify         do not run verify.py at the end
#
# Values from earlier installs are kept unless you set them again. The namespace is $NAMESPACE (default: slipway). Images
# are pulled before anything changes; an upgrade that does not become ready is rolled back.
set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=common.sh
. "$(dirname "${BASH_SOURCE[0]}")/common.sh"
verify=1 problem=''

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
          [ -r "$2" ] || wrong "cannot read $2"
          files+=(--values "$2")
          ;;
        --set) changes+=(--set "$2") ;;
        --timeout) timeout=$2 ;;
      esac
      shift 2
      ;;
    --no-verify)
      verify=''
      shift
      ;;
    *) wrong "$1 is unknown" ;;
  esac
done
[[ $timeout =~ ^[0-9]+$ ]] || wrong "--timeout takes seconds, not $timeout"
[[ -z $tag || $tag =~ ^[A-Za-z0-9_][A-Za-z0-9._-]{0,127}$ ]] || wrong "--image-tag: $tag is not a valid tag"
need kubectl helm python3

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
if [ -n "$config" ]; then
  python3 "$here/config.py" "$config" --check
  python3 "$here/config.py" "$config" --values >"$work/values.json"
  files+=(--values "$work/values.json") # .env overrides a preset, and --set overrides both
fi

make_namespace() {
  local label=pod-security.kubernetes.io/enforce level
  if [ -z "$(kube get namespace "$namespace" --ignore-not-found -o name)" ]; then kube create namespace "$namespace"; fi
  level=$(kube get namespace "$namespace" -o jsonpath="{.metadata.labels.${label//./\\.}}")
  case $level in
    "") kube label namespace "$namespace" $label=restricted ;;
    restricted) ;;
    *) say "the namespace enforces Pod Security '$level', not 'restricted'; leaving it unchanged" ;;
  esac
}

# After an interrupted upgrade, helm refuses all further ones.
repair_release() {
  local status
  status=$(helm_ status "$release" --output json 2>/dev/null | python3 -c 'import json,sys; print(json.load(sys.stdin)["info"]["status"])' 2>/dev/null) || return 0
  case $status in
    pending-install) say "an install was interrupted; starting over" && helm_ uninstall "$release" --wait --timeout "${timeout}s" ;;
    pending-*) say "an upgrade was interrupted; rolling back to the previous revision" && helm_ rollback "$release" --wait --timeout "${timeout}s" ;;
  esac
}

# k3s installs its Traefik asynchronously; the chart needs Traefik's CRDs.
configure_traefik() {
  local end=$((SECONDS + 300))
  if ! kubectl get crd helmchartconfigs.helm.cattle.io >/dev/null 2>&1; then
    say "leaving Traefik unchanged: this is not k3s, or this account has no permission"
    return
  fi
  kubectl apply --filename "$here/traefik.yaml"
  until kubectl get crd middlewares.traefik.io >/dev/null 2>&1; do
    [ "$SECONDS" -lt "$end" ] || fail "k3s has not installed Traefik: kubectl -n kube-system logs job/helm-install-traefik"
    sleep 1
  done
}

# The node's addresses, which runs must not access. An account that cannot list nodes keeps the addresses of an earlier
# install; the network policy is for IPv4 only.
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
  kube get secret "$secret" -o name >/dev/null || fail "the Secret $secret is missing; use --config FOLDER"
done
repair_release
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

say "validating the chart against the cluster and pulling images"
helm_ "${upgrade[@]}" --dry-run=server --hide-secret >"$work/rendered"
"$here/pull-images.sh" "$work/rendered" "${registry:+slipway-registry}"


say "helm upgrade --install"
deployed=$(helm_ list --deployed --short --filter "^$release\$")
if ! helm_ "${upgrade[@]}" --wait ${deployed:+--atomic} >"$work/said"; then
  kube get pods >&2 || true
  kube get events --sort-by=.lastTimestamp 2>/dev/null | tail -n 15 >&2 || true
  fail "${deployed:+the upgrade was rolled back. }Fix the problem shown above and run this again"
fi
say "checking its health in the cluster"
helm_ test "$release" --timeout 120s >"$work/said" 2>&1 || {
  cat "$work/said" >&2
  kube logs "pod/slipway-test" --tail=5 >&2 || true
  fail "Slipway is running but not healthy; see docs/how-to/troubleshoot.md"
}
if [ -n "$host" ]; then
  say "waiting for https://$host/health (its first certificate takes up to two minutes)"
  curl --silent --show-error --fail --output /dev/null --retry 24 --retry-delay 5 --retry-all-errors --max-time 10 "https://$host/health" ||
    problem="https://$host/health does not respond. Does the name resolve to this server, and are ports 80 and 443 open?"
fi
if [ -n "$verify" ]; then
  say "verifying what runs can reach, images, DNS, certificate and clocks"
  python3 "$here/verify.py" ${host:+--host "$host"} || problem=${problem:-the checks marked \`fail\` above}
fi
[ -z "$problem" ] || fail "Slipway runs, but not everything works: $problem"
revision=$(helm_ history "$release" --max 1 --output json | python3 -c 'import json,sys; print(json.load(sys.stdin)[-1]["revision"])')
say "revision $revision is healthy. Next steps:"
cat <<NEXT
  kubectl -n $namespace exec $launcher -- slipway run 4711 --follow     start a run and follow its log
  kubectl -n $namespace exec $launcher -- slipway ps                    list runs
  make config CONFIG=FOLDER                   apply a changed .env, master-cv.md or credentials/
  make drain, make resume                     before and after maintenance
  k8s/rollback.sh                             roll back to the previous revision
NEXT
