"""verify.py with a fake kubectl that records its calls: what it prints, its exit code, and that it cleans up."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from launching.service_process import ROOT

UID, SECONDS = "0b7c", 60
POLICY = {
    "metadata": {"name": "slipway-runs"},
    "spec": {"egress": [{"to": [{"ipBlock": {"except": ["203.0.113.7/32"]}}]}]},
}
LAUNCHER = {
    "metadata": {"name": "slipway-launcher-1", "creationTimestamp": "2026-11-28T10:00:00Z"},
    "spec": {"containers": [{"image": "ghcr.io/me/runner:1"}]},
    "status": {"conditions": [{"type": "Ready", "status": "True"}]},
}
CLOSED = {"state": "closed", "open_until": None}
RESULT: dict[str, Any] = {
    "dns": True,
    "internet": {"host": "www.example", "reached": True},
    "clock_ahead": 0.1,
    "records": None,
    "forbidden": [{"name": name, "address": f"{name}:1", **CLOSED} for name in ("Redis", "launcher", "Kubernetes API")],
}
KUBECTL = """#!{python}
import json, sys, time
from pathlib import Path
folder = Path({folder!r})
with (folder / "calls").open("a") as calls:
    calls.write(json.dumps(sys.argv[1:]) + "\\n")
words = [word for word in sys.argv[1:] if not word.startswith("--")]
answers = json.loads((folder / "answers").read_text())
if words[0] == "create":
    time.sleep({create_seconds})
    made = {{"uid": "{uid}", "creationTimestamp": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())}}
    print(json.dumps({{"metadata": made}}))
    sys.exit()
answer = next((answers[key] for key in (" ".join(words[:2]), words[0]) if key in answers), "")
if words[:2] == ["get", "pods"] and any("controller-uid" in word for word in sys.argv):
    answer = answers["pod"]
if isinstance(answer, str) and answer.startswith("error"):
    sys.exit(answer)
print(answer if isinstance(answer, str) else json.dumps(answer))
"""


class Machine:
    """A server with verify.py and a fake kubectl."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        job = {"metadata": {"name": "slipway-probe"}}
        done = {"terminated": {"exitCode": 0}}
        states = [{"name": f"{name}-0", "state": done} for name in ("have", "pull")]
        self.answers: dict[str, Any] = {
            "get networkpolicies": {"items": [POLICY]},
            "get ingresses": {"items": []},
            "get configmaps": {"items": []},
            "get nodes": {"items": [{"status": {"addresses": [{"type": "InternalIP", "address": "10.0.0.5"}]}}]},
            "get pods": {"items": [LAUNCHER]},
            "exec": {"network": job, "pull": job, "images": {"ghcr.io/me/runner:1": ["launcher"]}},
            "pod": {
                "items": [
                    {"metadata": {"name": "probe-1"}, "status": {"phase": "Succeeded", "containerStatuses": states}}
                ]
            },
            "logs": RESULT,
        }

    def command(self, create_seconds: float = 0) -> tuple[list[str], dict[str, str]]:
        (self.folder / "answers").write_text(json.dumps(self.answers))
        kubectl = self.folder / "kubectl"
        kubectl.write_text(
            KUBECTL.format(python=sys.executable, folder=str(self.folder), uid=UID, create_seconds=create_seconds)
        )
        kubectl.chmod(0o755)
        environment = {"PATH": f"{self.folder}:{os.environ['PATH']}", "KUBECONFIG": "/nowhere", "NAMESPACE": "mine"}
        return ["/usr/bin/env", "python3", str(ROOT / "k8s/verify.py")], environment

    def verify(self, *args: str) -> subprocess.CompletedProcess[str]:
        command, environment = self.command()
        return subprocess.run([*command, *args], capture_output=True, text=True, env=environment, timeout=SECONDS)

    @property
    def calls(self) -> list[list[str]]:
        return [json.loads(line) for line in (self.folder / "calls").read_text().splitlines()]

    @property
    def last(self) -> str:
        return " ".join(self.calls[-1])


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


def test_working_installation_has_a_line_for_each_check_and_exit_code_0(machine: Machine) -> None:
    done = machine.verify()
    assert (done.returncode, done.stderr) == (0, "")
    for line in (
        "network policies: enforced",
        "run to Redis: refused",
        "image of launcher: ghcr.io/me/runner:1 can be",
    ):
        assert f"  ok    {line}" in done.stdout
    assert "node's clock: agrees" in done.stdout
    assert all("--namespace=mine" in call for call in machine.calls)
    [plan] = [json.loads(call[-1]) for call in machine.calls if "exec" in call]
    assert plan["nodes"] == ["10.0.0.5", "203.0.113.7"] and plan["name"] is None and plan["seconds"] > 0


def test_probe_is_created_between_two_deletions(machine: Machine) -> None:
    machine.verify()
    verbs = [next(word for word in call if not word.startswith("--")) for call in machine.calls]
    begin = verbs.index("delete")
    assert verbs[begin : begin + 2] == ["delete", "create"] and verbs[-1] == "delete"


def test_runs_that_are_not_isolated_are_a_loud_warning_but_no_failure(machine: Machine) -> None:
    machine.answers["logs"] = RESULT | {"forbidden": [each | {"state": "open"} for each in RESULT["forbidden"]]}
    done = machine.verify()
    assert done.returncode == 0
    assert "fail  network policies: not enforced" in done.stdout and "fail  run to Redis: open" in done.stdout
    assert "WARNING: runs are not isolated" in done.stderr


def test_probe_does_not_wait_for_policies_that_are_not_installed(machine: Machine) -> None:
    machine.answers["get networkpolicies"] = {"items": []}
    assert "not installed" in machine.verify().stdout
    [plan] = [json.loads(call[-1]) for call in machine.calls if "exec" in call]
    assert plan["seconds"] == 0


def test_something_broken_is_exit_code_1(machine: Machine) -> None:
    machine.answers["logs"] = RESULT | {"dns": False}
    done = machine.verify()
    assert done.returncode == 1 and "fail  run to DNS" in done.stdout and "WARNING" not in done.stderr


def test_host_name_is_looked_up_in_the_cluster_and_its_certificate_checked(machine: Machine) -> None:
    machine.answers["logs"] = RESULT | {"records": {"A": [], "AAAA": []}}
    done = machine.verify("--host", "no-such-host.invalid")
    assert done.returncode == 1
    assert "DNS A: no-such-host.invalid has no A record" in done.stdout
    assert "certificate: https://no-such-host.invalid does not answer" in done.stdout


def test_host_of_a_route_that_traefik_does_not_read_yet_is_looked_up(machine: Machine) -> None:
    route = {"slipway.yaml": 'rule: "Host(`no-such-host.invalid`) && (PathPrefix(`/health`))"'}
    machine.answers["get configmaps"] = {"items": [{"metadata": {"name": "slipway-traefik"}, "data": route}]}
    machine.answers["logs"] = RESULT | {"records": {"A": [], "AAAA": []}}
    done = machine.verify("--no-certificate")
    assert done.returncode == 1
    assert "DNS A: no-such-host.invalid has no A record" in done.stdout and "certificate" not in done.stdout
    assert "certificate: https://no-such-host.invalid does not answer" in machine.verify().stdout


@pytest.mark.parametrize(
    ("answer", "found"),
    [
        ({"exec": "error: No module named probe"}, "fail  probes: not started: error: No module named probe"),
        ({"get pods": {"items": []}}, "fail  probes: not started: no pod of slipway-launcher is ready"),
        ({"logs": "error: the server is down"}, "fail  network probe: not completed: error: the server is down"),
        (
            {"pod": {"items": [{"metadata": {"name": "p"}, "status": {"phase": "Failed"}}]}},
            "fail  network probe: not completed: its program failed",
        ),
    ],
)
def test_probe_that_cannot_run_is_reported_and_removed(answer: dict[str, Any], found: str, machine: Machine) -> None:
    if "pod" in answer:  # the pull probe would wait for its containers
        machine.answers["exec"] |= {"pull": {"metadata": {"name": "x"}}, "images": {}}
        answer["pod"]["items"][0]["status"]["containerStatuses"] = [{"name": "pull-0", "state": {"terminated": {}}}]
    machine.answers |= answer
    done = machine.verify()
    assert done.returncode == 1 and found in done.stdout
    created = [call for call in machine.calls if "create" in call]
    assert not created or "delete" in machine.last


@pytest.mark.parametrize("create_seconds", [0, 5], ids=["created", "being created"])
def test_interrupted_verification_deletes_its_probe(create_seconds: float, machine: Machine) -> None:
    machine.answers["pod"] = {"items": []}  # it never starts
    command, environment = machine.command(create_seconds)
    interruptible = ["env", "--default-signal=INT", *command[1:]]
    with subprocess.Popen(
        interruptible, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as process:
        end = time.monotonic() + SECONDS
        while not (machine.folder / "calls").exists() or not any("create" in call for call in machine.calls):
            assert time.monotonic() < end
            time.sleep(0.05)
        process.send_signal(signal.SIGINT)
        assert process.wait(SECONDS) != 0
    assert "delete" in machine.last
