#!/usr/bin/env bash
# Installs or upgrades k3s to the version in versions.env, and waits until its node is ready. Binary and installer are
# verified with the checksums next to it. Safe to run again; needs root.
#
#   k3s.sh [--version vX.Y.Z+k3sN --sha256 CHECKSUM]     another version, with its binary's checksum from
#                                                        sha256sum-amd64.txt or sha256sum-arm64.txt of the release
set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=common.sh
. "$(dirname "${BASH_SOURCE[0]}")/common.sh"
# shellcheck source-path=SCRIPTDIR source=versions.env
. "$here/versions.env"

version=$K3S_VERSION
binary=/usr/local/bin/k3s
ready_seconds=300

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

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
fetch() { # URL FILE CHECKSUM
  curl --fail --silent --show-error --location --proto '=https' --retry 3 --output "$2" "$1" || fail "could not download $1"
  sha256sum --check --status <<<"$3  $2" || fail "$1 has the wrong checksum: $(sha256sum <"$2" | cut -c -64), not $3. Nothing was changed"
}

new=
if ! sha256sum --check --status <<<"$checksum  $binary" 2>/dev/null; then
  say "downloading k3s $version"
  fetch "https://github.com/k3s-io/k3s/releases/download/${version/+/%2B}/$asset" "$work/k3s" "$checksum"
  install -m 755 "$work/k3s" "$binary.new"
  mv "$binary.new" "$binary" # a running k3s keeps using its old file
  new=true
fi
fetch "https://raw.githubusercontent.com/k3s-io/k3s/${K3S_VERSION/+/%2B}/install.sh" "$work/install.sh" "$K3S_INSTALLER_SHA256"
# The installer creates the service, the links kubectl and crictl, and k3s-uninstall.sh. As the binary is already in place,
# it cannot detect a new version, so a restart is forced.
INSTALL_K3S_SKIP_DOWNLOAD=true INSTALL_K3S_SKIP_SELINUX_RPM=true INSTALL_K3S_FORCE_RESTART=$new \
  INSTALL_K3S_EXEC=server sh "$work/install.sh"

say "waiting for the node"
until "$binary" kubectl wait --for=condition=Ready node --all --timeout=10s >/dev/null 2>&1; do
  [ "$SECONDS" -lt "$ready_seconds" ] || fail "the node is not ready after $ready_seconds s; see journalctl -u k3s"
  sleep 1
done
say "k3s $version is ready"
