#!/usr/bin/env bash
# Prints k3s's settings for this server: k3s.yaml, the node's name, and how many finished pods the disk can hold.
#
#   k3s-settings.sh
set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=common.sh
. "$(dirname "${BASH_SOURCE[0]}")/common.sh"

case ${1:-} in
  "") ;;
  -h | --help) usage && exit ;;
  *) wrong "$1 is unknown" ;;
esac
root=${BOOTSTRAP_ROOT:-} # another root folder for files, for tests
server=$root/var/lib/rancher/k3s/server
certificate=$root/var/lib/rancher/k3s/agent/client-kubelet.crt
pod_log_mib=100 # container-log-max-size × container-log-max-files in k3s.yaml
min_pods=20 max_pods=1000

# k3s names a node after the host. If the host name changes, k3s creates a second node, and volumes, which belong to the
# first one by name, no longer find theirs. So the name that the node has is kept: in the settings, else in its certificate.
node_name() {
  local name
  name=$({ cat "$root"/etc/rancher/k3s/config.yaml{,.d/*.y*ml} 2>/dev/null || true; } |
    sed -nE "s/^node-name: *[\"']?([^\"' #]+).*/\1/p" | tail -n 1)
  if [ -z "$name" ] && [ -e "$certificate" ]; then
    name=$(openssl x509 -noout -subject -nameopt multiline -in "$certificate" | sed -n 's/^ *commonName *= *system:node://p')
  fi
  [ -n "$name" ] || name=$(tr '[:upper:]' '[:lower:]' <"$root/proc/sys/kernel/hostname")
  [[ $name =~ ^[a-z0-9]([a-z0-9.-]*[a-z0-9])?$ && ${#name} -le 63 ]] ||
    fail "$name cannot be the name of a node: use at most 63 lower-case letters, digits, - and . (hostnamectl set-hostname NAME)"
  printf '%s\n' "$name"
}

# A fifth of the disk, at 100 MiB per pod, so two pods per GiB. Finished runs beyond that lose their pod and `kubectl logs`
# before their Job expires; `slipway logs` has them for RETENTION_DAYS. The operator needs a finished pod only until it has
# its log, and while the operator is down, no run starts: 20 pods are more than it can have left to read.
finished_pods() {
  local disk_gib pods
  disk_gib=$(df --output=size --block-size=1G "$root/var" | tail -n 1 | tr -d ' ')
  pods=$((disk_gib * 1024 / 5 / pod_log_mib))
  printf '%s\n' $((pods < min_pods ? min_pods : pods > max_pods ? max_pods : pods))
}

# k3s cannot turn encryption on in a cluster that was created without it.
encryption() {
  if [ -e "$server/db" ] && [ ! -e "$server/cred/encryption-config.json" ]; then
    say "this cluster was created without encryption of Secrets, so they stay unencrypted on its disk" >&2
    return
  fi
  cat <<YAML

# Encrypt Secrets in the cluster's database.
secrets-encryption: true
YAML
}

name=$(node_name)
pods=$(finished_pods)
cat "$here/k3s.yaml"
encryption
cat <<YAML

# The name that this node has had since k3s was installed; the host name can change.
node-name: $name

kube-controller-manager-arg+:
  # A fifth of the disk, at $pod_log_mib MiB of logs per pod.
  - terminated-pod-gc-threshold=$pods
YAML
