"""bootstrap.sh and k3s.sh without a server: validation, dry runs and written files.

Programs that change a server are replaced by fakes that record their calls. Checks, files and checksums are real.
"""

from __future__ import annotations

import hashlib
import os
import re
from pathlib import Path

import pytest

from .machine import Machine

KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJ ci"


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["--host", "runner.example.com", "--images", "ghcr.io/me/x"], "--config is missing"),
        (["--config", "c", "--images", "ghcr.io/me/x"], "--host is missing"),
        (["--config", "c", "--host", "h.example.com"], "--images is missing"),
        (["--config", "c", "--host", "https://h.example.com", "--images", "ghcr.io/me/x"], "is not a host name"),
        (["--config", "c", "--host", "h.example.com", "--images", "ghcr.io/Me/X"], "lower-case letters only"),
        (
            ["--config", "c", "--host", "h.example.com", "--images", "ghcr.io/me/x", "--deploy-key", "AAAA"],
            "not a public key",
        ),
        (
            ["--config", "c", "--host", "h.example.com", "--images", "ghcr.io/me/x", "--edge", "traefik"],
            "--edge is k3s or existing, not traefik",
        ),
        (["--config"], "--config needs a value"),
        (["--hots", "x"], "--hots is unknown"),
    ],
)
def test_invalid_options_are_rejected_at_once(machine: Machine, args: list[str], message: str) -> None:
    done = machine.run("bootstrap.sh", *args)
    assert (done.returncode, message in done.stderr) == (2, True), done.stderr
    assert not machine.calls.exists()


@pytest.mark.parametrize(
    ("system", "version", "memory_mb", "message"),
    [
        ("debian", "11", 4000, "this is debian 11; Debian 12"),
        ("ubuntu", "20.04", 4000, "this is ubuntu 20.04"),
        ("fedora", "42", 4000, "this is fedora 42"),
        ("debian", "13", 1000, "this machine has 1000 MB of memory"),
    ],
)
def test_unsuitable_machine_is_rejected_at_once(
    machine: Machine, system: str, version: str, memory_mb: int, message: str
) -> None:
    machine.describe(system, version, memory_mb)
    done = machine.bootstrap()
    assert done.returncode == 1 and message in done.stderr
    assert not machine.calls.exists()


def test_port_in_use_is_reported_unless_k3s_uses_it(machine: Machine) -> None:
    machine.program("ss", """echo 'LISTEN 0 511 0.0.0.0:80 0.0.0.0:* users:(("nginx",pid=1,fd=6))'""")
    done = machine.bootstrap()
    assert done.returncode == 1 and "port 80 is in use" in done.stderr and "nginx" in done.stderr
    machine.program("ss", """echo 'LISTEN 0 511 *:6443 *:* users:(("k3s-server",pid=1,fd=6))'""")
    assert machine.bootstrap("--dry-run").returncode == 0


def test_invalid_folder_is_rejected_before_the_server_is_changed(machine: Machine) -> None:
    (machine.config / "master-cv.md").unlink()
    machine.program("dpkg-query", "echo installed")
    done = machine.bootstrap()
    assert done.returncode == 2 and "master-cv.md is missing" in done.stderr
    assert "ufw" not in (machine.calls.read_text() if machine.calls.exists() else "")


def test_dry_run_prints_everything_and_does_nothing(machine: Machine) -> None:
    machine.program("sshd", "echo 'port 2222'")
    done = machine.bootstrap("--dry-run", "--deploy-key", KEY, "--image-tag", "abc", "--set", "queue.maxConcurrency=1")
    assert done.returncode == 0, done.stderr
    output = done.stdout
    for each in (
        "ufw allow 2222/tcp",
        "ufw allow 22/tcp",
        "ufw allow 80/tcp",
        "ufw allow 443/tcp",
        "ufw allow from 10.42.0.0/16",
        "ufw allow from 10.43.0.0/16",
        "k8s/k3s.sh",
        "install helm v3",
        "values-4gb.yaml --image-tag abc --set queue.maxConcurrency=1",
        "useradd --create-home --shell /bin/bash deploy",
    ):
        assert each in output, output
    assert "6443" not in output
    assert output.index("ufw allow 22/tcp") < output.index("ufw default deny") < output.index("ufw --force enable")
    calls = machine.calls.read_text() if machine.calls.exists() else ""
    assert not re.search(r"^(apt-get|ufw|useradd|curl|helm|chown)", calls, re.MULTILINE), calls
    assert not (machine.root / "etc/rancher").exists()


def test_user_for_deployments_keeps_its_key_if_none_is_given(machine: Machine) -> None:
    config = machine.root / "home/deploy/.kube/config"
    assert "service account" not in machine.bootstrap("--dry-run").stdout
    config.parent.mkdir(parents=True)
    config.touch()
    output = machine.bootstrap("--dry-run").stdout
    assert "create a service account and /home/deploy/.kube/config" in output and "authorized_keys" not in output


def test_larger_machine_gets_the_larger_preset_and_firewall_is_optional(machine: Machine) -> None:
    machine.describe(memory_mb=7900)
    output = machine.bootstrap("--dry-run", "--no-firewall").stdout
    assert "values-8gb.yaml" in output and "ufw" not in output


EDGE = "etc/rancher/k3s/config.yaml.d/edge.yaml"
TRAEFIK_ON_80 = """echo 'LISTEN 0 511 0.0.0.0:80 0.0.0.0:* users:(("docker-proxy",pid=1,fd=6))'"""


def test_existing_traefik_keeps_ports_and_firewall(machine: Machine) -> None:
    machine.program("ss", f'case "$*" in *:80) {TRAEFIK_ON_80} ;; esac')
    assert "port 80 is in use" in machine.bootstrap("--dry-run").stderr
    done = machine.bootstrap("--dry-run", "--edge", "existing", "--edge-network", "proxy", "--redis", "external")
    assert done.returncode == 0, done.stderr
    assert f"write /{EDGE} (644)" in done.stdout
    assert "--edge existing --values" in done.stdout
    assert "--edge-network proxy --redis external" in done.stdout
    assert "ufw is not active, leaving the firewall unchanged" in done.stdout and "ufw allow" not in done.stdout


def test_active_ufw_allows_only_pods_and_services_beside_an_existing_traefik(machine: Machine) -> None:
    machine.program("ufw", "echo 'Status: active'")
    output = machine.bootstrap("--dry-run", "--edge", "existing").stdout
    found = re.findall(r"^  ufw (.*) comment", output, re.MULTILINE)
    assert found == ["allow from 10.42.0.0/16", "allow from 10.43.0.0/16"]
    assert "ufw default" not in output and "ufw --force" not in output


def test_network_that_the_server_already_uses_is_reported(machine: Machine) -> None:
    machine.program("ip", "echo '10.42.3.0/24 dev br-1234 proto kernel scope link src 10.42.3.1'")
    done = machine.bootstrap("--dry-run")
    assert done.returncode == 1 and "k3s needs 10.42.0.0/16" in done.stderr and "br-1234" in done.stderr
    machine.program("ip", "echo '10.42.0.0/24 dev cni0 proto kernel scope link src 10.42.0.1'")  # k3s's own
    assert machine.bootstrap("--dry-run").returncode == 0


BEHIND_K3S = """
case "$*" in
  *"get ingress"*) echo ingress/slipway-launcher ;;
  *"get service traefik"*) echo service/traefik ;;
esac"""


def test_release_moves_before_k3s_deletes_the_kinds_of_its_ingress(machine: Machine) -> None:
    machine.installed(BEHIND_K3S)
    output = machine.bootstrap("--dry-run", "--edge", "existing").stdout
    moves, switches = output.index("k8s/install.sh"), output.index(f"write /{EDGE}")
    assert moves < switches < output.index("k8s/k3s.sh") < output.index("patch service traefik")
    first, second = (line for line in output.splitlines() if "k8s/install.sh" in line)
    assert "--no-verify" in first and "--no-verify" not in second


def test_interrupted_switch_to_an_existing_traefik_is_completed(machine: Machine) -> None:
    machine.installed(BEHIND_K3S)
    (machine.root / EDGE).parent.mkdir(parents=True)
    (machine.root / EDGE).touch()  # k3s was told to give up its Traefik, and then bootstrap.sh was killed
    output = machine.bootstrap("--dry-run").stdout
    assert output.count("k8s/install.sh") == 1
    assert output.index("k8s/k3s.sh") < output.index("patch service traefik") < output.index("k8s/install.sh")


def test_cluster_that_does_not_answer_is_not_taken_for_one_without_a_release(machine: Machine) -> None:
    machine.installed("exit 1")
    done = machine.bootstrap("--dry-run", "--edge", "existing")
    assert done.returncode == 1 and "the cluster does not answer" in done.stderr
    assert EDGE not in done.stdout and "k3s.sh" not in done.stdout


@pytest.mark.skipif(os.uname().machine not in ("x86_64", "aarch64"), reason="k3s is pinned for these architectures")
def test_k3s_with_a_wrong_checksum_is_not_installed(machine: Machine) -> None:
    machine.program("curl", """while [ $# -gt 1 ]; do [ "$1" = --output ] && echo "not k3s" > "$2"; shift; done""")
    done = machine.run("k3s.sh", "--version", "v1.99.0+k3s1", "--sha256", "0" * 64)
    actual = hashlib.sha256(b"not k3s\n").hexdigest()
    assert done.returncode == 1
    assert (
        f"v1.99.0%2Bk3s1/k3s{'' if os.uname().machine == 'x86_64' else '-arm64'} has the wrong checksum" in done.stderr
    )
    assert actual in done.stderr and "Nothing was changed" in done.stderr


@pytest.mark.parametrize("args", [["--version", "1.34"], ["--version", "v1.35.1+k3s1"], ["--latest"]])
def test_another_k3s_requires_full_version_and_checksum(machine: Machine, args: list[str]) -> None:
    assert machine.run("k3s.sh", *args).returncode == 2
