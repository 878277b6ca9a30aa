#!/usr/bin/env bash
# Installs or upgrades k3s to the version in versions.env, writes its settings, and waits until its node is ready. Binary and
# installer are verified with the checksums next to it. Safe to run again: k3s restarts only if its version or its settings
# changed, and pods keep running meanwhile. Needs root.
#
#   k3s.sh [--version vX.Y.Z+k3sN --sha256 CHECKSUM]     another version, with its binary's checksum from
#                                                        sha256sum-amd64.txt or sha256sum-arm64.txt of the release
set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=common.sh
. "$(dirname "${BASH_SOURCE[0]}")/common.sh"
# k3s is configured by files alone. The installer would save these variables for the service, and save others the next time.
for name in $(compgen -e); do
  case $name in K3S_* | INSTALL_K3S_* | CONTAINERD_* | KINE_*) unset "$name" ;; esac
done
# shellcheck source-path=SCRIPTDIR source=versions.env
. "$here/versions.env"

version=$K3S_VERSION
root=${BOOTSTRAP_ROOT:-} # another root folder for files, for tests
binary=$root/usr/local/bin/k3s
settings=$root/etc/rancher/k3s/config.yaml.d/slipway.yaml
service=$root/etc/systemd/system/k3s.service
start_seconds=300

case $(uname -m) in
  x86_64) asset=k3s checksum=$K3S_SHA256_AMD64 ;;
  aarch64) asset=k3s-arm64 checksum=$K3S_SHA256_ARM64 ;;
  *) fail "k3s is not published for $(uname -m)" ;;
esac
case ${1:-} in
  "") ;;
  -h | --help) usage && exit ;;
  --version)
    [[ ${2:-} =~ ^v[0-9]+\.[0-9]+\.[0-9]+\+k3s[0-9]+$ ]] || wrong "--version needs a version, for example $version"
    [[ ${3:-} = --sha256 && ${4:-} =~ ^[0-9a-f]{64}$ ]] || wrong "--version needs --sha256, 64 hexadecimal digits"
    version=$2 checksum=$4
    ;;
  *) wrong "$1 is unknown" ;;
esac
[ "$(id -u)" = 0 ] || fail "k3s needs root"
need curl sha256sum install

# The installer rewrites the service. Options that someone else gave it would be lost, down to its database.
if grep -Eqs "^[[:space:]]+'" "$service" || grep -Eqs '^(K3S|CONTAINERD|KINE)_' "$service.env"; then
  fail "this k3s was installed with its own options; move them from $service and $service.env to /etc/rancher/k3s/config.yaml first"
fi

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
fetch() { # URL FILE CHECKSUM
  curl --fail --silent --show-error --location --proto '=https' --retry 3 --output "$2" "$1" || fail "could not download $1"
  sha256sum --check --status <<<"$3  $2" || fail "$1 has the wrong checksum: $(sha256sum <"$2" | cut -c -64), not $3. Nothing was changed"
}
replaced=''
replace() { # SOURCE TARGET MODE, whatever the umask: a running k3s keeps using the old file
  install -D -m "$3" "$1" "$2.new"
  mv "$2.new" "$2"
  replaced=1
}

# Kubernetes upgrades by one minor version at a time, and never goes back to an older one.
installed=$("$binary" --version 2>/dev/null | sed -nE '1s/^k3s version (v[^ ]+).*/\1/p' || true)
minor() { cut -d . -f 2 <<<"$1"; }
if [ -n "$installed" ] && [ "$installed" != "$version" ]; then
  if [ -z "${1:-}" ] && [ "$(printf '%s\n' "$installed" "$version" | sort --version-sort | tail -n 1)" = "$installed" ]; then
    say "k3s $installed is newer than $version, so it stays"
    version=$installed checksum=$(sha256sum <"$binary" | cut -c -64)
  fi
  case $(($(minor "$version") - $(minor "$installed"))) in
    0 | 1) ;;
    -*) fail "k3s $installed cannot be downgraded to $version; restore the copy of /var/lib/rancher/k3s/server from before the upgrade" ;;
    *) fail "k3s $installed cannot be upgraded to $version in one step; first upgrade to v1.$(($(minor "$installed") + 1)) with --version" ;;
  esac
fi

# Everything is checked and downloaded before anything changes.
"$here/k3s-settings.sh" >"$work/settings"
if ! sha256sum --check --status <<<"$checksum  $binary" 2>/dev/null; then
  say "downloading k3s $version"
  fetch "https://github.com/k3s-io/k3s/releases/download/${version/+/%2B}/$asset" "$work/k3s" "$checksum"
fi
fetch "https://raw.githubusercontent.com/k3s-io/k3s/${K3S_VERSION/+/%2B}/install.sh" "$work/install.sh" "$K3S_INSTALLER_SHA256"
[ ! -e "$work/k3s" ] || replace "$work/k3s" "$binary" 755
cmp --quiet "$work/settings" "$settings" || replace "$work/settings" "$settings" 644
# Earlier versions of this script wrote config.yaml itself.
own=$root/etc/rancher/k3s/config.yaml
if grep -qs "^# k3s's configuration on the server; bootstrap.sh copies it" "$own"; then rm "$own"; fi

# The installer creates the service, the links kubectl and crictl, and k3s-uninstall.sh. It must not start k3s: it waits for
# that without a limit, and removes all rules of the network policies before.
definition() { cat "$service" "$service.env" 2>/dev/null || true; }
before=$(definition)
INSTALL_K3S_SKIP_DOWNLOAD=true INSTALL_K3S_SKIP_SELINUX_RPM=true INSTALL_K3S_SKIP_START=true INSTALL_K3S_EXEC=server \
  INSTALL_K3S_BIN_DIR=${binary%/*} INSTALL_K3S_SYSTEMD_DIR=${service%/*} sh "$work/install.sh"

# Whether k3s runs with this binary, service and settings. The dates show it even if an earlier run was interrupted.
is_current() {
  local since newer
  systemctl is-active --quiet k3s && [ -z "$replaced" ] && [ "$before" = "$(definition)" ] || return 1
  since=$(date --date "$(TZ=UTC systemctl show --property=ExecMainStartTimestamp --value k3s)" +%s) || return 1
  newer=$(find "$binary" "$own" "$own.d" -newermt "@$((since + 1))" 2>/dev/null || true)
  [ -z "$newer" ]
}
end=$((SECONDS + start_seconds))
if ! is_current; then
  say "starting k3s"
  timeout $start_seconds systemctl restart k3s || fail "k3s does not start; see journalctl --unit k3s"
fi

node=$(sed -n 's/^node-name: //p' "$settings")
export KUBECONFIG=$root/etc/rancher/k3s/k3s.yaml
state() {
  "$binary" kubectl get node "$node" \
    -o jsonpath='{.status.nodeInfo.kubeletVersion} {.status.conditions[?(@.type=="Ready")].status}' 2>/dev/null || true
}
say "waiting for the node $node"
until [ "$(state)" = "$version True" ]; do
  [ "$SECONDS" -lt "$end" ] || fail "the node $node is not ready with $version after $start_seconds s (version and Ready: $(state)); see journalctl --unit k3s"
  sleep 1
done
say "k3s $version is ready"
