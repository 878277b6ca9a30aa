"""What a launcher that was taken over could send to Kubernetes: Jobs, patches, and other requests."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

Manifest = dict[str, Any]
Change = Callable[[Manifest], object]
"""Changes a run's Job in place."""


def _pod(**fields: Any) -> Change:
    return lambda job: job["spec"]["template"]["spec"].update(fields)


def _pod_security(**fields: Any) -> Change:
    return lambda job: job["spec"]["template"]["spec"]["securityContext"].update(fields)


def _container(**fields: Any) -> Change:
    return lambda job: job["spec"]["template"]["spec"]["containers"][0].update(fields)


def _container_security(**fields: Any) -> Change:
    return lambda job: job["spec"]["template"]["spec"]["containers"][0]["securityContext"].update(fields)


def _volume(**source: Any) -> Change:
    return lambda job: job["spec"]["template"]["spec"]["volumes"].append({"name": "more", **source})


def _mount(**fields: Any) -> Change:
    """Mount the claim once more."""
    mount = {"name": "data", "mountPath": "/more", **fields}
    return lambda job: job["spec"]["template"]["spec"]["containers"][0]["volumeMounts"].append(mount)


def _variable(**source: Any) -> Change:
    variable = {"name": "MORE", "valueFrom": source}
    return lambda job: job["spec"]["template"]["spec"]["containers"][0]["env"].append(variable)


def _job(**fields: Any) -> Change:
    return lambda job: job["spec"].update(fields)


def _metadata(**fields: Any) -> Change:
    return lambda job: job["metadata"].update(fields)


def _template(**fields: Any) -> Change:
    return lambda job: job["spec"]["template"]["metadata"].update(fields)


def _unlabelled(job: Manifest) -> None:
    del job["metadata"]["labels"]
    job["spec"]["suspend"] = False


def _without_automount_setting(job: Manifest) -> None:
    del job["spec"]["template"]["spec"]["automountServiceAccountToken"]


_CONTAINER: Manifest = {
    "name": "more",
    "image": "localhost/slipway-tests:test",
    "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
}
_HTTP: Manifest = {"httpGet": {"host": "169.254.169.254", "port": 80}}
_OWNER: Manifest = {"apiVersion": "v1", "kind": "ConfigMap", "name": "none", "uid": "0"}
_RUN = {"slipway.dev/run": "true"}
_OF_LAUNCHER = {**_RUN, "app.kubernetes.io/name": "slipway-launcher"}

JOBS: dict[str, Change] = {
    # Secrets and other objects of the namespace.
    "volume: launcher's Secret": _volume(secret={"secretName": "slipway-env"}),
    "volume: Redis password": _volume(secret={"secretName": "slipway-redis"}),
    "volume: deploy token": _volume(secret={"secretName": "slipway-deploy"}),
    "volume: pull secret": _volume(secret={"secretName": "slipway-registry"}),
    "volume: runs' variables as files": _volume(secret={"secretName": "slipway-pipeline"}),
    "volume: projected Secret": _volume(projected={"sources": [{"secret": {"name": "slipway-env"}}]}),
    "volume: projected token": _volume(projected={"sources": [{"serviceAccountToken": {"path": "token"}}]}),
    "volume: other ConfigMap": _volume(configMap={"name": "slipway-config"}),
    "variable: launcher's Secret": _variable(secretKeyRef={"name": "slipway-env", "key": "RUNNER_API_SECRET"}),
    "variable: Redis password": _variable(secretKeyRef={"name": "slipway-redis", "key": "REDIS_PASSWORD"}),
    "variable: ConfigMap": _variable(configMapKeyRef={"name": "slipway-config", "key": "ENGINE"}),
    "variables: launcher's Secret": _container(envFrom=[{"secretRef": {"name": "slipway-env"}}]),
    "variables: ConfigMap": _container(envFrom=[{"configMapRef": {"name": "slipway-config"}}]),
    "other pull secret": _pod(imagePullSecrets=[{"name": "slipway-env"}]),
    # Other volumes, and the rest of its own.
    "volume: host path": _volume(hostPath={"path": "/"}),
    "volume: other claim": _volume(persistentVolumeClaim={"claimName": "data-slipway-redis-0"}),
    "volume: NFS": _volume(nfs={"server": "192.0.2.1", "path": "/"}),
    "volume: CSI": _volume(csi={"driver": "secrets-store.csi.k8s.io"}),
    "volume: downward API": _volume(downwardAPI={"items": []}),
    "volume: new claim": _volume(
        ephemeral={
            "volumeClaimTemplate": {
                "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}
            }
        }
    ),
    "mount: whole claim": _mount(),
    "mount: all runs": _mount(subPath="applications"),
    "mount: another run": _mount(subPath="applications/another"),
    "mount: archive": _mount(subPath="archive", readOnly=True),
    "mount: path from a variable": _mount(subPathExpr="$(PIPELINE_PARAMS)"),
    # Accounts.
    "operator's account": _pod(serviceAccountName="slipway-operator"),
    "operator's account, old field": _pod(serviceAccount="slipway-operator"),
    "default account with its token": _pod(automountServiceAccountToken=True),
    "default account, token not refused": _without_automount_setting,
    # The node.
    "host network": _pod(hostNetwork=True),
    "host processes": _pod(hostPID=True),
    "host IPC": _pod(hostIPC=True),
    "host port": _container(ports=[{"containerPort": 80, "hostPort": 80}]),
    "host's DNS": _pod(dnsPolicy="Default"),
    "DNS of its own": _pod(dnsConfig={"nameservers": ["192.0.2.1"]}),
    "host names of its own": _pod(hostAliases=[{"ip": "192.0.2.1", "hostnames": ["slipway-redis"]}]),
    "host's user namespace": _pod(hostUsers=True),
    "chosen node": _pod(nodeName="node1"),
    "node by label": _pod(nodeSelector={"node-role.kubernetes.io/control-plane": "true"}),
    "tolerated taint": _pod(tolerations=[{"operator": "Exists"}]),
    "affinity": _pod(affinity={"podAntiAffinity": {}}),
    "priority": _pod(priorityClassName="system-node-critical"),
    "other runtime": _pod(runtimeClassName="none"),
    "other scheduler": _pod(schedulerName="none"),
    "never ends": _pod(terminationGracePeriodSeconds=10**9),
    "name in the cluster's DNS": _pod(hostname="slipway-redis", subdomain="slipway-redis"),
    # Privileges.
    "privileged": _container_security(privileged=True, allowPrivilegeEscalation=True),
    "capability": _container_security(capabilities={"add": ["NET_ADMIN"]}),
    "escalation": _container_security(allowPrivilegeEscalation=True),
    "writable root": _container_security(readOnlyRootFilesystem=False),
    "root in its container": _container_security(runAsUser=0, runAsNonRoot=False),
    "root": _pod_security(runAsUser=0, runAsNonRoot=False),
    "other user": _pod_security(runAsUser=999),
    "other group": _pod_security(runAsGroup=0),
    "other group of files": _pod_security(fsGroup=0),
    "more groups": _pod_security(supplementalGroups=[0]),
    "no seccomp": _pod_security(seccompProfile={"type": "Unconfined"}),
    "kernel settings": _pod_security(sysctls=[{"name": "kernel.shm_rmid_forced", "value": "1"}]),
    "no security context": _pod(securityContext={}),
    # Containers.
    "second container": lambda job: job["spec"]["template"]["spec"]["containers"].append(_CONTAINER),
    "init container": _pod(initContainers=[_CONTAINER]),
    "sidecar": _pod(initContainers=[{**_CONTAINER, "restartPolicy": "Always"}]),
    "shared processes": _pod(shareProcessNamespace=True),
    "request by the kubelet: probe": _container(livenessProbe=_HTTP),
    "request by the kubelet: hook": _container(lifecycle={"preStop": _HTTP}),
    "command instead of the image's": _container(command=["sh"]),
    "open standard input": _container(stdin=True),
    "other image": _container(image="docker.io/library/busybox:latest"),
    "image with a longer name": _container(image="localhost/slipway-tests-more:test"),
    "image beneath the repository": _container(image="localhost/slipway-tests/more:test"),
    "image of the launcher": _container(image="localhost/slipway:test"),
    "repository as a registry": _container(image="registry.example.com:5000/team/pipeline:5000/more"),
    # The Job.
    "not a run": _unlabelled,
    "no label": _metadata(labels={}),
    "other label": _metadata(labels={**_RUN, "slipway.dev/phase": "queued", "more": "true"}),
    "recorded": _metadata(labels={**_RUN, "slipway.dev/phase": "recorded"}),
    "record": _metadata(annotations={"slipway.dev/record": "{}"}),
    "kept by Helm": _metadata(annotations={"helm.sh/resource-policy": "keep"}),
    "owner": _metadata(ownerReferences=[_OWNER]),
    "finalizer": _metadata(finalizers=["example.com/never"]),
    "pod with the launcher's label": _template(labels=_OF_LAUNCHER),
    "pod without the label": _template(labels={}),
    "pod with an annotation": _template(annotations={"example.com/more": "true"}),
    "pod with a finalizer": _template(finalizers=["example.com/never"]),
    "not suspended": _job(suspend=False),
    "retried": _job(backoffLimit=3),
    "two pods at a time": _job(parallelism=2, completions=2),
    "deadline of the Job": _job(activeDeadlineSeconds=60),
    "deleted when finished": _job(ttlSecondsAfterFinished=0),
    "other controller": _job(managedBy="example.com/none"),
    "selector of its own": _job(manualSelector=True, selector={"matchLabels": _RUN}),
}
"""Jobs that are not those of a run, each different in one way."""

PATCHES: dict[str, Manifest] = {
    "pod's labels": {"spec": {"template": {"metadata": {"labels": _OF_LAUNCHER}}}},
    "pod's annotations": {"spec": {"template": {"metadata": {"annotations": {"example.com/more": "true"}}}}},
    "node": {"spec": {"template": {"spec": {"nodeSelector": {"kubernetes.io/hostname": "node1"}}}}},
    "taint": {"spec": {"template": {"spec": {"tolerations": [{"operator": "Exists"}]}}}},
    "affinity": {"spec": {"template": {"spec": {"affinity": {"nodeAffinity": {}}}}}},
    "scheduling gate": {"spec": {"template": {"spec": {"schedulingGates": [{"name": "example.com/never"}]}}}},
    "released past the queue": {"spec": {"suspend": False}},
    "more pods": {"spec": {"parallelism": 2}},
    "deadline of the Job": {"spec": {"activeDeadlineSeconds": 1}},
    "deleted when finished": {"spec": {"ttlSecondsAfterFinished": 0}},
    "retries": {"spec": {"backoffLimit": 9}},
    "hidden": {"metadata": {"labels": {"slipway.dev/run": None}}},
    "phase": {"metadata": {"labels": {"slipway.dev/phase": "recorded"}}},
    "record": {"metadata": {"annotations": {"slipway.dev/record": "{}"}}},
    "reason": {"metadata": {"annotations": {"slipway.dev/end-for": "TimedOut"}}},
    "priority": {"metadata": {"annotations": {"slipway.dev/priority": "9"}}},
    "lost job_id": {"metadata": {"annotations": {"slipway.dev/job-id": None}}},
    "deleted by its owner's absence": {"metadata": {"ownerReferences": [_OWNER]}},
    "finalizer": {"metadata": {"finalizers": ["example.com/never"]}},
}
"""Changes of a run's Job."""

QUEUE_PATCHES: dict[str, Manifest] = {
    "more data": {"data": {"more": "true"}},
    "immutable": {"immutable": True},
    "kept by Helm": {"metadata": {"annotations": {"helm.sh/resource-policy": "keep"}}},
    "label": {"metadata": {"labels": {"more": "true"}}},
    "deleted by its owner's absence": {"metadata": {"ownerReferences": [_OWNER]}},
    "finalizer": {"metadata": {"finalizers": ["example.com/never"]}},
}
"""Changes of the ConfigMap with the queue's state."""

_CORE, _BATCH = "/api/v1/namespaces/{namespace}", "/apis/batch/v1/namespaces/{namespace}"
_POLICIES = "/apis/admissionregistration.k8s.io/v1"
REQUESTS: tuple[tuple[str, str], ...] = (
    ("GET", f"{_CORE}/secrets"),
    ("GET", f"{_CORE}/secrets/slipway-redis"),
    ("GET", "/api/v1/namespaces/{namespace}-deploy/secrets/slipway-deploy"),
    ("GET", f"{_CORE}/configmaps"),
    ("POST", f"{_CORE}/configmaps"),
    ("GET", f"{_CORE}/pods"),
    ("POST", f"{_CORE}/pods"),
    ("POST", f"{_CORE}/pods/any/exec"),
    ("PATCH", f"{_CORE}/pods/any/ephemeralcontainers"),
    ("POST", f"{_CORE}/serviceaccounts/slipway-operator/token"),
    ("DELETE", f"{_CORE}/resourcequotas/slipway-runs"),
    ("PATCH", f"{_CORE}/resourcequotas/slipway-runs"),
    ("DELETE", f"{_CORE}/configmaps/slipway-queue"),
    ("DELETE", f"{_CORE}/persistentvolumeclaims/slipway-data"),
    ("DELETE", f"{_BATCH}/jobs/any"),
    ("PUT", f"{_BATCH}/jobs/any"),
    ("PATCH", f"{_BATCH}/jobs/any/status"),
    ("POST", f"{_BATCH}/cronjobs"),
    ("PATCH", "/apis/apps/v1/namespaces/{namespace}/deployments/slipway-operator"),
    ("PATCH", "/apis/coordination.k8s.io/v1/namespaces/{namespace}/leases/slipway-operator"),
    ("DELETE", "/apis/networking.k8s.io/v1/namespaces/{namespace}/networkpolicies/slipway-runs"),
    ("POST", "/apis/rbac.authorization.k8s.io/v1/namespaces/{namespace}/rolebindings"),
    ("PATCH", f"{_POLICIES}/validatingadmissionpolicies/slipway-runs-{{namespace}}"),
    ("DELETE", f"{_POLICIES}/validatingadmissionpolicies/slipway-runs-{{namespace}}"),
    ("DELETE", f"{_POLICIES}/validatingadmissionpolicybindings/slipway-runs-{{namespace}}"),
    ("PATCH", "/api/v1/namespaces/{namespace}"),
    ("GET", "/api/v1/nodes"),
    ("POST", "/apis/batch/v1/namespaces/default/jobs"),
    ("POST", "/apis/batch/v1/namespaces/kube-system/jobs"),
)
"""Requests that its role does not allow."""
