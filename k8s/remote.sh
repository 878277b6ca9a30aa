#!/usr/bin/env bash
# Runs a script of this folder on the server: sends k8s/ and charts/ of this checkout over SSH, and runs it from there.
#
#   remote.sh SCRIPT [ARGUMENT…]       such as: remote.sh install.sh --image-tag SHA
#
# It reads VPS_HOST, VPS_USER and VPS_SSH_KEY (the private key itself) from the environment, VPS_PORT where that is not 22,
# and VPS_KNOWN_HOSTS: what `ssh-keyscan HOST` prints, compared with the server's own /etc/ssh/ssh_host_*_key.pub. Without
# it the key that the server shows is taken on trust.
set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=common.sh
. "$(dirname "${BASH_SOURCE[0]}")/common.sh"

case ${1:-} in
  -h | --help) usage && exit ;;
  install.sh | rollback.sh) ;;
  *) wrong "the script is install.sh or rollback.sh" ;;
esac
for name in VPS_HOST VPS_USER VPS_SSH_KEY; do
  [ -n "${!name:-}" ] || fail "$name is not set: Settings, Secrets and variables, Actions"
done
[[ $VPS_HOST =~ ^[A-Za-z0-9.:-]+$ && $VPS_HOST != -* ]] || fail "VPS_HOST is no name or address"
[[ $VPS_USER =~ ^[a-z_][a-z0-9_-]*$ ]] || fail "VPS_USER is no user's name"
[[ ${VPS_PORT:-22} =~ ^[0-9]+$ ]] || fail "VPS_PORT is no port"

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
(umask 077 && printf '%s\n' "${VPS_SSH_KEY//$'\r'/}" >"$work/key")
if [ -n "${VPS_KNOWN_HOSTS:-}" ]; then
  printf '%s\n' "$VPS_KNOWN_HOSTS" >"$work/known_hosts"
  trust=yes
else
  say "VPS_KNOWN_HOSTS is not set, so whoever answers at VPS_HOST is trusted; docs/how-to/deploy-on-a-vps.md says how to pin it"
  trust=accept-new
fi
ssh_() {
  ssh -F /dev/null -i "$work/key" -o IdentitiesOnly=yes -o BatchMode=yes -p "${VPS_PORT:-22}" -o ConnectTimeout=20 -o ServerAliveInterval=15 \
    -o ServerAliveCountMax=4 -o UserKnownHostsFile="$work/known_hosts" -o StrictHostKeyChecking="$trust" \
    -- "$VPS_USER@$VPS_HOST" "$@"
}
printf -v command ' %q' "$@"
# A folder of its own for each deploy: where two meet, neither runs the other's scripts.
tar --create --gzip --directory "$checkout" --exclude=__pycache__ \
  k8s charts .env.example launcher/__init__.py launcher/domain/__init__.py launcher/domain/setting_rules |
  ssh_ "set -e; folder=\$(mktemp -d); trap 'rm -rf \"\$folder\"' EXIT; tar --extract --gzip --directory \"\$folder\"; cd \"\$folder\"; k8s/${command:1}"
