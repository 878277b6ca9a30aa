"""A fake server whose programs behave like those of k3s, and a copy of the scripts that trusts its downloads."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from .machine import K8S, ROOT, Machine

FAKE = Path(__file__).with_name("fake_k3s.py")
SETTINGS = "etc/rancher/k3s/config.yaml.d/slipway.yaml"
PINS = [path for path in sorted(K8S.iterdir()) if path.suffix in (".sh", ".env")]
[VERSION] = set(re.findall(r"v\d+\.\d+\.\d+\+k3s\d+", "".join(path.read_text() for path in PINS)))
MACHINE = os.uname().machine
SUFFIX = {"x86_64": "amd64", "aarch64": "arm64"}.get(MACHINE, "")


@cache
def checksum(url: str) -> str:
    """Return the checksum of what the fake curl downloads from the address."""
    with tempfile.TemporaryDirectory() as folder:
        environment = {**os.environ, "BOOTSTRAP_ROOT": folder, "FAKE_K3S": folder}
        command = [sys.executable, str(FAKE), "curl", "--output", f"{folder}/download", url]
        subprocess.run(command, env=environment, check=True, timeout=60)
        return hashlib.sha256(Path(folder, "download").read_bytes()).hexdigest()


def helm_address() -> str:
    """Return the address of the pinned helm."""
    [version] = set(re.findall(r"(?i)helm_version=(v[\d.]+)", "".join(path.read_text() for path in PINS)))
    return f"https://get.helm.sh/helm-{version}-linux-{SUFFIX}.tar.gz"


class FreshServer(Machine):
    """A fake server with nothing on it, and a copy of the scripts that trusts the fake downloads."""

    def __init__(self, directory: Path) -> None:
        super().__init__(directory)
        self.directory = directory
        (self.root / "etc/systemd/system").mkdir(parents=True)
        self.rename("Srv123456.example.COM")
        for name in ("systemctl", "curl", "df"):
            self.program(name, f'exec {sys.executable} {FAKE} {name} "$@"')
        self.program("sshd", "echo 'port 2222'")
        for name in ("kubectl", "helm"):
            (self.programs / name).unlink()
        self.scripts = self._copy_scripts()

    @property
    def environment(self) -> dict[str, str]:
        """As after logging in, with /usr/local/bin first."""
        return {**(own := super().environment), "PATH": f"{self.root}/usr/local/bin:{own['PATH']}"}

    def _copy_scripts(self) -> Path:
        copy = self.directory / "checkout"
        copy.mkdir()
        for name in ("charts", "launcher", ".env.example"):
            (copy / name).symlink_to(ROOT / name)
        shutil.copytree(K8S, copy / "k8s")
        k3s, installer, helm = (checksum(url) for url in (f"{VERSION}/k3s", f"{VERSION}/install.sh", helm_address()))
        for path in PINS:
            lines = path.read_text().splitlines(keepends=True)
            for n, line in enumerate(lines):
                name = line.partition("=")[0].lower()
                trusted = installer if "installer" in name else k3s if "k3s" in name else helm
                lines[n] = re.sub(r"\b[0-9a-f]{64}\b", trusted, line)
            (copy / "k8s" / path.name).write_text("".join(lines))
        return copy / "k8s"

    def rename(self, name: str) -> None:
        """Change the host name."""
        (self.root / "proc/sys/kernel/hostname").write_text(f"{name}\n")

    def options(self, **options: Any) -> None:
        """Set how the fakes behave from now on."""
        (self.directory / "options").write_text(json.dumps(options))

    def took_place(self) -> list[str]:
        """Return and forget the calls so far."""
        calls = self.calls.read_text().splitlines() if self.calls.exists() else []
        self.calls.unlink(missing_ok=True)
        return calls

    @property
    def server(self) -> dict[str, Any]:
        """What happened on the server, see fake_k3s."""
        found: dict[str, Any] = json.loads((self.directory / "server").read_text())
        return found

    @property
    def settings(self) -> dict[str, Any]:
        """The settings that k3s.sh has written."""
        found: dict[str, Any] = yaml.safe_load((self.root / SETTINGS).read_text())
        return found

    def successful(self, script: str, *args: str, **variables: str) -> str:
        """Run a script that must succeed, and return its output."""
        done = self.run(script, *args, **variables)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout + done.stderr

    def bootstrap(self, *args: str, **variables: str) -> subprocess.CompletedProcess[str]:
        """Run bootstrap.sh without the verification at the end, which needs a real cluster."""
        return super().bootstrap("--no-verify", *args, **variables)

    def install(self, *args: str, **variables: str) -> subprocess.CompletedProcess[str]:
        """Run install.sh with a host name."""
        command = ("install.sh", "--no-verify", "--config", str(self.config), "--host", "runner.example.com", *args)
        return self.run(*command, **variables)
