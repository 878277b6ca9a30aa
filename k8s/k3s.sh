#!/usr/bin/env bash
# Installs or upgrades k3s to a pinned version, and waits until its node is ready. Binary and installer are verified with
# the checksums below. Safe to run again; needs root.
#
#   k3s.sh [--version vX.Y.Z+k3sN --sha256 CHECKSUM]     another version, with its binary's checksum from
#                                                        sha256sum-amd64.txt or sha256sum-arm64.txt of the release
set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=common.sh
. "$(dirname "${BASH_SOURCE[0]}")/common.sh"

version=v1.36.4+k3s1
declare -A checksums=( # from the release's sha256sum-*.txt
  [k3s]=835873f37245fc615f547a2fe2af9402a347875f13fa64a1f136de644955ea3f
  [k3s-arm64]=c920706346d5ad4e5cd3c7bf1bb09ce71ebe07fec829e513e40f1caf98aed8bb
)
installer_version=v1.36.4+k3s1
installer_checksum=46177d4c99440b4c0311b67233823a8e8a2fc09693f6c89af1a7161e152fbfad # from install.sh.sha256sum next to it
binary=/usr/local/bin/k3s
ready_seconds=300

case $(uname -m) in
  x86_64) asset=k3s ;;
  aarch64) asset=k3s-arm64 ;;
  *) fail "k3s is not published for $(uname -m)" ;;
esac
checksum=${checksums[$asset]}
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
fetch "https://raw.githubusercontent.com/k3s-io/k3s/${installer_version/+/%2B}/install.sh" "$work/install.sh" "$installer_checksum"
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
