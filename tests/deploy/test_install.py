"""install.sh without a cluster: the chart values that it chooses. kubectl, helm and Docker are fakes."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest
import yaml

SCRIPTS = Path(__file__).resolve().parents[2] / "k8s"
RENDERED = "image: localhost/slipway:test\\n  name: slipway-redis"


class Fakes:
    """The programs that install.sh calls, in a cluster where everything works."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.calls, self.applied = folder, folder / "calls", folder / "applied"
        self._programs = folder / "bin"
        self._programs.mkdir()
        self.kubectl("restricted")
        self.program("curl", "exit 0")
        self.program("docker", "echo 172.18.0.0/16; echo fd00::/64")
        self.release("null")

    def program(self, name: str, script: str) -> None:
        path = self._programs / name
        path.write_text(f'#!/bin/sh\necho "{name} $*" >> {self.calls}\n{script}\n')
        path.chmod(0o755)

    def kubectl(self, answer: str, **answers: str) -> None:
        """Set what kubectl prints: always `answer`, except if it is called with a word of `answers`."""
        cases = "".join(f'*{word}*) echo "{text}" ;; ' for word, text in answers.items())
        read = f'case "$*" in *--filename=-*) cat >{self.applied} ;; esac'
        self.program("kubectl", f'{read}\ncase "$*" in {cases} *) echo "{answer}" ;; esac')

    def release(self, values: str) -> None:
        """Set the values of the existing release."""
        history = """*" history "*) echo '[{"revision": 1}]' ;;"""
        get = f"""*" get values "*) echo '{values}' ;;"""
        self.program("helm", f'case "$*" in {history} {get} *" upgrade "*) printf "{RENDERED}\\n" ;; esac')

    def run(self, script: str, *args: str) -> tuple[int, str]:
        """Run a script; return its exit code and its output."""
        environment = {
            **os.environ,
            "PATH": f"{self._programs}:{os.environ['PATH']}",
            "KUBECONFIG": "/dev/null",
            "EDGE_FILE": str(self.folder / "traefik/slipway.yaml"),
        }
        done = subprocess.run([SCRIPTS / script, *args], capture_output=True, text=True, env=environment, timeout=60)
        return done.returncode, done.stdout + done.stderr

    def install(self, *args: str) -> tuple[int, str, str]:
        """Run install.sh; return its exit code, its output, and the arguments of the upgrade."""
        code, output = self.run("install.sh", "--no-verify", *args)
        calls = self.calls.read_text() if self.calls.exists() else ""
        upgrades = [line for line in calls.splitlines() if " upgrade " in line and "--dry-run" not in line]
        return code, output, "".join(upgrades)


@pytest.fixture
def fakes(tmp_path: Path) -> Fakes:
    return Fakes(tmp_path)


BEHIND_TRAEFIK = '{"ingress": {"external": {"enabled": true}}}'


def test_host_alone_uses_the_traefik_of_k3s(fakes: Fakes) -> None:
    code, output, upgrade = fakes.install("--host", "h.example.com")
    assert code == 0, output
    assert "ingress.enabled=true --set ingress.external.enabled=false" in upgrade
    assert not (fakes.folder / "traefik").exists()


def test_existing_traefik_may_connect_from_its_docker_network(fakes: Fakes) -> None:
    code, output, upgrade = fakes.install("--host", "h.example.com", "--edge", "existing")
    assert code == 0, output
    assert "docker network inspect n8n-prod_default" in fakes.calls.read_text()
    assert "ingress.enabled=false --set ingress.external.enabled=true" in upgrade
    assert "ingress.external.networks={172.18.0.0/16}" in upgrade
    assert (fakes.folder / "traefik/slipway.yaml").read_text() == "restricted\n", "what kubectl printed"
    assert "apply" not in fakes.calls.read_text(), "k3s's Traefik is not configured"


@pytest.mark.parametrize(("network", "expected"), [("host", "{}"), ("10.9.0.0/24", "{10.9.0.0/24}")])
def test_network_needs_no_docker(network: str, expected: str, fakes: Fakes) -> None:
    fakes.program("docker", "exit 1")
    code, output, upgrade = fakes.install("--host", "h.example.com", "--edge", "existing", "--edge-network", network)
    assert code == 0, output
    assert f"ingress.external.networks={expected}" in upgrade


def test_unknown_docker_network_is_reported_before_anything_changes(fakes: Fakes) -> None:
    fakes.program("docker", "exit 1")
    code, output, upgrade = fakes.install("--host", "h.example.com", "--edge", "existing", "--edge-network", "other")
    assert (code, upgrade) == (1, ""), output
    assert "Docker has no network other" in output


def test_later_install_without_docker_keeps_the_existing_traefik(fakes: Fakes) -> None:
    fakes.program("docker", "exit 1")
    fakes.release(BEHIND_TRAEFIK)
    code, output, upgrade = fakes.install("--host", "h.example.com", "--image-tag", "abc")
    assert code == 0, output
    assert "ingress.enabled=false --set ingress.external.enabled=true" in upgrade
    assert "networks" not in upgrade
    code, output, upgrade = fakes.install("--image-tag", "abc")
    assert code == 0 and "ingress.enabled=true" not in upgrade, output


def test_network_of_an_earlier_install_is_kept_unless_another_is_given(fakes: Fakes) -> None:
    fakes.release(BEHIND_TRAEFIK)
    code, output, upgrade = fakes.install("--host", "h.example.com", "--edge", "existing")
    assert code == 0, output
    assert "ingress.external.enabled=true" in upgrade and "networks" not in upgrade
    fakes.calls.unlink()
    code, output, upgrade = fakes.install("--host", "h.example.com", "--edge", "existing", "--edge-network", "proxy")
    assert code == 0 and "ingress.external.networks={172.18.0.0/16}" in upgrade, output


def test_edge_k3s_leaves_the_existing_traefik(fakes: Fakes) -> None:
    fakes.release(BEHIND_TRAEFIK)
    code, output, upgrade = fakes.install("--host", "h.example.com", "--edge", "k3s")
    assert code == 0, output
    assert "ingress.enabled=true --set ingress.external.enabled=false" in upgrade


def test_traefik_that_does_not_read_the_route_yet_is_explained(fakes: Fakes) -> None:
    fakes.program("curl", "exit 22")
    code, output, _ = fakes.install("--host", "h.example.com", "--edge", "existing")
    assert code == 0, output
    assert f"{fakes.folder}/traefik:/etc/traefik/slipway:ro" in output


@pytest.mark.parametrize(
    ("redis", "expected"),
    [
        ("external", "redis.enabled=false --set redis.externalUrl= --set redis.externalUrlSecret=slipway-env"),
        ("own", "redis.enabled=true --set redis.externalUrl= --set redis.externalUrlSecret= "),
    ],
)
def test_redis_is_the_charts_or_the_one_in_env(redis: str, expected: str, fakes: Fakes) -> None:
    code, output, upgrade = fakes.install("--redis", redis)
    assert code == 0, output
    assert expected in upgrade


def test_redis_that_pods_cannot_use_stops_the_install(fakes: Fakes) -> None:
    fakes.kubectl("restricted", phase="Failed")
    fakes.program("helm", 'case "$*" in *" upgrade "*) echo "image: localhost/slipway:test" ;; esac')
    code, output, upgrade = fakes.install("--redis", "external")
    assert (code, upgrade) == (1, ""), output
    assert "Nothing was changed" in output


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ('REDIS_URL: "redis://172.18.0.1:6379/5"', {"value": "redis://172.18.0.1:6379/5"}),
        (
            "valueFrom: {secretKeyRef: {name: slipway-env, key: REDIS_URL, optional: false}}",
            {"valueFrom": {"secretKeyRef": {"name": "slipway-env", "key": "REDIS_URL"}}},
        ),
    ],
)
def test_redis_is_checked_with_the_url_and_image_of_the_launcher(
    line: str, expected: dict[str, object], fakes: Fakes
) -> None:
    fakes.kubectl("Redis responds", phase="Succeeded")
    rendered = fakes.folder / "rendered"
    rendered.write_text(f'  image: "localhost/slipway:test"\n  {line}\n')
    assert fakes.run("check-redis.sh", str(rendered), "ghcr") == (0, "check-redis: Redis responds\n")
    policy, pod = yaml.safe_load_all(fakes.applied.read_text())
    [container] = pod["spec"]["containers"]
    assert container["image"] == "localhost/slipway:test"
    assert container["env"] == [{"name": "REDIS_URL", **expected}]
    assert container["args"] == [(SCRIPTS / "redis_probe.py").read_text()]
    assert pod["spec"]["imagePullSecrets"] == [{"name": "ghcr"}]
    assert policy["spec"]["podSelector"]["matchLabels"].items() <= pod["metadata"]["labels"].items()


@pytest.mark.parametrize("args", [["--edge", "docker"], ["--redis", "n8n"], ["--edge"]])
def test_invalid_options_are_rejected_at_once(args: list[str], fakes: Fakes) -> None:
    assert (fakes.install(*args)[0], fakes.calls.exists()) == (2, False)
