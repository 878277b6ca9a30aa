"""Whatever ends a run has a reason of its own, a sentence that says what to do, and a log whose receipt is true."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest

from cluster.cluster import Cluster
from cluster.conftest import until
from cluster.ends import Ends, with_its_volume
from launching.installation import Installation


@dataclass(frozen=True, kw_only=True)
class Case:
    """A fault: what causes it, and how its run ends."""

    command: list[str]
    reason: str
    exit_code: int | None
    says: str
    printed: bytes | None = None
    """What stands in the log after the first line; None: a sentence that says why nothing was printed."""
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
        says="failed with exit code 3. The last lines of its log say why",
        printed=b"failing\n",
    ),
    "segfault": Case(
        command=["python3", "-c", "import ctypes; print('up', flush=True); ctypes.string_at(0)"],
        reason="KilledBySignal",
        exit_code=139,
        says="was killed by SIGSEGV",
        printed=b"up\n",
    ),
    "memory": Case(  # the one that is killed has a parent: containerd may hear of an end before it hears why
        command=shell(
            "exec 2>/dev/null; echo up; python3 -c \"hog = b'x' * 200_000_000\"; code=$?; sleep 1; exit $code"
        ),
        reason="OutOfMemory",
        exit_code=137,
        says=r"exceeded its memory limit \(32 MiB\)",
        printed=b"up\n",
        entry={"resources": {"limits": {"memory": "32Mi"}}},
    ),
    "timeout": Case(
        command=shell("echo up; exec sleep 300"),
        reason="TimedOut",
        exit_code=137,
        says="ran longer than 2 s and was stopped. A higher timeout_seconds allows more",
        printed=b"up\n",
        timeout_seconds=2,
    ),
    "timeout-with-last-words": Case(
        command=shell("trap 'echo last words; exit 0' TERM; echo up; while :; do sleep 0.1; done"),
        reason="TimedOut",
        exit_code=0,
        says="ran longer than 2 s",
        printed=b"up\nlast words\n",
        timeout_seconds=2,
    ),
    "timeout-ignored": Case(
        command=shell("trap '' TERM; echo up; while :; do sleep 0.1; done"),
        reason="TimedOut",
        exit_code=137,
        says="ran longer than 2 s",
        printed=b"up\n",
        timeout_seconds=2,
    ),
    "artifacts": Case(
        command=shell("head -c 2000000 /dev/zero >$APPLICATIONS_DIR/large; echo written; exec sleep 300"),
        reason="ArtifactsTooLarge",
        exit_code=137,
        says=r"exceeded a limit. It wrote more than 1000000 bytes \(MAX_ARTIFACT_BYTES\)",
        printed=b"written\n",
    ),
    "image": Case(
        command=["true"],
        reason="ImagePull",
        exit_code=None,
        says="Check its name, its tag and IMAGE_PULL_SECRETS. .*localhost/slipway-tests:not-there",
        entry={"image": "localhost/slipway-tests:not-there"},
    ),
    "image-name": Case(
        command=["true"],
        reason="InvalidImage",
        exit_code=None,
        says="Correct the pipeline's image. .*INVALID:::",
        entry={"image": "INVALID:::"},
    ),
    "room": Case(
        command=["true"],
        reason="Unschedulable",
        exit_code=None,
        says="Lower its resource requests.*Insufficient cpu",
        entry={"resources": {"requests": {"cpu": "64"}}},
    ),
    "command": Case(
        command=["no-such-command"],
        reason="CannotStart",
        exit_code=128,
        says="could not be started.*no-such-command.*not found",
    ),
    "disk": Case(  # its log counts: the kubelet looks at that every ten seconds, at volumes every minute
        command=shell(f"echo up; yes {LONG} | head -n 4000; exec sleep 300"),
        reason="Evicted",
        exit_code=137,
        says="ephemeral.*(limit|exceed)",
        printed=b"up\n" + f"{LONG}\n".encode() * 4000,
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
        yield with_its_volume(running)


@pytest.fixture(scope="module")
def ends(installation: Installation) -> Iterator[Ends]:
    with installation.watcher() as watcher:
        yield Ends(installation, watcher)


@pytest.fixture(scope="module")
def runs(installation: Installation, ends: Ends) -> dict[str, str]:
    """Every case's run, all at a time."""
    launch = installation.launcher.run
    runs = {"held": launch("held", pipeline="held")["run_id"]}
    for name, case in reversed(CASES.items()):  # what lasts longest comes last in the table and first here
        runs[name] = launch(name, pipeline=name, timeout_seconds=case.timeout_seconds)["run_id"]
    return runs


def test_an_eviction_that_somebody_asked_for_is_an_eviction(
    installation: Installation, ends: Ends, runs: dict[str, str]
) -> None:
    run_id = runs["held"]
    until(lambda: b"up\n" in installation.launcher.log(run_id))
    name = installation.pods(run_id)[0]["metadata"]["name"]
    about = {"name": name, "namespace": installation.namespace}
    eviction = json.dumps({"apiVersion": "policy/v1", "kind": "Eviction", "metadata": about})
    path = f"/api/v1/namespaces/{installation.namespace}/pods/{name}/eviction"
    installation.kubectl("create", f"--raw={path}", "--filename=-", input=eviction)
    run = ends.of(run_id, deleted=True)
    assert (run["status"], run["reason"]) == ("failed", "Evicted"), run
    assert "Eviction API" in run["message"], run
    assert ends.printed(run_id) == b"up\n"


@pytest.mark.parametrize("name", CASES)
def test_each_fault_has_its_reason_and_a_sentence(name: str, ends: Ends, runs: dict[str, str]) -> None:
    case = CASES[name]
    run = ends.of(runs[name])
    assert (run["status"], run["reason"], run["exit_code"]) == ("failed", case.reason, case.exit_code), run
    assert re.search(case.says, run["message"]), run["message"]
    assert run["log"]["complete"], run["log"]
    assert ends.printed(runs[name]) == (f"{run['message']}\n".encode() if case.printed is None else case.printed)


def test_a_secret_that_is_not_there_is_named(
    cluster: Cluster, tmp_path_factory: pytest.TempPathFactory, redis_server: Any
) -> None:
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
        ends = Ends(installation, watcher)
        run = ends.of(installation.launcher.run("1", pipeline="hello")["run_id"])
        assert (run["status"], run["reason"], run["exit_code"]) == ("failed", "CannotStart", None), run
        assert 'CreateContainerConfigError: secret "no-such-secret" not found' in run["message"]
        assert ends.printed(run["run_id"]) == f"{run['message']}\n".encode()
