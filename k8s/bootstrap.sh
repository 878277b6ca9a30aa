#!/usr/bin/env bash
# Sets up a fresh Debian or Ubuntu server to run Slipway at https://NAME: k3s, helm, the firewall, a user for deployments,
# and Slipway itself with install.sh. Safe to run again: it changes only what differs. Needs root.
#
#   bootstrap.sh --config FOLDER --host NAME --images ghcr.io/OWNER/REPOSITORY [OPTION…]
#
#   --config FOLDER       .env, master-cv.md and, optionally, credentials/ and registry.json; checked first
#   --host NAME           the public host name; it must resolve to this server to get a certificate
#   --images PREFIX       the images: PREFIX/runner and PREFIX/pipeline
#   --image-tag TAG       their tag (default: latest, or the current one)
#   --edge EDGE           `k3s`: k3s's own Traefik serves ports 80 and 443. `existing`: a Traefik on this server already
#                         does, for example in Docker. k3s is then installed without one, Slipway's route is written to
#                         /etc/slipway/traefik/slipway.yaml, and an active ufw only gets rules for k3s's pods
#                         (default: k3s, or the current one)
#   --deploy-key KEY      the public SSH key for deployments, on one line: "ssh-ed25519 AAAA… ci"
#   --no-firewall         do not configure ufw, for example if the provider has a firewall
#   --dry-run             print what would be done, without doing it
#
# Other options of install.sh are passed to it.
set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=common.sh
. "$(dirname "${BASH_SOURCE[0]}")/common.sh"
# shellcheck source-path=SCRIPTDIR source=versions.env
. "$here/versions.env"

pods=10.42.0.0/16 services=10.43.0.0/16 # the defaults of k3s
min_memory_mb=1800 preset_memory_mb=6000 min_disk_mb=15000
deploy_user=deploy
root=${BOOTSTRAP_ROOT:-} # another root folder for files, for tests
# The cluster is the one that this script installs, whatever else this account uses.
export KUBECONFIG=$root/etc/rancher/k3s/k3s.yaml PATH=$root/usr/local/bin:$PATH
edge_config=/etc/rancher/k3s/config.yaml.d/edge.yaml

config='' host='' images='' edge='' key='' firewall=1 dry='' more=()
while [ $# -gt 0 ]; do
  case $1 in
    -h | --help) usage && exit ;;
    --no-firewall) firewall='' ;;
    --no-verify) more+=("$1") ;;
    --dry-run) dry=1 ;;
    --config | --host | --images | --image-tag | --edge | --edge-network | --redis | --deploy-key | --values | --set | --timeout)
      [ -n "${2:-}" ] || wrong "$1 needs a value"
      case $1 in
        --config) config=$2 ;;
        --host) host=$2 ;;
        --images) images=${2%/} ;;
        --edge) edge=$2 ;;
        --deploy-key) key=$2 ;;
        *) more+=("$1" "$2") ;;
      esac
      shift
      ;;
    *) wrong "$1 is unknown" ;;
  esac
  shift
done

check_options() {
  [ -n "$config" ] || wrong "--config is missing"
  [ -n "$host" ] || wrong "--host is missing: the public host name"
  [ -n "$images" ] || wrong "--images is missing: ghcr.io/OWNER/REPOSITORY, where the workflow pushes them"
  [[ $host =~ ^([a-z0-9]([a-z0-9-]*[a-z0-9])?\.)+[a-z]{2,}$ ]] || wrong "--host: $host is not a host name, for example runner.example.com"
  [[ $images =~ ^[a-z0-9.:-]+(/[a-z0-9._-]+)+$ ]] || wrong "--images: $images is not an image prefix; use lower-case letters only"
  [[ $edge =~ ^(k3s|existing)?$ ]] || wrong "--edge is k3s or existing, not $edge"
  [[ -z $key || $key =~ ^(ssh-ed25519|ssh-rsa|ecdsa-sha2-nistp256|sk-ssh-ed25519@openssh.com)\ [A-Za-z0-9+/=]+(\ [^\"]*)?$ ]] ||
    wrong "--deploy-key is not a public key on one line; use the content of a file such as id_ed25519.pub"
}

check_machine() {
  local id version controller memory disk port ports listener network used
  [ "$(id -u)" = 0 ] || [ -n "$dry" ] || fail "needs root: sudo $0 …"
  id=$(sed -n 's/^ID=//p' "$root/etc/os-release" | tr -d '"')
  version=$(sed -n 's/^VERSION_ID=//p' "$root/etc/os-release" | tr -d '"')
  case $id:${version%%.*} in
    debian:1[2-9] | ubuntu:2[2-9]) ;;
    *) fail "this is $id $version; Debian 12 or Ubuntu 22.04 or newer is required" ;;
  esac
  case $(uname -m) in
    x86_64 | aarch64) ;;
    *) fail "this is $(uname -m); only x86_64 and aarch64 are supported" ;;
  esac
  [ -d "$root/run/systemd/system" ] || fail "systemd is not running; k3s needs it"
  for controller in cpu cpuset memory pids; do
    grep -qsw $controller "$root/sys/fs/cgroup/cgroup.controllers" ||
      fail "the cgroup controller $controller (v2) is missing; Kubernetes does not start without it. Ask your provider, or see docs/explanation/k3s.md"
  done
  awk '$2 == "00000000" {found = 1} END {exit !found}' "$root/proc/net/route" ||
    fail "this server has no IPv4 route to the internet; firewall and network policies are for IPv4 only"
  memory=$(awk '/^MemTotal:/ {print int($2 / 1024)}' "$root/proc/meminfo")
  [ "$memory" -ge $min_memory_mb ] || fail "this machine has $memory MB of memory; k3s and one run need $min_memory_mb"
  preset=$chart/values-8gb.yaml
  [ "$memory" -ge $preset_memory_mb ] || preset=$chart/values-4gb.yaml
  disk=$(df --output=avail --block-size=1M "$root/var" | tail -n 1 | tr -d ' ')
  [ "$disk" -ge $min_disk_mb ] || fail "/var has $disk MB free; images, logs and artifacts need $min_disk_mb"
  ports=(80 443 6443) # k3s opens 80 and 443 without listening, and 6443 itself
  [ "$edge" != existing ] || ports=(6443)
  for port in "${ports[@]}"; do
    listener=$(ss -Hltnp "sport = :$port" | grep -v '"k3s' || true)
    [ -z "$listener" ] || fail "port $port is in use; stop the program first: $listener"
  done
  for network in $pods $services; do # Docker may have been given the same
    used=$(ip -4 route show root $network | grep -vE ' dev (cni0|flannel)' || true)
    [ -z "$used" ] || fail "k3s needs $network for itself, but this server already uses it: $used"
  done
}

run() { # runs a command, or prints it with --dry-run
  if [ -n "$dry" ]; then
    printf '  %s\n' "$*"
  else
    "$@"
  fi
}
put() { # PATH MODE: writes standard input to the file
  local path=$root$1 content
  content=$(cat)
  if [ -f "$path" ] && [ "$content" = "$(cat "$path")" ]; then return; fi
  if [ -n "$dry" ]; then
    printf '  write %s (%s)\n' "$1" "$2"
    return
  fi
  mkdir -p "$(dirname "$path")"
  (umask 077 && printf '%s\n' "$content" >"$path.new")
  chmod "$2" "$path.new"
  mv "$path.new" "$path"
}

install_packages() {
  local package packages=(ca-certificates curl python3) missing=()
  [ "$edge" = existing ] || packages+=(${firewall:+ufw})
  for package in "${packages[@]}"; do
    dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null | grep -qx installed || missing+=("$package")
  done
  [ ${#missing[@]} -gt 0 ] || return 0
  # A new server updates itself for some minutes, and locks apt meanwhile.
  run apt-get update -qq -o DPkg::Lock::Timeout=300
  run env DEBIAN_FRONTEND=noninteractive apt-get install -qq -o DPkg::Lock::Timeout=300 --no-install-recommends "${missing[@]}"
}

# The server's own firewall stays as it is. Where ufw is active, it would stop the traffic of pods.
adapt_firewall() {
  if ! ufw status 2>/dev/null | grep -qx 'Status: active'; then
    say "ufw is not active, leaving the firewall unchanged. Close port 6443, the API server, to the internet"
    return
  fi
  run ufw allow from $pods comment "k3s pods"
  run ufw allow from $services comment "k3s services"
}

install_firewall() {
  local port
  # SSH first: ufw may be active already, and nothing below may cut off this SSH session.
  for port in $(sshd -T 2>/dev/null | awk '/^port / {print $2}' || true) ${SSH_CONNECTION:+"${SSH_CONNECTION##* }"}; do
    run ufw allow "$port/tcp" comment ssh
  done
  run ufw allow 22/tcp comment ssh # also if sshd is socket-activated
  run ufw allow 80/tcp comment "Slipway: certificates, redirects"
  run ufw allow 443/tcp comment "Slipway"
  # ufw's rules come before kube-proxy's. 6443, the API server, stays closed to the outside.
  run ufw allow from $pods comment "k3s pods"
  run ufw allow from $services comment "k3s services"
  run ufw default deny incoming
  run ufw default allow outgoing
  run ufw --force enable
}

install_helm() {
  local architecture checksum work name
  case $(uname -m) in
    x86_64) architecture=amd64 checksum=$HELM_SHA256_AMD64 ;;
    *) architecture=arm64 checksum=$HELM_SHA256_ARM64 ;;
  esac
  [[ "$("$root/usr/local/bin/helm" version --template '{{.Version}}' 2>/dev/null || true)" != "$HELM_VERSION" ]] || return 0
  if [ -n "$dry" ]; then
    printf '  install helm %s\n' "$HELM_VERSION"
    return
  fi
  work=$(mktemp -d)
  name=helm-$HELM_VERSION-linux-$architecture.tar.gz
  curl --fail --silent --show-error --location --proto '=https' --retry 3 --output "$work/$name" "https://get.helm.sh/$name"
  sha256sum --check --status <<<"$checksum  $work/$name" ||
    fail "https://get.helm.sh/$name has the wrong checksum: $(sha256sum <"$work/$name" | cut -c -64). It was not installed"
  tar --extract --gzip --file "$work/$name" --directory "$work" "linux-$architecture/helm"
  install -D -m 755 "$work/linux-$architecture/helm" "$root/usr/local/bin/helm"
  rm -rf "$work"
}

# A separate Linux user without privileges on the server, whose kubeconfig is limited to this namespace.
install_deploy_user() {
  local home=/home/$deploy_user kubeconfig
  id "$deploy_user" >/dev/null 2>&1 || run useradd --create-home --shell /bin/bash "$deploy_user"
  run install -d -m 700 -o "$deploy_user" -g "$deploy_user" "$root$home/.ssh" "$root$home/.kube"
  [ -z "$key" ] || put "$home/.ssh/authorized_keys" 600 <<<"restrict $key" # no terminal, no forwarding
  if [ -n "$dry" ]; then
    printf '  create a service account and %s/.kube/config\n' "$home"
    return
  fi
  kubeconfig=$("$here/deploy-account.sh")
  put "$home/.kube/config" 600 <<<"$kubeconfig"
  chown -R "$deploy_user:$deploy_user" "$root$home/.ssh" "$root$home/.kube"
}

# Writes which Traefik serves ports 80 and 443 into k3s's configuration.
configure_edge() {
  if [ "$edge" = existing ]; then
    put $edge_config 644 <"$here/k3s-existing-edge.yaml"
  elif [ -e "$root$edge_config" ]; then
    run rm "$root$edge_config"
  fi
}

# Kubernetes deletes the Service of k3s's Traefik only after the load balancer of k3s released it, which no longer runs.
release_traefik() {
  [ -n "$(kubectl --namespace kube-system get service traefik --ignore-not-found -o name 2>/dev/null)" ] || return 0
  run kubectl --namespace kube-system patch service traefik --type=merge --patch '{"metadata": {"finalizers": null}}'
}

install_slipway() { # OPTION…
  run "$here/install.sh" --config "$config" --host "$host" --images "$images" --edge "$edge" "${more[@]}" "$@"
}

# First the release gives up its Ingress and Middleware: helm cannot upgrade it after k3s deleted their kinds.
leave_traefik() {
  local ingress
  if [ "$edge" != existing ] || [ -e "$root$edge_config" ] || [ ! -r "$KUBECONFIG" ]; then return; fi
  ingress=$(kubectl --namespace "$namespace" get ingress slipway-launcher --ignore-not-found -o name) ||
    fail "the cluster does not answer, so it is not known whether Slipway still uses the Traefik of k3s; see systemctl status k3s"
  [ -n "$ingress" ] || return 0
  say "moving Slipway behind the existing Traefik"
  install_slipway --no-verify # which comes at the end
}

check_options
if [ -z "$edge" ]; then
  edge=k3s
  [ ! -e "$root$edge_config" ] || edge=existing
fi
check_machine
say "installing packages"
install_packages
if [ -z "$dry" ] || command -v python3 >/dev/null; then python3 "$here/config.py" "$config" --check; fi
if [ -n "$firewall" ]; then
  say "setting up the firewall"
  if [ "$edge" = existing ]; then adapt_firewall; else install_firewall; fi
fi
leave_traefik
say "installing k3s"
configure_edge
run "$here/k3s.sh" # restarts k3s if its settings changed
[ "$edge" != existing ] || release_traefik
say "installing helm $HELM_VERSION"
install_helm
# An existing release keeps its values, such as the image tag.
if [ -n "$dry" ] || ! helm_ status "$release" >/dev/null 2>&1; then more=(--values "$preset" "${more[@]}"); fi
say "installing Slipway"
status=0
install_slipway || status=$? # a failed check must not leave the server without its user
if [ -n "$key" ] || [ -e "$root/home/$deploy_user/.kube/config" ]; then
  say "setting up the user $deploy_user"
  install_deploy_user
fi
[ "$status" = 0 ] || exit "$status"
[ -n "$dry" ] || say "done: https://$host"
