#!/usr/bin/env bash
# Pulls every image in a rendered chart onto the node with a temporary pod, and reports images that cannot be pulled.
#
#   pull-images.sh RENDERED [PULL_SECRET]
set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=common.sh
. "$(dirname "${BASH_SOURCE[0]}")/common.sh"

case ${1:-} in
  -h | --help) usage && exit ;;
  "") wrong "the rendered chart is missing" ;;
esac
rendered=$1 secret=${2:-} pod=slipway-pull seconds=${PULL_SECONDS:-600}
mapfile -t images < <(sed -nE 's/^ *(- )?(image|PIPELINE_IMAGE): "?([^" ]+)"?$/\3/p' "$rendered" | sort -u)
[ ${#images[@]} -gt 0 ] || fail "$rendered contains no image"

manifest() {
  cat <<POD
apiVersion: v1
kind: Pod
metadata: {name: $pod, labels: {app.kubernetes.io/part-of: slipway}}
spec:
  restartPolicy: Never
  terminationGracePeriodSeconds: 0
  automountServiceAccountToken: false
  enableServiceLinks: false
  securityContext: {runAsNonRoot: true, runAsUser: 10001, runAsGroup: 10001, seccompProfile: {type: RuntimeDefault}}
  imagePullSecrets: [${secret:+{name: $secret\}}]
  containers:
POD
  local n
  for n in "${!images[@]}"; do
    cat <<CONTAINER
    - name: image-$n
      image: "${images[n]}"
      command: ["true"]
      resources: {requests: {cpu: 1m, memory: 8Mi}, limits: {memory: 32Mi}}
      securityContext: {allowPrivilegeEscalation: false, capabilities: {drop: [ALL]}, readOnlyRootFilesystem: true}
CONTAINER
  done
}

remove() { kube delete pod "$pod" --ignore-not-found --wait --timeout=30s >/dev/null; }
trap remove EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
remove
end=$((SECONDS + seconds))
# In a new namespace, the default service account, which pods require, is created a moment later.
until kube get serviceaccount default >/dev/null 2>&1; do
  [ "$SECONDS" -lt "$end" ] || fail "the namespace $namespace has no service account"
  sleep 0.2
done
manifest | kube create --filename=- >/dev/null
while :; do
  states=$(kube get pod "$pod" -o jsonpath='{range .status.containerStatuses[*]}{.image}{"\t"}{.state.waiting.reason}{"\t"}{.state.waiting.message}{"\n"}{end}')
  # The image need not contain `true`: it is enough that the container was created.
  if failed=$(grep -E $'\t(ImagePullBackOff|InvalidImageName|ErrImageNeverPull)\t' <<<"$states"); then
    printf '%s\n' "$failed" >&2
    fail "these images cannot be pulled; nothing was changed. Was the tag pushed, and does registry.json grant access?"
  fi
  if [ -n "$states" ] && ! grep -qE $'\t(ContainerCreating|PodInitializing|ErrImagePull)\t' <<<"$states"; then break; fi
  [ "$SECONDS" -lt "$end" ] || fail "the images were not pulled within $seconds s; see kubectl -n $namespace describe pod $pod"
  sleep 0.5
done
say "pulled ${images[*]}"
