#!/usr/bin/env bash
# Makes a fresh Debian or Ubuntu server into one that runs Slipway at https://NAME: k3s, helm, the firewall, a user that
# may deploy, and Slipway itself by install.sh. Safe to run again: what is as it should be stays. Needs root.
#
#   bootstrap.sh --config FOLDER --host NAME --images ghcr.io/OWNER/REPOSITORY [OPTION…]
#
#   --config FOLDER       .env, master-cv.md and, where wanted, credentials/ and registry.json; checked before all else
#   --host NAME           the name that callers use; it must point to this server before a certificate can be had
#   --images PREFIX       where the images are: PREFIX/runner and PREFIX/pipeline
#   --image-tag TAG       which of them (at first latest, later those that run)
#   --deploy-key KEY      the public SSH key that may deploy, as one line: "ssh-ed25519 AAAA… ci"
#   --no-firewall         leave ufw alone, where the provider has a firewall
#   --dry-run             say what would be done, and do nothing
#
# All else that install.sh takes is passed on to it.
set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=common.sh
. "$(dirname "${BASH_SOURCE[0]}")/common.sh"

helm_version=v3.21.3
declare -A helm_checksums=( # as the release's helm-*.tar.gz.sha256sum
  [amd64]=15e041a93a590dce8100f39385cd98c84a765c9e36aeeb9e2dc6ff9e4769e2e0
  [arm64]=67f58155079ff9ffab98ba5c88daff0ed9b542f3a4732f5dd426dde7dd0f5244
)
pods=10.42.0.0/16 services=10.43.0.0/16 # k3s' own
min_memory_mb=1800 preset_memory_mb=6000 min_disk_mb=15000
deploy_user=deploy
root=${BOOTSTRAP_ROOT:-} # another root folder for what is read and written, for tests

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
  [ -n "$host" ] || wrong "--host is missing: the name that callers use"
  [ -n "$images" ] || wrong "--images is missing: ghcr.io/OWNER/REPOSITORY, where the workflow pushes them"
  [[ $host =~ ^([a-z0-9]([a-z0-9-]*[a-z0-9])?\.)+[a-z]{2,}$ ]] || wrong "--host: $host is no name such as runner.example.com"
  [[ $images =~ ^[a-z0-9.:-]+(/[a-z0-9._-]+)+$ ]] || wrong "--images: $images is no place of images; it has small letters alone"
  [[ -z $key || $key =~ ^(ssh-ed25519|ssh-rsa|ecdsa-sha2-nistp256|sk-ssh-ed25519@openssh.com)\ [A-Za-z0-9+/=]+(\ [^\"]*)?$ ]] ||
    wrong "--deploy-key is no public key in one line; it is what stands in a file such as id_ed25519.pub"
}

check_machine() {
  local id version memory disk port listener
  [ "$(id -u)" = 0 ] || [ -n "$dry" ] || fail "this needs root: sudo $0 …"
  id=$(sed -n 's/^ID=//p' "$root/etc/os-release" | tr -d '"')
  version=$(sed -n 's/^VERSION_ID=//p' "$root/etc/os-release" | tr -d '"')
  case $id:${version%%.*} in
    debian:1[2-9] | ubuntu:2[2-9]) ;;
    *) fail "this is $id $version; it takes Debian 12 or Ubuntu 22.04, or newer" ;;
  esac
  case $(uname -m) in
    x86_64 | aarch64) ;;
    *) fail "this is a $(uname -m); k3s and helm are pinned for x86_64 and aarch64" ;;
  esac
  [ -d "$root/run/systemd/system" ] || fail "systemd does not run here; k3s is started by it"
  memory=$(awk '/^MemTotal:/ {print int($2 / 1024)}' "$root/proc/meminfo")
  [ "$memory" -ge $min_memory_mb ] || fail "this machine has $memory MB of memory; k3s and one run need $min_memory_mb"
  preset=$chart/values-8gb.yaml
  [ "$memory" -ge $preset_memory_mb ] || preset=$chart/values-4gb.yaml
  disk=$(df --output=avail --block-size=1M "$root/var" | tail -n 1 | tr -d ' ')
  [ "$disk" -ge $min_disk_mb ] || fail "/var has $disk MB free; images, logs and artifacts need $min_disk_mb"
  for port in 80 443 6443; do # k3s opens 80 and 443 without listening, and 6443 itself
    listener=$(ss -Hltnp "sport = :$port" | grep -v '"k3s' || true)
    [ -z "$listener" ] || fail "port $port is taken, free it first: $listener"
  done
}

run() { # does it, or says so
  if [ -n "$dry" ]; then
    printf '  %s\n' "$*"
  else
    "$@"
  fi
}
changed=''
put() { # PATH MODE: the file gets what comes in, if it is not so already; `changed` says which
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
  run ufw allow 22/tcp comment ssh # also where sshd is started by a socket
  run ufw allow 80/tcp comment "Slipway: certificates, redirects"
  run ufw allow 443/tcp comment "Slipway"
  # ufw looks before kube-proxy's rules do; 6443, the API server, stays closed to the outside.
  run ufw allow from $pods comment "k3s pods"
  run ufw allow from $services comment "k3s services"
  run ufw --force enable
}

install_helm() {
  local architecture work name
  case $(uname -m) in x86_64) architecture=amd64 ;; *) architecture=arm64 ;; esac
  [[ "$("$root/usr/local/bin/helm" version --template '{{.Version}}' 2>/dev/null || true)" != "$helm_version" ]] || return 0
  if [ -n "$dry" ]; then
    printf '  install helm %s\n' "$helm_version"
    return
  fi
  work=$(mktemp -d)
  name=helm-$helm_version-linux-$architecture.tar.gz
  curl --fail --silent --show-error --location --proto '=https' --retry 3 --output "$work/$name" "https://get.helm.sh/$name"
  sha256sum --check --status <<<"${helm_checksums[$architecture]}  $work/$name" ||
    fail "https://get.helm.sh/$name is not what it should be: $(sha256sum <"$work/$name" | cut -c -64). Nothing was installed from it"
  tar --extract --gzip --file "$work/$name" --directory "$work" "linux-$architecture/helm"
  install -D -m 755 "$work/linux-$architecture/helm" "$root/usr/local/bin/helm"
  rm -rf "$work"
}

# An own Linux user without any right on the server, whose kubeconfig is good for this namespace alone.
install_deploy_user() {
  local home=/home/$deploy_user token authority end=$((SECONDS + 60))
  id "$deploy_user" >/dev/null 2>&1 || run useradd --create-home --shell /bin/bash "$deploy_user"
  run install -d -m 700 -o "$deploy_user" -g "$deploy_user" "$root$home/.ssh" "$root$home/.kube"
  put "$home/.ssh/authorized_keys" 600 <<<"restrict $key" # no terminal, no tunnels
  if [ -n "$dry" ]; then
    printf '  a service account for it, and %s/.kube/config\n' "$home"
    return
  fi
  sed "s/@namespace@/$namespace/g" "$here/deploy-account.yaml" | kubectl apply --filename=- >/dev/null
  until token=$(kube get secret slipway-deploy -o jsonpath='{.data.token}') && [ -n "$token" ]; do
    [ "$SECONDS" -lt "$end" ] || fail "Kubernetes makes no token for the service account slipway-deploy"
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
say "installing helm $helm_version"
install_helm
export KUBECONFIG=${KUBECONFIG:-$root/etc/rancher/k3s/k3s.yaml}
# A release that is there keeps what it was given since, such as its image's tag.
if [ -n "$dry" ] || ! helm_ status "$release" >/dev/null 2>&1; then more=(--values "$preset" "${more[@]}"); fi
say "installing Slipway"
run "$here/install.sh" --config "$config" --host "$host" --images "$images" "${more[@]}"
if [ -n "$key" ]; then say "making the user $deploy_user" && install_deploy_user; fi
[ -n "$dry" ] || say "done: https://$host"
