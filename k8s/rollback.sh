#!/usr/bin/env bash
# Goes back to an earlier revision of the release, and checks its health. Runs, their logs and the Secrets stay as they are.
#
#   rollback.sh             the revision before this one
#   rollback.sh REVISION    one that `rollback.sh --list` shows
set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=common.sh
. "$(dirname "${BASH_SOURCE[0]}")/common.sh"

revision=${1:-0}
case $revision in
  -h | --help) usage && exit ;;
  --list) need helm && helm_ history "$release" && exit ;;
esac
[[ $revision =~ ^[0-9]+$ ]] || wrong "$revision is no revision"
need helm
helm_ rollback "$release" "$revision" --wait --timeout 300s
helm_ test "$release" --timeout 120s >/dev/null || fail "it runs, but is not healthy: docs/how-to/troubleshoot.md says what to look at"
helm_ history "$release" --max 3
