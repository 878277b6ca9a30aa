"""Every cause of failure has its own reason, a message that says what to do, and a log with a correct receipt."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest

from cluster.cluster import Cluster
from cluster.runs import until
from cluster.verifier import RunVerifier, with_bound_volume
from launching.installation import Installation


@dataclass(frozen=True, kw_only=True)
class Case:
    """A fault: what causes it, and the outcome of its run."""

    command: list[str]
    reason: str
    exit_code: int | None
    message: str
    output: bytes | None = None
    """The log after its first line; None: only the message, which says why nothing was printed."""
    entry: dict[str, Any] = field(default_factory=dict)
    timeout_seconds: int = 120


def shell(script: str) -> list[str]:
    """Return a command that runs a script."""
    return ["sh", "-c", script]


LONG = "x" * 999
CASES = {
    "exit-code": Case(
        command=shell("echo failing; exit 3"),
        reason="PipelineError",
        exit_code=3,
        message="failed with exit code 3. The last lines of its log say why",
        output=b"failing\n",
    ),
    "segfault": Case(
        command=["python3", "-c", "import ctypes; print('up', flush=True); ctypes.string_at(0)"],
        reason="KilledBySignal",
        exit_code=139,
        message="was killed by SIGSEGV",
        output=b"up\n",
    ),
    "memory": Case(  # a child is killed: containerd may report the exit before the reason
        command=shell(
            "exec 2>/dev/null; echo up; python3 -c \"hog = b'x' * 200_000_000\"; code=$?; sleep 1; exit $code"
        ),
        reason="OutOfMemory",
        exit_code=137,
        message=r"exceeded its memory limit \(32 MiB\)",
        output=b"up\n",
        entry={"resources": {"limits": {"memory": "32Mi"}}},
    ),
    "timeout": Case(
        command=shell("echo up; exec sleep 300"),
        reason="TimedOut",
        exit_code=137,
        message="ran longer than 2 s and was stopped. A higher timeout_seconds allows more",
        output=b"up\n",
        timeout_seconds=2,
    ),
    "timeout-with-cleanup": Case(
        command=shell("trap 'echo cleaning up; exit 0' TERM; echo up; while :; do sleep 0.1; done"),
        reason="TimedOut",
        exit_code=0,
        message="ran longer than 2 s",
        output=b"up\ncleaning up\n",
        timeout_seconds=2,
    ),
    "timeout-ignored": Case(
        command=shell("trap '' TERM; echo up; while :; do sleep 0.1; done"),
        reason="TimedOut",
        exit_code=137,
        message="ran longer than 2 s",
        output=b"up\n",
        timeout_seconds=2,
    ),
    "artifacts": Case(
        command=shell("head -c 2000000 /dev/zero >$APPLICATIONS_DIR/large; echo written; exec sleep 300"),
        reason="ArtifactsTooLarge",
        exit_code=137,
        message=r"exceeded a limit. It wrote more than 1000000 bytes \(MAX_ARTIFACT_BYTES\)",
        output=b"written\n",
    ),
    "image": Case(
        command=["true"],
        reason="ImagePull",
        exit_code=None,
        message="Check its name, its tag and IMAGE_PULL_SECRETS. .*localhost/slipway-tests:not-there",
        entry={"image": "localhost/slipway-tests:not-there"},
    ),
    "image-name": Case(
        command=["true"],
        reason="InvalidImage",
        exit_code=None,
        message="Correct the pipeline's image. .*INVALID:::",
        entry={"image": "INVALID:::"},
    ),
    "no-room": Case(
        command=["true"],
        reason="Unschedulable",
        exit_code=None,
        message="Lower its resource requests.*Insufficient cpu",
        entry={"resources": {"requests": {"cpu": "64"}}},
    ),
    "command": Case(
        command=["no-such-command"],
        reason="CannotStart",
        exit_code=128,
        message="could not be started.*no-such-command.*not found",
    ),
    "disk": Case(  # fills its log, which the kubelet checks every ten seconds; volumes only every minute
        command=shell(f"echo up; yes {LONG} | head -n 4000; exec sleep 300"),
        reason="Evicted",
        exit_code=137,
        message="ephemeral.*(limit|exceed)",
        output=b"up\n" + f"{LONG}\n".encode() * 4000,
        entry={"resources": {"limits": {"ephemeral-storage": "2Mi"}}},
    ),
}


@pytest.fixture(scope="module")
def installation(
    cluster: Cluster, tmp_path_factory: pytest.TempPathFactory, redis_server: Any
) -> Iterator[Installation]:
    redis_server.revive()
    pipelines = {name: {"command": case.command, "artifacts": {}, **case.entry} for name, case in CASES.items()}
    pipelines["held"] = {"command": shell("echo up; exec sleep 300"), "artifacts": {}}
    with Installation(
        cluster,
        tmp_path_factory.mktemp("slipway"),
        pipelines,
        slots=len(pipelines),
        REDIS_URL=redis_server.url,
        MAX_ARTIFACT_BYTES="1000000",
        IMAGE_GRACE_SECONDS="3",
        UNSCHEDULABLE_GRACE_SECONDS="5",
        CANNOT_START_GRACE_SECONDS="2",
    ) as running:
        yield with_bound_volume(running)


@pytest.fixture(scope="module")
def verifier(installation: Installation) -> Iterator[RunVerifier]:
    with installation.watcher() as watcher:
        yield RunVerifier(installation, watcher)


@pytest.fixture(scope="module")
def runs(installation: Installation, verifier: RunVerifier) -> dict[str, str]:
    """The run of every case, all started at once."""
    launch = installation.launcher.run
    runs = {"held": launch("held", pipeline="held")["run_id"]}
    for name, case in reversed(CASES.items()):  # the slowest cases are last in the table and start first
        runs[name] = launch(name, pipeline=name, timeout_seconds=case.timeout_seconds)["run_id"]
    return runs


def test_api_initiated_eviction_is_recorded_as_evicted(
    installation: Installation, verifier: RunVerifier, runs: dict[str, str]
) -> None:
    run_id = runs["held"]
    until(lambda: b"up\n" in installation.launcher.log(run_id))
    name = installation.pods(run_id)[0]["metadata"]["name"]
    pod = {"name": name, "namespace": installation.namespace}
    eviction = json.dumps({"apiVersion": "policy/v1", "kind": "Eviction", "metadata": pod})
    path = f"/api/v1/namespaces/{installation.namespace}/pods/{name}/eviction"
    installation.kubectl("create", f"--raw={path}", "--filename=-", input=eviction)
    run = verifier.wait(run_id, deleted=True)
    assert (run["status"], run["reason"]) == ("failed", "Evicted"), run
    assert "Eviction API" in run["message"], run
    assert verifier.output(run_id) == b"up\n"


@pytest.mark.parametrize("name", CASES)
def test_each_fault_has_its_reason_and_message(name: str, verifier: RunVerifier, runs: dict[str, str]) -> None:
    case = CASES[name]
    run = verifier.wait(runs[name])
    assert (run["status"], run["reason"], run["exit_code"]) == ("failed", case.reason, case.exit_code), run
    assert re.search(case.message, run["message"]), run["message"]
    assert run["log"]["complete"], run["log"]
    assert verifier.output(runs[name]) == (f"{run['message']}\n".encode() if case.output is None else case.output)


def test_missing_secret_is_named(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory, redis_server: Any) -> None:
    with (
        Installation(
            cluster,
            tmp_path_factory.mktemp("slipway"),
            {"hello": {"command": ["echo", "hello"]}},
            REDIS_URL=redis_server.url,
            PIPELINE_SECRET="no-such-secret",
            CANNOT_START_GRACE_SECONDS="2",
        ) as installation,
        installation.watcher() as watcher,
    ):
        verifier = RunVerifier(installation, watcher)
        run = verifier.wait(installation.launcher.run("1", pipeline="hello")["run_id"])
        assert (run["status"], run["reason"], run["exit_code"]) == ("failed", "CannotStart", None), run
        assert 'CreateContainerConfigError: secret "no-such-secret" not found' in run["message"]
        assert verifier.output(run["run_id"]) == f"{run['message']}\n".encode()
