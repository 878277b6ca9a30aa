"""Supervises the node's components, as its process 1, and starts and stops them on request.

It listens on a socket in the state folder. A request is one line of JSON, and so is the response:

    {"do": "start", "component": "kubelet"}   started and healthy
    {"do": "stop", "component": "kubelet"}    stopped, until a request starts it
    {"do": "kill", "component": "kubelet"}    killed, and restarted a second later
    {"do": "reboot"}                          everything killed and started again; only the disk is kept
    {"do": "status"}                          {"ok": true, "components": {"kubelet": true, …}, "holders": 1}
    {"do": "hold"}                            the cluster is in use for as long as this connection stays open

When the last holder disconnects, the node exits, unless the state folder has a file `keep`: killed tests leave no
cluster behind. Everything in the node exits with process 1; nothing needs to be stopped individually.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import ssl
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

START_SECONDS = 90.0
STOP_SECONDS = 5.0
RESTART_SECONDS = 1.0
POLL_SECONDS = 0.05


@dataclass(frozen=True)
class Component:
    """A program of the node, and where to check its health."""

    command: tuple[str, ...]
    health: str  # a URL, or the path of a socket


def components(state: Path, programs: Path, node_ip: str) -> dict[str, Component]:
    """List the components in the order in which they start."""
    kube, pki = str(programs / "kube"), state / "pki"
    etcd = "http://127.0.0.1:2379"
    return {
        "containerd": Component(
            ("containerd", "-c", f"{state}/containerd.toml"),
            f"{state}/run/containerd.sock",
        ),
        "etcd": Component(
            (
                kube, "etcd", "--data-dir", f"{state}/etcd",
                "--unsafe-no-fsync",  # survives SIGKILL all the same, just no power cut
                "--listen-client-urls", etcd, "--advertise-client-urls", etcd,
                "--listen-peer-urls", "http://127.0.0.1:2380",
            ),
            f"{etcd}/health",
        ),
        "apiserver": Component(
            (
                kube, "kube-apiserver", "--etcd-servers", etcd,
                "--advertise-address", node_ip, "--secure-port", "6443",
                "--tls-cert-file", f"{pki}/apiserver.crt", "--tls-private-key-file", f"{pki}/apiserver.key",
                "--client-ca-file", f"{pki}/ca.crt",
                "--service-account-key-file", f"{pki}/sa.key",
                "--service-account-signing-key-file", f"{pki}/sa.key",
                "--service-account-issuer", "https://kubernetes.default.svc",
                "--service-cluster-ip-range", "10.43.0.0/16",
                "--authorization-mode", "Node,RBAC", "--enable-admission-plugins", "NodeRestriction",
                "--allow-privileged",
                "--kubelet-client-certificate", f"{pki}/admin.crt", "--kubelet-client-key", f"{pki}/admin.key",
                "--kubelet-preferred-address-types", "InternalIP",
                "--requestheader-client-ca-file", f"{pki}/ca.crt", "--requestheader-allowed-names", "system:auth-proxy",
                "--requestheader-username-headers", "X-Remote-User", "--requestheader-group-headers", "X-Remote-Group",
                "--requestheader-extra-headers-prefix", "X-Remote-Extra-",
                "--proxy-client-cert-file", f"{pki}/aggregator.crt", "--proxy-client-key-file", f"{pki}/aggregator.key",
                "--audit-policy-file", f"{state}/audit-policy.yaml", "--audit-log-path", f"{state}/audit.log",
            ),
            f"https://{node_ip}:6443/readyz",
        ),
        "controller-manager": Component(
            (
                kube, "kube-controller-manager", "--kubeconfig", f"{pki}/controller-manager.kubeconfig",
                "--leader-elect=false", "--service-account-private-key-file", f"{pki}/sa.key",
                "--root-ca-file", f"{pki}/ca.crt", "--use-service-account-credentials",
            ),
            "https://127.0.0.1:10257/healthz",
        ),
        "scheduler": Component(
            (kube, "kube-scheduler", "--kubeconfig", f"{pki}/scheduler.kubeconfig", "--leader-elect=false"),
            "https://127.0.0.1:10259/healthz",
        ),
        "kubelet": Component(
            (
                kube, "kubelet", "--config", f"{state}/kubelet.yaml", "--config-dir", f"{state}/kubelet.d",
                "--kubeconfig", f"{pki}/kubelet.kubeconfig", "--hostname-override", "node1",
                "--root-dir", f"{state}/kubelet", "--node-ip", node_ip,
            ),
            "http://127.0.0.1:10248/healthz",
        ),
        "proxy": Component(
            (
                kube, "kube-proxy", "--kubeconfig", f"{pki}/proxy.kubeconfig", "--proxy-mode", "iptables",
                "--cluster-cidr", "10.42.0.0/24", "--hostname-override", "node1", "--conntrack-max-per-core", "0",
            ),
            "http://127.0.0.1:10256/healthz",
        ),
        "netpol": Component(
            (str(programs / "netpol"), f"{pki}/admin.kubeconfig", "node1", "10.43.0.0/16", "127.0.0.1:20244"),
            "http://127.0.0.1:20244/",
        ),
    }  # fmt: skip


class Supervisor:
    """Manages the components; `reap` runs in the main thread, everything else in the threads of requests."""

    def __init__(self, state: Path, programs: Path, node_ip: str) -> None:
        self._state = state
        self._components = components(state, programs, node_ip)
        self._tls = ssl.create_default_context(cafile=str(state / "pki/ca.crt"))
        self._tls.load_cert_chain(state / "pki/admin.crt", state / "pki/admin.key")
        # Some components use self-signed certificates; they listen only on loopback.
        self._tls.check_hostname, self._tls.verify_mode = False, ssl.CERT_NONE
        self._changed = threading.Condition()
        self._wanted: set[str] = set()
        self._pids: dict[str, int] = {}
        self._holders = 0

    # --- actions -----------------------------------------------------------------------------------------------------
    def start(self, name: str) -> None:
        """Start it if it is not running, and wait until it is healthy."""
        component = self._components[name]
        with self._changed:
            self._wanted.add(name)
            if name not in self._pids:
                self._spawn(name)
        self._until(
            lambda: name in self._pids and self._is_healthy(component), START_SECONDS, f"{name} did not become healthy"
        )

    def stop(self, name: str) -> None:
        """Stop it, killing it if necessary, and do not restart it."""
        with self._changed:
            self._wanted.discard(name)
            for number in (signal.SIGTERM, signal.SIGKILL):
                if name in self._pids:
                    os.kill(self._pids[name], number)
                    self._changed.wait_for(lambda: name not in self._pids, STOP_SECONDS)

    def kill(self, name: str) -> None:
        """Kill it, like a crash."""
        with self._changed:
            if pid := self._pids.get(name):
                os.kill(pid, signal.SIGKILL)
                self._changed.wait_for(lambda: self._pids.get(name) != pid, STOP_SECONDS)

    def reboot(self) -> None:
        """Kill everything in the node, remove what is not on its disk, and start it again, as after a power cut."""
        with self._changed:
            self._wanted.clear()
            os.kill(-1, signal.SIGKILL)  # everything but this process
            self._changed.wait_for(lambda: not self._pids, STOP_SECONDS)
        # Its exit status goes to `reap`.
        removed = subprocess.run([Path(__file__).with_name("power-off")], capture_output=True, text=True)
        if removed.stderr:
            raise OSError(removed.stderr)
        self.start_all()
        for name in self._components:
            self.start(name)

    def status(self) -> dict[str, Any]:
        """Return which components are running and how many holders there are."""
        with self._changed:
            return {
                "ok": True,
                "components": {name: name in self._pids for name in self._components},
                "holders": self._holders,
            }

    def hold(self, connection: socket.socket) -> None:
        """Count a holder of the cluster until its connection closes."""
        self._count_holders(+1)
        connection.sendall(b'{"ok": true}\n')
        try:
            while connection.recv(1024):
                pass
        except OSError:
            pass  # closed either way
        self._count_holders(-1)

    def _count_holders(self, difference: int) -> None:
        with self._changed:
            self._holders += difference
            (self._state / "holders").write_text(f"{self._holders}\n")  # for `up`
            if self._holders == 0 and not (self._state / "keep").exists():
                os._exit(0)

    # --- processes ---------------------------------------------------------------------------------------------------
    def reap(self) -> None:
        """Reap exited processes, including orphans of containers, and restart components that crashed."""
        while True:
            try:
                pid, status = os.waitpid(-1, 0)
            except ChildProcessError:
                time.sleep(POLL_SECONDS)
                continue
            with self._changed:
                name = next((name for name, each in self._pids.items() if each == pid), None)
                if name is None:
                    continue
                del self._pids[name]
                self._changed.notify_all()
                if name in self._wanted:
                    print(f"{name} exited with status {status}, restarting it", file=sys.stderr, flush=True)
                    threading.Timer(RESTART_SECONDS, self._restart, (name,)).start()

    def _restart(self, name: str) -> None:
        with self._changed:
            if name in self._wanted and name not in self._pids:
                self._spawn(name)

    def _spawn(self, name: str) -> None:
        with (self._state / "log" / f"{name}.log").open("ab") as log:
            process = subprocess.Popen(
                self._components[name].command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd="/"
            )
        process.returncode = 0  # `reap` waits for it, so Popen must not
        self._pids[name] = process.pid

    def _is_healthy(self, component: Component) -> bool:
        if component.health.startswith("/"):
            with socket.socket(socket.AF_UNIX) as probe:
                return probe.connect_ex(component.health) == 0
        try:
            with urllib.request.build_opener(
                urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=self._tls)
            ).open(component.health, timeout=2):
                return True
        except OSError:
            return False

    def _until(self, condition: Callable[[], bool], seconds: float, failure: str) -> None:
        deadline = time.monotonic() + seconds
        while not condition():
            if time.monotonic() > deadline:
                raise TimeoutError(f"{failure} within {seconds:.0f} seconds, see {self._state}/log")
            time.sleep(POLL_SECONDS)

    # --- requests ----------------------------------------------------------------------------------------------------
    def answer(self, connection: socket.socket) -> None:
        """Read one request and send the response."""
        with connection, connection.makefile("rb") as lines:
            try:
                request = json.loads(lines.readline())
                if request["do"] == "hold":
                    self.hold(connection)
                    return
                answer = self._do(request["do"], request.get("component"))
            except (KeyError, ValueError, OSError) as error:
                answer = {"ok": False, "error": str(error)}
            try:
                connection.sendall(json.dumps(answer).encode() + b"\n")
            except OSError:
                return  # the client has disconnected

    def _do(self, what: str, component: str | None) -> dict[str, Any]:
        if what == "status":
            return self.status()
        if what == "reboot":
            self.reboot()
            return {"ok": True}
        actions = {"start": self.start, "stop": self.stop, "kill": self.kill}
        if what not in actions:
            raise ValueError(f"unknown request {what!r}")
        if component not in self._components:
            raise ValueError(f"unknown component {component!r}, choose from {', '.join(self._components)}")
        actions[what](component)
        return {"ok": True}

    def listen(self, server: socket.socket) -> None:
        """Answer each request in its own thread."""
        while True:
            connection, _ = server.accept()
            threading.Thread(target=self.answer, args=(connection,), daemon=True).start()

    def start_all(self) -> None:
        """Start every component; those that only need the API server start in parallel."""
        first = ("containerd", "etcd", "apiserver")
        for name in first:
            self.start(name)
        for name in self._components:
            if name not in first:
                threading.Thread(target=self.start, args=(name,), daemon=True).start()


def main() -> None:
    """Run until the node exits."""
    state, programs, node_ip = Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3]
    supervisor = Supervisor(state, programs, node_ip)
    server = socket.socket(socket.AF_UNIX)
    server.bind(str(state / "run/control.sock"))
    server.listen(64)
    threading.Thread(target=supervisor.listen, args=(server,), daemon=True).start()
    threading.Thread(target=supervisor.start_all, daemon=True).start()
    signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
    supervisor.reap()


if __name__ == "__main__":
    main()
