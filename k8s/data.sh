#!/usr/bin/env bash
# Backs up the volume with logs, records and artifacts to a file, or restores it.
#
#   data.sh backup FILE.tar.gz     can run at any time; an active run is saved in its current state
#   data.sh restore FILE.tar.gz    adds missing files to the volume; existing files stay unchanged
#
# Redis and MongoDB's history need no backup: they are rebuilt from the archive. Secrets are created from the configuration
# folder, so keep a copy of that too.
set -euo pipefail
umask 077
# shellcheck source-path=SCRIPTDIR source=common.sh
. "$(dirname "${BASH_SOURCE[0]}")/common.sh"

in_pod() { kubectl --namespace "$namespace" exec --stdin "$launcher" --container launcher -- "$@"; }
case ${1:-} in
  -h | --help) usage && exit ;;
  backup | restore) [ $# = 2 ] || wrong "$1 takes one file" ;;
  *) wrong "backup or restore is missing" ;;
esac
file=$2
need kubectl tar

if [ "$1" = backup ]; then
  [ ! -e "$file" ] || fail "$file already exists"
  trap 'rm -f "$file.part"' EXIT
  # Exit code 1: a file grew while it was read. Archives are append-only, so the backup is still valid.
  # shellcheck disable=SC2016
  in_pod sh -c 'tar --directory /data --create --gzip --exclude=archive/.lock archive applications || [ $? = 1 ]' </dev/null >"$file.part"
  tar --list --file "$file.part" --gzip >/dev/null || fail "the backup is incomplete; try again"
  mv "$file.part" "$file"
  say "saved $(tar --list --file "$file" | grep -c '/$') folders, $(du -h "$file" | cut -f1), in $file"
  exit
fi
tar --list --file "$file" --gzip >/dev/null || fail "$file is not a backup, or is incomplete"
in_pod tar --directory /data --extract --gzip --skip-old-files --no-same-owner <"$file"
say "restored; restarting launcher and operator"
kube rollout restart "$launcher" deployment/slipway-operator >/dev/null
for each in "$launcher" deployment/slipway-operator; do kubectl --namespace "$namespace" rollout status "$each" --timeout=180s; done
