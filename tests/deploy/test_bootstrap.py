"""bootstrap.sh and k3s.sh, as far as they go without a server: what they refuse, what they would do, what they write.

Programs that change a server are stand-ins here that note how they were called. Checks, files and checksums are real.
"""

from __future__ import annotations

import hashlib
import os
import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
K8S = ROOT / "k8s"
KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJ ci"
STAND_INS = (
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
    """A folder that stands for a server's root, and the programs on it."""

    def __init__(self, directory: Path) -> None:
        self.root, self.calls = directory / "root", directory / "calls"
        for folder in ("etc", "proc", "var", "run/systemd/system"):
            (self.root / folder).mkdir(parents=True)
        self.describe()
        self.config = directory / "config"
        self.config.mkdir()
        (self.config / ".env").write_text(f"RUNNER_API_SECRET={hashlib.sha256(b'x').hexdigest()}\n")
        (self.config / "master-cv.md").write_text("# A person\n")
        self._programs = directory / "bin"
        self._programs.mkdir()
        for name in STAND_INS:
            self.program(name, f'echo "{name} $*" >> {self.calls}')
        self.program("kubectl", self.kubectl_of_k3s())
        self.program("systemctl", f'[ "$1" != is-active ] && echo "systemctl $*" >> {self.calls}')
        self.program("id", '[ "$1" = -u ] && echo 0')

    def describe(self, system: str = "debian", version: str = "12", memory_mb: int = 4000) -> None:
        (self.root / "etc/os-release").write_text(f'ID={system}\nVERSION_ID="{version}"\n')
        (self.root / "proc/meminfo").write_text(f"MemTotal:  {memory_mb * 1024} kB\n")

    def program(self, name: str, script: str) -> None:
        path = self._programs / name
        path.write_text(f"#!/bin/sh\n{script}\n")
        path.chmod(0o755)

    def kubectl_of_k3s(self, answer: str = "") -> str:
        """As k3s's own: without KUBECONFIG it takes k3s.yaml wherever that is, and only root may read it."""
        k3s = "/etc/rancher/k3s/k3s.yaml"
        return f"""
if [ -z "$KUBECONFIG" ] && [ -e {self.root}{k3s} ]; then
  echo 'error: error loading config file "{k3s}": open {k3s}: permission denied' >&2
  exit 1
fi
echo "kubectl $* KUBECONFIG=$KUBECONFIG" >> {self.calls}
{answer}"""

    def with_k3s(self, home: bool) -> Path:
        """Put k3s's own configuration there, and with `home` the user's; return the one to use."""
        k3s, mine = self.root / "etc/rancher/k3s/k3s.yaml", self.root / ".kube/config"
        for path in (k3s, mine) if home else (k3s,):
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text("apiVersion: v1\n")
        return mine if home else k3s

    def run(self, script: str, *args: str) -> subprocess.CompletedProcess[str]:
        path = f"{self._programs}:{os.environ['PATH']}"
        environment = {**os.environ, "PATH": path, "BOOTSTRAP_ROOT": str(self.root), "HOME": str(self.root)}
        environment.pop("KUBECONFIG", None)
        return subprocess.run([K8S / script, *args], capture_output=True, text=True, env=environment, timeout=60)

    def bootstrap(self, *args: str) -> subprocess.CompletedProcess[str]:
        wanted = ["--config", str(self.config), "--host", "runner.example.com", "--images", "ghcr.io/me/slipway"]
        return self.run("bootstrap.sh", *wanted, *args)


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


@pytest.mark.parametrize(
    ("args", "told"),
    [
        (["--host", "runner.example.com", "--images", "ghcr.io/me/x"], "--config is missing"),
        (["--config", "c", "--images", "ghcr.io/me/x"], "--host is missing"),
        (["--config", "c", "--host", "h.example.com"], "--images is missing"),
        (["--config", "c", "--host", "https://h.example.com", "--images", "ghcr.io/me/x"], "is no name such as"),
        (["--config", "c", "--host", "h.example.com", "--images", "ghcr.io/Me/X"], "small letters alone"),
        (
            ["--config", "c", "--host", "h.example.com", "--images", "ghcr.io/me/x", "--deploy-key", "AAAA"],
            "no public key",
        ),
        (["--config"], "--config needs a value"),
        (["--hots", "x"], "--hots is unknown"),
    ],
)
def test_wrong_options_are_refused_before_anything_is_done(machine: Machine, args: list[str], told: str) -> None:
    done = machine.run("bootstrap.sh", *args)
    assert (done.returncode, told in done.stderr) == (2, True), done.stderr
    assert not machine.calls.exists()


@pytest.mark.parametrize(
    ("system", "version", "memory_mb", "told"),
    [
        ("debian", "11", 4000, "this is debian 11; it takes Debian 12"),
        ("ubuntu", "20.04", 4000, "this is ubuntu 20.04"),
        ("fedora", "42", 4000, "this is fedora 42"),
        ("debian", "13", 1000, "this machine has 1000 MB of memory"),
    ],
)
def test_a_machine_that_will_not_do_is_refused_before_anything_is_done(
    machine: Machine, system: str, version: str, memory_mb: int, told: str
) -> None:
    machine.describe(system, version, memory_mb)
    done = machine.bootstrap()
    assert done.returncode == 1 and told in done.stderr
    assert not machine.calls.exists()


def test_a_port_that_is_taken_is_told_unless_k3s_has_it(machine: Machine) -> None:
    machine.program("ss", """echo 'LISTEN 0 511 0.0.0.0:80 0.0.0.0:* users:(("nginx",pid=1,fd=6))'""")
    done = machine.bootstrap()
    assert done.returncode == 1 and "port 80 is taken" in done.stderr and "nginx" in done.stderr
    machine.program("ss", """echo 'LISTEN 0 511 *:6443 *:* users:(("k3s-server",pid=1,fd=6))'""")
    assert machine.bootstrap("--dry-run").returncode == 0


def test_a_folder_with_faults_ends_it_before_the_server_is_changed(machine: Machine) -> None:
    (machine.config / "master-cv.md").unlink()
    machine.program("dpkg-query", "echo installed")
    done = machine.bootstrap()
    assert done.returncode == 2 and "master-cv.md is missing" in done.stderr
    assert "ufw" not in (machine.calls.read_text() if machine.calls.exists() else "")


def test_a_dry_run_says_all_and_does_nothing(machine: Machine) -> None:
    machine.program("sshd", "echo 'port 2222'")
    done = machine.bootstrap("--dry-run", "--deploy-key", KEY, "--image-tag", "abc", "--set", "queue.maxConcurrency=1")
    assert done.returncode == 0, done.stderr
    told = done.stdout
    for each in (
        "ufw allow 2222/tcp",
        "ufw allow 22/tcp",
        "ufw allow 80/tcp",
        "ufw allow 443/tcp",
        "ufw allow from 10.42.0.0/16",
        "ufw allow from 10.43.0.0/16",
        "write /etc/rancher/k3s/config.yaml (600)",
        "k8s/k3s.sh",
        "install helm v3",
        "values-4gb.yaml --image-tag abc --set queue.maxConcurrency=1",
        "useradd --create-home --shell /bin/bash deploy",
    ):
        assert each in told, told
    assert "6443" not in told
    assert told.index("ufw allow 22/tcp") < told.index("ufw --force enable")
    calls = machine.calls.read_text() if machine.calls.exists() else ""
    assert not re.search(r"^(apt-get|ufw|useradd|curl|helm|chown)", calls, re.MULTILINE), calls
    assert not (machine.root / "etc/rancher").exists()


def test_a_larger_machine_gets_the_larger_preset_and_no_firewall_where_none_is_wanted(machine: Machine) -> None:
    machine.describe(memory_mb=7900)
    told = machine.bootstrap("--dry-run", "--no-firewall").stdout
    assert "values-8gb.yaml" in told and "ufw" not in told


def test_what_it_writes_stays_as_it_is_when_it_runs_again(machine: Machine) -> None:
    machine.program("curl", "exit 22")  # no k3s is to be had, so it ends there
    written = machine.root / "etc/rancher/k3s/config.yaml"
    assert "could not be fetched" in machine.bootstrap().stderr
    assert written.read_text() == (K8S / "k3s.yaml").read_text()
    assert written.stat().st_mode & 0o777 == 0o600
    first, calls = written.stat(), machine.calls.read_text()
    machine.calls.unlink()
    machine.bootstrap()
    assert written.stat().st_mtime_ns == first.st_mtime_ns
    assert machine.calls.read_text() == calls, "the second time the same calls, which ufw and apt-get take as no change"
    assert "ufw --force enable" in calls and "systemctl restart" not in calls


def test_changed_settings_restart_a_k3s_that_runs(machine: Machine) -> None:
    machine.program("curl", "exit 22")
    machine.program("systemctl", f'echo "systemctl $*" >> {machine.calls}')  # k3s is active
    machine.bootstrap()
    assert "systemctl restart k3s" in machine.calls.read_text()
    machine.calls.unlink()
    machine.bootstrap()
    assert "systemctl restart k3s" not in machine.calls.read_text()


@pytest.mark.skipif(os.uname().machine not in ("x86_64", "aarch64"), reason="k3s is pinned for these two")
def test_a_k3s_that_is_not_what_it_should_be_is_never_installed(machine: Machine) -> None:
    machine.program("curl", """while [ $# -gt 1 ]; do [ "$1" = --output ] && echo "not k3s" > "$2"; shift; done""")
    done = machine.run("k3s.sh", "--version", "v1.99.0+k3s1", "--sha256", "0" * 64)
    actual = hashlib.sha256(b"not k3s\n").hexdigest()
    assert done.returncode == 1
    assert (
        f"v1.99.0%2Bk3s1/k3s{'' if os.uname().machine == 'x86_64' else '-arm64'} is not what it should be"
        in done.stderr
    )
    assert actual in done.stderr and "Nothing was changed" in done.stderr


@pytest.mark.parametrize("args", [["--version", "1.34"], ["--version", "v1.35.1+k3s1"], ["--latest"]])
def test_another_k3s_is_taken_by_its_full_version_and_checksum_alone(machine: Machine, args: list[str]) -> None:
    assert machine.run("k3s.sh", *args).returncode == 2


def test_the_settings_of_k3s_say_what_the_runs_need() -> None:
    import yaml

    settings = yaml.safe_load((K8S / "k3s.yaml").read_text())
    assert settings["secrets-encryption"] is True
    assert settings["write-kubeconfig-mode"] == "0600"
    options = dict(each.split("=") for each in settings["kubelet-arg"] + settings["kube-controller-manager-arg"])
    assert int(options["terminated-pod-gc-threshold"]) >= 500, (
        "the operator and kubectl logs need ended pods for a while"
    )
    assert options["container-log-max-size"].endswith("Mi")
