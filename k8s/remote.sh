#!/usr/bin/env bash
# Runs a script of this folder on the server: copies k8s/ and charts/ of this checkout over SSH and runs it there.
#
#   remote.sh SCRIPT [ARGUMENT…]       for example: remote.sh install.sh --image-tag SHA
#
# It reads VPS_HOST, VPS_USER and VPS_SSH_KEY (the private key itself) from the environment, and optionally VPS_PORT
# (default: 22) and VPS_KNOWN_HOSTS: the output of `ssh-keyscan HOST`, verified against the server's
# /etc/ssh/ssh_host_*_key.pub. Without it, any host key is trusted.
set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=common.sh
. "$(dirname "${BASH_SOURCE[0]}")/common.sh"

case ${1:-} in
  -h | --help) usage && exit ;;
  install.sh | rollback.sh) ;;
  *) wrong "the script must be install.sh or rollback.sh" ;;
esac
for name in VPS_HOST VPS_USER VPS_SSH_KEY; do
  [ -n "${!name:-}" ] || fail "$name is not set; add it in Settings > Secrets and variables > Actions"
done
[[ $VPS_HOST =~ ^[A-Za-z0-9.:-]+$ && $VPS_HOST != -* ]] || fail "VPS_HOST is not a valid host name or address"
[[ $VPS_USER =~ ^[a-z_][a-z0-9_-]*$ ]] || fail "VPS_USER is not a valid user name"
[[ ${VPS_PORT:-22} =~ ^[0-9]+$ ]] || fail "VPS_PORT is not a valid port"

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
(umask 077 && printf '%s\n' "${VPS_SSH_KEY//$'\r'/}" >"$work/key")
if [ -n "${VPS_KNOWN_HOSTS:-}" ]; then
  printf '%s\n' "$VPS_KNOWN_HOSTS" >"$work/known_hosts"
  trust=yes
else
  say "VPS_KNOWN_HOSTS is not set, so any host key is trusted; docs/how-to/deploy-on-a-vps.md explains how to pin it"
  trust=accept-new
fi
ssh_() {
  ssh -F /dev/null -i "$work/key" -o IdentitiesOnly=yes -o BatchMode=yes -p "${VPS_PORT:-22}" -o ConnectTimeout=20 -o ServerAliveInterval=15 \
    -o ServerAliveCountMax=4 -o UserKnownHostsFile="$work/known_hosts" -o StrictHostKeyChecking="$trust" \
    -- "$VPS_USER@$VPS_HOST" "$@"
}
printf -v command ' %q' "$@"
# Each deployment has its own folder, so that concurrent ones do not run each other's scripts.
tar --create --gzip --directory "$checkout" --exclude=__pycache__ \
  k8s charts .env.example launcher/__init__.py launcher/domain/__init__.py launcher/domain/setting_rules launcher/cli |
  ssh_ "set -e; folder=\$(mktemp -d); trap 'rm -rf \"\$folder\"' EXIT; tar --extract --gzip --directory \"\$folder\"; cd \"\$folder\"; k8s/${command:1}"
