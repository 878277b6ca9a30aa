#!/usr/bin/env bash
# Pauses the queue and waits until no run is active. Requests are still taken; they wait until `make resume`.
#
#   drain.sh [--timeout SECONDS]     without it, it waits for as long as the runs take
#
# Ctrl-C ends the waiting alone: the queue stays paused. With RUNNER_URL and RUNNER_API_SECRET it asks that launcher,
# otherwise the one in the namespace $NAMESPACE (slipway).
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

# The terminal's Ctrl-C reaches the command that asks, too; then it is this script's turn to say how things stand.
stopped() {
  say "no longer waiting. The queue stays paused, runs go on; make resume starts it again"
  exit 130
}
slipway pause
trap stopped INT
before='' asked=0
while :; do
  if active=$(slipway ps --status running --limit 500 2>/dev/null); then
    asked=0
    [ -n "$active" ] || break
    if [ "$active" != "$before" ]; then
      say "waiting for $(wc -l <<<"$active") run(s):"
      printf '%s\n' "$active" | sed 's/^/  /'
      before=$active
    fi
  elif [ $((asked += 1)) -ge 30 ]; then # an upgrade replaces the launcher within seconds
    fail "the launcher does not answer any more; the queue stays paused"
  fi
  [ -z "$timeout" ] || [ "$SECONDS" -lt "$timeout" ] || fail "still active after $timeout s; the queue stays paused, make resume starts it again"
  sleep 1 &
  wait $! || true
done
say "no run is active, and none starts until make resume"
