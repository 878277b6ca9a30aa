#!/usr/bin/env bash
# Checks with a temporary pod that a Redis outside the cluster can be reached from inside: its name resolves, it responds to
# PING, and it accepts the password and the database. Does nothing if the rendered chart installs a Redis of its own.
#
#   check-redis.sh RENDERED [PULL_SECRET]
set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=common.sh
. "$(dirname "${BASH_SOURCE[0]}")/common.sh"

case ${1:-} in
  -h | --help) usage && exit ;;
  "") wrong "the rendered chart is missing" ;;
esac
rendered=$1 pull_secret=${2:-} name=slipway-redis-check seconds=60
if grep -qx '  name: slipway-redis' "$rendered"; then exit; fi
first() { sed -nE "/$1/{s/$1/\1/p;q;}" "$rendered"; } # what the group in this expression matches first
image=$(first '^ *image: "?([^" ]*)"?$') # the launcher's: the same in every service
secret=$(first '^.*secretKeyRef: \{name: ([^,]+), key: REDIS_URL,.*$')
if [ -n "$secret" ]; then value="valueFrom: {secretKeyRef: {name: $secret, key: REDIS_URL}}"; else value="value: \"$(first '^ *REDIS_URL: "(.*)"$')\""; fi

# The policies of an earlier install know nothing of this Redis, so the pod has a policy of its own.
manifest() {
  cat <<POD
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: $name, labels: {app.kubernetes.io/part-of: slipway}}
spec: {podSelector: {matchLabels: {app.kubernetes.io/name: $name}}, policyTypes: [Egress], egress: [{}]}
---
apiVersion: v1
kind: Pod
metadata: {name: $name, labels: {app.kubernetes.io/name: $name, app.kubernetes.io/part-of: slipway}}
spec:
  restartPolicy: Never
  terminationGracePeriodSeconds: 0
  automountServiceAccountToken: false
  enableServiceLinks: false
  securityContext: {runAsNonRoot: true, runAsUser: 10001, runAsGroup: 10001, seccompProfile: {type: RuntimeDefault}}
  imagePullSecrets: [${pull_secret:+{name: $pull_secret\}}]
  containers:
    - name: probe
      image: "$image"
      command: [python, -c]
      args:
        - |
$(sed 's/^/          /' "$here/redis_probe.py")
      env: [{name: REDIS_URL, $value}]
      resources: {requests: {cpu: 1m, memory: 32Mi}, limits: {memory: 96Mi}}
      securityContext: {allowPrivilegeEscalation: false, capabilities: {drop: [ALL]}, readOnlyRootFilesystem: true}
POD
}

remove() { kube delete pod,networkpolicy "$name" --ignore-not-found --wait --timeout=30s >/dev/null; }
trap remove EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
remove
manifest | kube create --filename=- >/dev/null
end=$((SECONDS + seconds))
until phase=$(kube get pod "$name" -o jsonpath='{.status.phase}') && [[ $phase = Succeeded || $phase = Failed ]]; do
  [ "$SECONDS" -lt "$end" ] || fail "the check of Redis did not finish within $seconds s; see kubectl -n $namespace describe pod $name"
  sleep 0.5
done
result=$(kube logs "$name" --tail=1)
[ "$phase" = Succeeded ] || fail "REDIS_URL: $result. Nothing was changed; see docs/how-to/deploy-beside-an-existing-traefik.md"
say "$result"
