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

config='' host='' images='' key='' firewall=1 dry='' more=()
while [ $# -gt 0 ]; do
  case $1 in
    -h | --help) usage && exit ;;
    --no-firewall) firewall='' ;;
    --dry-run) dry=1 ;;
    --config | --host | --images | --image-tag | --deploy-key | --values | --set | --timeout)
      [ -n "${2:-}" ] || wrong "$1 needs a value"
      case $1 in
        --config) config=$2 ;;
        --host) host=$2 ;;
        --images) images=${2%/} ;;
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
  [[ -z $key || $key =~ ^(ssh-ed25519|ssh-rsa|ecdsa-sha2-nistp256|sk-ssh-ed25519@openssh.com)\ [A-Za-z0-9+/=]+(\ [^\"]*)?$ ]] ||
    wrong "--deploy-key is not a public key on one line; use the content of a file such as id_ed25519.pub"
}

check_machine() {
  local id version memory disk port listener
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
  memory=$(awk '/^MemTotal:/ {print int($2 / 1024)}' "$root/proc/meminfo")
  [ "$memory" -ge $min_memory_mb ] || fail "this machine has $memory MB of memory; k3s and one run need $min_memory_mb"
  preset=$chart/values-8gb.yaml
  [ "$memory" -ge $preset_memory_mb ] || preset=$chart/values-4gb.yaml
  disk=$(df --output=avail --block-size=1M "$root/var" | tail -n 1 | tr -d ' ')
  [ "$disk" -ge $min_disk_mb ] || fail "/var has $disk MB free; images, logs and artifacts need $min_disk_mb"
  for port in 80 443 6443; do # k3s opens 80 and 443 without listening, and 6443 itself
    listener=$(ss -Hltnp "sport = :$port" | grep -v '"k3s' || true)
    [ -z "$listener" ] || fail "port $port is in use; stop the program first: $listener"
  done
}

run() { # runs a command, or prints it with --dry-run
  if [ -n "$dry" ]; then
    printf '  %s\n' "$*"
  else
    "$@"
  fi
}
changed=''
put() { # PATH MODE: writes standard input to the file; sets `changed` if it differs
  local path=$root$1 content
  content=$(cat)
  if [ -f "$path" ] && [ "$content" = "$(cat "$path")" ]; then
    changed=''
    return
  fi
  changed=1
  if [ -n "$dry" ]; then
    printf '  write %s (%s)\n' "$1" "$2"
    return
  fi
  mkdir -p "$(dirname "$path")"
  printf '%s\n' "$content" >"$path.new"
  chmod "$2" "$path.new"
  mv "$path.new" "$path"
}

install_packages() {
  local package missing=()
  for package in ca-certificates curl python3 ${firewall:+ufw}; do
    dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null | grep -qx installed || missing+=("$package")
  done
  [ ${#missing[@]} -gt 0 ] || return 0
  run apt-get update -qq
  run env DEBIAN_FRONTEND=noninteractive apt-get install -qq --no-install-recommends "${missing[@]}"
}

install_firewall() {
  local port
  run ufw default deny incoming
  run ufw default allow outgoing
  for port in $(sshd -T 2>/dev/null | awk '/^port / {print $2}' || true); do run ufw allow "$port/tcp" comment ssh; done
  run ufw allow 22/tcp comment ssh # also if sshd is socket-activated
  run ufw allow 80/tcp comment "Slipway: certificates, redirects"
  run ufw allow 443/tcp comment "Slipway"
  # ufw's rules come before kube-proxy's. 6443, the API server, stays closed to the outside.
  run ufw allow from $pods comment "k3s pods"
  run ufw allow from $services comment "k3s services"
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
  local home=/home/$deploy_user token authority end=$((SECONDS + 60))
  id "$deploy_user" >/dev/null 2>&1 || run useradd --create-home --shell /bin/bash "$deploy_user"
  run install -d -m 700 -o "$deploy_user" -g "$deploy_user" "$root$home/.ssh" "$root$home/.kube"
  put "$home/.ssh/authorized_keys" 600 <<<"restrict $key" # no terminal, no forwarding
  if [ -n "$dry" ]; then
    printf '  create a service account and %s/.kube/config\n' "$home"
    return
  fi
  sed "s/@namespace@/$namespace/g" "$here/deploy-account.yaml" | kubectl apply --filename=- >/dev/null
  until token=$(kube get secret slipway-deploy -o jsonpath='{.data.token}') && [ -n "$token" ]; do
    [ "$SECONDS" -lt "$end" ] || fail "Kubernetes created no token for the service account slipway-deploy"
    sleep 0.5
  done
  authority=$(kube get secret slipway-deploy -o jsonpath='{.data.ca\.crt}')
  put "$home/.kube/config" 600 <<KUBECONFIG
apiVersion: v1
kind: Config
clusters: [{name: k3s, cluster: {server: "https://127.0.0.1:6443", certificate-authority-data: "$authority"}}]
users: [{name: slipway-deploy, user: {token: "$(base64 --decode <<<"$token")"}}]
contexts: [{name: slipway, context: {cluster: k3s, user: slipway-deploy, namespace: "$namespace"}}]
current-context: slipway
KUBECONFIG
  chown -R "$deploy_user:$deploy_user" "$root$home/.ssh" "$root$home/.kube"
}

check_options
check_machine
say "installing packages"
install_packages
if [ -z "$dry" ] || command -v python3 >/dev/null; then python3 "$here/config.py" "$config" --check; fi
if [ -n "$firewall" ]; then say "setting up the firewall" && install_firewall; fi
say "installing k3s"
put /etc/rancher/k3s/config.yaml 600 <"$here/k3s.yaml"
[ -z "$changed" ] || ! systemctl is-active --quiet k3s || run systemctl restart k3s
run "$here/k3s.sh"
say "installing helm $HELM_VERSION"
install_helm
export KUBECONFIG=${KUBECONFIG:-$root/etc/rancher/k3s/k3s.yaml}
# An existing release keeps its values, such as the image tag.
if [ -n "$dry" ] || ! helm_ status "$release" >/dev/null 2>&1; then more=(--values "$preset" "${more[@]}"); fi
say "installing Slipway"
run "$here/install.sh" --config "$config" --host "$host" --images "$images" "${more[@]}"
if [ -n "$key" ]; then say "creating the user $deploy_user" && install_deploy_user; fi
[ -n "$dry" ] || say "done: https://$host"
