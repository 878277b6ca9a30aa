"""The test cluster does what other tests rely on."""

import json
import os
import secrets
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator
from functools import partial
from http.server import HTTPServer, SimpleHTTPRequestHandler
from pathlib import Path
from typing import Any

import psutil
import pytest

from cluster import cluster as cluster_module
from cluster.cluster import LAUNCHER_IMAGE, PIPELINE_IMAGE, STATE, TESTS_IMAGE, Cluster, ClusterError, wait_until
from versions import VERSIONS

pytestmark = pytest.mark.disruptive
HERE = cluster_module.HERE
POD_SECONDS = 90.0
CHATTER = """
import time
while True:
    print("x" * 1000)
    time.sleep(0.0005)
"""
SERVER = """
from http.server import BaseHTTPRequestHandler, HTTPServer
class Hello(BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b"hello")
HTTPServer(("", 8000), Hello).serve_forever()
"""
UNTIL_BLOCKED = """
import socket, time
end = time.monotonic() + 30
while time.monotonic() < end:
    try:
        socket.create_connection(("10.43.0.1", 443), timeout=2).close()
    except OSError:
        print("blocked")
        break
    time.sleep(0.1)
"""
RESTRICTED = {
    "runAsNonRoot": True,
    "runAsUser": 10001,
    "runAsGroup": 10001,
    "fsGroup": 10001,
    "seccompProfile": {"type": "RuntimeDefault"},
}


@pytest.fixture
def namespace(cluster: Cluster) -> Iterator[str]:
    name = f"test-{secrets.token_hex(4)}"
    cluster.make_namespace(name)
    yield name
    cluster.kubectl("delete", "namespace", name, "--wait=false")


def pod(namespace: str, program: str, **spec: Any) -> dict[str, Any]:
    container = {
        "name": "main",
        "image": TESTS_IMAGE,
        "command": ["python3", "-c", program],
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        },
        "volumeMounts": spec.pop("mounts", []),
    }
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": f"pod-{secrets.token_hex(4)}", "namespace": namespace},
        "spec": {
            "restartPolicy": "Never",
            "terminationGracePeriodSeconds": 0,
            "securityContext": RESTRICTED,
            "containers": [container],
            **spec,
        },
    }


def run(cluster: Cluster, wanted: dict[str, Any]) -> str:
    """Run the pod until it finishes, and return its log."""
    cluster.apply(wanted)
    name, namespace = wanted["metadata"]["name"], wanted["metadata"]["namespace"]

    def final_phase() -> str:
        phase: str = cluster.json("get", "pod", name, f"--namespace={namespace}")["status"]["phase"]
        return phase if phase in ("Succeeded", "Failed") else ""

    phase = wait_until(final_phase, POD_SECONDS, f"pod {name} to finish")
    log = cluster.kubectl("logs", name, f"--namespace={namespace}")
    assert phase == "Succeeded", log
    return log


def kubelet_setting(cluster: Cluster, name: str) -> Any:
    path = "/api/v1/nodes/node1/proxy/configz"
    return json.loads(cluster.kubectl("get", "--raw", path))["kubeletconfig"][name]


def require_own_cluster(cluster: Cluster) -> None:
    if not cluster.can_control:
        pytest.skip("KUBECONFIG names an external cluster, which the tests do not control.")


def require_pinned_cluster(cluster: Cluster) -> None:
    if not cluster.can_control and cluster.kubeconfig != Path("/etc/rancher/k3s/k3s.yaml"):
        pytest.skip("KUBECONFIG names an external cluster, which has versions and addons of its own.")


def test_kubernetes_has_the_pinned_version(cluster: Cluster) -> None:
    require_pinned_cluster(cluster)
    pinned = VERSIONS["KUBERNETES_VERSION" if cluster.can_control else "K3S_VERSION"]
    [node] = cluster.json("get", "nodes")["items"]
    assert cluster.json("version")["serverVersion"]["gitVersion"] == pinned
    assert node["status"]["nodeInfo"]["kubeletVersion"] == pinned


def test_metrics_server_reports_the_memory_of_a_pod(cluster: Cluster) -> None:
    """Its own pod's, which has been running since the cluster's start, so that its metrics usually exist already."""
    require_pinned_cluster(cluster)

    def reported() -> list[str]:
        try:
            top = cluster.kubectl(
                "top", "pod", "--namespace=kube-system", "--selector=k8s-app=metrics-server", "--no-headers"
            )
        except ClusterError:  # not ready, or no metrics of this pod yet
            return []
        return top.split()

    _name, _cpu, memory = wait_until(reported, POD_SECONDS, "the memory of metrics-server's pod")
    assert memory.endswith("Mi"), memory
    assert 5 <= int(memory.removesuffix("Mi")) <= 150


def test_pod_resolves_a_service_by_name(cluster: Cluster, namespace: str) -> None:
    cluster.kubectl("create", "service", "clusterip", "greeter", "--tcp=80", f"--namespace={namespace}")
    address = cluster.json("get", "service", "greeter", f"--namespace={namespace}")["spec"]["clusterIP"]
    program = f"""
import socket
print(socket.gethostbyname("greeter"))
print(socket.gethostbyname("greeter.{namespace}.svc.cluster.local"))
"""
    assert run(cluster, pod(namespace, program)).split() == [address, address]


def test_pod_can_reach_a_test_server(cluster: Cluster, namespace: str, tmp_path: Path) -> None:
    (tmp_path / "word").write_text("reached")
    with HTTPServer((cluster.gateway, 0), partial(SimpleHTTPRequestHandler, directory=str(tmp_path))) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        url = f"http://{cluster.gateway}:{server.server_port}/word"
        program = f"import urllib.request; print(urllib.request.urlopen({url!r}, timeout=10).read().decode())"
        try:
            assert run(cluster, pod(namespace, program)).strip() == "reached"
        finally:
            server.shutdown()


def test_service_is_reachable_from_the_tests(cluster: Cluster, namespace: str) -> None:
    require_own_cluster(cluster)
    server = pod(namespace, SERVER)
    server["metadata"]["labels"] = {"app": "server"}
    service = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "server", "namespace": namespace},
        "spec": {"selector": {"app": "server"}, "ports": [{"port": 80, "targetPort": 8000}]},
    }
    cluster.apply(server, service)
    address = cluster.json("get", "service", "server", f"--namespace={namespace}")["spec"]["clusterIP"]

    def answer() -> bytes:
        try:
            with urllib.request.urlopen(f"http://{address}/", timeout=1) as response:
                body: bytes = response.read()
                return body
        except OSError:
            return b""

    assert wait_until(answer, POD_SECONDS, "a response from the Service") == b"hello"


@pytest.mark.parametrize("kind", ["local", "hostPath"])
def test_non_root_pod_can_write_to_a_volume(cluster: Cluster, namespace: str, kind: str) -> None:
    claim = {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": {"name": "disk", "namespace": namespace, "annotations": {"volumeType": kind}},
        "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "10Mi"}}},
    }
    cluster.apply(claim)
    disk = {
        "volumes": [{"name": "disk", "persistentVolumeClaim": {"claimName": "disk"}}],
        "mounts": [{"name": "disk", "mountPath": "/disk"}],
    }
    run(cluster, pod(namespace, "open('/disk/word', 'w').write('kept')", **disk))
    program = "import os; print(open('/disk/word').read(), *os.getresuid(), *os.getresgid(), os.stat('/disk').st_gid)"
    *result, group = run(cluster, pod(namespace, program, **disk)).split()
    assert result == ["kept", *["10001"] * 6]
    bound = cluster.json("get", "pvc", "disk", f"--namespace={namespace}")
    assert bound["status"]["phase"] == "Bound"
    if cluster.can_control:
        assert bound["spec"]["storageClassName"] == "local-path"  # the default
        volume = cluster.json("get", "pv", bound["spec"]["volumeName"])["spec"]
        assert kind in volume
        assert group == ("10001" if kind == "local" else "0")  # fsGroup does not apply to hostPath
        # It belongs to the node by name, so k3s.sh pins that name.
        [term] = volume["nodeAffinity"]["required"]["nodeSelectorTerms"]
        [expression] = term["matchExpressions"]
        assert expression == {"key": "kubernetes.io/hostname", "operator": "In", "values": ["node1"]}


def test_privileged_pods_are_rejected(cluster: Cluster, namespace: str) -> None:
    with pytest.raises(ClusterError, match="violates PodSecurity"):
        cluster.apply(pod(namespace, "pass", hostNetwork=True))


def test_api_server_can_be_stopped_and_started(cluster: Cluster, namespace: str) -> None:
    require_own_cluster(cluster)
    sleeper = pod(namespace, "import time; time.sleep(600)")
    cluster.apply(sleeper)
    name = sleeper["metadata"]["name"]
    cluster.kubectl("wait", "--for=condition=Ready", f"pod/{name}", f"--namespace={namespace}", "--timeout=60s")
    with cluster.without("apiserver"), pytest.raises(ClusterError, match="refused"):
        cluster.kubectl("get", "nodes")
    status = cluster.json("get", "pod", name, f"--namespace={namespace}")["status"]
    assert status["phase"] == "Running"
    assert status["containerStatuses"][0]["restartCount"] == 0


def test_kubelet_rotates_logs_at_the_configured_size(cluster: Cluster, namespace: str) -> None:
    require_own_cluster(cluster)
    chatter = pod(namespace, CHATTER)
    with cluster.log_rotation("500Ki"):
        assert kubelet_setting(cluster, "containerLogMaxSize") == "500Ki"
        cluster.apply(chatter)
        folder = f"{namespace}_{chatter['metadata']['name']}_*/main"
        wait_until(lambda: len(list(cluster.pod_logs.glob(f"{folder}/0.log*"))) > 1, POD_SECONDS, "a log rotation")
    assert kubelet_setting(cluster, "containerLogMaxSize") == "10Mi"


def test_crashed_component_is_restarted(cluster: Cluster) -> None:
    require_own_cluster(cluster)
    cluster.kill("scheduler")
    assert not cluster.running("scheduler")
    wait_until(lambda: cluster.running("scheduler"), 20, "the scheduler to restart")


def test_restarted_controller_enforces_network_policies(cluster: Cluster, namespace: str) -> None:
    require_own_cluster(cluster)
    policy = {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": {"name": "nothing", "namespace": namespace},
        "spec": {"podSelector": {}, "policyTypes": ["Egress"]},
    }
    cluster.kill("netpol")
    cluster.apply(policy)
    cluster.start("netpol")
    assert run(cluster, pod(namespace, UNTIL_BLOCKED)).strip() == "blocked"


def test_stopping_an_unknown_component_is_an_error(cluster: Cluster) -> None:
    require_own_cluster(cluster)
    with pytest.raises(ClusterError, match="unknown component 'dockerd', choose from containerd, etcd, apiserver"):
        cluster.stop("dockerd")


def test_audit_log_records_who_wrote_what(cluster: Cluster, namespace: str, tmp_path: Path) -> None:
    require_own_cluster(cluster)
    cluster.kubectl("create", "serviceaccount", "writer", f"--namespace={namespace}")
    cluster.kubectl(
        "create", "rolebinding", "writer", "--clusterrole=edit", f"--serviceaccount={namespace}:writer",
        f"--namespace={namespace}",
    )  # fmt: skip
    kubeconfig = cluster.service_account_kubeconfig(namespace, "writer", tmp_path / "kubeconfig")
    offset = cluster.audit_log.stat().st_size
    cluster.kubectl("create", "configmap", "words", "--from-literal=word=kept", kubeconfig=kubeconfig)
    cluster.kubectl("get", "configmap", "words", kubeconfig=kubeconfig)
    user = f"system:serviceaccount:{namespace}:writer"
    events = [event for event in cluster.audit_events(offset) if event["user"]["username"] == user]
    assert [(event["verb"], event["objectRef"]["resource"], event["objectRef"]["name"]) for event in events] == [
        ("create", "configmaps", "words")
    ]


def test_product_images_run_as_an_unprivileged_user(cluster: Cluster, namespace: str) -> None:
    launcher = pod(namespace, "")
    launcher["spec"]["containers"][0] |= {"image": LAUNCHER_IMAGE, "command": ["slipway-launcher", "--help"]}
    assert "serve" in run(cluster, launcher)
    pipeline = pod(namespace, "")
    pipeline["spec"]["containers"][0] |= {"image": PIPELINE_IMAGE, "command": None}
    assert "--job-id" in run(cluster, pipeline)


def test_killed_node_leaves_nothing_behind(cluster: Cluster, namespace: str) -> None:
    if not cluster.is_only_holder:
        pytest.skip("Others use this cluster, or `up` was told to keep it.")
    sleeper = pod(namespace, "import time; time.sleep(600)")
    cluster.apply(sleeper)
    name = sleeper["metadata"]["name"]
    cluster.kubectl("wait", "--for=condition=Ready", f"pod/{name}", f"--namespace={namespace}", "--timeout=60s")
    node = psutil.Process(int((STATE / "node.pid").read_text()))
    family = node.children(recursive=True)
    assert len(family) > 10
    try:
        node.kill()
        wait_until(lambda: not any(process.is_running() for process in family), 30, "every process to exit")
        subprocess.run([HERE / "down"], check=True)
        paths = [STATE, Path("/sys/class/net/slipway0"), *Path("/sys/fs/cgroup").glob("**/slipway-cluster")]
        assert [path for path in paths if path.exists()] == []
        assert str(STATE) not in Path("/proc/mounts").read_text()
    finally:
        cluster.revive()
    cluster.apply(
        {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}}
    )  # for the fixture to delete


def test_killed_tests_release_the_cluster(cluster: Cluster) -> None:
    require_own_cluster(cluster)
    before = cluster.holders
    program = "from cluster.cluster import Cluster; c = Cluster.take(); print('taken', flush=True); input()"
    with subprocess.Popen(
        [sys.executable, "-c", program],
        cwd=HERE.parent, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    ) as tests:  # fmt: skip
        assert tests.stdout
        assert tests.stdout.readline() == "taken\n"
        assert cluster.holders == before + 1
        tests.kill()
    wait_until(lambda: cluster.holders == before, 10, "the killed tests to release the cluster")


def test_up_is_quick_for_a_running_cluster(cluster: Cluster) -> None:
    require_own_cluster(cluster)
    subprocess.run(
        [HERE / "up", "--until-unused"], check=True, capture_output=True
    )  # applies what was changed just now
    began = time.monotonic()
    subprocess.run([HERE / "up", "--until-unused"], check=True, capture_output=True)
    assert time.monotonic() - began < 10


def test_external_cluster_is_used_but_not_controlled(cluster: Cluster, tmp_path: Path) -> None:
    require_own_cluster(cluster)
    external = tmp_path / "kubeconfig"
    external.write_text(cluster.kubeconfig.read_text())
    environment = {**os.environ, "KUBECONFIG": str(external), "CLUSTER_LOAD_IMAGE": "echo loading"}
    up = subprocess.run([HERE / "up"], env=environment, check=True, capture_output=True, text=True)
    assert up.stdout.strip() == str(external)
    assert "loading /" in up.stderr
    with pytest.raises(ClusterError, match="the tests do not control it"):
        Cluster(external).stop("apiserver")
    del environment["CLUSTER_LOAD_IMAGE"]
    up = subprocess.run([HERE / "up"], env=environment, capture_output=True, text=True)
    assert up.returncode == 1
    assert "CLUSTER_LOAD_IMAGE is not set" in up.stderr


def test_install_without_root_explains_what_to_do(tmp_path: Path) -> None:
    fake_id = tmp_path / "id"
    fake_id.write_text("#!/bin/sh\necho 1000\n")
    fake_id.chmod(0o755)
    environment = {"PATH": f"{tmp_path}:{os.environ['PATH']}", "HOME": str(tmp_path)}
    install = subprocess.run([HERE / "install"], env=environment, capture_output=True, text=True)
    assert install.returncode == 1
    assert "need root" in install.stderr
    assert "CLUSTER=none" in install.stderr
