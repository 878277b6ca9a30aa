"""The test cluster: a real Kubernetes with one node, whose components can be stopped and started."""

from __future__ import annotations

import fcntl
import json
import os
import select
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar, TypeVar

import yaml

HERE = Path(__file__).parent
STATE = Path("/var/tmp/slipway-cluster")  # as in `common`
LOCK = STATE.with_name(f"{STATE.name}.lock")
LAUNCHER_IMAGE = "localhost/slipway:test"  # launcher and operator
PIPELINE_IMAGE = "localhost/slipway-pipeline:test"
TESTS_IMAGE = "localhost/slipway-tests:test"  # Python and a shell
OWN_GATEWAY = "10.44.0.1"
NODE_ADDRESS = "10.44.0.2"
NODE = "node1"
UP_SECONDS = 3600.0  # a new machine builds everything first
DOWN_SECONDS = 180.0  # removing all containers takes long on a busy disk
COMMAND_SECONDS = 120.0
CONTROL_SECONDS = 120.0
REPLACED_SECONDS = 90.0
ANSWERS_IN_A_ROW = 20
POLL_SECONDS = 0.05

T = TypeVar("T")


class ClusterError(RuntimeError):
    """A cluster operation failed; the message says why."""


class Cluster:
    """The test cluster. `stop`, `start` and other control methods require `can_control`."""

    shared: ClassVar[bool] = False
    """Whether other tests may be using it at this moment, so that no component may be stopped: see `sharing`."""

    def __init__(self, kubeconfig: Path) -> None:
        self.kubeconfig = kubeconfig
        self.can_control = kubeconfig == STATE / "kubeconfig"
        self._hold: socket.socket | None = None

    # --- lifecycle ---------------------------------------------------------------------------------------------------
    @classmethod
    def take(cls) -> Cluster:
        """Start the cluster if it is not running, and hold it until `release()`."""
        cluster = cls(Path(_run([HERE / "up", "--until-unused"], UP_SECONDS).strip().splitlines()[-1]))
        if cluster.can_control:
            cluster.revive()
        return cluster

    def revive(self) -> None:
        """Make it work again, whatever a test did to it."""
        self._require_own()
        while not self._holds():
            if self._hold is not None:
                self._hold.close()
            _run([HERE / "up", "--until-unused"], UP_SECONDS)
            with _locked():
                try:
                    self._hold = _ask({"do": "hold"})
                except OSError:
                    continue  # its last users have just shut it down
                self._hold.recv(1024)  # our hold is counted
        for component, runs in _answer({"do": "status"})["components"].items():
            if not runs:
                self.start(component)

    def release(self) -> None:
        """Release it. The last holder shuts it down, unless `up` was told to keep it."""
        if self._hold is None:
            return
        with self._hold, _locked():
            if self._holds() and self.is_only_holder:
                _run([HERE / "down", "--locked"], DOWN_SECONDS)
        self._hold = None

    @property
    def is_only_holder(self) -> bool:
        """Whether nobody else holds it and `up` was not told to keep it: our release then shuts it down."""
        return self.can_control and self.holders == 1 and not (STATE / "keep").exists()

    @property
    def holders(self) -> int:
        """The number of its holders."""
        self._require_own()
        return int(_answer({"do": "status"})["holders"])

    @property
    def enforces_policies(self) -> bool:
        """Whether it enforces network policies, as k3s does: our own does if it runs k3s's controller."""
        return not self.can_control or "netpol" in _answer({"do": "status"})["components"]

    # --- using it ----------------------------------------------------------------------------------------------------
    @cached_property
    def gateway(self) -> str:
        """The address of this machine at which pods reach test servers."""
        if self.can_control:
            return OWN_GATEWAY
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
            probe.connect(("192.0.2.1", 9))  # sends nothing, but chooses the address
            address: str = probe.getsockname()[0]
            return address

    def kubectl(self, *args: str, input: str | None = None, kubeconfig: Path | None = None) -> str:
        """Run kubectl as the administrator, or with another `kubeconfig`, and return its output."""
        return _run(
            [*self.kubectl_command, "--kubeconfig", kubeconfig or self.kubeconfig, *args], COMMAND_SECONDS, input
        )

    def json(self, *args: str) -> dict[str, Any]:
        """Run kubectl with `--output=json` and return the object."""
        result: dict[str, Any] = json.loads(self.kubectl(*args, "--output=json"))
        return result

    def apply(self, *objects: dict[str, Any]) -> None:
        """Create or update objects."""
        self.kubectl("apply", "--filename=-", input=yaml.safe_dump_all(objects))

    def make_namespace(self, name: str) -> None:
        """Create a namespace that enforces *restricted*, and wait until pods can be created in it.

        The controller that creates its service account may only just have started.
        """
        labels = {"pod-security.kubernetes.io/enforce": "restricted"}
        self.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}})
        self.kubectl("wait", "--for=create", "serviceaccount/default", f"--namespace={name}", "--timeout=90s")

    def wait_for_rollout(self, deployment: str, namespace: str) -> None:
        """Wait until a Deployment's newest pods are ready and the older ones are deleted.

        `kubectl rollout status` returns while an older pod is still terminating and receiving connections.
        """
        here = f"--namespace={namespace}"
        self.kubectl("rollout", "status", f"deployment/{deployment}", here, f"--timeout={REPLACED_SECONDS:.0f}s")
        spec = self.json("get", "deployment", deployment, here)["spec"]
        selector = ",".join(f"{name}={value}" for name, value in spec["selector"]["matchLabels"].items())

        def pods() -> int:
            present = "--field-selector=status.phase!=Failed"
            return len(self.json("get", "pods", f"--selector={selector}", present, here)["items"])

        wait_until(lambda: pods() <= spec["replicas"], REPLACED_SECONDS, f"the deletion of {deployment}'s older pods")

    def wait_for_dns(self) -> None:
        """Wait until the cluster's DNS answers."""
        address = self.json("get", "service", "kube-dns", "--namespace=kube-system")["spec"]["clusterIP"]
        wait_for_service(lambda: _resolves(address), REPLACED_SECONDS, "the cluster's DNS")

    def load_image(self, archive: Path) -> None:
        """Load the images of an archive into the node."""
        _run([HERE / "load", archive], COMMAND_SECONDS)

    def service_account_kubeconfig(self, namespace: str, name: str, path: Path) -> Path:
        """Write a kubeconfig with a token of this service account, valid for a day."""
        token = self.kubectl("create", "token", name, f"--namespace={namespace}", "--duration=24h").strip()
        config = yaml.safe_load(self.kubectl("config", "view", "--raw", "--minify", "--flatten"))
        config["users"] = [{"name": name, "user": {"token": token}}]
        config["contexts"][0]["context"] |= {"user": name, "namespace": namespace}
        path.touch(0o600)
        path.write_text(yaml.safe_dump(config))
        return path

    # --- breaking it -------------------------------------------------------------------------------------------------
    def stop(self, component: str) -> None:
        """Stop a component: apiserver, controller-manager, scheduler, kubelet, proxy, netpol, etcd or containerd."""
        self._control("stop", component)

    def start(self, component: str) -> None:
        """Start a component and wait until it is healthy; for the kubelet, until the node is ready.

        After the API server, its clients are restarted too, as in k3s, where they are one process, and so is the
        cluster's DNS. Otherwise they would take up to a minute to notice what they missed.
        """
        self._control("start", component)
        if component == "apiserver":
            for name in filter(self.running, ("controller-manager", "scheduler", "proxy", "netpol", "kubelet")):
                self._request("kill", name)
                self.start(name)
            self.kubectl("rollout", "restart", "deployment/coredns", "--namespace=kube-system")
            self.wait_for_rollout("coredns", "kube-system")
            self.wait_for_dns()
        if component == "kubelet":
            self._wait_for_node()

    def kill(self, component: str) -> None:
        """Kill a component (SIGKILL), like a crash. It is restarted a second later."""
        self._control("kill", component)

    def restart_k3s(self) -> None:
        """Stop and start all components, as `systemctl restart k3s` does. The containers continue meanwhile."""
        components = list(_answer({"do": "status"})["components"])  # in the order in which they start
        for component in reversed(components):
            self._control("stop", component)
        for component in components:
            self._control("start", component)
        self._wait_for_node()

    def reboot(self) -> None:
        """Kill everything in the node and start it again, as after a power cut: only the disk is kept."""
        self._control("reboot")
        self._wait_for_node()

    @contextmanager
    def full_disk(self) -> Iterator[None]:
        """Fill the kubelet's disk while the block runs, so that the node evicts pods and takes no new ones."""
        self._require_exclusive("full disk")
        filler = Path(f"/proc/{self.node_process}/root{STATE}/kubelet/filler")
        try:
            with filler.open("wb") as file:
                disk = os.fstatvfs(file.fileno())
                os.posix_fallocate(file.fileno(), 0, disk.f_frsize * (disk.f_bavail - disk.f_blocks // 100))
            yield
        finally:
            filler.unlink(missing_ok=True)
            self.kubectl("wait", "--for=condition=DiskPressure=False", f"node/{NODE}", "--timeout=60s")

    @contextmanager
    def without(self, component: str) -> Iterator[None]:
        """Stop a component while the block runs."""
        self.stop(component)
        try:
            yield
        finally:
            self.start(component)

    def running(self, component: str) -> bool:
        """Whether a component is running."""
        self._require_own()
        return bool(_answer({"do": "status"})["components"][component])

    @contextmanager
    def log_rotation(self, size: str | None) -> Iterator[None]:
        """Make the kubelet rotate logs at this size (None: its default of 10Mi) while the block runs."""
        setting = STATE / "kubelet.d/10-log-rotation.conf"
        before = setting.read_text() if setting.exists() else None
        lines = ["apiVersion: kubelet.config.k8s.io/v1beta1", "kind: KubeletConfiguration"]
        lines += [f"containerLogMaxSize: {size}", "containerLogMonitorInterval: 3s"]
        self._with_kubelet_setting(setting, None if size is None else "\n".join(lines) + "\n")
        try:
            yield
        finally:
            self._with_kubelet_setting(setting, before)

    @property
    def audit_log(self) -> Path:
        """Where the API server records every create, update, patch and delete as one line of JSON."""
        self._require_own()
        return STATE / "audit.log"

    def audit_events(self, offset: int = 0) -> list[dict[str, Any]]:
        """Return the writes recorded after `offset` bytes of the audit log, each with `user`, `verb`, `objectRef`."""
        with self.audit_log.open("rb") as log:
            log.seek(offset)
            return [json.loads(line) for line in log if line.endswith(b"\n")]

    @property
    def node_process(self) -> int:
        """The node's first process, whose namespaces are the node's."""
        self._require_own()
        outer = int((STATE / "node.pid").read_text())
        return int(Path(f"/proc/{outer}/task/{outer}/children").read_text().split()[0])

    @property
    def pod_logs(self) -> Path:
        """The node's folder of containers' log files."""
        self._require_own()
        return STATE / "podlogs"

    # -----------------------------------------------------------------------------------------------------------------
    @cached_property
    def kubectl_command(self) -> Sequence[str | Path]:
        if self.can_control:
            return [Path(_run([HERE / "install", "--where"], COMMAND_SECONDS).strip()) / "kube", "kubectl"]
        if program := shutil.which("kubectl"):
            return [program]
        if program := shutil.which("k3s"):
            return [program, "kubectl"]
        raise ClusterError(f"KUBECONFIG names the cluster {self.kubeconfig}, and kubectl is not installed.")

    def _holds(self) -> bool:
        """Whether we hold a running node: a node that stopped has closed the connection."""
        if self._hold is None:
            return False
        closed, _, _ = select.select([self._hold], [], [], 0)  # readable only at the end, as nothing is ever sent
        return not closed

    def _wait_for_node(self) -> None:
        self.kubectl("wait", "--for=condition=Ready", f"node/{NODE}", "--timeout=60s")
        wait_until(self._reaches_kubelet, REPLACED_SECONDS, "a response from the kubelet")  # Ready may be outdated

    def _reaches_kubelet(self) -> bool:
        """Whether the API server reaches the kubelet, which logs and exec require."""
        try:
            return self.kubectl("get", "--raw", f"/api/v1/nodes/{NODE}/proxy/healthz") == "ok"
        except ClusterError:
            return False

    def _with_kubelet_setting(self, setting: Path, text: str | None) -> None:
        self.stop("kubelet")
        if text is None:
            setting.unlink(missing_ok=True)
        else:
            setting.write_text(text)
        self.start("kubelet")

    def _control(self, do: str, component: str = "node") -> None:
        self._require_own()
        if do != "start":
            self._require_exclusive(f"{do} {component}")
        self._request(do, component)

    def _request(self, do: str, component: str) -> None:
        answer = _answer({"do": do, "component": component})
        if not answer["ok"]:
            raise ClusterError(f"{do} {component}: {answer['error']}")

    def _require_exclusive(self, what: str) -> None:
        self._require_own()
        if self.shared:
            raise ClusterError(f"{what}: mark the test as disruptive, because other tests use the cluster")

    def _require_own(self) -> None:
        if not self.can_control:
            raise ClusterError(f"The cluster of {self.kubeconfig} is external: the tests do not control it.")


def wait_until(condition: Callable[[], T], seconds: float, what: str) -> T:
    """Wait until the condition returns something true, and return that."""
    deadline = time.monotonic() + seconds
    while not (result := condition()):
        if time.monotonic() > deadline:
            raise ClusterError(f"timed out after {seconds:.0f} s waiting for {what}")
        time.sleep(POLL_SECONDS)
    return result


def wait_for_service(answers: Callable[[], bool], seconds: float, what: str) -> None:
    """Wait until a Service answers many times in a row; `answers` opens a new connection each time.

    While kube-proxy still routes some connections to a deleted pod, one answer does not guarantee the next.
    """
    wait_until(lambda: all(answers() for _ in range(ANSWERS_IN_A_ROW)), seconds, what)


def _resolves(address: str) -> bool:
    """Whether this DNS server resolves the API server's name."""
    labels = (b"kubernetes", b"default", b"svc", b"cluster", b"local", b"")
    name = b"".join(bytes([len(label)]) + label for label in labels)
    query = b"\x12\x34\x01\x00\x00\x01" + bytes(6) + name + b"\x00\x01\x00\x01"  # one question: its A record
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.settimeout(1)
        try:
            client.connect((address, 53))
            client.send(query)
            answer = client.recv(512)
        except OSError:
            return False
    return answer[:2] == query[:2] and int.from_bytes(answer[6:8]) > 0


def _run(command: Sequence[str | Path], seconds: float, input: str | None = None) -> str:
    try:
        done = subprocess.run(command, input=input, capture_output=True, text=True, timeout=seconds)
    except subprocess.TimeoutExpired as error:
        raise ClusterError(f"{' '.join(map(str, command))}: did not finish within {seconds:.0f} s") from error
    if done.returncode:
        raise ClusterError(f"{' '.join(map(str, command))}: {done.stderr.strip() or done.stdout.strip()}")
    return done.stdout


def _ask(request: dict[str, str]) -> socket.socket:
    """Send a request to the node's supervisor; the caller reads the answer."""
    connection = socket.socket(socket.AF_UNIX)
    try:
        connection.settimeout(CONTROL_SECONDS)
        connection.connect(str(STATE / "run/control.sock"))
        connection.sendall(json.dumps(request).encode() + b"\n")
    except OSError:
        connection.close()
        raise
    return connection


def _answer(request: dict[str, str]) -> dict[str, Any]:
    try:
        with _ask(request) as connection, connection.makefile("rb") as lines:
            result: dict[str, Any] = json.loads(lines.readline())
            return result
    except (OSError, ValueError) as error:
        raise ClusterError(f"The node does not answer ({error}): see {STATE}/node.log") from error


@contextmanager
def _locked() -> Iterator[None]:
    """Prevent others from starting or stopping the cluster."""
    with LOCK.open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
