"""A server that runs n8n already: Docker, n8n's network with its Redis, and a Traefik on ports 80 and 443.

Docker runs in the network of the tests' node, as it does beside k3s on a server: its firewall rules and those of
Kubernetes are in the same tables. The containers' programs are those of this machine.
"""

from __future__ import annotations

import io
import re
import ssl
import subprocess
import tarfile
import threading
import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Self

import httpx

from cluster.cluster import HERE, NODE_ADDRESS, STATE, Cluster, wait_until
from launching.authority import Authority, Routed

N8N, NETWORK, SUBNET, GATEWAY = "n8n.example.test", "n8n-prod_default", "172.18.0.0/16", "172.18.0.1"
BRIDGE = "br-n8n"
IMAGE = "machine:test"
START_SECONDS = 60.0
COMMAND_SECONDS = 60.0
CLI = "/usr/bin/docker"  # of Debian's docker.io, like its daemon
SHORT_TIMEOUTS = [
    f"--entryPoints.websecure.transport.respondingTimeouts.{name}=2s" for name in ("readTimeout", "idleTimeout")
]

# A rule can be gone: the controllers of Kubernetes write back the whole table, as it was when they read it.
_DELETE_RULE = 'if iptables -w -C "$@" 2>/dev/null; then iptables -w -D "$@"; fi'


class Docker:
    """Docker with n8n, Redis and Traefik, which reads the files in `routes` and gets certificates from `authority`."""

    def __init__(self, cluster: Cluster, authority: Authority, directory: Path) -> None:
        self._authority, self._directory = authority, directory
        self.routes = directory / "routes"
        self._state = STATE / "docker"
        self.cli = f"{CLI} --host unix://{self._state}/docker.sock"
        self._stack = ExitStack()
        self._daemon: subprocess.Popen[bytes] | None = None
        self._node = cluster.node_process

    def __enter__(self) -> Self:
        try:
            self._start()
        except BaseException:
            self._stack.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    @property
    def root(self) -> Path:
        """The certificate of the authority."""
        return self._authority.root

    def client(self, name: str) -> httpx.Client:
        """Return a client for a name that Traefik serves; it trusts only the test authority."""
        trust = ssl.create_default_context(cafile=self._authority.root)
        return httpx.Client(base_url=f"https://{name}", transport=Routed(NODE_ADDRESS, trust), timeout=30)

    def firewall(self) -> list[str]:
        """Return the node's firewall rules, except those of Kubernetes and of the network of its pods."""
        rules = self.node("iptables-save").splitlines()
        own = re.compile(r"KUBE-|CNI-|^#|^:|^COMMIT")
        return [rule for rule in rules if not own.search(rule)]

    def docker(self, *args: str, input: bytes | None = None) -> str:
        """Run Docker's command line."""
        done = subprocess.run([*self.cli.split(), *args], input=input, capture_output=True, timeout=COMMAND_SECONDS)
        assert done.returncode == 0, f"docker {' '.join(args)}: {done.stderr.decode()}"
        return done.stdout.decode()

    def node(self, *command: str) -> str:
        """Run a command in the node's network and return its output."""
        done = subprocess.run(
            [*self._inside, *command], capture_output=True, text=True, timeout=COMMAND_SECONDS, check=False
        )
        assert done.returncode == 0, f"{' '.join(command)}: {done.stderr}"
        return done.stdout

    # -----------------------------------------------------------------------------------------------------------------
    @property
    def _inside(self) -> list[str]:
        return ["nsenter", f"--target={self._node}", "--mount", "--net", "--pid"]

    def _start(self) -> None:
        self.routes.mkdir()
        self._state.mkdir(exist_ok=True)
        self._forward_as_k3s_does()
        self._start_daemon()
        self.docker("import", "-", IMAGE, input=_root_folder())
        bridge = f"--opt=com.docker.network.bridge.name={BRIDGE}"
        self.docker("network", "create", f"--subnet={SUBNET}", f"--gateway={GATEWAY}", bridge, NETWORK)
        self._stack.callback(self.docker, "network", "rm", NETWORK)
        self._run("redis", [f"--publish={GATEWAY}:6379:6379"], "redis-server", "--save", "", "--protected-mode", "no")
        rule = [f"traefik.http.routers.n8n.rule=Host(`{N8N}`)", "traefik.http.routers.n8n.tls.certresolver=letsencrypt"]
        labels = ["traefik.enable=true", *rule, "traefik.http.services.n8n.loadbalancer.server.port=5678"]
        self._run("n8n", [f"--label={each}" for each in labels], "python3", "-m", "http.server", "5678")
        self._run_traefik()

    def _forward_as_k3s_does(self) -> None:
        """Drop what is forwarded, except of pods: the first is what Docker sets at its start, the second flannel's."""
        accept = [("FORWARD", way, "10.42.0.0/16", "-j", "ACCEPT") for way in ("-s", "-d")]
        for rule in accept:
            self.node("iptables", "-w", "-A", *rule)
            self._stack.callback(self.node, "sh", "-c", _DELETE_RULE, "sh", *rule)
        self.node("iptables", "-w", "-P", "FORWARD", "DROP")
        self._stack.callback(self.node, "iptables", "-w", "-P", "FORWARD", "ACCEPT")

    def _start_daemon(self) -> None:
        folders = [f"--data-root={self._state}/data", f"--exec-root={self._state}/run", f"--pidfile={self._state}/pid"]
        options = ["--bridge=none", "--cgroup-parent=/slipway-cluster/docker", "--oom-score-adjust=0"]
        log = (self._directory / "dockerd.log").open("ab")
        self._stack.enter_context(log)
        command = [*self._inside, "dockerd", f"--host=unix://{self._state}/docker.sock", *folders, *options]
        self._daemon = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        self._stack.callback(self._stop_daemon)
        wait_until(self._responds, START_SECONDS, f"Docker, see {log.name}")

    def _responds(self) -> bool:
        assert self._daemon is not None and self._daemon.poll() is None, "Docker did not start"
        return subprocess.run([*self.cli.split(), "version"], capture_output=True, check=False).returncode == 0

    def _stop_daemon(self) -> None:
        assert self._daemon is not None
        pid = (self._state / "pid").read_text() if (self._state / "pid").exists() else ""
        if pid:
            self.node("kill", pid)
        self._daemon.wait(COMMAND_SECONDS)
        wait_until(self._without_rules, COMMAND_SECONDS, "the removal of Docker's firewall rules")

    def _without_rules(self) -> bool:
        """Remove the chains that Docker leaves; return whether there are none."""
        left = 0
        for table in ("filter", "nat", "raw"):
            rules = [each for each in self.node("iptables-save", "-t", table).splitlines() if "DOCKER" in each]
            left += len(rules)
            jumps = [["-D", *rule.split()[1:]] for rule in rules if rule.startswith("-A")]
            chains = [["-X", rule.split()[0][1:]] for rule in rules if rule.startswith(":")]
            for change in (*jumps, *chains):  # what fails, because something else changes the table, is tried again
                subprocess.run(
                    [*self._inside, "iptables", "-w", "-t", table, *change], capture_output=True, check=False
                )
        return left == 0

    def _run(self, name: str, options: Sequence[str], *command: str) -> None:
        where = ["--detach", f"--name={name}", f"--network={NETWORK}", "--volume=/usr:/usr:ro"]
        self.docker("run", *where, *options, IMAGE, *command)
        self._stack.callback(self.docker, "rm", "--force", "--volumes", name)

    def _run_traefik(self) -> None:
        edge = subprocess.run([HERE / "install", "--where", "edge"], check=True, capture_output=True, text=True)
        volumes = [
            f"{edge.stdout.strip()}/traefik:/traefik:ro",
            f"{self._authority.certificate}:/authority.crt:ro",
            f"{self.routes}:/etc/traefik/slipway:ro",
            f"{self._state}/docker.sock:/var/run/docker.sock:ro",
        ]
        options = ["--publish=80:80", "--publish=443:443", "--tmpfs=/letsencrypt"]
        options += [f"--add-host={self._authority.name}:{self._authority.address}"]
        acme = "--certificatesResolvers.letsencrypt.acme"
        self._run(
            "traefik", [*options, *(f"--volume={each}" for each in volumes)],
            "/traefik", "--providers.docker=true", "--providers.docker.exposedByDefault=false",
            "--providers.file.directory=/etc/traefik/slipway",
            "--entryPoints.web.address=:80", "--entryPoints.websecure.address=:443", *SHORT_TIMEOUTS,
            f"{acme}.tlsChallenge=true", f"{acme}.storage=/letsencrypt/acme.json",
            *self._authority.traefik_arguments("/authority.crt"),
        )  # fmt: skip


class Poller(threading.Thread):
    """Requests a page of n8n again and again, on new connections, until it is left; `failures` are what went wrong."""

    pause_seconds = 0.1

    def __init__(self, docker: Docker) -> None:
        super().__init__(name="poller", daemon=True)
        self._docker, self._ended = docker, threading.Event()
        self.responses, self.failures = 0, list[str]()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ended.set()
        self.join(COMMAND_SECONDS)

    def run(self) -> None:
        """Request it until the end."""
        while not self._ended.is_set():
            try:
                with self._docker.client(N8N) as client:
                    client.get("/").raise_for_status()
                self.responses += 1
            except Exception as error:  # whatever it is, the thread must go on
                self.failures.append(f"{time.monotonic():.1f}: {error!r}")
            self._ended.wait(self.pause_seconds)


def _root_folder() -> bytes:
    """Return an image's root folder as an archive: its programs are in /usr, which is mounted from this machine."""
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w") as tar:
        for name in ("usr", "etc", "tmp", "proc", "sys", "dev", "var", "run"):
            folder = tarfile.TarInfo(name)
            folder.type, folder.mode = tarfile.DIRTYPE, 0o755
            tar.addfile(folder)
        for name in ("bin", "sbin", "lib", "lib64"):
            link = tarfile.TarInfo(name)
            link.type, link.linkname = tarfile.SYMTYPE, f"usr/{name}"
            tar.addfile(link)
    return archive.getvalue()
