#!/usr/bin/env bash
# Installs or upgrades Slipway with this checkout's chart, and waits until it is healthy. Safe to run again.
#
#   install.sh --config FOLDER [--host NAME] [OPTION…]
#
#   --config FOLDER     .env, master-cv.md and, optionally, credentials/ and registry.json, see k8s/config.py;
#                       without it, Secrets stay unchanged
#   --host NAME         make it accessible at https://NAME through Traefik, with a Let's Encrypt certificate
#   --edge EDGE         which Traefik: `k3s`, or `existing` for one that already serves ports 80 and 443, for example in
#                       Docker; Slipway's route is then written to /etc/slipway/traefik/slipway.yaml
#   --edge-network NET  the existing Traefik's Docker network, by name or as CIDR, or `host` (default: n8n-prod_default)
#   --redis REDIS       `own`, which the chart installs, or `external`: the one at REDIS_URL in .env, checked from a pod
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

config='' host='' edge='' edge_network='' redis='' images='' tag='' timeout=300 verify=1 files=() changes=()
while [ $# -gt 0 ]; do
  case $1 in
    -h | --help) usage && exit ;;
    --config | --host | --edge | --edge-network | --redis | --images | --image-tag | --values | --set | --timeout)
      [ -n "${2:-}" ] || wrong "$1 needs a value"
      case $1 in
        --config) config=$2 ;;
        --host) host=$2 ;;
        --edge) edge=$2 ;;
        --edge-network) edge_network=$2 ;;
        --redis) redis=$2 ;;
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
[[ $edge =~ ^(k3s|existing)?$ ]] || wrong "--edge is k3s or existing, not $edge"
[[ $redis =~ ^(own|external)?$ ]] || wrong "--redis is own or external, not $redis"
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

# k3s creates the kinds of its API, and then Traefik, some time after its node is ready.
configure_traefik() {
  local end=$((SECONDS + ${TRAEFIK_SECONDS:-300})) server said missing
  server=$(kubectl get --raw /version)
  if [[ $server != *+k3s* ]]; then
    say "this is not k3s: your ingress controller needs a certificate for $host, see docs/how-to/use-an-existing-cluster.md"
    return
  fi
  case $(kubectl auth can-i create helmchartconfigs.helm.cattle.io --namespace kube-system 2>/dev/null || true) in
    yes) ;;
    no) say "leaving Traefik unchanged: only an administrator can configure it, as bootstrap.sh did" && return ;;
    *) fail "the cluster does not say whether this account can configure Traefik; see kubectl auth can-i --list" ;;
  esac
  say "configuring Traefik"
  until said=$(kubectl apply --filename "$here/traefik.yaml" 2>&1); do
    [[ $said =~ "no matches for kind"|"could not find the requested resource" ]] || fail "Traefik cannot be configured: $said"
    [ "$SECONDS" -lt "$end" ] ||
      fail "k3s has not created the kind HelmChartConfig. Is disable-helm-controller set in /etc/rancher/k3s? See journalctl --unit k3s"
    sleep 1
  done
  while missing=$(missing_arguments) && [ -n "$missing" ]; do
    [ "$SECONDS" -lt "$end" ] || fail "k3s has not installed Traefik with k8s/traefik.yaml; missing: $missing. Is traefik in \`disable\` in \
/etc/rancher/k3s? See kubectl -n kube-system logs job/helm-install-traefik"
    sleep 1
  done
  kubectl --namespace kube-system rollout status deployment/traefik --timeout="$((end - SECONDS + 30))s" >/dev/null ||
    fail "Traefik does not start; see kubectl -n kube-system describe pods -l app.kubernetes.io/name=traefik"
}

# The first argument in traefik.yaml that the Traefik in the cluster does not have yet, or its kinds, which the chart needs.
missing_arguments() {
  local arguments each
  kubectl get crd middlewares.traefik.io >/dev/null 2>&1 || { echo "its kinds" && return; }
  arguments=$(kubectl --namespace kube-system get deployment traefik -o jsonpath='{.spec.template.spec.containers[0].args}' 2>/dev/null) || true
  while read -r each; do
    [[ $arguments = *"\"$each\""* ]] || { echo "$each" && return; }
  done < <(sed -n 's/^ *- \(--.*\)/\1/p' "$here/traefik.yaml")
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

behind_existing_traefik() { # the release, since an earlier install
  helm_ get values "$release" --output json 2>/dev/null | python3 -c '
import json, sys
values = json.load(sys.stdin) or {}
sys.exit(not values.get("ingress", {}).get("external", {}).get("enabled"))' 2>/dev/null
}

# The IPv4 networks from which the existing Traefik connects.
edge_networks() {
  case $edge_network in
    host) ;; # as a process of the node, whose access to its pods no network policy restricts
    */*) echo "$edge_network" ;;
    *)
      need docker
      docker network inspect "$edge_network" --format '{{range .IPAM.Config}}{{println .Subnet}}{{end}}' | awk '/^[0-9.]+\/[0-9]+$/' | paste -s -d , ||
        fail "Docker has no network $edge_network; --edge-network takes the one that Traefik is in, see: docker network ls"
      ;;
  esac
}

write_edge_file() {
  kube get configmap slipway-traefik -o jsonpath='{.data.slipway\.yaml}' >"$work/slipway.yaml"
  if mkdir -p "$(dirname "$edge_file")" 2>/dev/null && [ -w "$(dirname "$edge_file")" ]; then
    if cmp --silent "$work/slipway.yaml" "$edge_file"; then return; fi
    install -m 644 "$work/slipway.yaml" "$edge_file.new"
    mv "$edge_file.new" "$edge_file"
    say "wrote $edge_file"
  elif ! cmp --silent "$work/slipway.yaml" "$edge_file"; then
    say "$edge_file must contain the following; this account cannot write it:"
    cat "$work/slipway.yaml"
  fi
}

make_namespace
[ -z "$config" ] || NAMESPACE=$namespace python3 "$here/config.py" "$config"
for secret in slipway-env slipway-pipeline slipway-credentials; do
  kube get secret "$secret" -o name >/dev/null || fail "the Secret $secret is missing; use --config FOLDER"
done
repair_release
behind=''
if behind_existing_traefik; then behind=1; fi
if [ -z "$edge" ] && [ -n "$behind" ]; then edge=existing; fi
if [ -n "$host" ] && [ "$edge" != existing ]; then configure_traefik; fi

options=(--set "secrets.existing=slipway-env" --set "secrets.pipeline=slipway-pipeline"
  --set "secrets.credentials=slipway-credentials" --set "secrets.masterCv=slipway-master-cv")
registry=$(kube get secret slipway-registry --ignore-not-found -o name)
[ -z "$registry" ] || options+=(--set "imagePullSecrets={slipway-registry}")
[ -z "$images" ] || options+=(--set "image.repository=$images/runner" --set "pipelineImage.repository=$images/pipeline")
[ -z "$tag" ] || options+=(--set-string "image.tag=$tag" --set-string "pipelineImage.tag=$tag")
[ -z "$host" ] || options+=(--set "ingress.host=$host")
if [ "$edge" = existing ]; then
  options+=(--set "ingress.enabled=false" --set "ingress.external.enabled=true")
  # The networks of an earlier install are kept: an account for deployments cannot ask Docker.
  if [ -n "$edge_network" ] || [ -z "$behind" ]; then
    edge_network=${edge_network:-n8n-prod_default}
    networks=$(edge_networks)
    options+=(--set "ingress.external.networks={$networks}")
  fi
elif [ -n "$host" ]; then
  options+=(--set "ingress.enabled=true" --set "ingress.external.enabled=false")
fi
case $redis in
  own) options+=(--set "redis.enabled=true" --set "redis.externalUrl=" --set "redis.externalUrlSecret=") ;;
  external) options+=(--set "redis.enabled=false" --set "redis.externalUrl=" --set "redis.externalUrlSecret=slipway-env") ;;
esac
nodes=$(node_addresses)
[ -z "$nodes" ] || options+=(--set "networkPolicy.nodeAddresses={$nodes}")
upgrade=(upgrade --install "$release" "$chart" --reset-then-reuse-values "${files[@]}" "${options[@]}" "${changes[@]}" --timeout "${timeout}s")

say "validating the chart against the cluster and pulling images"
helm_ "${upgrade[@]}" --dry-run=server --hide-secret >"$work/rendered"
"$here/pull-images.sh" "$work/rendered" "${registry:+slipway-registry}"
"$here/check-redis.sh" "$work/rendered" "${registry:+slipway-registry}"

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
problem='' pending=''
if [ "$edge" = existing ]; then write_edge_file; fi
if [ -n "$host" ] && [ "$edge" = existing ]; then
  say "waiting for https://$host/health"
  curl --silent --fail --output /dev/null --retry 10 --retry-delay 2 --retry-all-errors --max-time 10 "https://$host/health" || pending=1
  [ -z "$pending" ] || cat <<TRAEFIK
  https://$host/health does not respond yet. Does the name resolve to this server, and does Traefik read $edge_file?
  Once, add this to Traefik in its compose file, and start it again:
    command:  --providers.file.directory=/etc/traefik/slipway
    volumes:  $(dirname "$edge_file"):/etc/traefik/slipway:ro
  Does it have the entry point and the certificate resolver that the file names? docs/how-to/deploy-beside-an-existing-traefik.md
TRAEFIK
elif [ -n "$host" ]; then
  say "waiting for https://$host/health (its first certificate takes up to two minutes)"
  curl --silent --show-error --fail --output /dev/null --retry 24 --retry-delay 5 --retry-all-errors --max-time 10 "https://$host/health" ||
    problem="https://$host/health does not respond. Does the name resolve to this server, and are ports 80 and 443 open?"
fi
if [ -n "$verify" ]; then
  say "verifying what runs can reach, images, DNS, certificate and clocks"
  python3 "$here/verify.py" ${host:+--host "$host"} ${pending:+--no-certificate} || problem=${problem:-the checks marked \`fail\` above}
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
