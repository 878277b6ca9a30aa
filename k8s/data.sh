#!/usr/bin/env bash
# Saves the volume with logs, records and artifacts into a file, or puts a saved one back.
#
#   data.sh backup FILE.tar.gz     may run at any time; a run that is active is saved as far as it is
#   data.sh restore FILE.tar.gz    adds what the volume has not; what it has stays
#
# Redis need not be saved: it is written anew from the archive, as MongoDB's history is. Secrets are made from the
# configuration folder: keep that, too.
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
  [ ! -e "$file" ] || fail "$file is there already"
  trap 'rm -f "$file.part"' EXIT
  # 1: a file grew while it was read. Archives are appended to, so what was read holds.
  # shellcheck disable=SC2016
  in_pod sh -c 'tar --directory /data --create --gzip --exclude=archive/.lock archive applications || [ $? = 1 ]' </dev/null >"$file.part"
  tar --list --file "$file.part" --gzip >/dev/null || fail "what came of it is no whole archive; try again"
  mv "$file.part" "$file"
  say "saved $(tar --list --file "$file" | grep -c '/$') folders, $(du -h "$file" | cut -f1), in $file"
  exit
fi
tar --list --file "$file" --gzip >/dev/null || fail "$file is no backup, or not whole"
in_pod tar --directory /data --extract --gzip --skip-old-files --no-same-owner <"$file"
say "restored; launcher and operator start again, to see it"
kube rollout restart "$launcher" deployment/slipway-operator >/dev/null
for each in "$launcher" deployment/slipway-operator; do kubectl --namespace "$namespace" rollout status "$each" --timeout=180s; done
