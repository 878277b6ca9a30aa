"""The cluster that the tests run on: a real Kubernetes of one node, whose parts can be stopped and started again."""

from __future__ import annotations

import fcntl
import json
import select
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

import yaml

HERE = Path(__file__).parent
STATE = Path("/var/tmp/slipway-cluster")  # as in `common`
LOCK = STATE.with_name(f"{STATE.name}.lock")
LAUNCHER_IMAGE = "localhost/slipway:test"  # launcher and operator
PIPELINE_IMAGE = "localhost/slipway-pipeline:test"
TESTS_IMAGE = "localhost/slipway-tests:test"  # Python and a shell
OWN_GATEWAY = "10.44.0.1"
NODE = "node1"
UP_SECONDS = 3600.0  # a machine that has nothing yet builds all of it
DOWN_SECONDS = 180.0  # a busy disk takes long to remove all containers
COMMAND_SECONDS = 120.0
CONTROL_SECONDS = 120.0
REPLACED_SECONDS = 90.0
ANSWERS_IN_A_ROW = 20
POLL_SECONDS = 0.05

T = TypeVar("T")


class ClusterError(RuntimeError):
    """The cluster does not do what it was told; the message says why."""


class Cluster:
    """The cluster of the tests. `stop`, `start` and what else needs control work where `can_control` says so."""

    def __init__(self, kubeconfig: Path) -> None:
        self.kubeconfig = kubeconfig
        self.can_control = kubeconfig == STATE / "kubeconfig"
        self._hold: socket.socket | None = None

    # --- coming and going --------------------------------------------------------------------------------------------
    @classmethod
    def take(cls) -> Cluster:
        """Bring the cluster up, if it is not, and hold it until `release()`."""
        cluster = cls(Path(_run([HERE / "up", "--until-unused"], UP_SECONDS).strip().splitlines()[-1]))
        if cluster.can_control:
            cluster.revive()
        return cluster

    def revive(self) -> None:
        """Bring it back to work, whatever a test did to it."""
        self._must_be_own()
        while not self._holds():
            if self._hold is not None:
                self._hold.close()
            _run([HERE / "up", "--until-unused"], UP_SECONDS)
            with _locked():
                try:
                    self._hold = _ask({"do": "hold"})
                except OSError:
                    continue  # others, who were the last to use it, ended it just now
                self._hold.recv(1024)  # counted
        for component, runs in _answer({"do": "status"})["components"].items():
            if not runs:
                self.start(component)

    def release(self) -> None:
        """Let go of it. The last one to do so ends it, unless it was asked to stay."""
        if self._hold is None:
            return
        with self._hold, _locked():
            if self._holds() and self.held_by_us_alone:
                _run([HERE / "down", "--locked"], DOWN_SECONDS)
        self._hold = None

    @property
    def held_by_us_alone(self) -> bool:
        """Whether nobody else uses it, and nobody asked it to stay: then it ends with us."""
        return self.can_control and self.holders == 1 and not (STATE / "keep").exists()

    @property
    def holders(self) -> int:
        """How many hold it."""
        self._must_be_own()
        return int(_answer({"do": "status"})["holders"])

    # --- using it ----------------------------------------------------------------------------------------------------
    @cached_property
    def gateway(self) -> str:
        """The address of this machine under which pods find servers of the tests."""
        if self.can_control:
            return OWN_GATEWAY
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
            probe.connect(("192.0.2.1", 9))  # sends nothing, but chooses the address
            address: str = probe.getsockname()[0]
            return address

    def kubectl(self, *args: str, input: str | None = None, kubeconfig: Path | None = None) -> str:
        """Run kubectl as the administrator, or as whom `kubeconfig` names, and return what it prints."""
        return _run(
            [*self.kubectl_command, "--kubeconfig", kubeconfig or self.kubeconfig, *args], COMMAND_SECONDS, input
        )

    def json(self, *args: str) -> dict[str, Any]:
        """Run kubectl with `--output=json` and return the object."""
        result: dict[str, Any] = json.loads(self.kubectl(*args, "--output=json"))
        return result

    def apply(self, *objects: dict[str, Any]) -> None:
        """Create or change objects."""
        self.kubectl("apply", "--filename=-", input=yaml.safe_dump_all(objects))

    def make_namespace(self, name: str) -> None:
        """Create a namespace that enforces *restricted*, and wait until pods can be made in it.

        The controller that gives it its service account begins with its node, or after it was killed.
        """
        labels = {"pod-security.kubernetes.io/enforce": "restricted"}
        self.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}})
        self.kubectl("wait", "--for=create", "serviceaccount/default", f"--namespace={name}", "--timeout=90s")

    def wait_for_rollout(self, deployment: str, namespace: str) -> None:
        """Wait until a Deployment's newest pods are ready and nothing is left of the older ones.

        `kubectl rollout status` returns while an older pod still terminates, and still gets connections.
        """
        here = f"--namespace={namespace}"
        self.kubectl("rollout", "status", f"deployment/{deployment}", here, f"--timeout={REPLACED_SECONDS:.0f}s")
        spec = self.json("get", "deployment", deployment, here)["spec"]
        selector = ",".join(f"{name}={value}" for name, value in spec["selector"]["matchLabels"].items())

        def pods() -> int:
            return len(self.json("get", "pods", f"--selector={selector}", here)["items"])

        wait_until(lambda: pods() <= spec["replicas"], REPLACED_SECONDS, f"the end of {deployment}'s older pods")

    def load_image(self, archive: Path) -> None:
        """Load the images of an archive into the node."""
        _run([HERE / "load", archive], COMMAND_SECONDS)

    def service_account_kubeconfig(self, namespace: str, name: str, path: Path) -> Path:
        """Write a kubeconfig with a token of this service account, good for a day."""
        token = self.kubectl("create", "token", name, f"--namespace={namespace}", "--duration=24h").strip()
        config = yaml.safe_load(self.kubectl("config", "view", "--raw", "--minify", "--flatten"))
        config["users"] = [{"name": name, "user": {"token": token}}]
        config["contexts"][0]["context"] |= {"user": name, "namespace": namespace}
        path.touch(0o600)
        path.write_text(yaml.safe_dump(config))
        return path

    # --- breaking it -------------------------------------------------------------------------------------------------
    def stop(self, component: str) -> None:
        """End a component: apiserver, controller-manager, scheduler, kubelet, proxy, etcd or containerd."""
        self._control("stop", component)

    def start(self, component: str) -> None:
        """Start a component and wait until it is well; after the kubelet's, until the node is ready.

        After the API server, those that work through it begin anew, as in k3s, where they are one process, and so does
        the cluster's DNS. Left as they are, they would look for what they missed up to a minute later.
        """
        self._control("start", component)
        if component == "apiserver":
            for name in filter(self.running, ("controller-manager", "scheduler", "proxy", "kubelet")):
                self.kill(name)
                self.start(name)
            self.kubectl("rollout", "restart", "deployment/coredns", "--namespace=kube-system")
            self.wait_for_rollout("coredns", "kube-system")
            address = self.json("get", "service", "kube-dns", "--namespace=kube-system")["spec"]["clusterIP"]
            wait_for_service(lambda: _resolves(address), REPLACED_SECONDS, "the cluster's DNS")
        if component == "kubelet":
            self.kubectl("wait", "--for=condition=Ready", f"node/{NODE}", "--timeout=60s")
            wait_until(self._reaches_kubelet, REPLACED_SECONDS, "an answer from the kubelet")  # Ready may be old news

    def kill(self, component: str) -> None:
        """End a component as a crash would (SIGKILL). It is started again a second later, as nobody asked for it."""
        self._control("kill", component)

    @contextmanager
    def without(self, component: str) -> Iterator[None]:
        """Stop a component, and start it again at the end."""
        self.stop(component)
        try:
            yield
        finally:
            self.start(component)

    def running(self, component: str) -> bool:
        """Whether a component runs."""
        self._must_be_own()
        return bool(_answer({"do": "status"})["components"][component])

    @contextmanager
    def log_rotation(self, size: str | None) -> Iterator[None]:
        """Restart the kubelet so that it rotates logs of this size (None: its own 10Mi), and as before at the end."""
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
        """Where the API server writes down every create, update, patch and delete: one line of JSON each."""
        self._must_be_own()
        return STATE / "audit.log"

    def audit_events(self, offset: int = 0) -> list[dict[str, Any]]:
        """Return what was written since the audit log had `offset` bytes, with `user`, `verb` and `objectRef` each."""
        with self.audit_log.open("rb") as log:
            log.seek(offset)
            return [json.loads(line) for line in log if line.endswith(b"\n")]

    @property
    def pod_logs(self) -> Path:
        """The node's folder of containers' log files."""
        self._must_be_own()
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
        """Whether our hold is on a node that is there: a node that ended has closed the connection."""
        if self._hold is None:
            return False
        ended, _, _ = select.select([self._hold], [], [], 0)  # nothing is ever sent but the end
        return not ended

    def _reaches_kubelet(self) -> bool:
        """Whether the API server reaches the kubelet, as it has to for logs and commands."""
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

    def _control(self, do: str, component: str) -> None:
        self._must_be_own()
        answer = _answer({"do": do, "component": component})
        if not answer["ok"]:
            raise ClusterError(f"{do} {component}: {answer['error']}")

    def _must_be_own(self) -> None:
        if not self.can_control:
            raise ClusterError(f"The cluster of {self.kubeconfig} is somebody else's, which is not ours to control.")


def wait_until(condition: Callable[[], T], seconds: float, what: str) -> T:
    """Ask again until the condition holds, and return what it said."""
    deadline = time.monotonic() + seconds
    while not (result := condition()):
        if time.monotonic() > deadline:
            raise ClusterError(f"{what}: not within {seconds:.0f} seconds")
        time.sleep(POLL_SECONDS)
    return result


def wait_for_service(answers: Callable[[], bool], seconds: float, what: str) -> None:
    """Wait until a Service answers many times in a row; `answers` makes a connection of its own each time.

    As long as kube-proxy sends some connections to a pod that is gone, one answer says nothing about the next.
    """
    wait_until(lambda: all(answers() for _ in range(ANSWERS_IN_A_ROW)), seconds, what)


def _resolves(address: str) -> bool:
    """Whether this DNS server knows the API server's name."""
    labels = (b"kubernetes", b"default", b"svc", b"cluster", b"local", b"")
    name = b"".join(bytes([len(label)]) + label for label in labels)
    query = b"\x12\x34\x01\x00\x00\x01" + bytes(6) + name + b"\x00\x01\x00\x01"  # one question: its A record
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asking:
        asking.settimeout(1)
        try:
            asking.connect((address, 53))
            asking.send(query)
            answer = asking.recv(512)
        except OSError:
            return False
    return answer[:2] == query[:2] and int.from_bytes(answer[6:8]) > 0


def _run(command: Sequence[str | Path], seconds: float, input: str | None = None) -> str:
    try:
        done = subprocess.run(command, input=input, capture_output=True, text=True, timeout=seconds)
    except subprocess.TimeoutExpired as error:
        raise ClusterError(f"{' '.join(map(str, command))}: no end within {seconds:.0f} seconds") from error
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
    """Keep out whoever brings the cluster up or down."""
    with LOCK.open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
