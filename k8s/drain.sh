#!/usr/bin/env bash
# Pauses the queue and waits until no run is active. New runs are still accepted; they are queued until `make resume`.
#
#   drain.sh [--timeout SECONDS]     without it, waits until all runs have finished
#
# Ctrl-C only stops waiting: the queue stays paused. With RUNNER_URL and RUNNER_API_SECRET, it uses that launcher,
# otherwise the one in the namespace $NAMESPACE (default: slipway).
set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=common.sh
. "$(dirname "${BASH_SOURCE[0]}")/common.sh"

timeout=
case ${1:-} in
  "") ;;
  -h | --help) usage && exit ;;
  --timeout)
    [[ ${2:-} =~ ^[0-9]+$ ]] || wrong "--timeout takes seconds"
    timeout=$2
    ;;
  *) wrong "$1 is unknown" ;;
esac

# Ctrl-C also reaches the command that polls; this script then reports the state.
stopped() {
  say "stopped waiting. The queue stays paused and runs continue; to resume: make resume"
  exit 130
}
slipway pause
trap stopped INT
before='' failures=0
while :; do
  if active=$(slipway ps --status running --limit 500 2>/dev/null); then
    failures=0
    [ -n "$active" ] || break
    if [ "$active" != "$before" ]; then
      say "waiting for $(wc -l <<<"$active") run(s):"
      printf '%s\n' "$active" | sed 's/^/  /'
      before=$active
    fi
  elif [ $((failures += 1)) -ge 30 ]; then # an upgrade replaces the launcher within seconds
    fail "the launcher is not responding; the queue stays paused"
  fi
  [ -z "$timeout" ] || [ "$SECONDS" -lt "$timeout" ] || fail "still active after $timeout s; the queue stays paused. To resume: make resume"
  sleep 1 &
  wait $! || true
done
say "no run is active. To resume the queue: make resume"
