"""A fake server for the scripts of k8s/: a root folder, and programs that record their calls."""

from __future__ import annotations

import hashlib
import os
import subprocess
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
K8S = ROOT / "k8s"
FAKES = (
    "apt-get",
    "ufw",
    "systemctl",
    "useradd",
    "kubectl",
    "helm",
    "sshd",
    "ss",
    "curl",
    "dpkg-query",
    "chown",
    "id",
)


class Machine:
    """A fake server: a root folder and programs."""

    def __init__(self, directory: Path) -> None:
        self.root, self.calls = directory / "root", directory / "calls"
        for folder in ("etc", "proc/sys/kernel", "proc/net", "var", "run/systemd/system", "sys/fs/cgroup"):
            (self.root / folder).mkdir(parents=True)
        (self.root / "proc/sys/kernel/hostname").write_text("server\n")
        (self.root / "proc/net/route").write_text("Iface Destination Gateway\neth0 00000000 0100000A\n")
        (self.root / "sys/fs/cgroup/cgroup.controllers").write_text("cpuset cpu io memory hugetlb pids rdma misc\n")
        self.scripts = K8S
        self.describe()
        self.config = directory / "config"
        self.config.mkdir()
        (self.config / ".env").write_text(f"RUNNER_API_SECRET={hashlib.sha256(b'x').hexdigest()}\n")
        (self.config / "master-cv.md").write_text("# A person\n")
        self.programs = directory / "bin"
        self.programs.mkdir()
        for name in FAKES:
            self.program(name, f'echo "{name} $*" >> {self.calls}')
        self.program("kubectl", self.kubectl_of_k3s())
        self.program("systemctl", f'[ "$1" != is-active ] && echo "systemctl $*" >> {self.calls}')
        self.program("id", '[ "$1" = -u ] && echo 0')
        self.program("ip", "exit 0")  # no route

    def describe(self, system: str = "debian", version: str = "12", memory_mb: int = 4000) -> None:
        (self.root / "etc/os-release").write_text(f'ID={system}\nVERSION_ID="{version}"\n')
        (self.root / "proc/meminfo").write_text(f"MemTotal:  {memory_mb * 1024} kB\n")

    def program(self, name: str, script: str) -> None:
        path = self.programs / name
        path.write_text(f"#!/bin/sh\n{script}\n")
        path.chmod(0o755)

    def installed(self, kubectl: str) -> None:
        """Let k3s be installed, with these answers of its kubectl."""
        kubeconfig = self.root / "etc/rancher/k3s/k3s.yaml"
        kubeconfig.parent.mkdir(parents=True)
        kubeconfig.touch()
        self.program("kubectl", self.kubectl_of_k3s(kubectl))

    def kubectl_of_k3s(self, answer: str = "") -> str:
        """A fake of k3s's kubectl: without KUBECONFIG it uses k3s.yaml, which only root can read."""
        k3s = "/etc/rancher/k3s/k3s.yaml"
        return f"""
if [ -z "$KUBECONFIG" ] && [ -e {self.root}{k3s} ]; then
  echo 'error: error loading config file "{k3s}": open {k3s}: permission denied' >&2
  exit 1
fi
echo "kubectl $* KUBECONFIG=$KUBECONFIG" >> {self.calls}
{answer}"""

    def with_k3s(self, home: bool) -> Path:
        """Create k3s's configuration and, with `home`, the user's; return the one to use."""
        k3s, mine = self.root / "etc/rancher/k3s/k3s.yaml", self.root / ".kube/config"
        for path in (k3s, mine) if home else (k3s,):
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text("apiVersion: v1\n")
        return mine if home else k3s

    @property
    def environment(self) -> dict[str, str]:
        path = f"{self.programs}:{os.environ['PATH']}"
        own = {
            "PATH": path,
            "BOOTSTRAP_ROOT": str(self.root),
            "HOME": str(self.root),
            "FAKE_K3S": str(self.calls.parent),
        }
        return {name: value for name, value in os.environ.items() if name not in ("KUBECONFIG", "SSH_CONNECTION")} | own

    def run(self, script: str, *args: str, **variables: str) -> subprocess.CompletedProcess[str]:
        environment = {**self.environment, **variables}
        return subprocess.run(
            [self.scripts / script, *args], capture_output=True, text=True, env=environment, timeout=300
        )

    def bootstrap(self, *args: str, **variables: str) -> subprocess.CompletedProcess[str]:
        wanted = ["--config", str(self.config), "--host", "runner.example.com", "--images", "ghcr.io/me/slipway"]
        return self.run("bootstrap.sh", *wanted, *args, **variables)
