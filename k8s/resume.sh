#!/usr/bin/env bash
# Starts the queue again, after drain.sh or `slipway pause`. With RUNNER_URL and RUNNER_API_SECRET it asks that launcher,
# otherwise the one in the namespace $NAMESPACE (slipway).
#
#   resume.sh
set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=common.sh
. "$(dirname "${BASH_SOURCE[0]}")/common.sh"

[ $# = 0 ] || { usage && exit; }
slipway resume
