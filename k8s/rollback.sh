#!/usr/bin/env bash
# Rolls back to an earlier revision of the release and checks its health. Runs, logs and Secrets stay unchanged.
#
#   rollback.sh             the previous revision
#   rollback.sh REVISION    a revision from `rollback.sh --list`
set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=common.sh
. "$(dirname "${BASH_SOURCE[0]}")/common.sh"

revision=${1:-0}
case $revision in
  -h | --help) usage && exit ;;
  --list) need helm && helm_ history "$release" && exit ;;
esac
[[ $revision =~ ^[0-9]+$ ]] || wrong "$revision is not a revision"
need helm
helm_ rollback "$release" "$revision" --wait --timeout 300s
helm_ test "$release" --timeout 120s >/dev/null || fail "Slipway is running but not healthy; see docs/how-to/troubleshoot.md"
helm_ history "$release" --max 3
