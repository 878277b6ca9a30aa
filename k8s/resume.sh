#!/usr/bin/env bash
# Resumes the queue after drain.sh or `slipway pause`. With RUNNER_URL and RUNNER_API_SECRET, it uses that launcher,
# otherwise the one in the namespace $NAMESPACE (default: slipway).
#
#   resume.sh
set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=common.sh
. "$(dirname "${BASH_SOURCE[0]}")/common.sh"

[ $# = 0 ] || { usage && exit; }
slipway resume
